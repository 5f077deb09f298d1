use std::net::{IpAddr, SocketAddr};

use hob_model::{AddressRange, CallerAddress};
use http::HeaderName;

use crate::guard::Fields;

/// The header that most proxies write, an address more at each.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// The one that a standard has instead (RFC 7239).
const FORWARDED: &str = "forwarded";
/// By what the others say how the caller spoke to them.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The proxies that may say whose a request is. Default: nobody may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxies {
    /// Their networks.
    pub trusted: Vec<AddressRange>,
    /// By what they say it.
    pub header: ProxyHeader,
}

/// The header by which proxies say whose a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: a list, to which each proxy adds the one it was asked by.
    ForwardedFor,
    /// `Forwarded` (RFC 7239): the same, and more of each.
    Forwarded,
    /// Any other: one address, which the proxy writes whatever it got.
    Single(HeaderName),
}

/// What one entry of a list says.
struct Hop {
    ip: IpAddr,
    /// Whether TLS was spoken there, where the entry says so.
    encrypted: Option<bool>,
}

impl Default for Proxies {
    fn default() -> Self {
        Self {
            trusted: Vec::new(),
            header: ProxyHeader::ForwardedFor,
        }
    }
}

impl From<HeaderName> for ProxyHeader {
    fn from(name: HeaderName) -> Self {
        match name.as_str() {
            FORWARDED_FOR => Self::ForwardedFor,
            FORWARDED => Self::Forwarded,
            _ => Self::Single(name),
        }
    }
}

impl Proxies {
    /// Whether `ip` is one of them.
    pub(crate) fn trust(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(ip))
    }

    /// Whether they are to be believed in `X-Forwarded-Proto` and the like as well. Those of
    /// `Forwarded` say all of it there, and may pass the others on as they got them.
    pub(crate) fn speak_by_fields(&self) -> bool {
        self.header != ProxyHeader::Forwarded
    }

    /// Whose a request is, and how he asked, by the word of the proxy `peer`; where it says
    /// nothing that can be understood, the proxy's own.
    pub(crate) fn caller(&self, peer: IpAddr, fields: Fields<'_>) -> CallerAddress {
        let hop = match &self.header {
            ProxyHeader::ForwardedFor => self.first_stranger(fields, FORWARDED_FOR, |list| {
                let entries = list.rsplit(|byte| *byte == b',');
                let entries = entries.filter(|entry| !is_blank(entry));
                entries.map(|entry| address(entry).map(Hop::from))
            }),
            ProxyHeader::Forwarded => self.first_stranger(fields, FORWARDED, |list| {
                let elements = split_back(list, b',');
                elements.filter(|element| !is_blank(element)).map(hop)
            }),
            ProxyHeader::Single(name) => {
                let mut values = fields.all(name.as_str());
                let value = values.next().filter(|_| values.next().is_none());
                value.and_then(address).map(Hop::from)
            }
        };
        let said = hop.as_ref().and_then(|hop| hop.encrypted);
        let encrypted = match self.speak_by_fields() {
            true => speaks_tls(fields),
            false => said.unwrap_or(false),
        };
        CallerAddress {
            ip: hop.map_or(peer, |hop| hop.ip),
            encrypted,
        }
    }

    /// Walks the lists of a header from their end, which the nearest proxy wrote, for as long as the
    /// entries are proxies': the next is the caller, whatever he wrote in front of it. If all are,
    /// the first.
    fn first_stranger<'f, I>(
        &self,
        fields: Fields<'f>,
        header: &str,
        entries: impl Fn(&'f [u8]) -> I,
    ) -> Option<Hop>
    where
        I: Iterator<Item = Option<Hop>>,
    {
        let lists: Vec<_> = fields.all(header).collect();
        let mut last = None;
        for hop in lists.into_iter().rev().flat_map(entries) {
            let hop = hop?;
            if !self.trust(hop.ip) {
                return Some(hop);
            }
            last = Some(hop);
        }
        last
    }
}

impl From<IpAddr> for Hop {
    fn from(ip: IpAddr) -> Self {
        Self {
            ip,
            encrypted: None,
        }
    }
}

/// Whether an element of a list is none (RFC 9110, 5.6.1).
fn is_blank(element: &[u8]) -> bool {
    element.trim_ascii().is_empty()
}

/// An address, perhaps with a port; IPv6 with a port is in brackets.
fn address(value: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(value).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'));
    let ip = match bare {
        Some(inner) => inner.parse().map(IpAddr::V6).ok(),
        None => text.parse().ok().or_else(|| {
            let with_port: SocketAddr = text.parse().ok()?;
            Some(with_port.ip())
        }),
    };
    ip.map(|ip| ip.to_canonical())
}

/// One element of `Forwarded`: `for=192.0.2.43;proto=https`.
fn hop(element: &[u8]) -> Option<Hop> {
    let mut found = None;
    let mut encrypted = None;
    for pair in split_back(element, b';') {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], unquoted(&pair[equals + 1..]));
        if name.eq_ignore_ascii_case(b"for") {
            found = address(value?);
        } else if name.eq_ignore_ascii_case(b"proto") {
            encrypted = Some(value?.eq_ignore_ascii_case(b"https"));
        }
    }
    found.map(|ip| Hop { ip, encrypted })
}

