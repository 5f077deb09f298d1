//! A hob that runs what strangers send, and around it all that they must not get at.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{self, UnixListener, UnixStream},
        },
    },
    path::Path,
    process,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hob_testkit::{Hob, HobBuilder, Net, has_programs};
use tempfile::TempDir;

use super::caller::Order;
use crate::bench::HOB;

/// Bytes that a run may write, by the settings below.
const DISK: u64 = 32 << 20;
/// Bytes of memory that a run may have, by the same.
pub(super) const MEMORY: u64 = 128 << 20;
/// Processes and threads that it may have at once.
pub(super) const PROCESSES: u64 = 64;
/// Longest that an ordinary run may take beside hostile ones, on a machine with other work.
const NEIGHBOUR_MAX: Duration = Duration::from_secs(10);

/// What differs from test to test.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Sandboxes.
    pub(super) size: usize,
    pub(super) level: &'static str,
    /// Longest run.
    pub(super) time: &'static str,
    /// Most that a run may write to its outputs.
    pub(super) output: &'static str,
    /// Callers that may wait.
    pub(super) queue: usize,
    /// How long a lease outlives its run's time limit.
    pub(super) lease: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            size: 2,
            level: "container",
            time: "20s",
            output: "1Mi",
            queue: 100,
            lease: "30s",
        }
    }
}

impl Settings {
    fn text(&self) -> String {
        let Self {
            size,
            level,
            time,
            output,
            queue,
            lease,
        } = self;
        format!(
            "[sandbox]\nenabled = true\nlevel = \"{level}\"\n\
             pool = {{ size = {size}, queue = {queue}, lease = \"{lease}\" }}\n\
             [sandbox.limits]\ntime = \"{time}\"\ncpu = \"{time}\"\nmemory = {MEMORY}\n\
             pids = {PROCESSES}\noutput = \"{output}\"\ndisk = {DISK}\n"
        )
    }
}

pub(super) struct Stage {
    // Dropped first: its own must be gone before the rest is.
    pub(super) hob: Hob,
    /// A folder of this machine that everybody may write to.
    pub(super) outside: TempDir,
    config: TempDir,
    listener: SocketAddr,
    /// Name of an abstract unix socket of this machine.
    socket: String,
    /// How many got through to either.
    visits: Arc<AtomicUsize>,
}

/// A secret of this machine: whoever says it has seen what is nobody's business.
pub(super) fn secret() -> String {
    format!("planted-{}-secret", process::id())
}

/// Whether these tests can run here: with cages of this user, whose limits all hold.
pub(super) fn is_able(programs: &[&str]) -> bool {
    if !rustix::process::geteuid().is_root() {
        let line = "NOT TESTED: sandboxes with all their limits need root";
        assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{line}");
        eprintln!("{line}");
        return false;
    }
    has_programs(programs)
}

// === impl Stage ===

impl Stage {
    pub(super) fn new(settings: Settings) -> Self {
        Self::with(settings, Hob::builder(HOB))
    }

    /// Like [`Stage::new`] in a network of its own; has to be called in there.
    pub(super) fn inside(net: &Arc<Net>, settings: Settings) -> Self {
        Self::with(settings, Hob::builder(HOB).inside(net))
    }

