//! Tells of answers, again where that failed.

use std::time::Duration;

use hob_store::StoreError;
use tokio::{sync::oneshot, time::sleep};

use super::{MARGIN, TROUBLE, Worked, Worker};
use crate::queue::{
    LONGEST_WAIT, after,
    callback::{CALLBACK_LIMIT, Refused, function_called_back},
    index::Job,
    written,
};

/// Callbacks of one function at the same time.
pub(super) const CALLBACKS_AT_ONCE: usize = 16;
/// Most tries of a callback.
const CALLBACK_TRIES: u32 = 6;
/// Wait before a callback is tried for the second time; doubles with each try.
const CALLBACK_MIN_WAIT: Duration = Duration::from_secs(2);
/// Longest wait before a callback is tried again.
const CALLBACK_MAX_WAIT: Duration = Duration::from_secs(60);

impl Worker {
    /// Tells of a call's answer once.
    pub(super) async fn tell(&self, job: &Job) -> Result<Worked, StoreError> {
        let seq = job.seq;
        let call = match self.control.queued(move |calls| calls.to_tell(seq)).await {
            Ok(Some(call)) => call,
            Ok(None) => {
                self.queue.finish(job, None, None);
                return Ok(Worked::Through);
            }
            Err(error) if error.is_damaged_row() => {
                let problem = "its row in the database is damaged".to_owned();
                return self.write_told(job, Some(problem), None).await;
            }
            Err(error) => return Err(error),
        };
        let tries = call.tries + 1;
        let function = &job.lane.function;
        let most = self.policy(function, |policy| policy.attempts);
        let limit = self.callback_limit(&call.url);
        let told = self.messenger.tell(function, call, most, limit).await;
        let (problem, again) = match told {
            Ok(()) => (None, None),
            Err(_) if self.stop.is_cancelled() => return Ok(Worked::Left),
            Err(Refused { problem, again }) => {
                let again = (again && tries < CALLBACK_TRIES).then(|| {
                    let wait = CALLBACK_MIN_WAIT.saturating_mul(1 << (tries - 1).min(16));
                    after(wait.min(CALLBACK_MAX_WAIT))
                });
                (Some(problem), again)
            }
        };
        self.write_told(job, problem, again).await
    }

    /// Writes down how a callback went, however long the disk takes to accept it: it is not sent
    /// again for that.
    async fn write_told(
        &self,
        job: &Job,
        problem: Option<String>,
        again: Option<i64>,
    ) -> Result<Worked, StoreError> {
        let due = again.map(|at| self.queue.at(at, LONGEST_WAIT));
        loop {
            let (sender, settled) = oneshot::channel();
            let done = self.finisher(job, due, sender);
            self.queue.calls.told(job.seq, problem.clone(), again, done);
            match written(settled).await {
                Ok(()) => return Ok(Worked::Through),
                Err(error) if self.stop.is_cancelled() => return Err(error),
                Err(error) => self.queue.complaints.not_written(job, &error),
            }
            sleep(TROUBLE).await;
        }
    }

    /// Longest wait for the answer to a callback: a function of this very hob has its own timeout.
    fn callback_limit(&self, url: &str) -> Duration {
        let name = function_called_back(url);
        let function = name.and_then(|name| self.control.deployed.get(&name));
        function.map_or(CALLBACK_LIMIT, |function| {
            function.revision.settings.timeout.0 + MARGIN
        })
    }
}
