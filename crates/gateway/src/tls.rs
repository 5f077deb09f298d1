//! TLS: who is presented which certificate, and how a connection becomes one that nobody reads.

mod certificates;
mod handshake;
mod redirect;

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Response, header};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

pub use certificates::Certificates;
pub(crate) use handshake::shake_hands;
pub(crate) use redirect::answer;

/// How an ACME server says that it only wants a proof (RFC 8737).
const ACME_PROTOCOL: &[u8] = b"acme-tls/1";
/// What may be spoken on a connection, the best first.
const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", ACME_PROTOCOL];

/// What the data plane needs to serve by TLS.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// What is presented.
    pub certificates: Arc<Certificates>,
    /// For how long browsers are to come by TLS only (`Strict-Transport-Security`); `None` tells
    /// them nothing.
    pub hsts: Option<Duration>,
}

/// The same, ready for connections.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) certificates: Arc<Certificates>,
    hsts: Option<HeaderValue>,
    /// Where callers are sent who come without TLS.
    port: u16,
}

// === impl Tls ===

impl Tls {
    /// For a listener on `port`.
    pub(crate) fn new(config: &TlsConfig, port: u16) -> Result<Self, rustls::Error> {
        let certificates = Arc::clone(&config.certificates);
        let provider = Arc::clone(certificates.provider());
        // Nothing below: TLS 1.2 with rustls's suites, all of which are AEAD with forward secrecy.
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        server.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        // Its key changes every few hours.
        server.ticketer = Ticketer::new()?;
        let hsts = config
            .hsts
            .and_then(|time| HeaderValue::from_str(&format!("max-age={}", time.as_secs())).ok());
        Ok(Self {
            acceptor: Arc::new(server).into(),
            certificates,
            hsts,
            port,
        })
    }

    /// Has browsers come by TLS from now on, unless the function said more itself.
    pub(crate) fn harden<B>(&self, response: &mut Response<B>) {
        if let Some(hsts) = &self.hsts {
            let fields = response.headers_mut();
            let entry = fields.entry(header::STRICT_TRANSPORT_SECURITY);
            entry.or_insert_with(|| hsts.clone());
        }
    }
}
