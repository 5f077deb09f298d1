use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A host name, and perhaps the beginning of a path, whose requests are a function's:
/// `covers.example.net`, `example.net/shop`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain {
    /// In lower case, without a port or a last dot.
    host: Box<str>,
    /// Begins with `/` and does not end with one; empty for all paths.
    path: Box<str>,
}

/// Why a text is no [`Domain`].
#[derive(Debug, Clone, Error)]
#[error(
    "`{0}` is no domain: write a host name, and a path if you like, as in `covers.example.net` or `example.net/shop`"
)]
pub struct DomainError(String);

impl Domain {
    /// The host name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What its paths begin with; empty for all paths.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let refuse = || DomainError(text.to_owned());
        let (host, path) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let label = |label: &str| {
            let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let bytes = label.as_bytes();
            label.len() <= 63
                && end(bytes.first())
                && end(bytes.last())
                && bytes
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        };
        let fits = host.len() <= 253 && host.contains('.') && host.split('.').all(label);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let path = path.trim_end_matches('/');
        if !fits || !path.bytes().all(plain) || path.contains("//") || path.contains("/.") {
            return Err(refuse());
        }
        // The last part of an address is a number, that of a name never is.
        let last = host.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        Ok(Self {
            host: host.to_ascii_lowercase().into(),
            path: path.into(),
        })
    }
}

impl TryFrom<String> for Domain {
    type Error = DomainError;

    fn try_from(text: String) -> Result<Self, DomainError> {
        text.parse()
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.to_string()
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_host_and_perhaps_a_path() {
        for (text, expected) in [
            ("covers.example.net", "covers.example.net"),
            ("Example.NET/Shop/", "example.net/Shop"),
            ("example.net/", "example.net"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let domain: Domain = text.parse().expect(text);
            assert_eq!(domain.to_string(), expected);
        }
        for text in [
            "",
            "localhost",
            "example.net:8080",
            "https://example.net",
            "*.example.net",
            "10.0.0.1",
            "a..example",
            "-a.example",
            "example.net//a",
            "example.net/../a",
            "example.net/a?b",
        ] {
            assert!(text.parse::<Domain>().is_err(), "{text}");
        }
    }
}
