//! Registries: fetching and sending images over the OCI distribution API.

mod credential;
mod error;
mod pull;
mod push;

use std::{collections::HashMap, sync::Arc, time::Duration};

use oci_client::{
    Client, RegistryOperation,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};
use tokio::{sync::Semaphore, time::timeout};

pub use credential::{Credential, from_docker_config};
pub use error::RegistryError;
pub use pull::Pulled;

use crate::ImageRef;

/// Longest time to connect to a registry.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time in which a registry sends nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time for a login or a manifest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a layer that pass in a second at least, or else the registry counts as away: one that
/// dawdles must not keep others waiting for ever.
const RATE_MIN: u64 = 16 << 10;
/// Layers of one image, and of all images together, that are on their way at once.
const TRANSFERS: usize = 4;

const USER_AGENT: &str = concat!("hob/", env!("CARGO_PKG_VERSION"));

/// What hob knows of one registry.
#[derive(Debug, Clone, Default)]
pub struct RegistryAccess {
    /// With what to log in; `None` is anonymous.
    pub credential: Option<Credential>,
    /// Plain HTTP in place of HTTPS, since somebody asked for it by name.
    pub plain_http: bool,
    /// Certificates to trust beside those of the system, PEM, one each.
    pub authorities: Vec<String>,
}

/// Looks up what is known of registries, by host and port as users write it.
pub trait Registries: Send + Sync {
    /// Blocks on the disk.
    ///
    /// # Errors
    /// One line that names the file, never a password.
    fn access(&self, registry: &str) -> Result<RegistryAccess, String>;
}

/// Takes the lines of a transfer as they come.
pub type Progress = Arc<dyn Fn(String) + Send + Sync>;

/// Fetches images from registries and sends them there.
pub struct RegistryClient {
    registries: Arc<dyn Registries>,
    transfers: Arc<Semaphore>,
}

/// A conversation with one registry about one repository.
struct Session {
    client: Client,
    auth: RegistryAuth,
    /// For the messages.
    access: RegistryAccess,
    transfers: Arc<Semaphore>,
}

// === impl RegistryClient ===

impl RegistryClient {
    /// Asks `registries` anew for each image.
    pub fn new(registries: Arc<dyn Registries>) -> Self {
        // The second call of a process finds it done.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            registries,
            transfers: Arc::new(Semaphore::new(TRANSFERS)),
        }
    }

    /// Logs in as a trial, with what is known of the registry or with `credential`.
    ///
    /// # Errors
    /// What would go wrong with an image there.
    pub async fn check(
        &self,
        registry: &str,
        credential: Option<Credential>,
    ) -> Result<(), RegistryError> {
        // Any name will do; the registry is asked for its version only.
        let image: ImageRef = format!("{registry}/hob:latest")
            .parse()
            .map_err(|_| RegistryError::Name(registry.to_owned()))?;
        // A host without a dot and a port would be taken for a part of the image's name, and the
        // password would go to somebody else.
        if image.registry() != registry {
            return Err(RegistryError::Name(registry.to_owned()));
        }
        let mut access = self.access(registry).await?;
        access.credential = credential.or(access.credential);
        let session = self.session(access, RegistryOperation::Pull)?;
        session.greet(&image).await
    }

    async fn open(
        &self,
        image: &ImageRef,
        operation: RegistryOperation,
    ) -> Result<Session, RegistryError> {
        let session = self.session(self.access(image.registry()).await?, operation)?;
        session.log_in(image, operation).await?;
        Ok(session)
    }

    async fn access(&self, registry: &str) -> Result<RegistryAccess, RegistryError> {
        let (registries, name) = (Arc::clone(&self.registries), registry.to_owned());
        let asked = tokio::task::spawn_blocking(move || registries.access(&name)).await;
        let asked = asked.unwrap_or_else(|panic| Err(panic.to_string()));
        asked.map_err(|problem| RegistryError::Access {
            registry: registry.to_owned(),
            problem,
        })
    }

    fn session(
        &self,
        access: RegistryAccess,
        operation: RegistryOperation,
    ) -> Result<Session, RegistryError> {
        let authorities = access.authorities.iter().map(|pem| Certificate {
            encoding: CertificateEncoding::Pem,
            data: pem.clone().into_bytes(),
        });
        let config = ClientConfig {
            protocol: if access.plain_http {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            extra_root_certificates: authorities.collect(),
            // One request for each layer, which every registry knows.
            use_monolithic_push: true,
            // Counts from the first byte that is sent, so an upload would have to be over in it.
            read_timeout: match operation {
                RegistryOperation::Pull => Some(READ_TIMEOUT),
                RegistryOperation::Push => None,
            },
            connect_timeout: Some(CONNECT_TIMEOUT),
            user_agent: USER_AGENT,
            ..ClientConfig::default()
        };
        Ok(Session {
            client: Client::try_from(config)
                .map_err(|error| RegistryError::Client(error.to_string()))?,
            auth: match &access.credential {
                None => RegistryAuth::Anonymous,
                Some(credential) => credential.auth(),
            },
            access,
            transfers: Arc::clone(&self.transfers),
        })
    }
}

// === impl Session ===

impl Session {
    async fn log_in(
        &self,
        image: &ImageRef,
        operation: RegistryOperation,
    ) -> Result<(), RegistryError> {
        let asked = self.client.auth(image.inner(), &self.auth, operation);
        self.within(image, asked).await.map(drop)
    }

    /// Asks for something that is not there: a registry that lets us in says so.
    async fn greet(&self, image: &ImageRef) -> Result<(), RegistryError> {
        self.log_in(image, RegistryOperation::Pull).await?;
        let asked = self
            .client
            .list_tags(image.inner(), &self.auth, Some(1), None);
        match self.within(image, asked).await {
            Ok(_) | Err(RegistryError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn within<T>(
        &self,
        image: &ImageRef,
        asked: impl Future<Output = oci_client::errors::Result<T>>,
    ) -> Result<T, RegistryError> {
        match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(RegistryError::explain(image, &self.access, error)),
            Err(_) => Err(RegistryError::Unreachable {
                registry: image.registry().to_owned(),
                problem: format!("no answer in {} s", ANSWER_TIMEOUT.as_secs()),
            }),
        }
    }
}

/// How long a transfer of so many bytes may take.
fn transfer_time(bytes: u64) -> Duration {
    READ_TIMEOUT + Duration::from_secs(bytes / RATE_MIN)
}

fn too_slow(image: &ImageRef) -> RegistryError {
    RegistryError::Unreachable {
        registry: image.registry().to_owned(),
        problem: format!("less than {} KiB came through in a second", RATE_MIN >> 10),
    }
}

/// Registries of a fixed list; for tests and tools.
impl Registries for HashMap<String, RegistryAccess> {
    fn access(&self, registry: &str) -> Result<RegistryAccess, String> {
        Ok(self.get(registry).cloned().unwrap_or_default())
    }
}

/// Says what is wrong with a certificate that is to be trusted, PEM.
///
/// # Errors
/// In the words of the TLS library.
pub fn check_certificate(pem: &str) -> Result<(), String> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
    let certificate = certificate.map_err(|error| error.to_string())?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).map_err(|error| error.to_string())
}
