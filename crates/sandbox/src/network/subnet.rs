use std::{fmt, net::Ipv4Addr, ops::RangeInclusive, str::FromStr};

/// Sizes that a subnet may have: room for a few namespaces, and no more than interfaces' names
/// can number.
const PREFIXES: RangeInclusive<u8> = 16..=29;

/// An IPv4 network of /16 to /29, written `10.62.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    network: u32,
    prefix: u8,
}

impl Default for Subnet {
    /// 10.62.0.0/16.
    fn default() -> Self {
        Self {
            network: u32::from(Ipv4Addr::new(10, 62, 0, 0)),
            prefix: 16,
        }
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let parts = parts.and_then(|(address, prefix)| {
            Some((address.parse::<Ipv4Addr>().ok()?, prefix.parse().ok()?))
        });
        let Some((address, prefix)) = parts.filter(|(_, prefix)| PREFIXES.contains(prefix)) else {
            return Err(format!(
                "subnet `{text}` must be an IPv4 network of /{} to /{}, such as {}",
                PREFIXES.start(),
                PREFIXES.end(),
                Self::default()
            ));
        };
        let network = u32::from(address) & mask(prefix);
        if network != u32::from(address) {
            return Err(format!(
                "subnet `{text}` is not the beginning of a network: write {}/{prefix}",
                Ipv4Addr::from(network)
            ));
        }
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.prefix)
    }
}

impl Subnet {
    /// Length of the network's part of an address, in bits.
    pub(super) fn prefix(self) -> u8 {
        self.prefix
    }

    /// The bridge's address.
    pub fn gateway(self) -> Ipv4Addr {
        self.address(1)
    }

    pub(super) fn address(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.network | number)
    }

    /// Numbers of addresses that a namespace may have.
    pub(super) fn numbers(self) -> RangeInclusive<u32> {
        2..=!mask(self.prefix) - 1
    }

    /// Whether an address is in both this and a network given by its address and mask.
    pub(super) fn overlaps(self, network: u32, other: u32) -> bool {
        let both = mask(self.prefix) & other;
        self.network & both == network & both
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX << (32 - u32::from(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_written_as_it_is_read() {
        let subnet: Subnet = "10.7.8.0/24".parse().expect("a subnet");
        assert_eq!(subnet.to_string(), "10.7.8.0/24");
        assert_eq!(subnet.gateway().to_string(), "10.7.8.1");
        assert_eq!(subnet.numbers(), 2..=254);
        assert_eq!(subnet.address(254).to_string(), "10.7.8.254");
        assert_eq!(Subnet::default().numbers(), 2..=65_534);
        for wrong in [
            "",
            "10.7.8.0",
            "10.7.8.0/8",
            "10.7.8.0/30",
            "fd00::/16",
            "x/16",
        ] {
            let error = wrong.parse::<Subnet>().expect_err("no subnet");
            assert!(error.contains("such as 10.62.0.0/16"), "{error}");
        }
        let error = "10.7.8.9/24".parse::<Subnet>().expect_err("no beginning");
        assert!(error.ends_with("write 10.7.8.0/24"), "{error}");
    }

    #[test]
    fn overlaps_in_either_direction_are_seen() {
        let overlaps = |network: [u8; 4], prefix| {
            Subnet::default().overlaps(u32::from(Ipv4Addr::from(network)), mask(prefix))
        };
        assert!(overlaps([10, 62, 5, 0], 24) && overlaps([10, 0, 0, 0], 8));
        assert!(overlaps([10, 62, 0, 1], 32));
        assert!(!overlaps([10, 63, 0, 0], 16) && !overlaps([192, 168, 0, 0], 16));
    }
}
