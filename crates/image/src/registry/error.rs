use std::error::Error;

use oci_client::errors::{OciDistributionError, OciErrorCode};
use thiserror::Error;

use super::RegistryAccess;
use crate::{ImageFault, ImageRef};

/// Why a registry did not do as it was asked. Each is one line with the cure.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The text is no host with perhaps a port.
    #[error(
        "registry `{0}` must be a host and a port, or a host with a dot in it, as in registry.example.net or nas:5000"
    )]
    Name(String),
    /// What is kept of the registry on this machine cannot be read.
    #[error("registry {registry}: {problem}")]
    Access {
        /// Which.
        registry: String,
        /// What is wrong with which file.
        problem: String,
    },
    /// It wants to know who we are.
    #[error(
        "registry {registry} asks for a login for `{repository}`: `hob registry login {registry}`"
    )]
    NoLogin {
        /// Which.
        registry: String,
        /// Of what.
        repository: String,
    },
    /// It does not believe who we are, or does not let that one do it.
    #[error(
        "registry {registry} does not accept the name or password of `{username}` for `{repository}`: log in again with `hob registry login {registry}`"
    )]
    WrongLogin {
        /// Which.
        registry: String,
        /// As whom.
        username: String,
        /// For what.
        repository: String,
    },
    /// Nobody whom this machine trusts has signed its certificate.
    #[error(
        "registry {registry} has a certificate of an authority that this machine does not know ({problem}): `hob registry trust CA.pem` with that authority's certificate"
    )]
    UnknownAuthority {
        /// Which.
        registry: String,
        /// In the words of the TLS library.
        problem: String,
    },
    /// The certificate is wrong in another way.
    #[error("registry {registry} has a certificate that does not fit ({problem})")]
    Certificate {
        /// Which.
        registry: String,
        /// In the words of the TLS library.
        problem: String,
    },
    /// It does not speak TLS.
    #[error(
        "registry {registry} does not speak TLS: if it is meant to be so, `hob registry trust --plain-http {registry}`"
    )]
    PlainHttp {
        /// Which.
        registry: String,
    },
    /// It has no image of that name, tag or digest.
    #[error("registry {registry} has no image `{image}`: look at its name and tag")]
    NotFound {
        /// Which.
        registry: String,
        /// What was asked for.
        image: String,
    },
    /// No answer.
    #[error("registry {registry} cannot be reached: {problem}")]
    Unreachable {
        /// Which.
        registry: String,
        /// Why.
        problem: String,
    },
    /// It asks us to come later.
    #[error("registry {registry} has had too many requests: try again later, or log in")]
    TooMany {
        /// Which.
        registry: String,
    },
    /// It answered something else than it should.
    #[error("registry {registry}: {problem}")]
    Answer {
        /// Which.
        registry: String,
        /// Its words.
        problem: String,
    },
    /// A client cannot be made.
    #[error("cannot make a client for registries: {0}")]
    Client(String),
}

// === impl RegistryError ===

impl RegistryError {
    pub(super) fn explain(
        image: &ImageRef,
        access: &RegistryAccess,
        error: OciDistributionError,
    ) -> Self {
        let registry = image.registry().to_owned();
        match &error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => Self::login(image, access),
            OciDistributionError::RegistryError { envelope, .. } => {
                let code = envelope.errors.first().map(|error| &error.code);
                match code {
                    Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => {
                        Self::login(image, access)
                    }
                    Some(
                        OciErrorCode::ManifestUnknown
                        | OciErrorCode::NameUnknown
                        | OciErrorCode::BlobUnknown
                        | OciErrorCode::NotFound,
                    ) => Self::not_found(image),
                    Some(OciErrorCode::Toomanyrequests) => Self::TooMany { registry },
                    _ => Self::Answer {
                        registry,
                        problem: one_line(&envelope.to_string()),
                    },
                }
            }
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. } => Self::not_found(image),
            OciDistributionError::ServerError {
                code: 401 | 403, ..
            } => Self::login(image, access),
            OciDistributionError::ServerError { code: 429, .. } => Self::TooMany { registry },
            OciDistributionError::ServerError { code, .. } => Self::status(registry, *code),
            OciDistributionError::RequestError(problem) => {
                match problem.status().map(|status| status.as_u16()) {
                    Some(401 | 403) => Self::login(image, access),
                    Some(404) => Self::not_found(image),
                    Some(429) => Self::TooMany { registry },
                    Some(code) => Self::status(registry, code),
                    None => Self::transport(image, access, problem),
                }
            }
            other => Self::Answer {
                registry,
                problem: one_line(&other.to_string()),
            },
        }
    }

    fn status(registry: String, code: u16) -> Self {
        let problem = format!("it answered with status {code}");
        match code {
            500.. => Self::Unreachable { registry, problem },
            _ => Self::Answer { registry, problem },
        }
    }

    fn login(image: &ImageRef, access: &RegistryAccess) -> Self {
        let registry = image.registry().to_owned();
        let repository = image.repository().to_owned();
        match &access.credential {
            None => Self::NoLogin {
                registry,
                repository,
            },
            Some(credential) => Self::WrongLogin {
                registry,
                username: credential.username.clone(),
                repository,
            },
        }
    }

    fn not_found(image: &ImageRef) -> Self {
        Self::NotFound {
            registry: image.registry().to_owned(),
            image: image.to_string(),
        }
    }

    fn transport(image: &ImageRef, access: &RegistryAccess, error: &(dyn Error + 'static)) -> Self {
        let registry = image.registry().to_owned();
        let causes = || causes(error);
        let tls = causes().find_map(tls_error);
        match tls {
            Some(rustls::Error::InvalidCertificate(problem)) => {
                use rustls::CertificateError::{Other, UnknownIssuer};
                let text = problem.to_string();
                let unknown = matches!(problem, UnknownIssuer)
                    || matches!(problem, Other(_)) && text.contains("UnknownIssuer");
                if unknown {
                    let problem = "unknown issuer".to_owned();
                    Self::UnknownAuthority { registry, problem }
                } else {
                    let problem = one_line(&text);
                    Self::Certificate { registry, problem }
                }
            }
            Some(rustls::Error::InvalidMessage(_)) if !access.plain_http => {
                Self::PlainHttp { registry }
            }
            _ => {
                let root = causes().last().map(ToString::to_string);
                Self::Unreachable {
                    registry,
                    problem: one_line(&root.unwrap_or_default()),
                }
            }
        }
    }

    /// Whether the registry is away, so that what is on this machine may do.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TooMany { .. })
    }

    /// Whose fault it is.
    pub(crate) fn fault(&self) -> ImageFault {
        match self {
            Self::Name(_)
            | Self::NoLogin { .. }
            | Self::WrongLogin { .. }
            | Self::NotFound { .. } => ImageFault::Caller,
            _ => ImageFault::Host,
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}

/// rustls hides in `io::Error`s, perhaps several around each other, which tell of what is in them
/// by `get_ref` only.
fn tls_error<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(found) = cause.downcast_ref::<rustls::Error>() {
        return Some(found);
    }
    let inner = cause.downcast_ref::<std::io::Error>()?.get_ref()?;
    causes(inner).find_map(tls_error)
}

fn one_line(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.truncate(line.floor_char_boundary(300));
    line
}
