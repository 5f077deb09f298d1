use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::runtime::{Handle, Runtime};
use tokio_util::task::TaskTracker;

use super::{
    client::{Ask, Client, PATIENCE},
    functions::{Function, Habit},
    sample::Sample,
};
use crate::stop::Stop;

/// While it may sleep, a sleepy function is called in these parts of every `CYCLE`, in milliseconds.
/// Short gaps end at about the moment when it falls asleep, the long one later. The cycle is no
/// whole number of seconds, so that it drifts against hob's own clock.
const BURSTS: [Range<u128>; 3] = [0..500, 1900..2400, 3800..4300];
const CYCLE: u128 = 7300;
/// By how much more than asked for calls may be late before the run is given up.
const SLACK: Duration = Duration::from_secs(30);

/// Calls at a fixed rate for each function, made at their times whatever becomes of the others
/// (open loop): a stall is seen by every call that was due in it.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    runtime: Runtime,
    pacer: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    start: Instant,
    /// Microseconds after `start` of the last call that was due.
    reached: AtomicU64,
    samples: Mutex<Vec<Sample>>,
    calls: TaskTracker,
    gaps: AtomicBool,
    flood: AtomicBool,
    stop: AtomicBool,
}

/// The calls of one function.
#[derive(Debug)]
struct Stream {
    function: Function,
    due: Instant,
    every: Duration,
    number: u64,
}

impl Load {
    /// Calls these functions from now on.
    pub(super) fn start(address: SocketAddr, functions: &[Function]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("callers")
            .enable_all()
            .build()?;
        let start = Instant::now();
        let shared = Arc::new(Shared {
            client: Client::new(address),
            start,
            reached: AtomicU64::new(0),
            samples: Mutex::default(),
            calls: TaskTracker::new(),
            gaps: AtomicBool::new(false),
            flood: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        // Not all at the same moment.
        let streams = functions.iter().zip(1..).map(|(function, turn)| Stream {
            function: *function,
            due: start + Duration::from_millis(turn),
            every: Duration::from_secs(1) / rate(*function),
            number: 0,
        });
        let streams: Vec<_> = streams.collect();
        let pacer = thread::Builder::new().name("pacer".into()).spawn({
            let (shared, handle) = (Arc::clone(&shared), runtime.handle().clone());
            move || pace(&shared, &handle, streams)
        })?;
        Ok(Self {
            shared,
            runtime,
            pacer: Some(pacer),
        })
    }

    /// When the first call was due.
    pub(super) fn started(&self) -> Instant {
        self.shared.start
    }

    /// Whether sleepy functions are left alone long enough to sleep.
    pub(super) fn set_gaps(&self, on: bool) {
        self.shared.gaps.store(on, Ordering::Relaxed);
    }

    /// Whether chatty functions are called.
    pub(super) fn set_flood(&self, on: bool) {
        self.shared.flood.store(on, Ordering::Relaxed);
    }

    /// Returns when all calls of the next `time` have been sent.
    pub(super) fn go_on(&self, time: Duration, stop: &Stop) -> Result<()> {
        let until = self.shared.start.elapsed() + time;
        stop.wait(time + SLACK, "calls are sent in time", || {
            let reached = self.shared.reached.load(Ordering::Relaxed);
            Duration::from_micros(reached) >= until
        })
    }

    /// Sends no more calls, and returns all of them once each has its end.
    pub(super) fn finish(mut self) -> Result<Vec<Sample>> {
        self.halt();
        let shared = Arc::clone(&self.shared);
        shared.calls.close();
        // A call is sent twice at most.
        let limit = PATIENCE * 2 + SLACK;
        let ended = async { tokio::time::timeout(limit, shared.calls.wait()).await };
        let ended = self.runtime.block_on(ended);
        ended.context("some calls have no end")?;
        let mut samples = shared
            .samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *samples))
    }

    fn halt(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(pacer) = self.pacer.take() {
            // What it has to say, the panic hook has said.
            let _ = pacer.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Calls a second, of which two cores bear several times as many.
fn rate(function: Function) -> u32 {
    match (function.name, function.habit) {
        (_, Habit::Chatty) => 10,
        (_, Habit::Slow | Habit::Sleepy) | ("shell", _) => 20,
        _ => 50,
    }
}

fn pace(shared: &Arc<Shared>, runtime: &Handle, mut streams: Vec<Stream>) {
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(stream) = streams.iter_mut().min_by_key(|stream| stream.due) else {
            return;
        };
        let due = stream.due;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if shared.wants(stream.function, due) {
            let ask = Ask {
                function: stream.function,
                number: stream.number,
                due,
            };
            stream.number += 1;
            let shared = Arc::clone(shared);
            let calls = shared.calls.clone();
            let call = async move {
                let sample = shared.client.call(ask).await;
                let samples = shared.samples.lock();
                samples.unwrap_or_else(PoisonError::into_inner).push(sample);
            };
            calls.spawn_on(call, runtime);
        }
        stream.due += stream.every;
        let reached = due.saturating_duration_since(shared.start).as_micros();
        let reached = u64::try_from(reached).unwrap_or(u64::MAX);
        shared.reached.store(reached, Ordering::Relaxed);
    }
}

impl Shared {
    /// Whether this call is to be made, or falls into a gap.
    fn wants(&self, function: Function, due: Instant) -> bool {
        match function.habit {
            Habit::None | Habit::Slow => true,
            Habit::Chatty => self.flood.load(Ordering::Relaxed),
            Habit::Sleepy if self.gaps.load(Ordering::Relaxed) => {
                let time = due.saturating_duration_since(self.start).as_millis();
                BURSTS.iter().any(|burst| burst.contains(&(time % CYCLE)))
            }
            Habit::Sleepy => true,
        }
    }
}
