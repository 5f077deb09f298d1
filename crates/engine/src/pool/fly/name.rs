//! What the machines of pools are called: `worker-POOL-NUMBER`, as the public bfaas does it.

use std::{fmt, str::FromStr};

use super::FlyError;

/// What the names of all machines begin with that are workers of some pool.
const KIND: &str = "worker-";
/// Longest name of a pool, in bytes: with the rest of it a machine's name stays below the 63 that
/// a host's name may have.
const LONGEST: usize = 32;

/// Name of a pool: lower-case letters, digits and `-`. It may have several `-`, since the number
/// of a machine is what follows the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolName(String);

/// Whose a machine is, as far as its name tells. A name proves nothing: it only says what is to be
/// asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    /// Named as those of this pool are.
    Ours,
    /// Named as those of another pool are.
    Foreign,
    /// No worker at all.
    Stranger,
}

// === impl PoolName ===

impl PoolName {
    /// The nearest name to `text`, such as a host's name, that a pool may have.
    pub fn from_host(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        let parts = lower.split(|letter| !fits(letter));
        let name = parts
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("-");
        let name = name.chars().take(LONGEST).collect::<String>();
        match name.trim_matches('-') {
            "" => Self("hob".into()),
            name => Self(name.into()),
        }
    }

    /// Name of the machine of this number.
    pub(super) fn machine(&self, number: u64) -> String {
        format!("{KIND}{}-{number}", self.0)
    }

    /// What its machines carry as `pool_id`, for those who look at them with other tools.
    pub(super) fn id(&self, image: &str) -> String {
        format!("{}//{image}", self.0)
    }

    /// Whose a machine of this name is.
    pub(super) fn kin(&self, machine: &str) -> Kin {
        let parts = machine
            .strip_prefix(KIND)
            .and_then(|rest| rest.rsplit_once('-'));
        match parts {
            Some((pool, number)) if !pool.is_empty() && number.parse::<u64>().is_ok() => {
                match pool == self.0 {
                    true => Kin::Ours,
                    false => Kin::Foreign,
                }
            }
            _ => Kin::Stranger,
        }
    }
}

impl FromStr for PoolName {
    type Err = FlyError;

    fn from_str(text: &str) -> Result<Self, FlyError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = !text.is_empty()
            && text.len() <= LONGEST
            && text.bytes().all(fits)
            && !text.starts_with('-')
            && !text.ends_with('-');
        match good {
            true => Ok(Self(text.to_owned())),
            false => Err(FlyError::PoolName(text.to_owned())),
        }
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pools_name_may_have_hyphens() {
        let pool: PoolName = "my-own-2".parse().unwrap();
        assert_eq!(pool.machine(7), "worker-my-own-2-7");
        assert_eq!(pool.kin(&pool.machine(u64::MAX)), Kin::Ours);
        assert_eq!(pool.kin("worker-my-own-7"), Kin::Foreign);
        assert_eq!(pool.kin("worker-my-own-2-7-7"), Kin::Foreign);
        for stranger in [
            "web",
            "worker-",
            "worker-7",
            "worker--7",
            "worker-my-own-2-x",
        ] {
            assert_eq!(pool.kin(stranger), Kin::Stranger, "{stranger}");
        }
        assert_eq!(pool.id("registry/image:1"), "my-own-2//registry/image:1");
    }

    #[test]
    fn what_cannot_be_in_a_hosts_name_is_no_pools_name() {
        for bad in ["", "-a", "a-", "A", "a b", "a/b", &"a".repeat(33)] {
            assert!(bad.parse::<PoolName>().is_err(), "{bad}");
        }
        for (host, name) in [("Box.lan", "box-lan"), ("___", "hob"), ("a--b", "a-b")] {
            let made = PoolName::from_host(host);
            assert_eq!(made.to_string(), name);
            assert_eq!(made.to_string().parse::<PoolName>().unwrap(), made);
        }
        let long = PoolName::from_host(&"ab-".repeat(40));
        assert!(long.to_string().parse::<PoolName>().is_ok());
    }
}