    fn with(settings: Settings, hob: HobBuilder) -> Self {
        let config = tempfile::tempdir().unwrap();
        let file = config.path().join("config.toml");
        fs::write(&file, settings.text()).unwrap();
        let outside = tempfile::Builder::new().prefix("hob-outside-").tempdir();
        let outside = outside.unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777)).unwrap();
        plant(&outside.path().join("file"));
        let visits = Arc::default();
        let listener = listen("127.0.0.1:0", &visits);
        let socket = format!("hob-test-outside-{}-{}", process::id(), listener.port());
        listen_abstract(&socket, &visits);
        let hob = hob
            .args(["--config".as_ref(), file.as_os_str()])
            .env("PLANTED", secret())
            .start();
        plant(&hob.data().join("planted.txt"));
        Self {
            hob,
            outside,
            config,
            listener,
            socket,
            visits,
        }
    }

    /// Has a service of this machine listen there as well.
    pub(super) fn listen(&self, address: &str) {
        listen(address, &self.visits);
    }

    /// A folder for whatever a test needs.
    pub(super) fn scratch(&self) -> &Path {
        self.config.path()
    }

    /// Tells the program where everything is that it must not reach.
    pub(super) fn tempt(&self, order: Order) -> Order {
        let hob = self.hob.address();
        let show = |path: &Path| path.display().to_string();
        let data = self.hob.data();
        order
            .env("HOSTILE_OUTSIDE", &show(self.outside.path()))
            .env("HOSTILE_DATA", &show(data))
            .env("HOSTILE_SOCKET", &show(&data.join("run/hob.sock")))
            .env("HOSTILE_LISTENER", &self.listener.port().to_string())
            .env("HOSTILE_ABSTRACT", &self.socket)
            .env("HOSTILE_API", &hob.port().to_string())
            .env("HOSTILE_HOB", &self.hob.pid().to_string())
            .env("HOSTILE_DISK", &DISK.to_string())
    }

    /// An ordinary run; panics when it does not go as it should.
    #[track_caller]
    pub(super) fn ordinary(&self) {
        let begun = Instant::now();
        let ran = Order::new("sh", "echo here; echo there >&2; exit 7").run(self.hob.address());
        let seen = (ran.stdout.as_str(), ran.stderr.as_str(), ran.code());
        assert_eq!(seen, ("here\n", "there\n", Some(7)), "{ran:?}");
        let took = begun.elapsed();
        assert!(took < NEIGHBOUR_MAX, "an ordinary run took {took:?}");
    }

    /// Whether somebody who is in no cage gets through to both sockets of this machine, and is seen.
    fn can_be_visited(&self) -> bool {
        let before = self.visits.load(Ordering::Relaxed);
        let name = net::SocketAddr::from_abstract_name(&self.socket).unwrap();
        let visitors: [Box<dyn Read>; 2] = [
            Box::new(TcpStream::connect(self.listener).unwrap()),
            Box::new(UnixStream::connect_addr(&name).unwrap()),
        ];
        let count = visitors.len();
        let mut said = visitors
            .into_iter()
            .map(|one| io::read_to_string(one).unwrap());
        let is_told = said.all(|text| text == secret());
        is_told && self.visits.fetch_sub(count, Ordering::Relaxed) == before + count
    }

    /// Whatever is not as it was on this machine, one line each.
    pub(super) fn harm(&self) -> Vec<String> {
        let mut harm = Vec::new();
        let visits = self.visits.load(Ordering::Relaxed);
        if visits > 0 {
            harm.push(format!("{visits} reached a socket of this machine"));
        }
        if !self.can_be_visited() {
            harm.push("nobody could have reached the sockets of this machine".to_owned());
        }
        let file = self.outside.path().join("file");
        if fs::read_to_string(&file).unwrap_or_default() != secret() {
            harm.push(format!("{} was written to", file.display()));
        }
        let mut names: Vec<_> = fs::read_dir(self.outside.path()).unwrap().collect();
        names.retain(|name| name.as_ref().unwrap().file_name() != "file");
        if !names.is_empty() {
            harm.push(format!("there are new files: {names:?}"));
        }
        harm
    }
}

/// Readable by everybody: only a cage keeps it from strangers.
fn plant(path: &Path) {
    fs::write(path, secret()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
}

/// A service of this machine that thinks it is alone. Its thread ends with the tests.
fn listen(address: &str, visits: &Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let visits = Arc::clone(visits);
    thread::spawn(move || {
        for mut visitor in listener.incoming().map_while(Result::ok) {
            visits.fetch_add(1, Ordering::Relaxed);
            let _ = visitor.write_all(secret().as_bytes());
        }
    });
    address
}

/// The same, without a path in any filesystem.
fn listen_abstract(name: &str, visits: &Arc<AtomicUsize>) {
    let address = net::SocketAddr::from_abstract_name(name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    let visits = Arc::clone(visits);
    thread::spawn(move || {
        for mut visitor in listener.incoming().map_while(Result::ok) {
            visits.fetch_add(1, Ordering::Relaxed);
            let _ = visitor.write_all(secret().as_bytes());
        }
    });
}
