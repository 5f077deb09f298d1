//! ORY Hydra, a real issuer of tokens, on free ports.

use std::{
    fs::File,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use hob_testkit::wait_until;
use serde_json::Value;
use tempfile::TempDir;

pub(super) const PROGRAM: &str = "hydra";
/// Longest wait for it to listen.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Certificate and key of a server, and the root that trusts it; all PEM.
pub(super) struct Pki {
    pub(super) root: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// It goes when this is dropped, with all that it keeps.
pub(super) struct Hydra {
    child: Child,
    public: u16,
    admin: u16,
    scheme: &'static str,
    root: Option<PathBuf>,
    _folder: TempDir,
}

impl Hydra {
    /// Starts one whose access tokens are of this kind: `opaque` or `jwt`.
    pub(super) fn start(tokens: &str, pki: Option<&Pki>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (public, admin) = (free_port(), free_port());
        let scheme = if pki.is_some() { "https" } else { "http" };
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .args(["serve", "all"])
            .env("DSN", "memory")
            .env("SECRETS_SYSTEM", "of-no-use-to-anybody-else")
            .env("URLS_SELF_ISSUER", format!("{scheme}://127.0.0.1:{public}"))
            .env("SERVE_PUBLIC_HOST", "127.0.0.1")
            .env("SERVE_PUBLIC_PORT", public.to_string())
            .env("SERVE_ADMIN_HOST", "127.0.0.1")
            .env("SERVE_ADMIN_PORT", admin.to_string())
            .env("STRATEGIES_ACCESS_TOKEN", tokens)
            .env("SQA_OPT_OUT", "true")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        match pki {
            None => {
                command.arg("--dev");
            }
            Some(pki) => {
                command
                    .env("SERVE_TLS_ENABLED", "true")
                    .env("SERVE_TLS_CERT_PATH", &pki.certificate)
                    .env("SERVE_TLS_KEY_PATH", &pki.key);
            }
        }
        let hydra = Self {
            child: command.spawn().unwrap(),
            public,
            admin,
            scheme,
            root: pki.map(|pki| pki.root.clone()),
            _folder: folder,
        };
        let listens = || {
            let both = [public, admin].map(|port| TcpStream::connect(("127.0.0.1", port)).is_ok());
            both == [true, true]
        };
        if !wait_until(START_TIMEOUT, listens) {
            let log = std::fs::read_to_string(hydra._folder.path().join("log"));
            panic!("Hydra does not listen: {}", log.unwrap_or_default());
        }
        hydra
    }

    /// Where tokens come from, and what they say of it.
    pub(super) fn issuer(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.public)
    }

    fn admin(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.admin)
    }

    /// Where it is asked about tokens.
    pub(super) fn introspection(&self) -> String {
        format!("{}/admin/oauth2/introspect", self.admin())
    }

    /// A client that gets tokens for itself.
    pub(super) fn client(&self, id: &str, password: &str) {
        let scope = "read write";
        let grant = "client_credentials";
        self.run(&[
            "create",
            "client",
            "--endpoint",
            &self.admin(),
            "--grant-type",
            grant,
            "--scope",
            scope,
            "--audience",
            "shop",
            "--id",
            id,
            "--secret",
            password,
        ]);
    }

    /// A new token of a client.
    pub(super) fn token(&self, (id, password): (&str, &str), scope: &str) -> String {
        let issuer = self.issuer();
        let said = self.run(&[
            "perform",
            "client-credentials",
            "--endpoint",
            &issuer,
            "--client-id",
            id,
            "--client-secret",
            password,
            "--scope",
            scope,
            "--audience",
            "shop",
        ]);
        said["access_token"].as_str().unwrap().to_owned()
    }

    /// Makes a token end now.
    pub(super) fn revoke(&self, (id, password): (&str, &str), token: &str) {
        let issuer = self.issuer();
        self.run(&[
            "revoke",
            "token",
            token,
            "--endpoint",
            &issuer,
            "--client-id",
            id,
            "--client-secret",
            password,
        ]);
    }

    /// Signs with a new key from now on, and takes the old one back.
    pub(super) fn change_key(&self) {
        let set = "hydra.jwt.access-token";
        self.run(&["delete", "jwk", set, "--endpoint", &self.admin()]);
        self.run(&[
            "create",
            "jwk",
            set,
            "--endpoint",
            &self.admin(),
            "--alg",
            "RS256",
        ]);
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Value {
        let mut command = Command::new(PROGRAM);
        command.args(args).args(["--format", "json"]);
        if let Some(root) = &self.root {
            // As Go's programs find the certificates to trust.
            command.env("SSL_CERT_FILE", root);
        }
        let output: Output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

impl Drop for Hydra {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pki {
    /// Made by hob's own authority, in `folder`.
    pub(super) fn make(folder: &Path) -> Self {
        for args in [
            &["init", "--name", "Test root"][..],
            &["issue", "127.0.0.1"],
        ] {
            let command = crate::bench::hob(["ca"]).args(args);
            command.env("HOB_DATA", folder).run().ok();
        }
        let file = |name: &str| folder.join("pki").join(name);
        Self {
            root: file("ca.pem"),
            certificate: file("servers/127.0.0.1.pem"),
            key: file("servers/127.0.0.1.key"),
        }
    }
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}
