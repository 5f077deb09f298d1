use std::{pin::Pin, time::Duration};

use async_trait::async_trait;
use futures_core::Stream;
use thiserror::Error;

use crate::sandbox::{Language, RunEvent, RunOrder};

/// A pool of one-shot sandboxes, wherever they are.
#[async_trait]
pub trait Sandboxes: Send + Sync {
    /// Waits in line for a sandbox, leases it, and starts the program in it.
    ///
    /// Whoever drops the future while it waits gives its place in line back; whoever drops the
    /// run kills it.
    async fn run(&self, order: RunOrder) -> Result<StartedRun, RunError>;

    /// What [`Sandboxes::run`] understands.
    fn languages(&self) -> Vec<Language>;

    /// How busy the pool is.
    fn standing(&self) -> PoolStanding;

    /// Ends all runs, destroys every sandbox, and takes no more. Nothing is left after it.
    async fn close(&self);
}

/// A run under way.
pub struct StartedRun {
    /// Name of the sandbox or of the worker, for the `Worker` header.
    pub worker: String,
    /// What it says.
    pub events: RunStream,
}

/// The events of a run as they come. Dropping it kills the run.
pub type RunStream = Pin<Box<dyn Stream<Item = RunEvent> + Send>>;

/// How busy a pool is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStanding {
    /// Most sandboxes at once.
    pub size: usize,
    /// Made and waiting for a run.
    pub ready: usize,
    /// With a run.
    pub leased: usize,
    /// Callers in line.
    pub waiting: usize,
}

/// Why nothing was run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RunError {
    /// The order asks for what it cannot have; its sender's to mend.
    #[error("{0}")]
    Refused(String),
    /// All sandboxes are taken, and so are all places in line.
    #[error(
        "all {size} sandboxes are busy and {waiting} callers wait: try again later, or raise sandbox.pool"
    )]
    Full {
        /// Sandboxes.
        size: usize,
        /// Callers in line.
        waiting: usize,
        /// When a place may be free.
        retry_after: Duration,
    },
    /// No sandbox can be had: the machine's, or the workers', fault.
    #[error("{0}")]
    Unavailable(String),
}
