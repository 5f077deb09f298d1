use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use crate::exit::Failure;

const DEFAULT_PORT: u16 = 80;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A unix socket, which asks for no login.
    Socket(PathBuf),
    /// A TCP address, with the host as the user wrote it.
    Tcp {
        /// Name or address, with no brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Address {
    /// Reads `http://HOST[:PORT]`; the scheme may be left out.
    ///
    /// # Errors
    /// A usage failure with the cure.
    pub(crate) fn parse(url: &str) -> Result<Self, Failure> {
        let bad = |problem: &str| Failure::usage(format!("server `{url}`: {problem}"));
        let rest = match url.split_once("://") {
            None => url,
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err(bad(
                    "this version speaks no TLS: make a tunnel, as in `ssh -L 8080:127.0.0.1:8080 HOST`, and use http://127.0.0.1:8080",
                ));
            }
            Some(_) => return Err(bad("write http://HOST:PORT")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let parsed: http::uri::Authority = authority
            .parse()
            .map_err(|_| bad("write http://HOST:PORT"))?;
        let port = match parsed.port_u16() {
            Some(port) => port,
            None if parsed.as_str() == parsed.host() => DEFAULT_PORT,
            None => return Err(bad("the port must be a number from 1 to 65535")),
        };
        let host = parsed.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(bad("write http://HOST:PORT"));
        }
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
        })
    }

    /// Whether what is sent there leaves this machine.
    pub(crate) fn is_exposed(&self) -> bool {
        match self {
            Self::Socket(_) => false,
            Self::Tcp { host, .. } => {
                let local = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
                !local && host != "localhost"
            }
        }
    }

    /// The address to call: one that listens everywhere is reached through the loopback.
    pub(crate) fn reachable(self) -> Self {
        match self {
            Self::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => SocketAddr::new(ip, port).into(),
                Err(_) => Self::Tcp { host, port },
            },
            socket @ Self::Socket(_) => socket,
        }
    }

    /// `host:port`, as it stands in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Socket(_) => "hob".into(),
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }
}

/// An address to call: one that listens everywhere is reached through the loopback.
impl From<SocketAddr> for Address {
    fn from(listening: SocketAddr) -> Self {
        let host = match listening.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".into(),
            IpAddr::V6(ip) if ip.is_unspecified() => "::1".into(),
            ip => ip.to_string(),
        };
        Self::Tcp {
            host,
            port: listening.port(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Tcp { .. } => write!(f, "http://{}", self.authority()),
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
        ] {
            let address = Address::parse(url).expect(url);
            assert_eq!(address.to_string(), expected);
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_the_cure() {
        for (url, expected) in [
            ("https://box.lan", "no TLS"),
            ("ftp://box.lan", "http://HOST:PORT"),
            ("http://box.lan:99999", "port"),
            ("http://box.lan/path", "http://HOST:PORT"),
            ("", "http://HOST:PORT"),
        ] {
            let message = Address::parse(url).expect_err(url).to_string();
            assert!(message.contains(expected), "{url}: {message}");
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
    }
}
