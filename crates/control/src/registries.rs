//! What is known of image registries: `registries.toml` in the data directory, logins as secrets.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hob_image::{Credential, Registries, RegistryAccess, from_docker_config};
use hob_model::{
    Label, SecretName,
    port::{SecretError, Secrets},
    wire::RegistrySummary,
};
use hob_store::{SecretStore, StoreError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The namespace of the secrets that are logins. No function can be deployed to it.
pub(crate) const NAMESPACE: &str = "hob-registries";
/// In place of a name: all registries.
pub(crate) const ALL: &str = "*";
/// Most certificates that are trusted for one registry.
const AUTHORITIES_MAX: usize = 64;
/// What stands for the colon before a port in the name of a secret, which can have none.
const COLON: &str = ".port-";

/// Keeps it all, in files that can be read and written by hand.
pub struct KnownRegistries {
    file: PathBuf,
    /// The root of the machine's own authority, trusted when it is there.
    own_authority: PathBuf,
    /// Docker's, used when it is there.
    docker_config: Option<PathBuf>,
    secrets: Arc<SecretStore>,
    writing: Mutex<()>,
}

/// Why nothing was changed.
#[derive(Debug, Error)]
pub enum RegistriesError {
    /// The text is no host with perhaps a port.
    #[error(
        "registry `{0}` must be a host in lower case and perhaps a port, as in registry.example.net:5000"
    )]
    Name(String),
    /// The file holds no certificate.
    #[error(
        "there is no PEM certificate in what was sent: it begins with -----BEGIN CERTIFICATE-----"
    )]
    NoCertificate,
    /// A certificate in it cannot be read.
    #[error("a certificate in what was sent cannot be read: {0}")]
    Certificate(String),
    /// A bound is passed.
    #[error(
        "registry {0} has {AUTHORITIES_MAX} authorities already, which is the most: `hob registry forget {0}`"
    )]
    TooMany(String),
    /// The file on the disk.
    #[error("`{}`: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The secret store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    registries: BTreeMap<String, Entry>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Entry {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    plain_http: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorities: Vec<String>,
}

// === impl KnownRegistries ===

impl KnownRegistries {
    /// Of the data directory. `docker_config` is a `config.json` to look into as well.
    pub fn new(data: &Path, secrets: Arc<SecretStore>, docker_config: Option<PathBuf>) -> Self {
        Self {
            file: data.join("registries.toml"),
            own_authority: data.join("pki/ca.pem"),
            docker_config,
            secrets,
            writing: Mutex::new(()),
        }
    }

    /// All that are known, sorted by name.
    pub(crate) fn list(&self) -> Result<Vec<RegistrySummary>, RegistriesError> {
        let mut all: BTreeMap<String, RegistrySummary> = BTreeMap::new();
        let summary = |registry: &str| RegistrySummary {
            registry: registry.to_owned(),
            username: None,
            plain_http: false,
            authorities: 0,
        };
        for (name, entry) in self.read()?.registries {
            let one = all.entry(name.clone()).or_insert_with(|| summary(&name));
            one.plain_http = entry.plain_http;
            one.authorities = entry.authorities.len();
        }
        for secret in self.secrets.list(&namespace())? {
            let name = secret.name.replace(COLON, ":");
            let login = self.login(&name).ok().flatten();
            let one = all.entry(name.clone()).or_insert_with(|| summary(&name));
            one.username = login.map(|login| login.username);
        }
        Ok(all.into_values().collect())
    }

    pub(crate) fn log_in(&self, registry: &str, login: &Credential) -> Result<(), RegistriesError> {
        let name = secret_name(registry)?;
        let json = serde_json::to_vec(login).map_err(|error| self.broken(error))?;
        self.secrets.set(&namespace(), &name, &json)?;
        Ok(())
    }

    pub(crate) fn log_out(&self, registry: &str) -> Result<bool, RegistriesError> {
        Ok(self.secrets.remove(&namespace(), &secret_name(registry)?)?)
    }

    /// Adds the certificates of a PEM file. Returns how many were new.
    pub(crate) fn trust(&self, registry: &str, pem: &str) -> Result<usize, RegistriesError> {
        check_name(registry)?;
        let certificates = certificates(pem)?;
        self.change(registry, |entry| {
            let before = entry.authorities.len();
            for certificate in certificates {
                if !entry.authorities.contains(&certificate) {
                    entry.authorities.push(certificate);
                }
            }
            if entry.authorities.len() > AUTHORITIES_MAX {
                return Err(RegistriesError::TooMany(registry.to_owned()));
            }
            Ok(entry.authorities.len() - before)
        })
    }

    pub(crate) fn plain_http(&self, registry: &str) -> Result<(), RegistriesError> {
        // Never for all at once.
        secret_name(registry)?;
        self.change(registry, |entry| {
            entry.plain_http = true;
            Ok(())
        })
    }

