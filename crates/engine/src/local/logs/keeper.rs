use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    mem::{MaybeUninit, take},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError},
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::{
    io::unix::AsyncFd,
    sync::Notify,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::host::{listen_to, told},
    Quota,
    written::{Log, Look},
};

/// How soon a log that grows is looked at again: no finer are the lines of a loud function timed.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often logs are looked at of which the kernel does not tell when they grow.
const ROUND_EVERY: Duration = Duration::from_secs(2);
/// Bytes of news that are read from the kernel at once.
const NEWS: usize = 4 << 10;

/// Marks in each log when it grew, and puts long ones aside. While all are quiet it sleeps: the
/// kernel wakes it at the first line of one. While a log grows, the kernel is not asked any more
/// and the log is looked at at a fixed pace, so that a loud function keeps nobody busy.
#[derive(Debug)]
pub(in crate::local) struct LogKeeper {
    quota: Quota,
    /// `None` if this user has too many of the kind.
    news: Option<OwnedFd>,
    /// Wakes it for what the kernel does not know.
    call: Notify,
    warned: Once,
    logs: Mutex<Logs>,
}

/// Every log that is being written is on one of the lists, or being looked at.
#[derive(Debug, Default)]
struct Logs {
    all: BTreeMap<PathBuf, Arc<Log>>,
    /// The kernel will tell when they grow; by the number of the watch.
    quiet: BTreeMap<i32, Arc<Log>>,
    /// Those to look at.
    loud: Vec<Arc<Log>>,
}

/// A log that is being written. Dropping it takes a last look and blocks on files.
#[derive(Debug)]
pub(in crate::local) struct OpenLog {
    keeper: Arc<LogKeeper>,
    log: Arc<Log>,
}

// === impl LogKeeper ===

impl LogKeeper {
    /// `quota` is for the logs of each folder.
    pub(in crate::local) fn new(quota: Quota) -> Arc<Self> {
        // Its absence is warned of when it is missed.
        let news = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        Arc::new(Self {
            quota,
            news: news.ok(),
            call: Notify::new(),
            warned: Once::new(),
            logs: Mutex::default(),
        })
    }

    /// Keeps the times of the log at `path` from now on.
    pub(in crate::local) fn open(self: &Arc<Self>, path: PathBuf) -> OpenLog {
        let log = Arc::new(Log::new(path));
        let mut logs = self.logs();
        logs.all.insert(log.path().to_owned(), Arc::clone(&log));
        logs.loud.push(Arc::clone(&log));
        drop(logs);
        self.call.notify_one();
        OpenLog {
            keeper: Arc::clone(self),
            log,
        }
    }

    /// Removes logs of a function that are not to be kept, those of the `living` replicas excepted,
    /// and so many of the others.
    pub(in crate::local) fn prune(
        &self,
        folder: &Path,
        living: &BTreeSet<String>,
        kept: usize,
    ) -> io::Result<()> {
        self.quota.prune(folder, living, kept)
    }

    /// The log at `path`, if it is still being written.
    pub(super) fn find(&self, path: &Path) -> Option<Arc<Log>> {
        self.logs().all.get(path).cloned()
    }

    /// Works until hob stops.
    pub(in crate::local) async fn run(self: Arc<Self>, closing: CancellationToken) {
        let news = self.news.as_ref().map(|fd| listen_to(fd.as_fd()));
        let news = news.and_then(|news| {
            news.inspect_err(|problem| self.warn_of_no_news(problem))
                .ok()
        });
        let work = async {
            loop {
                match self.look_around().await {
                    // Not even news may cut it short.
                    Some(pause) if pause == LOOK_EVERY => sleep(pause).await,
                    Some(pause) => drop(timeout(pause, self.woken(news.as_ref())).await),
                    None => self.woken(news.as_ref()).await,
                }
            }
        };
        closing.run_until_cancelled(work).await;
    }

    async fn woken(&self, news: Option<&AsyncFd<OwnedFd>>) {
        tokio::select! {
            () = told(news) => {}
            () = self.call.notified() => {}
        }
    }

