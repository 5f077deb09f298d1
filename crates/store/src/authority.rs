mod certificate;
mod error;
mod host_name;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use zeroize::Zeroizing;

pub use certificate::Certificate;
pub use error::AuthorityError;
pub use host_name::{HostName, HostNameError};

use crate::{StoreError, durable};

/// Longest name of a root, in characters (RFC 5280, upper bound of a common name).
pub const ROOT_NAME_MAX: usize = 64;

/// Longest part of the machine's name in that of its root, in characters.
const HOST_NAME_MAX: usize = 40;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a root lasts: installing it by hand on every device is not done often.
const ROOT_LIFE: Duration = DAY.saturating_mul(3650);
/// How long a server's certificate lasts. Apple's systems refuse more than 825 days, also from
/// a root that was installed by hand; public authorities stopped at 398.
const SERVER_LIFE: Duration = DAY.saturating_mul(397);
/// Certificates count from a little before they are made, for clocks that are slow.
const HEAD_START: Duration = Duration::from_secs(60 * 60);
/// Bytes of a serial number, without its sign (RFC 5280 allows 20 with it).
const SERIAL_BYTES: usize = 16;
/// Where certificates are that [`Authority::issue`] makes, in the folder of the authority.
const SERVERS: &str = "servers";
/// What files are written to before they take their place.
const DRAFT: &str = ".draft";

/// The machine's own certificate authority: a root, and certificates for servers that it signed.
/// All are PEM files in one private folder, for any program that takes such files:
/// `ca.pem`, `ca.key`, and `servers/NAME.pem`, `servers/NAME.key`.
///
/// Keys are ECDSA on P-256, which every TLS client knows. One process at a time may write.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    /// Where certificates for servers are.
    servers: PathBuf,
}

/// The root as one who signs, and the time that it has left.
struct Signer {
    issuer: Issuer<'static, KeyPair>,
    left: Duration,
}

impl Authority {
    /// Certificates with less left than this are renewed without being named.
    pub const RENEW_BEFORE: Duration = DAY.saturating_mul(30);

