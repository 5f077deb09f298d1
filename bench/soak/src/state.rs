//! Clients that deploy, roll back, remove, and set secrets, namespaces and schedules, while hob is
//! killed again and again: what was acknowledged is there, and nothing is there in parts.

mod desk;
mod known;
mod report;
mod subject;
mod world;

use std::{
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use hob_testkit::Hob;

use self::{
    desk::Desk,
    report::{Findings, Report},
    world::World,
};
use crate::{
    dice::Dice,
    run::{Outcome, Run},
};

/// Longest wait for the changes between two kills.
const CHANGES_TIMEOUT: Duration = Duration::from_secs(120);

/// The clients, and what they share.
struct Clients<'r> {
    run: &'r Run,
    desk: Desk,
    worlds: Vec<Mutex<World>>,
    /// Held by a client for each change, and by whoever looks at what became of them.
    turn: RwLock<()>,
    over: AtomicBool,
    /// Why a client gave up.
    trouble: Mutex<Option<anyhow::Error>>,
}

/// Ends the clients, whatever becomes of who holds it.
struct Over<'c>(&'c AtomicBool);

/// Runs it, prints the table and keeps table and data.
///
/// # Errors
/// When it could not be done to its end. A bar that was missed is in the outcome.
///
/// # Panics
/// When hob does not come up, or leaves something behind.
pub fn run(run: &Run) -> Result<Outcome> {
    run.tell("state: deploying");
    let folder = tempfile::tempdir()?;
    let mut hob = Hob::start(&run.hob);
    let clients = Clients::new(run, &hob, folder.path())?;
    let mut findings = Findings::default();
    thread::scope(|scope| {
        let _over = Over(&clients.over);
        for world in &clients.worlds {
            scope.spawn(|| clients.work(world));
        }
        clients.kill(&mut hob, &mut findings)
    })?;
    let report = Report::new(run, clients.desk.deaths(), clients.desk.tally(), findings);
    let table = report.table();
    run.keep("state", &table, &report)?;
    Ok(Outcome {
        table,
        missed: report.missed(),
    })
}

impl<'r> Clients<'r> {
    fn new(run: &'r Run, hob: &Hob, folder: &Path) -> Result<Self> {
        let desk = Desk::new(&run.hob, hob.data(), folder);
        let worlds = 0..run.form.state_clients;
        let worlds = worlds.map(|index| World::new(&desk, run.seed, index).map(Mutex::new));
        Ok(Self {
            run,
            worlds: worlds.collect::<Result<_>>()?,
            desk,
            turn: RwLock::default(),
            over: AtomicBool::new(false),
            trouble: Mutex::default(),
        })
    }

    /// One client: changes, one after the other, until all is over.
    fn work(&self, world: &Mutex<World>) {
        while !self.over.load(Ordering::Relaxed) && !self.run.stop.is_asked() {
            let _turn = self.turn.read().unwrap_or_else(PoisonError::into_inner);
            let changed = lock(world).change(&self.desk);
            if let Err(error) = changed {
                lock(&self.trouble).get_or_insert(error);
                return;
            }
        }
    }

    /// Kills hob in the middle of changes, as often as it is to be, and looks at what is there.
    fn kill(&self, hob: &mut Hob, findings: &mut Findings) -> Result<()> {
        let form = &self.run.form;
        let mut dice = Dice::new(self.run.seed);
        for death in 1..=form.state_kills {
            self.run
                .tell(&format!("state: kill {death} of {}", form.state_kills));
            let enough = self.desk.done() + form.state_changes + dice.below(form.state_changes);
            self.run
                .stop
                .wait(CHANGES_TIMEOUT, "changes are made", || {
                    self.desk.done() >= enough || lock(&self.trouble).is_some()
                })?;
            self.all_well()?;
            self.desk.dies();
            hob.kill();
            // Each client learns that its change was not acknowledged, and waits.
            let _turn = self.turn.write().unwrap_or_else(PoisonError::into_inner);
            hob.restart();
            self.desk.lives();
            for world in &self.worlds {
                lock(world).check(&self.desk, hob, findings)?;
            }
        }
        self.all_well()
    }

    /// The error of the first client that gave up.
    fn all_well(&self) -> Result<()> {
        lock(&self.trouble).take().map_or(Ok(()), Err)
    }
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
