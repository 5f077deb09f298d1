use std::time::Duration;

use anyhow::Result;
use hob_testkit::{Hob, wait_until};

use super::{
    desk::Desk,
    known::Known,
    report::{Findings, Kind},
    subject::Subject,
};
use crate::dice::Dice;

/// A running replica reads the new value of a secret within 5 s, a busy machine gets more.
const SECRET_TIMEOUT: Duration = Duration::from_secs(15);

/// What one client has made, all of it under names of its own.
#[derive(Debug)]
pub(super) struct World {
    dice: Dice,
    /// Counts up: what is written next.
    word: u64,
    site: Subject,
    reader: Subject,
    /// A secret that a function reads, so it is always there.
    key: String,
    key_value: Known<u64>,
    /// A secret that comes and goes.
    spare: String,
    spare_there: Known<bool>,
    namespace: String,
    namespace_there: Known<bool>,
}

impl World {
    /// Makes what a client begins with.
    pub(super) fn new(desk: &Desk, seed: u64, index: usize) -> Result<Self> {
        let key = format!("key-{index}");
        let mut world = Self {
            dice: Dice::new(seed.wrapping_add(index as u64)),
            word: 0,
            site: Subject::new(format!("site-{index}"), None),
            reader: Subject::new(format!("reader-{index}"), Some(key.clone())),
            key,
            key_value: Known::sure(0),
            spare: format!("spare-{index}"),
            spare_there: Known::sure(false),
            namespace: format!("space-{index}"),
            namespace_there: Known::sure(false),
        };
        world.set_key(desk)?;
        let word = world.next();
        world.reader.deploy(desk, word)?;
        Ok(world)
    }

    fn next(&mut self) -> u64 {
        self.word += 1;
        self.word
    }

    /// Changes something.
    pub(super) fn change(&mut self, desk: &Desk) -> Result<()> {
        let word = self.next();
        match self.dice.below(10) {
            0 => self.reader.deploy(desk, word),
            1 => roll_back(&mut self.reader, desk, &mut self.dice, word),
            2 | 3 => self.site.deploy(desk, word),
            4 => roll_back(&mut self.site, desk, &mut self.dice, word),
            5 if self.site.is_there() => self.site.remove(desk),
            5 => self.site.deploy(desk, word),
            6 | 7 => self.set_key(desk),
            8 => self.turn_spare(desk),
            _ => self.turn_namespace(desk),
        }
    }

    fn set_key(&mut self, desk: &Desk) -> Result<()> {
        let value = self.next();
        let args = ["secret", "set", &self.key];
        let receipt = desk.order(Kind::SecretSet, &args, &value.to_string())?;
        self.key_value.change(value, receipt.is_acknowledged());
        Ok(())
    }

    fn turn_spare(&mut self, desk: &Desk) -> Result<()> {
        let there = self.spare_there.last() == Some(&true);
        let (kind, verb) = match there {
            true => (Kind::SecretRemove, "remove"),
            false => (Kind::SecretSet, "set"),
        };
        let receipt = desk.order(kind, &["secret", verb, &self.spare], "spare")?;
        self.spare_there.change(!there, receipt.is_acknowledged());
        Ok(())
    }

    fn turn_namespace(&mut self, desk: &Desk) -> Result<()> {
        let there = self.namespace_there.last() == Some(&true);
        let (kind, verb) = match there {
            true => (Kind::NamespaceRemove, "remove"),
            false => (Kind::NamespaceCreate, "create"),
        };
        let receipt = desk.order(kind, &["namespace", verb, &self.namespace], "")?;
        self.namespace_there
            .change(!there, receipt.is_acknowledged());
        Ok(())
    }

    /// Compares all of it with what is there now.
    pub(super) fn check(&mut self, desk: &Desk, hob: &Hob, findings: &mut Findings) -> Result<()> {
        let call = |name: &str| {
            let answer = hob.get(&format!("/function/{name}/"));
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            (answer.status.as_u16(), text)
        };
        self.site.check(desk, call, findings)?;
        self.reader.check(desk, call, findings)?;
        self.check_key(call, findings);
        for (list, name, known) in [
            ("secret", &self.spare, &mut self.spare_there),
            ("namespace", &self.namespace, &mut self.namespace_there),
        ] {
            let said = desk.ask(&[list, "list"])?.unwrap_or_default();
            let mut all = said.as_array().into_iter().flatten();
            let there = all.any(|one| one["name"] == name.as_str());
            findings.fact(known.allows(&there), || {
                format!("{list} {name} is there: {there}; it may be {known:?}")
            });
            *known = Known::sure(there);
        }
        Ok(())
    }

    /// A value is only seen by who reads it, and by a running replica only after a while.
    fn check_key(&self, call: impl Fn(&str) -> (u16, String), findings: &mut Findings) {
        let mut read = String::new();
        let right = wait_until(SECRET_TIMEOUT, || {
            read = call(&self.reader.name).1;
            let value = read.split(' ').nth(1).and_then(|value| value.parse().ok());
            value.is_some_and(|value| self.key_value.allows(&value))
        });
        findings.fact(right, || {
            let known = &self.key_value;
            format!("secret {}: `{read}` is read; it may be {known:?}", self.key)
        });
    }
}

/// To any revision that is kept, or a deploy where there is none.
fn roll_back(subject: &mut Subject, desk: &Desk, dice: &mut Dice, word: u64) -> Result<()> {
    match subject.former().as_slice() {
        [] => subject.deploy(desk, word),
        numbers => subject.rollback(desk, *dice.pick(numbers)),
    }
}
