use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bits of an IPv6 address that one customer of a provider has in common: who has one address of
/// them has all.
const IPV6_ONE: u8 = 64;

/// Addresses that begin with the same bits: `203.0.113.9`, `192.168.0.0/16`, `2001:db8::/64`.
///
/// IPv4 is never written as IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no [`AddressRange`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no address: write one as 203.0.113.9 or 2001:db8::1, or several as 192.168.0.0/16"
)]
pub struct AddressRangeError(String);

impl AddressRange {
    /// The addresses that have the first `bits` of `address`; as many bits as it has at most.
    pub fn new(address: IpAddr, bits: u8) -> Self {
        let address = address.to_canonical();
        let bits = bits.min(width(address));
        let first = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        };
        Self { first, bits }
    }

    /// What counts as one caller: an IPv4 address, or the /64 of an IPv6 address.
    pub fn of_caller(address: IpAddr) -> Self {
        match address.to_canonical() {
            v4 @ IpAddr::V4(_) => Self::new(v4, 32),
            v6 @ IpAddr::V6(_) => Self::new(v6, IPV6_ONE),
        }
    }

    /// How many bits its addresses have in common.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && Self::new(address, self.bits) == *self
    }

    /// Whether some address is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let wrong = || AddressRangeError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = match bits {
            Some(bits) => {
                let digits = bits.bytes().all(|byte| byte.is_ascii_digit());
                let bits: u8 = bits.parse().map_err(|_| wrong())?;
                (digits && bits <= width(address)).then_some(bits)
            }
            None => Some(width(address)),
        };
        let bits = bits.ok_or_else(wrong)?;
        // As it is written in IPv6, an IPv4 address has 96 bits before its own.
        let bits = match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(_)) => bits.checked_sub(96).ok_or_else(wrong)?,
            _ => bits,
        };
        Ok(Self::new(address, bits))
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == width(self.first) {
            return self.first.fmt(f);
        }
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl TryFrom<String> for AddressRange {
    type Error = AddressRangeError;

    fn try_from(text: String) -> Result<Self, AddressRangeError> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().expect(text)
    }

    #[test]
    fn ranges_are_read_and_written() {
        for (text, shown) in [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9/32", "203.0.113.9"),
            ("192.168.7.7/16", "192.168.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("::/0", "::/0"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("::ffff:203.0.113.9/120", "203.0.113.0/24"),
        ] {
            assert_eq!(range(text).to_string(), shown);
            assert_eq!(range(shown), range(text));
        }
        for text in [
            "",
            "here",
            "203.0.113",
            "203.0.113.9/33",
            "203.0.113.9/+8",
            "203.0.113.9/",
            "2001:db8::/129",
            "203.0.113.9:80",
            "/8",
            "::ffff:1.2.3.4/64",
        ] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_caller_is_an_address_or_a_network_of_ipv6() {
        let of = |text: &str| AddressRange::of_caller(text.parse().expect(text)).to_string();
        assert_eq!(of("203.0.113.9"), "203.0.113.9");
        assert_eq!(of("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn ranges_know_what_is_in_them() {
        let within =
            |range_: &str, address: &str| range(range_).contains(address.parse().expect("one"));
        assert!(within("192.168.0.0/16", "192.168.255.1"));
        assert!(within("192.168.0.0/16", "::ffff:192.168.255.1"));
        assert!(!within("192.168.0.0/16", "192.169.0.1"));
        assert!(!within("::/0", "192.169.0.1"));
        assert!(range("10.0.0.0/8").overlaps(&range("10.1.0.0/16")));
        assert!(range("10.1.0.0/16").overlaps(&range("10.0.0.0/8")));
        assert!(!range("10.1.0.0/16").overlaps(&range("10.2.0.0/16")));
        assert!(!range("0.0.0.0/0").overlaps(&range("::/0")));
    }
}