    /// Forgets everything about a registry; false when nothing was known.
    pub(crate) fn forget(&self, registry: &str) -> Result<bool, RegistriesError> {
        check_name(registry)?;
        let logged_out = registry != ALL && self.log_out(registry)?;
        let _writing = self.lock();
        let mut file = self.read()?;
        let known = file.registries.remove(registry).is_some();
        if known {
            self.write(&file)?;
        }
        Ok(known || logged_out)
    }

    fn login(&self, registry: &str) -> Result<Option<Credential>, String> {
        // What is no name of a secret has none.
        let Ok(name) = secret_name(registry) else {
            return Ok(None);
        };
        match self.secrets.reveal(NAMESPACE, &name) {
            Ok(json) => serde_json::from_slice(json.expose())
                .map(Some)
                .map_err(|_| format!("secret `{name}` of namespace `{NAMESPACE}` is no login: `hob registry login {registry}`")),
            Err(SecretError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn change<T>(
        &self,
        registry: &str,
        change: impl FnOnce(&mut Entry) -> Result<T, RegistriesError>,
    ) -> Result<T, RegistriesError> {
        let _writing = self.lock();
        let mut file = self.read()?;
        let done = change(file.registries.entry(registry.to_owned()).or_default())?;
        self.write(&file)?;
        Ok(done)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<File, RegistriesError> {
        match fs::read_to_string(&self.file) {
            Ok(text) => toml::from_str(&text).map_err(|error| self.broken(error.message())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(File::default()),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn write(&self, file: &File) -> Result<(), RegistriesError> {
        let text = toml::to_string(file).map_err(|error| self.broken(error))?;
        hob_image::replace_file(&self.file, text.as_bytes()).map_err(|error| self.broken(error))
    }

    fn broken(&self, problem: impl ToString) -> RegistriesError {
        RegistriesError::File {
            path: self.file.clone(),
            problem: problem.to_string(),
        }
    }
}

impl Registries for KnownRegistries {
    fn access(&self, registry: &str) -> Result<RegistryAccess, String> {
        let file = self.read().map_err(|error| error.to_string())?;
        let entry = file.registries.get(registry);
        let everywhere = file.registries.get(ALL);
        let mut authorities: Vec<String> = entry
            .into_iter()
            .chain(everywhere)
            .flat_map(|entry| entry.authorities.clone())
            .collect();
        if let Ok(own) = fs::read_to_string(&self.own_authority) {
            authorities.extend(certificates(&own).unwrap_or_default());
        }
        let credential = match (self.login(registry)?, &self.docker_config) {
            (Some(login), _) => Some(login),
            (None, Some(config)) => from_docker_config(config, registry)?,
            (None, None) => None,
        };
        Ok(RegistryAccess {
            credential,
            plain_http: entry.is_some_and(|entry| entry.plain_http),
            authorities,
        })
    }
}

fn namespace() -> Label {
    NAMESPACE.parse().expect("a constant that a test reads")
}

fn check_name(registry: &str) -> Result<(), RegistriesError> {
    if registry == ALL {
        return Ok(());
    }
    secret_name(registry).map(drop)
}

/// The name of the secret with the login, which also says that the registry's name is one.
fn secret_name(registry: &str) -> Result<SecretName, RegistriesError> {
    let wrong = || RegistriesError::Name(registry.chars().take(100).collect());
    let (host, port) = registry.split_once(':').unwrap_or((registry, "443"));
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if host.is_empty() || !host.chars().all(good) || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    registry.replace(':', COLON).parse().map_err(|_| wrong())
}

/// The certificates of a PEM file, one text each; whatever stands between them is left out.
fn certificates(pem: &str) -> Result<Vec<String>, RegistriesError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut found = Vec::new();
    for part in pem.split(BEGIN).skip(1) {
        let (body, _) = part
            .split_once(END)
            .ok_or_else(|| RegistriesError::Certificate("its end is missing".into()))?;
        let text = format!("{BEGIN}\n{}\n{END}\n", body.trim());
        hob_image::check_certificate(&text).map_err(RegistriesError::Certificate)?;
        found.push(text);
    }
    match found.len() {
        0 => Err(RegistriesError::NoCertificate),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_registries_are_checked() {
        assert_eq!(namespace().as_str(), NAMESPACE);
        for good in ["localhost:5000", "registry.example.net", "127.0.0.1:1"] {
            assert!(secret_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a b", "host:port", "host:70000", "../x", "*"] {
            assert!(secret_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_said_so() {
        assert!(matches!(
            certificates("hello"),
            Err(RegistriesError::NoCertificate)
        ));
        let half = "-----BEGIN CERTIFICATE-----\nAAAA";
        assert!(matches!(
            certificates(half),
            Err(RegistriesError::Certificate(_))
        ));
    }
}
