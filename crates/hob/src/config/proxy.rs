//! `[proxy]`: who may say whose a request is.

use hob_gateway::{Proxies, ProxyHeader};
use hob_model::AddressRange;
use http::HeaderName;
use serde::Deserialize;

/// Most networks that may be trusted: each connection is compared with all of them.
const NETWORKS_MAX: usize = 1_000;

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    trusted: Vec<Network>,
    header: Option<Header>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Network(AddressRange);

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Header(HeaderName);

/// The table, checked.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Table(pub(super) Proxies);

impl TryFrom<Written> for Table {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { trusted, header } = written;
        if header.is_some() && trusted.is_empty() {
            return Err("[proxy] has a header and trusts nobody to write it: add your proxy's address, as in trusted = [\"127.0.0.1\"]".into());
        }
        if trusted.len() > NETWORKS_MAX {
            return Err(format!(
                "[proxy] trusted must have at most {NETWORKS_MAX} networks"
            ));
        }
        let header = header.map(|Header(name)| ProxyHeader::from(name));
        Ok(Self(Proxies {
            trusted: trusted.into_iter().map(|Network(one)| one).collect(),
            header: header.unwrap_or(ProxyHeader::ForwardedFor),
        }))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<AddressRange>() {
            Ok(range) if range.bits() == 0 => Err(format!(
                "`{text}` is everybody, who could then claim any address: name the proxy's network"
            )),
            Ok(range) => Ok(Self(range)),
            Err(_) => Err(format!(
                "`{text}` is no address or network: write 127.0.0.1 or 10.0.0.0/8"
            )),
        }
    }
}

impl TryFrom<String> for Header {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        HeaderName::from_bytes(text.as_bytes())
            .map(Self)
            .map_err(|_| {
                format!("`{text}` is no header: write x-forwarded-for, forwarded or x-real-ip")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Proxies, String> {
        let read = toml::from_str(text).map(|Table(proxies)| proxies);
        read.map_err(|error| error.message().to_owned())
    }

    #[test]
    fn nobody_is_trusted_unless_the_owner_says_so() {
        assert_eq!(read("").expect("valid"), Proxies::default());
        let text = "trusted = [\"10.0.0.0/8\", \"127.0.0.1\", \"::1\", \"::ffff:192.0.2.0/120\"]";
        let read = read(&format!("{text}\nheader = \"CF-Connecting-IP\"")).expect("valid");
        let networks: Vec<_> = read.trusted.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.0.0.0/8", "127.0.0.1", "::1", "192.0.2.0/24"]);
        let name = HeaderName::from_static("cf-connecting-ip");
        assert_eq!(read.header, ProxyHeader::Single(name));
    }

    #[test]
    fn mistakes_are_told_with_their_cure() {
        for (text, expected) in [
            ("trusted = [\"10.0.0.0/33\"]", "`10.0.0.0/33` is no address"),
            ("trusted = [\"localhost\"]", "write 127.0.0.1"),
            ("trusted = [\"0.0.0.0/0\"]", "is everybody"),
            ("trusted = [\"::/0\"]", "is everybody"),
            ("trusted = \"127.0.0.1\"", "expected a sequence"),
            ("header = \"x-real-ip\"", "trusts nobody"),
            (
                "trusted = [\"::1\"]\nheader = \"x real\"",
                "`x real` is no header",
            ),
            ("trust = []", "unknown field `trust`"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
