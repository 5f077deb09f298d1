use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::eventually::wait_until;

/// Longest wait for it to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The program that [`Registry`] runs.
pub const REGISTRY_PROGRAM: &str = "docker-registry";

/// Somebody else's registry for images: a real one on a free port, with plain HTTP and no login.
/// It and all that it keeps goes when this is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Registry {
    /// Starts it. See [`crate::has_programs`] for whether it can.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let (config, storage) = (
            folder.path().join("config.yml"),
            folder.path().join("storage"),
        );
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
            storage.display()
        );
        fs::write(&config, text).expect("its configuration");
        let child = Command::new(REGISTRY_PROGRAM)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let registry = Self {
            child: child.expect("the registry starts"),
            port,
            _folder: folder,
        };
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(wait_until(START_TIMEOUT, listens), "the registry listens");
        registry
    }

    /// `127.0.0.1:PORT`, as names of images begin.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
