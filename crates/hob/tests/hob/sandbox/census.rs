//! How many processes and threads a run has at once, as the kernel counts them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use hob_testkit::{Hob, wait_until};

use super::traces::cgroups_of;

/// Longer than any run.
const FOREVER: Duration = Duration::from_secs(600);

/// Does `work`, and returns with what comes of it the most that the control group of this worker had
/// meanwhile; nothing when it was gone before anybody could look.
pub(super) fn count<T>(hob: &Hob, worker: &str, work: impl FnOnce() -> T) -> (T, u64) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let folder = folder(hob, worker);
            let mut most = 0;
            wait_until(FOREVER, || {
                most = most.max(folder.as_deref().map_or(0, look));
                is_over.load(Ordering::Relaxed)
            });
            most
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        (done, watch.join().unwrap())
    })
}

/// Where the kernel counts; `None` when it is gone.
fn folder(hob: &Hob, worker: &str) -> Option<PathBuf> {
    let mut folders = cgroups_of(hob).into_iter();
    folders.find(|folder| folder.ends_with(worker) && folder.join("pids.current").exists())
}

fn look(folder: &Path) -> u64 {
    // Older kernels do not keep the most.
    let texts = ["pids.peak", "pids.current"].map(|name| fs::read_to_string(folder.join(name)));
    let numbers = texts
        .iter()
        .flatten()
        .filter_map(|text| text.trim().parse().ok());
    numbers.max().unwrap_or(0)
}