    async fn look_around(self: &Arc<Self>) -> Option<Duration> {
        let keeper = Arc::clone(self);
        // A panic in there is shown by the runtime.
        spawn_blocking(move || keeper.round())
            .await
            .unwrap_or(Some(ROUND_EVERY))
    }

    /// Looks at all loud logs; returns when to do so again, if there still are any.
    fn round(&self) -> Option<Duration> {
        self.read_news();
        let loud = take(&mut self.logs().loud);
        let mut pause = None;
        for log in loud {
            let soon = match self.look(&log) {
                Look::Over => continue,
                Look::Loud | Look::PutAside => LOOK_EVERY,
                Look::Quiet => match self.watch(&log) {
                    Ok(()) => {
                        // What came before the watch has made no news.
                        self.look(&log);
                        continue;
                    }
                    Err(problem) => {
                        self.warn_of_no_news(&problem);
                        ROUND_EVERY
                    }
                },
            };
            self.keep_loud(log);
            pause = Some(pause.map_or(soon, |pause: Duration| pause.min(soon)));
        }
        pause
    }

    fn look(&self, log: &Log) -> Look {
        let writers = self.writers_beside(log);
        let look = log.look(self.quota.part(writers.len()));
        if look == Look::PutAside
            && let Some(folder) = log.path().parent()
            && let Err(problem) = self.quota.trim(folder, &writers)
        {
            log.warn(&problem);
        }
        look
    }

    /// The replicas that write to logs in the same folder.
    fn writers_beside(&self, log: &Log) -> BTreeSet<String> {
        let folder = log.path().parent().unwrap_or(log.path());
        let logs = self.logs();
        let beside = logs.all.range(folder.to_owned()..);
        let beside = beside.take_while(|(path, _)| path.starts_with(folder));
        let names = beside.filter_map(|(path, _)| path.file_stem()?.to_str());
        names.map(str::to_owned).collect()
    }

