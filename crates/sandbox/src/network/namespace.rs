use std::{
    fs::{self, File},
    io,
    net::Ipv4Addr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process,
    sync::Arc,
    thread,
};

use rustix::{
    io::Errno,
    mount::{UnmountFlags, mount_bind, unmount},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use super::{NetworkConfig, Outbound, bridge, pool::Pool};
use crate::SandboxError;

/// The namespace of this thread alone.
const OWN: &str = "/proc/thread-self/ns/net";

/// From this port on, users other than root may listen. Nobody in a cage has root's rights, and
/// nothing else listens in its namespace, so images that serve port 80 just work.
const FIRST_PORT: (&str, &str) = ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");

/// A network namespace that one replica has leased. Dropping it removes it; that blocks for some
/// thirty milliseconds, in which the kernel makes sure that nobody uses the link. What still runs
/// inside keeps only the loopback interface.
#[derive(Debug)]
pub struct Namespace {
    place: Place,
    path: PathBuf,
    pool: Arc<Pool>,
}

/// What a namespace is called and addressed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) outbound: Outbound,
    /// Unique among those of its kind; the last part of its address.
    pub(super) number: u32,
}

/// Runs `work` on this thread, inside the namespace at `path`: sockets that it makes belong there.
/// No other thread is moved. Needs root.
///
/// Aborts the process if the thread cannot go back, since it would go on in the wrong network.
///
/// # Errors
/// When `path` is no network namespace or may not be entered; `work` has not run then.
pub fn enter<T>(path: &Path, work: impl FnOnce() -> T) -> io::Result<T> {
    let there = File::open(path)?;
    let _home = Home(File::open(OWN)?);
    join(&there)?;
    Ok(work())
}

/// Brings the thread back, whatever happens to `work`.
struct Home(File);

impl Drop for Home {
    fn drop(&mut self) {
        if join(&self.0).is_err() {
            process::abort();
        }
    }
}

/// Moves this thread alone.
pub(crate) fn join(namespace: &File) -> io::Result<()> {
    let network = Some(LinkNameSpaceType::Network);
    Ok(move_into_link_name_space(namespace.as_fd(), network)?)
}

// === impl Namespace ===

impl Namespace {
    pub(super) fn new(place: Place, pool: Arc<Pool>) -> Self {
        let path = place.path(pool.config());
        Self { place, path, pool }
    }

    /// A file that is the namespace, for [`enter`] and [`crate::CageNetwork::Namespace`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its address on the bridge, if it has a way out.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.place.address(self.pool.config())
    }

    /// Whether it has a way out.
    pub fn outbound(&self) -> Outbound {
        self.place.outbound
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.pool.give_back(self.place);
    }
}

// === impl Place ===

impl Place {
    pub(super) fn make(self, config: &NetworkConfig) -> Result<(), SandboxError> {
        let path = self.path(config);
        create(&path).map_err(SandboxError::io("cannot make the network namespace", &path))?;
        let settle = || {
            let address = self.address(config);
            enter(&path, || bridge::settle(config, address))
                .map_err(SandboxError::io("cannot enter", &path))?
        };
        match self.outbound {
            Outbound::No => settle(),
            Outbound::Yes => {
                let link = self.name(config);
                bridge::plug(config, &link, &path)?;
                settle()?;
                bridge::wait_for_port(config, &link)
            }
        }
    }

    /// The one of this file, if it is whole: nothing of it is made anew.
    pub(super) fn find(config: &NetworkConfig, path: &Path) -> Result<Self, SandboxError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let rest = name.and_then(|name| name.strip_prefix(&config.bridge)?.strip_prefix('-'));
        let place = rest.and_then(|rest| {
            let (outbound, number) = match rest.strip_prefix('n') {
                Some(number) => (Outbound::No, number),
                None => (Outbound::Yes, rest),
            };
            let number = number.parse().ok()?;
            let known = config.subnet.numbers().contains(&number);
            known.then_some(Self { outbound, number })
        });
        let broken = || {
            let path = path.display();
            SandboxError::Network(format!("{path} is no network of a replica any more"))
        };
        let place = place.filter(|place| place.path(config) == path);
        let place = place.ok_or_else(broken)?;
        enter(path, || ()).map_err(SandboxError::io("cannot enter", path))?;
        let links = bridge::links()?;
        let linked = links.contains(&place.name(config)) && links.contains(&config.bridge);
        match place.outbound {
            Outbound::Yes if !linked => Err(broken()),
            Outbound::Yes | Outbound::No => Ok(place),
        }
    }

    /// Removes it, or as much of it as is there.
    pub(super) fn remove(self, config: &NetworkConfig) -> Result<(), SandboxError> {
        let name = self.name(config);
        let linked = self.outbound == Outbound::Yes && bridge::links()?.contains(&name);
        // Else the address would be in use until the last socket inside is closed.
        let unplugged = match linked {
            true => super::program::ip(&format!("link delete {name}\n")),
            false => Ok(()),
        };
        destroy(&self.path(config)).and(unplugged)
    }

    fn path(self, config: &NetworkConfig) -> PathBuf {
        folder(config).join(self.name(config))
    }

    /// Of the file, and of the link.
    fn name(self, config: &NetworkConfig) -> String {
        match self.outbound {
            Outbound::Yes => format!("{}-{}", config.bridge, self.number),
            Outbound::No => format!("{}-n{}", config.bridge, self.number),
        }
    }

    fn address(self, config: &NetworkConfig) -> Option<Ipv4Addr> {
        let address = config.subnet.address(self.number);
        (self.outbound == Outbound::Yes).then_some(address)
    }
}

/// Where the files of the namespaces are.
pub(super) fn folder(config: &NetworkConfig) -> PathBuf {
    config.state.join("netns")
}

/// Makes a namespace and hangs it on a new file, which keeps it.
fn create(path: &Path) -> io::Result<()> {
    File::create_new(path)?;
    let make = || {
        // SAFETY: moves this thread alone, which shares nothing of networks with others and ends
        // right after.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
        fs::write(FIRST_PORT.0, FIRST_PORT.1)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", FIRST_PORT.0)))?;
        Ok(mount_bind(OWN, path)?)
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, make)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
    })
}

/// Takes a namespace off its file, and removes that.
pub(super) fn destroy(path: &Path) -> Result<(), SandboxError> {
    match unmount(path, UnmountFlags::DETACH) {
        // Not there, or a file on which nothing hangs.
        Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
        Err(error) => return Err(SandboxError::io("cannot unmount", path)(error.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SandboxError::io("cannot remove", path)(error))
        }
        _ => Ok(()),
    }
}
