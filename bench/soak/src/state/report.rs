use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;

use crate::run::Run;

/// What clients have hob do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Deploy,
    Rollback,
    Remove,
    SecretSet,
    SecretRemove,
    NamespaceCreate,
    NamespaceRemove,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Deploy,
        Self::Rollback,
        Self::Remove,
        Self::SecretSet,
        Self::SecretRemove,
        Self::NamespaceCreate,
        Self::NamespaceRemove,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Remove => "remove",
            Self::SecretSet => "secret set",
            Self::SecretRemove => "secret remove",
            Self::NamespaceCreate => "namespace create",
            Self::NamespaceRemove => "namespace remove",
        }
    }
}

/// Orders, by what became of them.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Tally {
    acknowledged: BTreeMap<Kind, usize>,
    not_acknowledged: BTreeMap<Kind, usize>,
}

/// What was found after the kills.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    /// Facts that were looked at.
    facts: usize,
    /// Acknowledged, and not there.
    lost: Vec<String>,
    /// There in parts.
    torn: Vec<String>,
}

/// What a run has shown.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    form: &'static str,
    seed: u64,
    kills: usize,
    clients: usize,
    changes: Tally,
    found: Findings,
}

impl Tally {
    pub(super) fn count(&mut self, kind: Kind, acknowledged: bool) {
        let counts = match acknowledged {
            true => &mut self.acknowledged,
            false => &mut self.not_acknowledged,
        };
        *counts.entry(kind).or_default() += 1;
    }
}

impl Findings {
    /// Something that was acknowledged holds, or `what` is so instead.
    pub(super) fn fact(&mut self, holds: bool, what: impl FnOnce() -> String) {
        self.facts += 1;
        if !holds {
            self.lost.push(what());
        }
    }

    /// Something is there or not, but whole; or `what` is so instead.
    pub(super) fn whole(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.torn.push(what());
        }
    }
}

impl Report {
    pub(super) fn new(run: &Run, kills: usize, changes: Tally, found: Findings) -> Self {
        Self {
            form: run.form.name,
            seed: run.seed,
            kills,
            clients: run.form.state_clients,
            changes,
            found,
        }
    }

    /// The bars that were missed.
    pub(super) fn missed(&self) -> Vec<String> {
        let found = &self.found;
        let bars = [
            (found.lost.len(), "acknowledged facts are lost"),
            (found.torn.len(), "things are there in parts"),
        ];
        let missed = bars.into_iter().filter(|(count, _)| *count > 0);
        missed
            .map(|(count, what)| format!("{count} {what} (bar: 0)"))
            .collect()
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "state: {} form, seed {}, {} clients, {} times hob killed\n\n{:<18}{:>14}{:>18}\n",
            self.form,
            self.seed,
            self.clients,
            self.kills,
            "change",
            "acknowledged",
            "not acknowledged"
        );
        for kind in Kind::ALL {
            let of = |counts: &BTreeMap<Kind, usize>| counts.get(&kind).copied().unwrap_or(0);
            let (yes, no) = (
                of(&self.changes.acknowledged),
                of(&self.changes.not_acknowledged),
            );
            let _ = writeln!(text, "{:<18}{yes:>14}{no:>18}", kind.name());
        }
        let Findings { facts, lost, torn } = &self.found;
        let _ = writeln!(
            text,
            "\n{facts:>8}  facts looked at after the kills\n{:>8}  acknowledged, and lost  (bar: 0)\n{:>8}  there in parts  (bar: 0)",
            lost.len(),
            torn.len()
        );
        for (what, lines) in [("lost", lost), ("torn", torn)] {
            for line in lines {
                let _ = writeln!(text, "{what}: {line}");
            }
        }
        text
    }
}
