use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hob_testkit::wait_until;
use tokio::signal::unix::{SignalKind, signal};

/// The order to end early and to clean up.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Given by Ctrl-C and SIGTERM from now on.
    ///
    /// # Errors
    /// When this process cannot catch signals.
    pub fn by_signals() -> Result<Self> {
        let stop = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        drop(entered);
        let asked = stop.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            asked.ask();
            // Goes on to hold the signals back: the cleaning up must not be cut short.
            runtime.block_on(std::future::pending::<()>());
        });
        Ok(stop)
    }

    /// Ends the run at its next step.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run has to end.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error once the run has to end.
    ///
    /// # Errors
    /// When it was asked to.
    pub fn check(&self) -> Result<()> {
        if self.is_asked() {
            bail!("stopped before its end");
        }
        Ok(())
    }

    /// Waits until `condition` holds; `what` is said when it never does.
    ///
    /// # Errors
    /// When it did not within `limit`, or the run has to end.
    pub fn wait(
        &self,
        limit: Duration,
        what: &str,
        mut condition: impl FnMut() -> bool,
    ) -> Result<()> {
        let mut holds = false;
        wait_until(limit, || {
            holds = condition();
            holds || self.is_asked()
        });
        self.check()?;
        if !holds {
            bail!("did not come true within {} s: {what}", limit.as_secs());
        }
        Ok(())
    }
}
