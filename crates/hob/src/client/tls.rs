use std::{io, path::Path, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Address, ClientError};
use crate::exit::Failure;

/// Longest wait for a server to show its certificate.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest file of certificates that is read, in bytes.
const CERTIFICATES_MAX: u64 = 1 << 20;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// The authorities that this machine trusts, and those of `more`, PEM.
    ///
    /// # Errors
    /// A usage failure when `more` has something in it that is no certificate.
    pub(super) fn trusting(more: &[String]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        // What cannot be read is not trusted; a server that needed it is told of then.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for pem in more {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| Failure::usage(error.to_string()))?;
                let added = roots.add(certificate);
                added.map_err(|error| Failure::usage(format!("not to be trusted: {error}")))?;
            }
        }
        let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// Has the server at the other end of `stream` show that it is `host`.
    pub(super) async fn wrap<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        address: &Address,
        host: &str,
        stream: S,
    ) -> Result<TlsStream<S>, ClientError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ClientError::Unreachable(format!("`{host}` is no name of a server")))?;
        let connector = TlsConnector::from(Arc::clone(&self.0));
        match timeout(HANDSHAKE_TIMEOUT, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(ClientError::Unreachable(explain(address, &error))),
            Err(_) => Err(ClientError::Unreachable(format!(
                "{address} shows no certificate within {} s: is it the right address?",
                HANDSHAKE_TIMEOUT.as_secs()
            ))),
        }
    }
}

/// Reads the certificates of a PEM file, and leaves out what else is in it, such as a key.
///
/// # Errors
/// A usage failure when the file cannot be read or has none in it.
pub(crate) fn read_certificates(path: &Path) -> anyhow::Result<String> {
    use io::Read;

    let bad = |problem: &dyn std::fmt::Display| {
        Failure::usage(format!("certificates in {}: {problem}", path.display()))
    };
    let file = std::fs::File::open(path).map_err(|error| bad(&error))?;
    let mut text = String::new();
    let read = file.take(CERTIFICATES_MAX).read_to_string(&mut text);
    read.map_err(|error| bad(&error))?;
    let mut certificates = String::new();
    for part in text.split(BEGIN).skip(1) {
        if let Some((body, _)) = part.split_once(END) {
            certificates += &format!("{BEGIN}{body}{END}\n");
        }
    }
    if certificates.is_empty() {
        return Err(bad(&"there are none: name a file in PEM, as `hob ca show` does").into());
    }
    Tls::trusting(std::slice::from_ref(&certificates)).map_err(|error| bad(&error))?;
    Ok(certificates)
}

fn explain(address: &Address, error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => format!(
            "the certificate of {address} is not trusted, since no authority that this machine knows has signed it: if it is one of your own, name its certificate with `hob login URL --ca FILE`, or in HOB_CA"
        ),
        Some(rustls::Error::InvalidCertificate(problem)) => {
            let problem = problem.to_string().replace('\n', " ");
            format!("the certificate of {address} is not valid: {problem}")
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            format!("{address} speaks no TLS: is it the right port?")
        }
        _ => format!("{address} does not agree on TLS ({error}): is it the right address?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_with_its_name() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            std::fs::write(file.path(), text).expect("written");
            let error = read_certificates(file.path()).expect_err("none");
            let path = file.path().display().to_string();
            assert!(error.to_string().contains(&path), "{error}");
        }
        let bad = format!("{BEGIN}\nAAAA\n{END}\n");
        std::fs::write(file.path(), bad).expect("written");
        assert!(read_certificates(file.path()).is_err());
        assert!(read_certificates(Path::new("/nonexistent.pem")).is_err());
    }
}
