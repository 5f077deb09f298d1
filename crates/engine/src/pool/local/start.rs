use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::stream;
use hob_model::{
    port::{RunError, StartedRun},
    sandbox::{RunEnd, RunEvent, RunMaxima, RunTimes},
};
use hob_sandbox::SandboxError;
use tokio::{
    sync::mpsc,
    task::spawn_blocking,
    time::{Instant as Moment, timeout_at},
};

use super::{
    LocalPool,
    order::Job,
    pump::{EVENTS, Events, Pump, Voice, Voices},
    run::{Run, Tenant, passed},
    stock::Made,
};
use crate::{local::listen_to, pool::Place};

impl LocalPool {
    /// Has the sandbox run the job. Whoever drops the future leaves nothing.
    pub(super) async fn start(
        &self,
        job: Job,
        place: Place,
        made: Made,
        entered: Instant,
    ) -> Result<StartedRun, RunError> {
        let leased = Instant::now();
        let limits = job.limits;
        let deadline = leased + limits.time.0;
        let worker = made.lease.lease.worker.clone();
        let term = limits.time.0 + self.stock.config.lease;
        let start = spawn_blocking(move || made.start(&job, place, term));
        let mut times = RunTimes {
            queue: leased - entered,
            ..RunTimes::default()
        };
        let Ok(started) = timeout_at(Moment::from_std(deadline), start).await else {
            // What it becomes is removed as soon as it is there.
            times.start = leased.elapsed();
            return Ok(self.late(worker, times, &limits));
        };
        let tenant = started.unwrap_or_else(|panic| Err(RunError::Unavailable(panic.to_string())));
        let tenant = tenant?;
        self.stock.proven();
        times.start = leased.elapsed();
        let events = self.attend(tenant, deadline, limits, times);
        let events = events.map_err(|error| {
            RunError::Unavailable(format!("cannot read what a run says: {error}"))
        })?;
        Ok(StartedRun {
            worker,
            events: Box::pin(events),
        })
    }

    /// Has it watched and listened to.
    fn attend(
        &self,
        mut tenant: Tenant,
        deadline: Instant,
        limits: RunMaxima,
        times: RunTimes,
    ) -> io::Result<Events> {
        let began = Instant::now();
        let stdout = Voice::stdout(tenant.cage.stdout.take())?;
        let stderr = Voice::stderr(tenant.cage.stderr.take())?;
        let news = listen_to(tenant.cage.pidfd())?;
        let alarm = tenant.cage.alarm();
        let run = Arc::new(Run::new(tenant, deadline, limits));
        let first_look = run.next_look(began, limits.cpu.0);
        let watched = self.watch.add(Arc::clone(&run), first_look);
        let (events, receiver) = mpsc::channel(EVENTS);
        let pump = Pump {
            run: Arc::clone(&run),
            watched,
            news,
            alarm,
            voices: Voices::new(stdout, stderr, limits.output.0),
            events,
            closing: self.stock.closing.clone(),
            times,
            began,
        };
        tokio::spawn(pump.work());
        Ok(Events { run, receiver })
    }

    /// A run whose deadline passed before it began.
    fn late(&self, worker: String, times: RunTimes, limits: &RunMaxima) -> StartedRun {
        let end = RunEvent::End(RunEnd::without_program(passed(limits), times));
        StartedRun {
            worker,
            events: Box::pin(stream::iter([end])),
        }
    }
}

// === impl Made ===

impl Made {
    /// With the lease's new term on disk before. Blocks.
    fn start(self, job: &Job, place: Place, term: Duration) -> Result<Tenant, RunError> {
        let (cage, mut lease, seat) = self.parts();
        let written = lease.leased(term);
        written.map_err(|error| {
            RunError::Unavailable(format!("cannot write the lease of a run: {error}"))
        })?;
        let cage = cage.start(&job.program).map_err(|error| refused(&error))?;
        Ok(Tenant::new(cage, lease, seat, place))
    }
}

fn refused(error: &SandboxError) -> RunError {
    match error.is_callers_fault() {
        true => RunError::Refused(error.to_string()),
        false => RunError::Unavailable(error.to_string()),
    }
}
