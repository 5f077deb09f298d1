//! `[tls]`: where calls are accepted by TLS, and whence the certificates come. What it means stands
//! in `docs/tls.md`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use hob_control::{AcmeChallenge, AcmeConfig, CertificateFiles, CertificatesConfig};
use hob_model::Timespan;
use hob_store::HostName;
use serde::Deserialize;

/// Let's Encrypt's directory.
const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The one for trials: nobody trusts what it signs, and it lets one fail more often.
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
/// Longest time that browsers may be told to come by TLS only: there is no way back before its end.
const HSTS_MAX: Duration = Duration::from_secs(1100 * 24 * 60 * 60);

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    listen: SocketAddr,
    redirect: Option<SocketAddr>,
    #[serde(default)]
    domains: Vec<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    files: Vec<FilesTable>,
    #[serde(default)]
    own: bool,
    acme: Option<AcmeTable>,
    hsts: Option<Timespan>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesTable {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AcmeTable {
    #[serde(default)]
    terms_agreed: bool,
    email: Option<String>,
    directory: Option<String>,
    #[serde(default)]
    staging: bool,
    #[serde(default)]
    challenge: Challenge,
    ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
enum Challenge {
    #[serde(rename = "http-01")]
    Http01,
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// How calls are accepted by TLS.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct TlsConfig {
    /// Where; port 0 means any free one.
    pub(crate) listen: SocketAddr,
    /// Where everybody is sent there.
    pub(crate) redirect: Option<SocketAddr>,
    /// For how long browsers are to come by TLS only.
    pub(crate) hsts: Option<Duration>,
    /// Whence the certificates come.
    pub(crate) certificates: CertificatesConfig,
}

// === impl TlsConfig ===

impl TryFrom<Written> for TlsConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        Ok(Self {
            listen: written.listen,
            redirect: written.redirect,
            hsts: written.hsts.map(hsts).transpose()?,
            certificates: written.certificates()?,
        })
    }
}

impl Written {
    fn certificates(self) -> Result<CertificatesConfig, String> {
        let domains = self.domains.iter().map(|domain| {
            let parsed = domain.parse::<HostName>();
            parsed.map_err(|error| wrong(&format!("domains: {error}")))
        });
        let domains = domains.collect::<Result<Vec<_>, _>>()?;
        let mut files = self.files;
        match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => files.insert(0, FilesTable { certificate, key }),
            (None, None) => {}
            (Some(_), None) => return Err(wrong("`certificate` needs its `key`")),
            (None, Some(_)) => return Err(wrong("`key` needs its `certificate`")),
        }
        let files = files.into_iter().map(FilesTable::resolve);
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let acme = self.acme.map(AcmeTable::resolve).transpose()?;
        let is_http = |acme: &AcmeConfig| acme.challenge == AcmeChallenge::Http01;
        if acme.as_ref().is_some_and(is_http) && self.redirect.is_none() {
            return Err(wrong(
                "the challenge http-01 is answered at port 80: add `redirect = \"0.0.0.0:80\"`, or leave `acme.challenge` out",
            ));
        }
        if files.is_empty() && acme.is_none() && !self.own {
            return Err(wrong(
                "no certificate can be had: name the files `certificate` and `key`, set `own = true`, or add `[tls.acme]`",
            ));
        }
        let impossible = domains.iter().find(|domain| !AcmeConfig::can_have(domain));
        if let (true, false, Some(domain)) = (files.is_empty(), self.own, impossible) {
            return Err(wrong(&format!(
                "no ACME server signs for `{domain}`, which is private, an address or has a `*`: leave it out of `domains`, or set `own = true` as well"
            )));
        }
        Ok(CertificatesConfig {
            domains,
            files,
            own: self.own,
            acme,
        })
    }
}

impl FilesTable {
    fn resolve(self) -> Result<CertificateFiles, String> {
        Ok(CertificateFiles {
            certificate: absolute("certificate", self.certificate)?,
            key: absolute("key", self.key)?,
        })
    }
}

