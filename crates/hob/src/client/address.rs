use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use crate::exit::Failure;

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
const FORM: &str = "write http://HOST:PORT or https://HOST:PORT";

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A unix socket, which asks for no login.
    Socket(PathBuf),
    /// A TCP address, with the host as the user wrote it.
    Tcp {
        /// Whether what is sent can be read on the way.
        scheme: Scheme,
        /// Name or address, with no brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// How a server is spoken to over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// As it is.
    Http,
    /// Over TLS.
    Https,
}

impl Address {
    /// Reads `http://HOST[:PORT]` or `https://HOST[:PORT]`; a host without a scheme means `http`.
    ///
    /// # Errors
    /// A usage failure with the cure.
    pub(crate) fn parse(url: &str) -> Result<Self, Failure> {
        if url.contains('@') {
            // Before the URL is part of any error.
            return Err(Failure::usage(
                "a password has no place in the server's URL: leave it out and log in with `hob login URL`, or put it into HOB_PASSWORD",
            ));
        }
        let (scheme, rest) = match url.split_once("://") {
            None => (Scheme::Http, url),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(_) => return Err(bad(url, FORM)),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let parsed: http::uri::Authority = authority.parse().map_err(|_| bad(url, FORM))?;
        let port = match parsed.port_u16() {
            Some(port) => port,
            None if parsed.as_str() == parsed.host() => scheme.port(),
            None => return Err(bad(url, "the port must be a number from 1 to 65535")),
        };
        let host = parsed.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(bad(url, FORM));
        }
        Ok(Self::Tcp {
            scheme,
            host: host.to_owned(),
            port,
        })
    }

    /// Whether it is spoken to over TCP without TLS.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(
            self,
            Self::Tcp {
                scheme: Scheme::Http,
                ..
            }
        )
    }

    /// Whether everybody on the way can read what is sent there.
    pub(crate) fn is_exposed(&self) -> bool {
        match self {
            Self::Socket(_)
            | Self::Tcp {
                scheme: Scheme::Https,
                ..
            } => false,
            Self::Tcp { host, .. } => !is_loopback(host),
        }
    }

    /// The address to call: one that listens everywhere is reached through the loopback.
    pub(crate) fn reachable(self) -> Self {
        match self {
            Self::Tcp { scheme, host, port } => {
                let host = match host.parse::<IpAddr>() {
                    Ok(ip) => callable(ip),
                    Err(_) => host,
                };
                Self::Tcp { scheme, host, port }
            }
            socket @ Self::Socket(_) => socket,
        }
    }

    /// `host:port`, as it stands in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Socket(_) => "hob".into(),
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

impl Scheme {
    fn port(self) -> u16 {
        match self {
            Self::Http => HTTP_PORT,
            Self::Https => HTTPS_PORT,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Whether what is sent to this host stays on this machine.
fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn bad(url: &str, problem: &str) -> Failure {
    Failure::usage(format!("server `{url}`: {problem}"))
}

fn callable(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".into(),
        IpAddr::V6(ip) if ip.is_unspecified() => "::1".into(),
        ip => ip.to_string(),
    }
}

/// An address to call: one that listens everywhere is reached through the loopback.
impl From<SocketAddr> for Address {
    fn from(listening: SocketAddr) -> Self {
        Self::Tcp {
            scheme: Scheme::Http,
            host: callable(listening.ip()),
            port: listening.port(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Tcp { scheme, .. } => write!(f, "{}://{}", scheme.as_str(), self.authority()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for (url, expected) in [
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("box.lan:9000", "http://box.lan:9000"),
            ("http://box.lan", "http://box.lan:80"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("https://box.lan/", "https://box.lan:443"),
            ("https://box.lan:8443", "https://box.lan:8443"),
        ] {
            let address = Address::parse(url).expect(url);
            assert_eq!(address.to_string(), expected);
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_the_cure() {
        for (url, expected) in [
            ("http://admin:pw@box.lan", "HOB_PASSWORD"),
            ("ftp://admin:pw@box.lan", "HOB_PASSWORD"),
            ("ftp://box.lan", "https://HOST:PORT"),
            ("http://box.lan:99999", "port"),
            ("http://box.lan/path", "http://HOST:PORT"),
            ("", "http://HOST:PORT"),
        ] {
            let message = Address::parse(url).expect_err(url).to_string();
            assert!(message.contains(expected), "{url}: {message}");
            assert!(!message.contains("admin:pw"), "{message}");
        }
    }

    #[test]
    fn an_unspecified_address_is_called_on_the_loopback() {
        let any: SocketAddr = "0.0.0.0:8080".parse().expect("valid");
        assert_eq!(Address::from(any).to_string(), "http://127.0.0.1:8080");
        assert!(!Address::from(any).is_exposed());
        assert!(
            Address::parse("http://10.0.0.2:1")
                .expect("valid")
                .is_exposed()
        );
        assert!(
            !Address::parse("https://10.0.0.2:1")
                .expect("valid")
                .is_exposed()
        );
    }
}
