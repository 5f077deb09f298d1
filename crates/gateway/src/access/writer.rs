use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{AccessLog, AccessTarget};

/// Longest time that a line waits in memory.
const FLUSH: Duration = Duration::from_secs(1);
/// Bytes of a sheet from which on its lines are written at once.
const SHEET_FULL: usize = 64 << 10;
/// Bytes of a sheet that takes no more lines, since the file takes none.
const SHEET_MAX: usize = 1 << 20;
/// How often at most it is said that lines are lost.
const LAMENT: Duration = Duration::from_secs(60);
/// Callers' addresses are not for everybody on the machine.
const MODE: u32 = 0o640;

/// What threads and the writer share: lines on their way to the file.
pub(crate) struct Desk {
    log: AccessLog,
    /// One a thread, so that threads do not wait for each other.
    sheets: Box<[Mutex<Vec<u8>>]>,
    taken: AtomicUsize,
    lost: AtomicU64,
    stop: AtomicBool,
    writer: Mutex<Option<thread::Thread>>,
}

/// The thread that takes lines to the file. On drop it writes the last ones.
pub(crate) struct Writer {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// Where lines end up.
enum Out {
    Stderr,
    File { path: PathBuf, file: File },
}

/// What became of lines that are not in the file.
struct Lament {
    last: Option<Instant>,
    why: String,
}

// === impl Writer ===

impl Writer {
    /// Opens the log for so many threads.
    ///
    /// # Errors
    /// One that names the file which cannot be opened.
    pub(crate) fn start(log: &AccessLog, threads: usize) -> io::Result<Self> {
        let out = Out::open(&log.target)?;
        let desk = Arc::new(Desk {
            log: log.clone(),
            sheets: (0..threads).map(|_| Mutex::default()).collect(),
            taken: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            writer: Mutex::default(),
        });
        let own = Arc::clone(&desk);
        let thread = thread::Builder::new().name("access-log".into());
        let thread = thread.spawn(move || run(&own, out))?;
        *lock(&desk.writer) = Some(thread.thread().clone());
        Ok(Self {
            desk,
            thread: Some(thread),
        })
    }

    pub(crate) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.desk.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

// === impl Desk ===

impl Desk {
    pub(super) fn log(&self) -> &AccessLog {
        &self.log
    }

    /// A sheet that no other thread has, as long as there are as many as threads.
    pub(super) fn take_sheet(&self) -> usize {
        self.taken.fetch_add(1, Ordering::Relaxed) % self.sheets.len()
    }

    /// Adds a line to a sheet. Never waits for the file.
    pub(super) fn write(&self, sheet: usize, line: impl FnOnce(&mut Vec<u8>)) {
        let mut sheet = lock(&self.sheets[sheet]);
        let before = sheet.len();
        if before >= SHEET_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        line(&mut sheet);
        let full = before < SHEET_FULL && sheet.len() >= SHEET_FULL;
        drop(sheet);
        if full && let Some(writer) = &*lock(&self.writer) {
            writer.unpark();
        }
    }
}

fn run(desk: &Desk, mut out: Out) {
    let mut lines = Vec::new();
    let mut lament = Lament {
        last: None,
        why: String::new(),
    };
    loop {
        if !desk.stop.load(Ordering::Acquire) {
            thread::park_timeout(FLUSH);
        }
        // Before the sheets are looked at: who stops has written all lines by then.
        let stop = desk.stop.load(Ordering::Acquire);
        if let Err(error) = out.follow() {
            lament.why = error.to_string();
        }
        for sheet in &desk.sheets {
            lines.clear();
            std::mem::swap(&mut *lock(sheet), &mut lines);
            if let Err((lost, error)) = out.write(&lines) {
                desk.lost.fetch_add(lost, Ordering::Relaxed);
                lament.why = error.to_string();
            }
        }
        lament.of(&desk.lost);
        if stop {
            return;
        }
    }
}

// === impl Out ===

impl Out {
    fn open(target: &AccessTarget) -> io::Result<Self> {
        match target {
            AccessTarget::Stderr => Ok(Self::Stderr),
            AccessTarget::File(path) => Ok(Self::File {
                file: open(path)?,
                path: path.clone(),
            }),
        }
    }

    /// Opens the file anew when it was moved or removed, as logrotate does. Until that is possible
    /// it goes on with the one it has.
    fn follow(&mut self) -> io::Result<()> {
        if let Self::File { path, file } = self {
            let here = file.metadata()?;
            let there = path.metadata();
            if !there.is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino())) {
                *file = open(path)?;
            }
        }
        Ok(())
    }

    /// Or says how many lines were lost, and why.
    fn write(&mut self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        let mut rest = lines;
        let outcome = match self {
            Self::Stderr => write(&mut io::stderr().lock(), &mut rest),
            Self::File { file, .. } => write(file, &mut rest),
        };
        outcome.map_err(|error| (memchr::memchr_iter(b'\n', rest).count() as u64, error))
    }
}

/// As [`Write::write_all`], and leaves what could not be written.
fn write(out: &mut impl Write, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => *rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let opened = options.append(true).create(true).mode(MODE).open(path);
    opened.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("access log {}: {error}", path.display()),
        )
    })
}

// === impl Lament ===

impl Lament {
    /// Tells of lines that are lost: at once, and then now and then.
    fn of(&mut self, lost: &AtomicU64) {
        if self.last.is_some_and(|last| last.elapsed() < LAMENT) {
            return;
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            self.last = Some(Instant::now());
            let why = match self.why.as_str() {
                "" => "it takes them too slowly",
                why => why,
            };
            tracing::warn!("the access log has lost {lines} lines: {why}");
            self.why.clear();
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