    /// The authority whose files are in `folder`, which need not be there yet.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            servers: folder.join(SERVERS),
        }
    }

    /// The same root, but certificates are kept in `folder`, apart from those of other servers.
    #[must_use]
    pub fn keeping_in(mut self, folder: &Path) -> Self {
        self.servers = folder.to_owned();
        self
    }

    /// What a root is called that nobody gave a name: after this machine.
    pub fn default_name() -> String {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // Host names have at most 64 characters, and names of roots too.
        let host: String = host.trim().chars().take(HOST_NAME_MAX).collect();
        match host.as_str() {
            "" => "hob root".to_owned(),
            host => format!("hob root of {host}"),
        }
    }

    /// Makes the root, under a name that people will read in their lists of authorities.
    ///
    /// # Errors
    /// When there is one already, the name is none, or the disk refuses.
    pub fn init(&self, name: &str) -> Result<Certificate, AuthorityError> {
        let length = name.chars().count();
        if !(1..=ROOT_NAME_MAX).contains(&length) || name.chars().any(char::is_control) {
            return Err(AuthorityError::RootName);
        }
        let (path, key_path) = self.root_paths();
        if path.exists() {
            return Err(AuthorityError::RootExists { path });
        }
        durable::private_folder(&self.folder)?;
        // The key first: a root without its key would be there and useless. And a key that is
        // there already is never written over, since it may have signed something.
        let key = match key_path.exists() {
            true => read_key(&key_path)?,
            false => self.new_key(&key_path)?,
        };
        let mut params = params(name, ROOT_LIFE)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        self.write(&path, pem.as_bytes())?;
        self.root()
    }

    /// The root.
    ///
    /// # Errors
    /// When there is none, or its file is damaged.
    pub fn root(&self) -> Result<Certificate, AuthorityError> {
        self.read_root().map(|(root, _)| root)
    }

    /// Makes a certificate for a server. Its files are called by its first name.
    ///
    /// # Errors
    /// When it has one, there is no root, or the disk refuses.
    pub fn issue(
        &self,
        first: &HostName,
        more: &[HostName],
    ) -> Result<Certificate, AuthorityError> {
        let (path, key_path) = self.server_paths(first);
        if path.exists() {
            return Err(AuthorityError::Issued {
                name: first.to_string(),
            });
        }
        let signer = self.signer()?;
        durable::private_folder(&self.servers)?;
        let key = self.new_key(&key_path)?;
        let names = names(first, more);
        self.sign(&signer, &names, &key, &path)
    }

    /// Makes a new certificate for the same names and the same key, so that a server which reads
    /// its two files just then never gets a pair that does not fit.
    ///
    /// # Errors
    /// When there is none of that name, its files are damaged, or the disk refuses; then the old
    /// one stays.
    pub fn renew(&self, name: &HostName) -> Result<Certificate, AuthorityError> {
        let (path, key_path) = self.server_paths(name);
        let Some(pem) = read(&path)? else {
            return Err(AuthorityError::NotIssued {
                name: name.to_string(),
            });
        };
        let old = Certificate::parse(&path, key_path.clone(), &pem)?;
        let key = read_key(&key_path)?;
        let names: Vec<&str> = old.names.iter().map(String::as_str).collect();
        self.sign(&self.signer()?, &names, &key, &path)
    }

    /// The certificate of a server for exactly these names: the one that is there, or a new one,
    /// with the same key, if that one is for other names, ends within [`Self::RENEW_BEFORE`], or
    /// cannot be read. Where its key is gone, both are new.
    ///
    /// # Errors
    /// When there is no root, it or a key is damaged, or the disk refuses.
    pub fn keep(&self, first: &HostName, more: &[HostName]) -> Result<Certificate, AuthorityError> {
        let (path, key_path) = self.server_paths(first);
        let signer = self.signer()?;
        let names = names(first, more);
        let old = read(&path)?;
        let old = old.and_then(|pem| Certificate::parse(&path, key_path.clone(), &pem).ok());
        if let Some(old) = old
            && key_path.exists()
        {
            let left = old.left(SystemTime::now());
            // One that ends with its root cannot be made to last.
            let fresh = left > Self::RENEW_BEFORE || left + HEAD_START >= signer.left;
            if fresh && old.names == names && old.issuer == self.root()?.names.concat() {
                return Ok(old);
            }
        }
        durable::private_folder(&self.servers)?;
        let key = match key_path.exists() {
            true => read_key(&key_path)?,
            false => self.new_key(&key_path)?,
        };
        self.sign(&signer, &names, &key, &path)
    }

    /// All certificates for servers, by the names of their files.
    ///
    /// # Errors
    /// When the folder cannot be read, or a certificate in it is damaged.
    pub fn issued(&self) -> Result<Vec<Certificate>, AuthorityError> {
        let mut paths: Vec<PathBuf> = self.servers()?.collect();
        paths.sort();
        let certificates = paths.iter().map(|path| {
            let pem = read(path)?.unwrap_or_default();
            Certificate::parse(path, path.with_extension("key"), &pem)
        });
        certificates.collect()
    }

    fn sign(
        &self,
        signer: &Signer,
        names: &[&str],
        key: &KeyPair,
        path: &Path,
    ) -> Result<Certificate, AuthorityError> {
        let common = names.iter().find(|name| name.len() <= ROOT_NAME_MAX);
        let mut params = params(common.unwrap_or(&"hob"), SERVER_LIFE.min(signer.left))?;
        params.subject_alt_names = names
            .iter()
            .map(|name| san(name))
            .collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let pem = params.signed_by(key, &signer.issuer)?.pem();
        self.write(path, pem.as_bytes())?;
        Certificate::parse(path, path.with_extension("key"), pem.as_bytes())
    }

    /// The root as one who signs.
    fn signer(&self) -> Result<Signer, AuthorityError> {
        let (root, pem) = self.read_root()?;
        let left = root.left(SystemTime::now());
        if left.is_zero() {
            return Err(AuthorityError::RootEnded { path: root.path });
        }
        let key = read_key(&root.key)?;
        let damaged = |problem: String| AuthorityError::Damaged {
            path: root.path.clone(),
            problem,
        };
        let pem = String::from_utf8(pem).map_err(|_| damaged("it is not PEM".into()))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key);
        let issuer = issuer.map_err(|error| damaged(error.to_string()))?;
        Ok(Signer { issuer, left })
    }

    // === files ===

    /// The root, and its file.
    fn read_root(&self) -> Result<(Certificate, Vec<u8>), AuthorityError> {
        let (path, key) = self.root_paths();
        let pem = read(&path)?.ok_or_else(|| AuthorityError::NoRoot {
            folder: self.folder.clone(),
        })?;
        Ok((Certificate::parse(&path, key, &pem)?, pem))
    }

    fn root_paths(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("ca.pem"), self.folder.join("ca.key"))
    }

    fn server_paths(&self, name: &HostName) -> (PathBuf, PathBuf) {
        let (folder, stem) = (&self.servers, name.file_stem());
        (
            folder.join(format!("{stem}.pem")),
            folder.join(format!("{stem}.key")),
        )
    }

    fn servers(&self) -> Result<impl Iterator<Item = PathBuf>, AuthorityError> {
        let folder = &self.servers;
        let entries = match fs::read_dir(folder) {
            Ok(entries) => Some(entries),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::io("read", folder)(error).into()),
        };
        let paths = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        Ok(paths.filter(|path| path.extension().is_some_and(|end| end == "pem")))
    }

    fn new_key(&self, path: &Path) -> Result<KeyPair, AuthorityError> {
        let key = KeyPair::generate()?;
        let pem = Zeroizing::new(key.serialize_pem());
        self.write(path, pem.as_bytes())?;
        Ok(key)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), AuthorityError> {
        let folder = path.parent().unwrap_or(&self.folder);
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        Ok(durable::replace(folder, name, DRAFT, bytes)?)
    }
}