/// A value without its quotes. None that matters here needs a `\`.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    match value.strip_prefix(b"\"") {
        None => Some(value),
        Some(rest) => rest
            .strip_suffix(b"\"")
            .filter(|inner| !inner.contains(&b'\\')),
    }
}

/// The parts of a value between `separator`s that are not quoted, the last first. Read from the
/// end, so that a quote that a stranger left open reaches no further than his own words.
fn split_back(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        let mut quoted = false;
        for at in (0..whole.len()).rev() {
            match whole[at] {
                b'"' if !is_escaped(&whole[..at]) => quoted = !quoted,
                byte if byte == separator && !quoted => {
                    rest = Some(&whole[..at]);
                    return Some(&whole[at + 1..]);
                }
                _ => {}
            }
        }
        Some(whole)
    })
}

/// Whether what follows `before` is escaped by a `\`.
fn is_escaped(before: &[u8]) -> bool {
    let slashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    slashes.count() % 2 == 1
}

/// What the nearest proxy says in `X-Forwarded-Proto`.
fn speaks_tls(fields: Fields<'_>) -> bool {
    let last = fields.all(FORWARDED_PROTO).last();
    let last = last.and_then(|list| list.rsplit(|byte| *byte == b',').next());
    last.is_some_and(|proto| proto.trim_ascii().eq_ignore_ascii_case(b"https"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderMap, HeaderValue};

    use super::*;

    const PEER: &str = "10.0.0.9";

    fn proxies(header: &str) -> Proxies {
        let networks = ["10.0.0.0/8", "127.0.0.1/32", "2001:db8:1::/48"];
        Proxies {
            trusted: networks.iter().map(|net| net.parse().unwrap()).collect(),
            header: HeaderName::from_bytes(header.as_bytes()).unwrap().into(),
        }
    }

    fn caller(header: &str, lines: &[(&str, &[u8])]) -> (String, bool) {
        let pairs = lines.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(value).unwrap())
        });
        let map: HeaderMap = {
            let mut map = HeaderMap::new();
            pairs.for_each(|(name, value)| {
                map.append(name, value);
            });
            map
        };
        let seen = proxies(header).caller(PEER.parse().unwrap(), Fields::Map(&map));
        // The express lane's fields say the same.
        let fields: Vec<_> = lines
            .iter()
            .map(|(name, value)| httparse::Header { name, value })
            .collect();
        let lane = proxies(header).caller(PEER.parse().unwrap(), Fields::Lines(&fields));
        assert_eq!(seen, lane);
        (seen.ip.to_string(), seen.encrypted)
    }

    #[test]
    fn a_list_is_walked_from_its_end() {
        let name = "X-Forwarded-For";
        for (lines, expected) in [
            (&[][..], PEER),
            (&[""], PEER),
            (&["192.0.2.7"], "192.0.2.7"),
            // What stands in front of the first stranger is his own word.
            (&["10.1.1.1, 203.0.113.1, 192.0.2.7"], "192.0.2.7"),
            (
                &["203.0.113.1, 192.0.2.7, 10.1.1.1, 127.0.0.1"],
                "192.0.2.7",
            ),
            (&["127.0.0.1, 192.0.2.7"], "192.0.2.7"),
            (&["203.0.113.1", "192.0.2.7, 10.1.1.1"], "192.0.2.7"),
            (&["192.0.2.7", "10.1.1.1"], "192.0.2.7"),
            // All of them are proxies: the farthest one asks for itself.
            (&["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            (&["10.1.1.1", "10.2.2.2"], "10.1.1.1"),
            // Garbage is nobody.
            (&["garbage"], PEER),
            (&["192.0.2.7, garbage"], PEER),
            (&["192.0.2.7, unknown, 10.1.1.1"], PEER),
            (&["192.0.2.256"], PEER),
            (&["192.0.2"], PEER),
            (&["0300.0.0.1"], PEER),
            (&["192.0.2.7/32"], PEER),
            (&["192.0.2.7:x"], PEER),
            (&["fe80::1%eth0"], PEER),
            (&["[192.0.2.7]"], PEER),
            (&["[2001:db8::7"], PEER),
            // Nothing is nothing.
            (&["192.0.2.7,"], "192.0.2.7"),
            (&["192.0.2.7, , 10.1.1.1"], "192.0.2.7"),
            (&["192.0.2.7", ""], "192.0.2.7"),
            (&[" , "], PEER),
            // And does not matter in front of a stranger.
            (&["garbage, 192.0.2.7"], "192.0.2.7"),
            (&["\u{e9}\"; '", "192.0.2.7"], "192.0.2.7"),
            // Spellings.
            (&["  192.0.2.7\t, 10.1.1.1 "], "192.0.2.7"),
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["2001:DB8::7"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["192.0.2.7, 2001:db8:1::1"], "192.0.2.7"),
            (&["192.0.2.7, [2001:db8:1::1]:80"], "192.0.2.7"),
            // IPv4 is never IPv6.
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, ::ffff:10.1.1.1"], "192.0.2.7"),
            (&["192.0.2.7, [::ffff:7f00:1]:1"], "192.0.2.7"),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
            assert_eq!(caller(name, &lines).0, expected, "{lines:?}");
        }
        // Also what is no text at all.
        assert_eq!(caller(name, &[(name, b"\xff, 10.1.1.1")]).0, PEER);
        assert_eq!(caller(name, &[(name, b"\xff, 192.0.2.7")]).0, "192.0.2.7");
        let standard: &[u8] = b"for=\xff, for=192.0.2.7;host=\xff;proto=https";
        let seen = caller("forwarded", &[("Forwarded", standard)]);
        assert_eq!(seen, ("192.0.2.7".into(), true));
    }

    #[test]
    fn forwarded_is_walked_the_same_way() {
        for (lines, expected, encrypted) in [
            (&["for=192.0.2.7"][..], "192.0.2.7", false),
            (
                &["For=192.0.2.7;Proto=HTTPS;by=10.0.0.9"],
                "192.0.2.7",
                true,
            ),
            (&["proto=http;for=192.0.2.7"], "192.0.2.7", false),
            (
                &["for=\"[2001:db8::7]:4711\";proto=https"],
                "2001:db8::7",
                true,
            ),
            (&["for=\"192.0.2.7:80\" ; proto=https"], "192.0.2.7", true),
            // How the caller spoke is in the caller's element.
            (
                &["for=192.0.2.7;proto=https, for=10.1.1.1;proto=http"],
                "192.0.2.7",
                true,
            ),
            (
                &["for=192.0.2.7;proto=http", "for=10.1.1.1;proto=https"],
                "192.0.2.7",
                false,
            ),
            (
                &["for=203.0.113.1;proto=https, for=192.0.2.7"],
                "192.0.2.7",
                false,
            ),
            (&["for=10.1.1.1, for=10.2.2.2"], "10.1.1.1", false),
            // Quotes hide separators, and only where they are closed.
            (&["for=192.0.2.7;host=\"a,b;c\""], "192.0.2.7", false),
            (
                &["host=\"a\\\",for=1.2.3.4\";for=192.0.2.7"],
                "192.0.2.7",
                false,
            ),
            (&["for=\", for=192.0.2.7"], "192.0.2.7", false),
            (
                &["for=\"a\\\", for=192.0.2.7;host=\"x\""],
                "192.0.2.7",
                false,
            ),
            // Nobody.
            (&["for=unknown"], PEER, false),
            (&["for=_hidden;proto=https"], PEER, false),
            (&["for=\"_a,b\""], PEER, false),
            (&["proto=https"], PEER, false),
            (&["192.0.2.7"], PEER, false),
            (&["for=192.0.2.7;"], PEER, false),
            (&["for=\"192.0.2.7"], PEER, false),
            (&["for=192.0.2.7, for=secret, for=10.1.1.1"], PEER, false),
            (&["for=\"\\192.0.2.7\""], PEER, false),
            (&[""], PEER, false),
        ] {
            let mut lines: Vec<_> = lines
                .iter()
                .map(|line| ("Forwarded", line.as_bytes()))
                .collect();
            // They say it there or nowhere.
            lines.push(("X-Forwarded-For", b"198.51.100.1"));
            lines.push(("X-Forwarded-Proto", b"https"));
            let seen = caller("forwarded", &lines);
            assert_eq!(
                (seen.0.as_str(), seen.1),
                (expected, encrypted),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn another_header_has_one_address() {
        for (lines, expected) in [
            (&["192.0.2.7"][..], "192.0.2.7"),
            (&[" 2001:db8::7 "], "2001:db8::7"),
            (&["10.1.1.1"], "10.1.1.1"),
            (&["192.0.2.7, 192.0.2.8"], PEER),
            (&["192.0.2.7", "192.0.2.7"], PEER),
            (&["-"], PEER),
            (&[], PEER),
        ] {
            let mut lines: Vec<_> = lines
                .iter()
                .map(|line| ("CF-Connecting-IP", line.as_bytes()))
                .collect();
            lines.push(("X-Forwarded-For", b"198.51.100.1"));
            assert_eq!(caller("cf-connecting-ip", &lines).0, expected, "{lines:?}");
        }
    }

    #[test]
    fn the_nearest_proxy_says_how_it_was_asked() {
        let name = "X-Forwarded-Proto";
        for (lines, expected) in [
            (&["https"][..], true),
            (&["HTTPS "], true),
            (&["http, https"], true),
            (&["https, http"], false),
            (&["https", "http"], false),
            (&["wss"], false),
            (&[""], false),
            (&[], false),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
            assert_eq!(caller("x-real-ip", &lines).1, expected, "{lines:?}");
        }
    }
}
