use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use hob_testkit::Cli;
use serde_json::Value;

use super::report::{Kind, Tally};

/// Where clients give their orders to a hob that may die at any moment.
#[derive(Debug)]
pub(super) struct Desk {
    hob: PathBuf,
    data: PathBuf,
    /// Where folders of functions are written.
    pub(super) folder: PathBuf,
    alive: AtomicBool,
    deaths: AtomicUsize,
    /// Orders that were acknowledged, of all kinds.
    done: AtomicUsize,
    tally: Mutex<Tally>,
}

/// What became of an order.
#[derive(Debug)]
pub(super) enum Receipt {
    /// It was acknowledged, with these words.
    Acknowledged(String),
    /// hob was killed before it could be.
    Lost,
}

impl Receipt {
    pub(super) fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Acknowledged(_))
    }
}

impl Desk {
    pub(super) fn new(hob: &Path, data: &Path, folder: &Path) -> Self {
        Self {
            hob: hob.to_owned(),
            data: data.to_owned(),
            folder: folder.to_owned(),
            alive: AtomicBool::new(true),
            deaths: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            tally: Mutex::default(),
        }
    }

    /// From now on failures may be those of a dying hob.
    pub(super) fn dies(&self) {
        self.deaths.fetch_add(1, Ordering::SeqCst);
        self.alive.store(false, Ordering::SeqCst);
    }

    pub(super) fn lives(&self) {
        self.alive.store(true, Ordering::SeqCst);
    }

    pub(super) fn deaths(&self) -> usize {
        self.deaths.load(Ordering::SeqCst)
    }

    pub(super) fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    pub(super) fn tally(&self) -> Tally {
        self.lock().clone()
    }

    /// Gives an order by the command line.
    ///
    /// # Errors
    /// When it is refused by a hob that lived all the time.
    pub(super) fn order(&self, kind: Kind, args: &[&str], stdin: &str) -> Result<Receipt> {
        let deaths = self.deaths();
        let outcome = self.command(args).stdin(stdin).run();
        let acknowledged = outcome.code == 0;
        if !acknowledged && self.deaths() == deaths && self.alive.load(Ordering::SeqCst) {
            let said = outcome.stderr.trim();
            bail!("`hob {}` failed though hob lived: {said}", args.join(" "));
        }
        self.lock().count(kind, acknowledged);
        if acknowledged {
            self.done.fetch_add(1, Ordering::SeqCst);
            return Ok(Receipt::Acknowledged(outcome.stdout));
        }
        Ok(Receipt::Lost)
    }

    /// Asks a hob that lives; `None` when what is asked for is not there.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn ask(&self, args: &[&str]) -> Result<Option<Value>> {
        /// `hob help`: no such function, secret, …
        const NOT_FOUND: i32 = 3;
        let outcome = self.command(args).args(["-o", "json"]).run();
        match outcome.code {
            0 => {
                let said = serde_json::from_str(&outcome.stdout);
                Ok(Some(said.context(outcome.stdout)?))
            }
            NOT_FOUND => Ok(None),
            _ => bail!("`hob {}` failed: {}", args.join(" "), outcome.stderr.trim()),
        }
    }

    fn command(&self, args: &[&str]) -> Cli {
        let cli = Cli::new(&self.hob).env("HOB_DATA", &self.data);
        cli.args(args)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
