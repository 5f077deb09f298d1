//! How issuers are asked: over HTTP, with bounds, and never elsewhere than was said.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use hob_model::port::SecretBytes;
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, redirect::Policy};

use super::vault::{Ref, Vault};

/// From a question's first byte to the last of its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;
/// Clients that are kept: one for each set of certificates that functions trust.
const CLIENTS_MAX: usize = 64;
/// An idle connection to an issuer is kept so long.
const IDLE: Duration = Duration::from_secs(30);
/// How we call ourselves.
const AGENT: &str = concat!("hob/", env!("CARGO_PKG_VERSION"));
/// How often the log tells that the same issuer cannot be asked.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Makes the clients that issuers are asked by.
pub(super) struct Clients {
    vault: Arc<Vault>,
    made: Mutex<HashMap<Kind, Client>>,
}

/// What tells clients apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    /// SHA-256 of the certificates to trust; `None` for the usual ones.
    ca: Option<[u8; 32]>,
    /// Whether the issuer is near: then nothing stands between, not even a proxy of the machine's.
    near: bool,
}

/// Keeps the log from being filled by one issuer that is away.
#[derive(Default)]
pub(super) struct Complaints {
    /// Milliseconds after [`Complaints::birth`] of the last, plus one.
    last: AtomicU64,
    birth: std::sync::OnceLock<Instant>,
}

// === impl Clients ===

impl Clients {
    pub(super) fn new(vault: Arc<Vault>) -> Self {
        Self {
            vault,
            made: Mutex::default(),
        }
    }

    /// A client for `url` that trusts `ca`, or what this machine trusts.
    ///
    /// # Errors
    /// One line on what is in the way.
    pub(super) async fn of(&self, url: &str, ca: Option<&Ref>) -> Result<Client, String> {
        let ca = match ca {
            Some(secret) => Some(self.vault.read(secret).await.map_err(str::to_owned)?),
            None => None,
        };
        let kind = Kind {
            ca: ca.as_ref().map(|pem| sha256(pem.expose())),
            near: url.starts_with("http://"),
        };
        if let Some(client) = self.made().get(&kind) {
            return Ok(client.clone());
        }
        // It may read the machine's certificates from the disk.
        let client = tokio::task::spawn_blocking(move || build(kind, ca.as_deref()));
        let client = client.await.map_err(|error| error.to_string())??;
        let mut made = self.made();
        if made.len() >= CLIENTS_MAX {
            made.clear();
        }
        made.insert(kind, client.clone());
        Ok(client)
    }

    fn made(&self) -> std::sync::MutexGuard<'_, HashMap<Kind, Client>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn build(kind: Kind, ca: Option<&SecretBytes>) -> Result<Client, String> {
    // Once per process: reqwest comes without a provider of its own.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .timeout(PATIENCE)
        .pool_idle_timeout(IDLE)
        .user_agent(AGENT);
    if let Some(pem) = ca {
        let unfit = "its `ca` holds no certificate (PEM)";
        let certificates = Certificate::from_pem_bundle(pem.expose()).map_err(|_| unfit)?;
        if certificates.is_empty() {
            return Err(unfit.to_owned());
        }
        builder = builder.tls_certs_only(certificates);
    }
    if kind.near {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| chain(&error))
}

/// Sends a question and reads its answer, which is 200.
///
/// # Errors
/// One line on what went wrong; it has no part of the question in it.
pub(super) async fn ask(question: RequestBuilder) -> Result<Vec<u8>, String> {
    let broke = |error: reqwest::Error| chain(&error.without_url());
    let mut answer = question.send().await.map_err(broke)?;
    if answer.status() != StatusCode::OK {
        return Err(format!("it answered {}", answer.status()));
    }
    let mut whole = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(broke)? {
        if whole.len() + part.len() > ANSWER_MAX {
            return Err(format!("its answer is longer than {ANSWER_MAX} bytes"));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    line
}

// === impl Complaints ===

impl Complaints {
    /// Writes that `issuer` could not be asked, unless that was just said.
    pub(super) fn tell(&self, issuer: &str, problem: &str) {
        let birth = *self.birth.get_or_init(Instant::now);
        let now = u64::try_from(birth.elapsed().as_millis()).unwrap_or(u64::MAX) + 1;
        let last = self.last.load(Ordering::Relaxed);
        let again = u64::try_from(TELL_AGAIN.as_millis()).unwrap_or(u64::MAX);
        if last == 0 || now - last.min(now) >= again {
            self.last.store(now, Ordering::Relaxed);
            tracing::warn!(issuer, problem, "callers of a function cannot be checked");
        }
    }
}