fn names<'a>(first: &'a HostName, more: &'a [HostName]) -> Vec<&'a str> {
    let names = [first].into_iter().chain(more);
    names.map(HostName::as_str).collect()
}

/// What all certificates have.
fn params(common_name: &str, life: Duration) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = SystemTime::now();
    params.not_before = (now - HEAD_START).into();
    params.not_after = (now + life).into();
    let mut serial = [0; SERIAL_BYTES];
    getrandom::fill(&mut serial).map_err(|_| AuthorityError::Random)?;
    // Positive, and never short.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn san(name: &str) -> Result<SanType, AuthorityError> {
    Ok(match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into()?),
    })
}

/// `None` when there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, AuthorityError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error).into()),
    }
}

fn read_key(path: &Path) -> Result<KeyPair, AuthorityError> {
    let damaged = |problem: &str| AuthorityError::Damaged {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let pem = Zeroizing::new(read(path)?.ok_or_else(|| damaged("it is missing"))?);
    let pem = str::from_utf8(&pem).map_err(|_| damaged("it is not PEM"))?;
    KeyPair::from_pem(pem).map_err(|_| damaged("it is not a private key in PEM"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_read_is_signed_again_and_a_key_is_not_replaced() {
        let place = tempfile::tempdir().expect("tempdir");
        let authority = Authority::at(place.path()).keeping_in(&place.path().join("own"));
        authority.init("a root").expect("a root");
        let name: HostName = "box.example.net".parse().expect("a name");
        let first = authority.keep(&name, &[]).expect("signed");
        let key = fs::read(&first.key).expect("a key");
        let whole = fs::read(&first.path).expect("a certificate");
        for damaged in [&whole[..whole.len() / 2], b"", b"\xff"] {
            fs::write(&first.path, damaged).expect("cut short");
            let again = authority.keep(&name, &[]).expect("signed again");
            assert_eq!(again.names, first.names);
            assert_eq!(fs::read(&again.key).expect("a key"), key);
        }
        fs::remove_file(&first.key).expect("gone");
        authority.keep(&name, &[]).expect("both are new");
        assert_ne!(fs::read(&first.key).expect("a key"), key);
        fs::write(&first.path, b"").expect("cut short");
        fs::write(&first.key, b"no key").expect("damaged");
        let error = authority.keep(&name, &[]).expect_err("no key").to_string();
        assert!(error.contains("box.example.net.key"), "{error}");
    }
}
