use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

/// Most bytes of a DNS name (RFC 1035, section 2.3.4, without the last dot).
const NAME_MAX: usize = 253;
/// Most bytes between two dots.
const LABEL_MAX: usize = 63;

/// What a server is called by those who connect to it: a DNS name, perhaps with `*` for its
/// first part, or an IP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

/// Not a name that a certificate can be for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{name}` is not a host name or an IP address: write it as in registry.home.arpa, *.home.arpa or 192.168.1.10"
)]
pub struct HostNameError {
    name: String,
}

impl HostName {
    /// In lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the files of its certificate, without their ending.
    pub(crate) fn file_stem(&self) -> String {
        self.0.replace(['*', ':'], "_")
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let name = text.to_ascii_lowercase();
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(Self(address.to_string()));
        }
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        // What ends in a number would be an address to those who connect.
        let numeric = labels
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if name.len() <= NAME_MAX && !numeric && labels.split('.').all(is_label) {
            Ok(Self(name))
        } else {
            Err(HostNameError {
                name: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LABEL_MAX).contains(&label.len())
        && label.bytes().all(inside)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_servers_have() {
        for (text, name) in [
            ("Registry.Home.arpa", "registry.home.arpa"),
            ("*.home.arpa", "*.home.arpa"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("0:0:0:0:0:0:0:1", "::1"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(text.parse().map(|HostName(name)| name), Ok(name.to_owned()));
        }
        for text in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a_b",
            "*",
            "a.*.b",
            "**.a",
            "a b",
            "../x",
            "a/b",
            "http://a",
            "a:5000",
            "1.2.3",
            "256.1.1.1",
            "b\u{fc}cher.example",
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
        assert!(format!("{}.a", "x".repeat(64)).parse::<HostName>().is_err());
        assert!("a.".repeat(127).parse::<HostName>().is_err());
    }
}