impl AcmeTable {
    fn resolve(self) -> Result<AcmeConfig, String> {
        let directory = match (self.directory, self.staging) {
            (Some(_), true) => {
                return Err(wrong(
                    "acme: `staging` is Let's Encrypt's: leave out `directory` or `staging`",
                ));
            }
            (Some(directory), false) => directory,
            (None, true) => STAGING.to_owned(),
            (None, false) => PRODUCTION.to_owned(),
        };
        let is_url = |text: &str| {
            let parsed = text.parse::<http::Uri>();
            parsed.is_ok_and(|uri| uri.scheme_str() == Some("https") && uri.host().is_some())
        };
        if !is_url(&directory) {
            return Err(wrong(&format!(
                "acme: `directory` must be a URL that begins with https://, as in {PRODUCTION}"
            )));
        }
        if !self.terms_agreed {
            return Err(wrong(&format!(
                "acme: read the terms of the authority at {directory} (`meta.termsOfService` there), and set `terms_agreed = true`"
            )));
        }
        if let Some(email) = &self.email
            && (!email.contains('@') || email.contains(|c: char| c.is_whitespace() || c == ','))
        {
            return Err(wrong(
                "acme: `email` must be one address, as in you@example.net",
            ));
        }
        Ok(AcmeConfig {
            directory,
            email: self.email,
            challenge: match self.challenge {
                Challenge::Http01 => AcmeChallenge::Http01,
                Challenge::TlsAlpn01 => AcmeChallenge::TlsAlpn01,
            },
            ca: self.ca.map(|ca| absolute("acme.ca", ca)).transpose()?,
        })
    }
}

/// A path means the same wherever hob is started.
fn absolute(key: &str, path: PathBuf) -> Result<PathBuf, String> {
    match path.is_absolute() {
        true => Ok(path),
        false => Err(wrong(&format!(
            "{key}: {} must begin with `/`",
            path.display()
        ))),
    }
}

fn hsts(Timespan(time): Timespan) -> Result<Duration, String> {
    match (Duration::from_secs(1)..=HSTS_MAX).contains(&time) {
        true => Ok(time),
        false => Err(wrong("`hsts` must be 1s to 1100d, as in \"365d\"")),
    }
}

fn wrong(problem: &str) -> String {
    format!("[tls] {problem}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TlsConfig, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn what_is_left_out_has_a_safe_default() {
        let text = "listen = \"0.0.0.0:443\"\ndomains = [\"Hob.example.net\"]\n[acme]\nterms_agreed = true";
        let config = read(text).expect("valid");
        assert_eq!((config.redirect, config.hsts), (None, None));
        let acme = config.certificates.acme.expect("acme");
        assert_eq!(acme.directory, PRODUCTION);
        assert_eq!(acme.challenge, AcmeChallenge::TlsAlpn01);
        assert_eq!(config.certificates.domains[0].as_str(), "hob.example.net");
        let text = "listen = \"0.0.0.0:443\"\nown = true\nhsts = \"365d\"";
        let config = read(text).expect("valid");
        assert_eq!(config.hsts, Some(Duration::from_secs(365 * 86_400)));
    }

    #[test]
    fn mistakes_are_named_with_the_cure() {
        for (text, expected) in [
            ("", "no certificate can be had"),
            ("certificate = \"/a\"", "needs its `key`"),
            ("certificate = \"a\"\nkey = \"/a\"", "must begin with `/`"),
            ("own = true\ndomains = [\"a b\"]", "is not a host name"),
            ("own = true\nhsts = \"0s\"", "`hsts` must be"),
            ("own = true\nsni = true", "unknown field"),
            ("[acme]", "set `terms_agreed = true`"),
            (
                "[acme]\nterms_agreed = true\nchallenge = \"dns-01\"",
                "unknown variant",
            ),
            (
                "[acme]\nterms_agreed = true\nchallenge = \"http-01\"",
                "add `redirect",
            ),
            (
                "[acme]\nterms_agreed = true\ndirectory = \"http://a\"",
                "begins with https",
            ),
            (
                "[acme]\nterms_agreed = true\nemail = \"me\"",
                "must be one address",
            ),
            (
                "domains = [\"*.a.net\"]\n[acme]\nterms_agreed = true",
                "no ACME server signs",
            ),
        ] {
            let text = format!("listen = \"127.0.0.1:0\"\n{text}");
            let problem = read(&text).expect_err(expected);
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
