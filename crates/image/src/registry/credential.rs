use std::{fmt, path::Path};

use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::secrets::RegistryAuth;
use oci_spec::distribution::Reference;
use serde::{Deserialize, Serialize};

/// Who we are to a registry. Hidden from `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The user's name.
    pub username: String,
    /// The password, or an access token in its place.
    pub password: String,
}

// === impl Credential ===

impl Credential {
    pub(super) fn auth(&self) -> RegistryAuth {
        RegistryAuth::Basic(self.username.clone(), self.password.clone())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}, …)", self.username)
    }
}

/// Looks into Docker's `config.json`, and asks the credential helpers that it names.
///
/// # Errors
/// One line with the file, when it is there and cannot be used.
pub fn from_docker_config(config: &Path, registry: &str) -> Result<Option<Credential>, String> {
    let Ok(file) = std::fs::File::open(config) else {
        return Ok(None);
    };
    let key = key(registry);
    match docker_credential::get_credential_from_reader(file, &key) {
        Ok(DockerCredential::UsernamePassword(username, password)) => {
            Ok(Some(Credential { username, password }))
        }
        Ok(DockerCredential::IdentityToken(_)) => Err(format!(
            "{}: {registry} has an identity token, which hob cannot use: `hob registry login {registry}`",
            config.display()
        )),
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound,
        ) => Ok(None),
        Err(error) => Err(format!("{}: {error}", config.display()).replace('\n', " ")),
    }
}

/// Under which name `config.json` has a registry: its own, but for the one of short names, which has
/// the address that Docker's first version used.
fn key(registry: &str) -> String {
    let short: Result<Reference, _> = "a".parse();
    match short {
        Ok(short) if short.registry() == registry => {
            format!("https://{}/v1/", short.resolve_registry())
        }
        _ => registry.to_owned(),
    }
}
