use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{
    desk::{Desk, Receipt},
    known::Known,
    report::{Findings, Kind},
};
use crate::run::write;

/// So many of the newest revisions are kept for sure; hob's default is 5, and deploys that were
/// not acknowledged may have made some.
const KEPT: usize = 3;

/// A function that a client deploys, rolls back and removes.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: String,
    /// The secret that it reads; with one it is a Python handler with a schedule, else a site.
    secret: Option<String>,
    known: Known<Option<Deployed>>,
}

/// What is deployed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Deployed {
    current: Version,
    /// Revisions that can be brought back for sure, by number.
    kept: BTreeMap<u32, Version>,
}

/// One revision.
#[derive(Debug, Clone, PartialEq)]
struct Version {
    /// What it answers; each deploy has another one.
    word: u64,
    /// Number and digest; not known when its deploy was not acknowledged.
    id: Option<(u32, String)>,
}

impl Subject {
    pub(super) fn new(name: String, secret: Option<String>) -> Self {
        Self {
            name,
            secret,
            known: Known::sure(None),
        }
    }

    /// What it is for all that is known.
    fn last(&self) -> Option<&Deployed> {
        self.known.last().and_then(Option::as_ref)
    }

    /// Numbers of the revisions that can be brought back: none but the current one are not.
    pub(super) fn former(&self) -> Vec<u32> {
        let Some(Deployed { current, kept }) = self.last() else {
            return Vec::new();
        };
        let numbers = kept.iter().filter(|(_, version)| *version != current);
        numbers.map(|(number, _)| *number).collect()
    }

    pub(super) fn is_there(&self) -> bool {
        self.last().is_some()
    }

    /// Deploys it so that it answers `word`.
    pub(super) fn deploy(&mut self, desk: &Desk, word: u64) -> Result<()> {
        let folder = desk.folder.join(&self.name);
        match &self.secret {
            None => write(&folder.join("index.html"), &word.to_string())?,
            Some(secret) => {
                let handler = format!(
                    "import os\n\ndef handle(req):\n    \
                     return '{word} ' + open(os.environ['HOB_SECRETS'] + '/{secret}').read()\n"
                );
                write(&folder.join("handler.py"), &handler)?;
                let schedule = schedule(word);
                let manifest = format!("secrets = [\"{secret}\"]\nschedule = \"{schedule}\"\n");
                write(&folder.join("hob.toml"), &manifest)?;
            }
        }
        let folder = folder.to_string_lossy();
        let receipt = desk.order(Kind::Deploy, &["deploy", &folder, "-o", "json"], "")?;
        let mut kept = self.last().map(|now| now.kept.clone()).unwrap_or_default();
        let mut current = Version { word, id: None };
        if let Receipt::Acknowledged(said) = &receipt {
            let said: Value = serde_json::from_str(said).context("a deploy's answer")?;
            let id = id(&said[0], "revision_number", "revision")?;
            current.id = Some(id.clone());
            kept.insert(id.0, current.clone());
            trim(&mut kept);
        }
        let value = Some(Deployed { current, kept });
        self.known.change(value, receipt.is_acknowledged());
        Ok(())
    }

    /// Brings a former revision back.
    pub(super) fn rollback(&mut self, desk: &Desk, number: u32) -> Result<()> {
        let now = self.last().context("nothing to roll back")?.clone();
        let current = now.kept.get(&number).context("an unknown revision")?;
        let args = ["rollback", &self.name, &number.to_string()];
        let receipt = desk.order(Kind::Rollback, &args, "")?;
        let current = current.clone();
        let value = Some(Deployed { current, ..now });
        self.known.change(value, receipt.is_acknowledged());
        Ok(())
    }

    pub(super) fn remove(&mut self, desk: &Desk) -> Result<()> {
        let receipt = desk.order(Kind::Remove, &["remove", &self.name], "")?;
        self.known.change(None, receipt.is_acknowledged());
        Ok(())
    }

    /// Compares what hob says, and what the function answers, with what it may be. From then on
    /// it is known.
    pub(super) fn check(
        &mut self,
        desk: &Desk,
        call: impl Fn(&str) -> (u16, String),
        findings: &mut Findings,
    ) -> Result<()> {
        let answer = call(&self.name);
        let detail = desk.ask(&["describe", &self.name])?;
        let Some(detail) = detail else {
            let whole = answer.0 == 404;
            findings.whole(whole, || {
                format!("{} is not there and answers {answer:?}", self.name)
            });
            findings.fact(self.known.allows(&None), || {
                format!("{} is not there; it may be {:?}", self.name, self.known)
            });
            self.known = Known::sure(None);
            return Ok(());
        };
        let id = id(&detail, "revision_number", "revision")?;
        let word = answer
            .1
            .split(' ')
            .next()
            .and_then(|word| word.parse().ok());
        let scheduled = detail["schedules"][0]["schedule"].as_str();
        let whole = answer.0 == 200
            && word.is_some_and(|word| self.secret.is_none() || scheduled == Some(&schedule(word)));
        findings.whole(whole, || {
            format!(
                "{} answers {answer:?} with schedule {scheduled:?}",
                self.name
            )
        });
        let current = Version {
            word: word.unwrap_or_default(),
            id: Some(id.clone()),
        };
        let candidates = self.known.candidates().iter().flatten();
        let found = candidates.rev().find(|one| one.current.may_be(&current));
        findings.fact(found.is_some(), || {
            format!("{} is {current:?}; it may be {:?}", self.name, self.known)
        });
        let mut kept = found.map(|one| one.kept.clone()).unwrap_or_default();
        self.check_kept(desk, &mut kept, findings)?;
        kept.insert(id.0, current.clone());
        trim(&mut kept);
        self.known = Known::sure(Some(Deployed { current, kept }));
        Ok(())
    }

    /// Whether the revisions that can be brought back are there.
    fn check_kept(
        &self,
        desk: &Desk,
        kept: &mut BTreeMap<u32, Version>,
        findings: &mut Findings,
    ) -> Result<()> {
        let list = desk.ask(&["revisions", &self.name])?.unwrap_or_default();
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        let ids = list.iter().map(|one| id(one, "number", "digest"));
        let ids: BTreeMap<u32, String> = ids.collect::<Result<_>>()?;
        for (number, version) in kept.iter() {
            let digest = ids.get(number);
            let same = version.id.as_ref().map(|(_, digest)| digest) == digest;
            findings.fact(same, || {
                format!(
                    "revision {number} of {} is {digest:?}: {version:?}",
                    self.name
                )
            });
        }
        Ok(())
    }
}

impl Version {
    fn may_be(&self, other: &Self) -> bool {
        self.word == other.word && (self.id.is_none() || self.id == other.id)
    }
}

/// When the clock calls the version with this word: once a day, so hardly within a run.
fn schedule(word: u64) -> String {
    format!("{} 3 * * *", word % 60)
}

fn id(value: &Value, number: &str, digest: &str) -> Result<(u32, String)> {
    let found = value[number].as_u64().zip(value[digest].as_str());
    let (number, digest) = found.with_context(|| format!("no revision in {value}"))?;
    Ok((u32::try_from(number)?, digest.to_owned()))
}

/// Forgets revisions that hob may have forgotten.
fn trim(kept: &mut BTreeMap<u32, Version>) {
    while kept.len() > KEPT {
        kept.pop_first();
    }
}
