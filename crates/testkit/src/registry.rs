use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::eventually::wait_until;

/// Longest wait for it to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The program that [`Registry`] runs.
pub const REGISTRY_PROGRAM: &str = "docker-registry";

/// Somebody else's registry for images: a real one on a free port.
/// It and all that it keeps goes when this is dropped.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    _folder: TempDir,
}

/// What keeps strangers out.
struct Private<'a> {
    certificate: &'a Path,
    key: &'a Path,
    login: Vec<u8>,
}

impl Registry {
    /// Starts it. See [`crate::has_programs`] for whether it can.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Self {
        Self::with(None)
    }

    /// Starts one that speaks TLS with this certificate and key, both PEM, and lets in one user
    /// only. Needs `htpasswd` besides.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn private(certificate: &Path, key: &Path, user: &str, password: &str) -> Self {
        Self::with(Some(Private {
            certificate,
            key,
            login: htpasswd(user, password),
        }))
    }

    fn with(private: Option<Private<'_>>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let (config, storage) = (
            folder.path().join("config.yml"),
            folder.path().join("storage"),
        );
        let mut text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: '127.0.0.1:{port}'\n",
            storage.display()
        );
        if let Some(private) = private {
            let users = folder.path().join("htpasswd");
            fs::write(&users, private.login).expect("its users");
            let (certificate, key) = (private.certificate.display(), private.key.display());
            text.push_str(&format!(
                "  tls: {{certificate: {certificate}, key: {key}}}\nauth: {{htpasswd: {{realm: test, path: {}}}}}\n",
                users.display()
            ));
        }
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

/// A line of the file that the registry reads.
fn htpasswd(user: &str, password: &str) -> Vec<u8> {
    let output = Command::new("htpasswd")
        .args(["-Bbn", user, password])
        .output();
    output.expect("htpasswd runs").stdout
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