    /// Logs that the kernel has news of are loud.
    fn read_news(&self) {
        let Some(fd) = &self.news else { return };
        let mut room = [MaybeUninit::uninit(); NEWS];
        let mut reader = inotify::Reader::new(fd, &mut room);
        // There is an end to it: each watch makes two at most.
        while let Ok(event) = reader.next() {
            let mut logs = self.logs();
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                // Of which logs there was more news is not known.
                let all = take(&mut logs.quiet);
                logs.loud.extend(all.into_values());
                continue;
            }
            let log = logs.quiet.remove(&event.wd());
            logs.loud.extend(log);
        }
    }

    /// Has the kernel tell when `log` grows, once.
    fn watch(&self, log: &Arc<Log>) -> io::Result<()> {
        let fd = self.news.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        // Held until it is on the list: whoever closes the log must find it there.
        let mut logs = self.logs();
        if log.is_closed() {
            return Ok(());
        }
        let flags = WatchFlags::MODIFY | WatchFlags::ONESHOT;
        let wd = match inotify::add_watch(fd, log.path(), flags) {
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            wd => wd?,
        };
        logs.quiet.insert(wd, Arc::clone(log));
        Ok(())
    }

    fn keep_loud(&self, log: Arc<Log>) {
        let mut logs = self.logs();
        if !log.is_closed() {
            logs.loud.push(log);
        }
    }

    fn forget(&self, log: &Arc<Log>) {
        let mut logs = self.logs();
        logs.all.remove(log.path());
        let other = |known: &Arc<Log>| !Arc::ptr_eq(known, log);
        logs.loud.retain(other);
        if let Some(fd) = &self.news {
            for (wd, _) in logs.quiet.iter().filter(|(_, known)| !other(known)) {
                // It is gone already if its news was not read yet.
                let _ = inotify::remove_watch(fd, *wd);
            }
        }
        logs.quiet.retain(|_, known| other(known));
    }

    fn warn_of_no_news(&self, problem: &io::Error) {
        self.warned.call_once(|| {
            tracing::warn!(
                %problem,
                "logs are timed to {ROUND_EVERY:?} only: raise fs.inotify.max_user_watches and fs.inotify.max_user_instances"
            );
        });
    }

    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenLog {
    fn drop(&mut self) {
        let writers = self.keeper.writers_beside(&self.log);
        self.log.close(self.keeper.quota.part(writers.len()));
        self.keeper.forget(&self.log);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        fs::{self, File},
        io::Write,
    };

    use super::{
        super::{Part, create, path_of, quota::PART_MAX},
        *,
    };

    /// More than stays of a log that is put aside: a block of its filesystem at most.
    const REST: u64 = 256 << 10;

    fn log_in(folder: &tempfile::TempDir) -> (File, PathBuf) {
        let file = create(folder.path(), "f-1").unwrap();
        (file, path_of(folder.path(), "f-1"))
    }

    fn marks(log: &Path) -> usize {
        let times = fs::read_to_string(Part::Current.times(log));
        times.map_or(0, |text| text.lines().count())
    }

    #[test]
    fn only_logs_that_grow_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, path) = log_in(&folder);
        let keeper = LogKeeper::new(Quota::default());
        let open = keeper.open(path.clone());
        assert_eq!((keeper.round(), marks(&path)), (None, 0));
        for count in 1..3 {
            // Of many lines the kernel tells once.
            for _ in 0..9 {
                file.write_all(b"line\n").unwrap();
            }
            assert_eq!((keeper.round(), marks(&path)), (Some(LOOK_EVERY), count));
            assert_eq!((keeper.round(), marks(&path)), (None, count));
        }
        file.write_all(b"last\n").unwrap();
        assert!(keeper.find(&path).is_some());
        drop(open);
        assert_eq!((keeper.round(), marks(&path)), (None, 3));
        let logs = keeper.logs();
        assert!(logs.all.is_empty() && logs.quiet.is_empty() && logs.loud.is_empty());
    }

    #[test]
    fn a_machine_with_no_watches_left_is_looked_at_at_a_pace() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, path) = log_in(&folder);
        let mut keeper = Arc::into_inner(LogKeeper::new(Quota::default())).unwrap();
        keeper.news = None;
        let keeper = Arc::new(keeper);
        let _open = keeper.open(path.clone());
        assert_eq!(keeper.round(), Some(ROUND_EVERY));
        file.write_all(b"line\n").unwrap();
        assert_eq!((keeper.round(), marks(&path)), (Some(LOOK_EVERY), 1));
        assert_eq!((keeper.round(), marks(&path)), (Some(ROUND_EVERY), 1));
    }

    #[test]
    fn news_that_the_kernel_lost_is_made_up_for() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, path) = log_in(&folder);
        let keeper = LogKeeper::new(Quota::default());
        let _open = keeper.open(path.clone());
        assert_eq!(keeper.round(), None);
        let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        // In turn, since the same news twice is kept once.
        let mut others = ["a", "b"].map(|name| {
            let path = folder.path().join(name);
            let file = File::create(&path).unwrap();
            let news = keeper.news.as_ref().unwrap();
            inotify::add_watch(news, &path, WatchFlags::MODIFY).unwrap();
            file
        });
        for count in 0..most.trim().parse().unwrap() {
            let other: usize = count;
            others[other % 2].write_all(b"x").unwrap();
        }
        file.write_all(b"line\n").unwrap();
        assert_eq!((keeper.round(), marks(&path)), (Some(LOOK_EVERY), 1));
        assert_eq!((keeper.round(), marks(&path)), (None, 1));
    }

    #[test]
    fn a_flood_is_put_aside_and_nothing_long_is_left_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, path) = log_in(&folder);
        let keeper = LogKeeper::new(Quota::default());
        let open = keeper.open(path.clone());
        let length = || fs::metadata(&path).unwrap().len();
        let flood = vec![b'\n'; usize::try_from(PART_MAX + 1).unwrap()];
        file.write_all(&flood).unwrap();
        assert_eq!(keeper.round(), Some(LOOK_EVERY));
        assert!(length() < REST, "{}", length());
        file.write_all(&flood).unwrap();
        // Perhaps it is too soon for that again, but not forgotten.
        assert_eq!(keeper.round(), Some(LOOK_EVERY));
        drop(open);
        assert!(length() < REST && marks(&path) < 2, "{}", length());
        assert!(Part::Former.times(&path).exists());
    }
}
