//! One log while it is being written.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Cut, Part, rotate, times::Times};

/// Shortest time between two parts of one log that are put aside, unless it is a flood.
const PUT_ASIDE_EVERY: Duration = Duration::from_secs(2);

/// A log that is being written, or was when a reader came.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Nobody writes to it any more. Set with the state locked.
    is_closed: AtomicBool,
    /// Also held by readers for a moment.
    state: Mutex<State>,
}

/// What was put aside of a log.
#[derive(Debug)]
struct PutAside {
    /// How often, and 1.
    count: u64,
    /// Where, the last time.
    cut: Cut,
    last: Option<Instant>,
}

#[derive(Debug)]
struct State {
    times: Times,
    put_aside: PutAside,
    warned: Once,
}

/// What there is to see at a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// There are new lines, or so many that it has to be put aside soon.
    Loud,
    /// The same, and it has just been put aside.
    PutAside,
    Quiet,
    /// It will never grow again.
    Over,
}

/// A log that is not put aside while this lives.
#[derive(Debug)]
pub(super) struct Held<'a>(MutexGuard<'a, State>);

// === impl Log ===

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            state: Mutex::new(State {
                times: Times::new(Part::Current.times(&path), Part::Former.times(&path)),
                put_aside: PutAside {
                    count: 1,
                    cut: Cut { start: 0, end: 0 },
                    last: None,
                },
                warned: Once::new(),
            }),
            is_closed: AtomicBool::new(false),
            path,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Marks how far it has grown and puts it aside if it is longer than `part`. A log that cannot be marked
    /// has coarser times, and that is all.
    pub(super) fn look(&self, part: u64) -> Look {
        let mut state = self.state();
        if self.is_closed() {
            return Look::Over;
        }
        state.look(&self.path, part, PUT_ASIDE_EVERY)
    }

    /// While this is held, it is not put aside.
    pub(super) fn hold(&self) -> Held<'_> {
        Held(self.state())
    }

    pub(super) fn close(&self, part: u64) {
        let mut state = self.state();
        state.look(&self.path, part, Duration::ZERO);
        self.is_closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Says once that something of it cannot be kept as it should be.
    pub(super) fn warn(&self, problem: &io::Error) {
        self.state().warn(&self.path, problem);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn look(&mut self, log: &Path, part: u64, put_aside_every: Duration) -> Look {
        match self.try_look(log, part, put_aside_every) {
            Ok(look) => look,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => Look::Over,
            Err(problem) => {
                self.warn(log, &problem);
                Look::Quiet
            }
        }
    }

    fn warn(&self, log: &Path, problem: &io::Error) {
        self.warned.call_once(|| {
            let log = log.display();
            tracing::warn!(%log, %problem, "a log could not be timed, put aside or kept within its quota");
        });
    }

    fn try_look(&mut self, log: &Path, part: u64, put_aside_every: Duration) -> io::Result<Look> {
        let about = fs::metadata(log)?;
        let length = about.len();
        if length < self.times.length() {
            // Somebody else emptied it.
            self.times.begin_anew()?;
        }
        let mut look = Look::Quiet;
        let mut marked = Ok(());
        if length > self.times.length() {
            look = Look::Loud;
            marked = self.times.mark(about.modified()?, length);
        }
        if length > part {
            look = Look::Loud;
            let is_flood = length >= 2 * part;
            let lately = |at: Instant| at.elapsed() < put_aside_every;
            if is_flood || !self.put_aside.last.is_some_and(lately) {
                look = Look::PutAside;
                self.put_aside.last = Some(Instant::now());
                self.put_aside.cut = rotate(log, length, part)?;
                self.put_aside.count += 1;
                self.times.put_aside(self.put_aside.cut)?;
            }
        }
        marked.map(|()| look)
    }
}

// === impl Held ===

impl Held<'_> {
    /// How often the log was put aside, and 1.
    pub(super) fn generation(&self) -> u64 {
        self.0.put_aside.count
    }

    /// Where it was cut the last time.
    pub(super) fn cut(&self) -> Cut {
        self.0.put_aside.cut
    }
}
