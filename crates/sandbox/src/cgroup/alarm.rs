use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::write;

/// Tells that the kernel has enforced a limit of a cage, which may have left the cage alive.
/// Whether it was so, [`Cage::is_over_limit`](crate::Cage::is_over_limit) tells, to which the
/// news may be a moment ahead.
#[derive(Debug)]
pub struct Alarm {
    news: Option<OwnedFd>,
    is_complete: bool,
    /// Watched only as long as it is open.
    _events: Option<File>,
}

impl Alarm {
    /// By a file of events, such as version 2 has. Tells everything.
    pub(super) fn of_events(file: &Path) -> io::Result<Self> {
        let events = File::open(file)?;
        // What was before counts as seen.
        io::copy(&mut &events, &mut io::sink())?;
        let news = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::PRI | epoll::EventFlags::ET;
        epoll::add(&news, &events, epoll::EventData::new_u64(0), flags)?;
        Ok(Self {
            news: Some(news),
            is_complete: true,
            _events: Some(events),
        })
    }

    /// By a version 1 group that runs out of memory. Tells nothing else: from Linux 6.11 on, no
    /// such group tells when it refused a fork.
    pub(super) fn of_memory(folder: &Path) -> io::Result<Self> {
        let news = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let memory = File::open(folder.join("memory.oom_control"))?;
        let request = format!("{} {}", news.as_raw_fd(), memory.as_raw_fd());
        write(&folder.join("cgroup.event_control"), request)?;
        Ok(Self {
            news: Some(news),
            ..Self::silent()
        })
    }

    /// Never tells anything.
    pub(super) fn silent() -> Self {
        Self {
            news: None,
            is_complete: false,
            _events: None,
        }
    }

    /// Gets readable with every piece of news; edge-triggered, there is nothing to be read.
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        self.news.as_ref().map(AsFd::as_fd)
    }

    /// Whether there is news of every limit. Else somebody has to look now and then.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}
