use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{PublicKey, SigningKey, gate::Unauthorised, keys::KeyError};

/// Longest name of a worker.
const LONGEST_ID: usize = 128;
/// Longest third part of a message.
const LONGEST_NONCE: usize = 64;
/// Random bytes in one.
const NONCE: usize = 16;

/// Name of a worker: 1 to 128 visible ASCII characters, no comma.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerId(String);

/// Why a text is no name of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no worker's name: use 1 to 128 visible ASCII characters, and no comma")]
pub struct WorkerIdError(String);

/// One run that one worker is asked for. What is signed is
/// `<unix seconds>,<worker>[,<nonce>[,<SHA-256 of the body>]]`; the first two parts alone are what
/// bfaas signs, and let their bearer have any script run. A nonce of hob's ends in the milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorisation {
    /// Whole seconds since 1970.
    at: u64,
    worker: String,
    /// Tells it from others of the same second.
    nonce: Option<String>,
    /// The only body that it is for.
    body: Option<[u8; 32]>,
}

// === impl WorkerId ===

impl WorkerId {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkerId {
    type Err = WorkerIdError;

    fn from_str(text: &str) -> Result<Self, WorkerIdError> {
        let fits = (1..=LONGEST_ID).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic() && b != b',') {
            return Ok(Self(text.to_owned()));
        }
        Err(WorkerIdError(text.chars().take(LONGEST_ID).collect()))
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Authorisation ===

impl Authorisation {
    /// As bfaas has it: for any one script.
    pub fn plain(worker: &WorkerId, at: SystemTime) -> Self {
        Self {
            at: unix_seconds(at),
            worker: worker.0.clone(),
            nonce: None,
            body: None,
        }
    }

    /// For this body only, and another one each time. bfaas does not know this form.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn for_body(worker: &WorkerId, at: SystemTime, body: &[u8]) -> Result<Self, KeyError> {
        let mut nonce = [0; NONCE];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| KeyError::Randomness)?;
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nonce = format!("{}.{:03}", hex::encode(nonce), since.subsec_millis());
        Ok(Self {
            nonce: Some(nonce),
            body: Some(Sha256::digest(body).into()),
            ..Self::plain(worker, at)
        })
    }

    /// What stands in the header `Authorization`.
    pub fn sign(&self, key: &SigningKey) -> String {
        key.sign(self.message().as_bytes())
    }

    /// Reads one that the owner of `key` signed.
    pub(super) fn open(signed: &str, key: &PublicKey) -> Result<Self, Unauthorised> {
        let message = key.open(signed).ok_or(Unauthorised::Signature)?;
        let message = String::from_utf8(message).map_err(|_| Unauthorised::Form)?;
        Self::parse(&message).ok_or(Unauthorised::Form)
    }

    /// By how much its time lies before `now` (or after it), in seconds.
    pub(super) fn age(&self, now: SystemTime) -> f64 {
        let at = UNIX_EPOCH.checked_add(Duration::from_secs(self.at));
        let Some(at) = at else {
            return f64::NEG_INFINITY;
        };
        match now.duration_since(at) {
            Ok(age) => age.as_secs_f64(),
            Err(ahead) => -ahead.duration().as_secs_f64(),
        }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// When it was signed, in milliseconds since 1970. Only a nonce that ends in `.` and three
    /// digits tells more than the second.
    pub(super) fn at_millis(&self) -> u64 {
        let tail = self
            .nonce
            .as_deref()
            .and_then(|nonce| nonce.rsplit_once('.'));
        let millis = tail
            .map(|(_, millis)| millis)
            .filter(|millis| millis.len() == 3 && millis.bytes().all(|byte| byte.is_ascii_digit()));
        let millis = millis.and_then(|millis| millis.parse().ok()).unwrap_or(0);
        self.at.saturating_mul(1000).saturating_add(millis)
    }

    pub(super) fn is_for(&self, worker: &WorkerId) -> bool {
        self.worker == worker.0
    }

    pub(super) fn is_plain(&self) -> bool {
        self.nonce.is_none()
    }

    pub(super) fn is_for_one_body(&self) -> bool {
        self.body.is_some()
    }

    pub(super) fn covers(&self, body: &[u8]) -> bool {
        self.body
            .is_none_or(|digest| digest == <[u8; 32]>::from(Sha256::digest(body)))
    }

    /// By what one is known again.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.message()).into()
    }

    fn message(&self) -> String {
        let mut message = format!("{},{}", self.at, self.worker);
        for part in [self.nonce.clone(), self.body.map(hex::encode)] {
            let Some(part) = part else { break };
            message.push(',');
            message.push_str(&part);
        }
        message
    }

    fn parse(message: &str) -> Option<Self> {
        let mut parts = message.split(',');
        let at = parts.next()?;
        let worker = parts.next()?;
        let (nonce, body) = (parts.next(), parts.next());
        if parts.next().is_some() || !at.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let good = |nonce: &str| {
            (1..=LONGEST_NONCE).contains(&nonce.len())
                && nonce.bytes().all(|b| b.is_ascii_graphic())
        };
        if nonce.is_some_and(|nonce| !good(nonce)) {
            return None;
        }
        let digest = |body: &str| hex::decode(body).ok()?.try_into().ok();
        Some(Self {
            at: at.parse().ok()?,
            worker: worker.to_owned(),
            nonce: nonce.map(str::to_owned),
            body: match body {
                Some(body) => Some(digest(body)?),
                None => None,
            },
        })
    }
}

/// Whole seconds since 1970; a time before it counts as that.
pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_plain_one_is_as_bfaas_signs_it() {
        let key: SigningKey = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\
             d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
            .parse()
            .unwrap();
        let worker = "m8001".parse().unwrap();
        let signed = Authorisation::plain(&worker, at(1_734_600_000)).sign(&key);
        let (signature, message) = signed.split_at(128);
        assert_eq!(hex::decode(message).unwrap(), b"1734600000,m8001");
        // Made by another implementation of NaCl from the same key and message.
        assert_eq!(signature, REFERENCE);
        let opened = Authorisation::open(&signed, &key.public()).unwrap();
        assert!(opened.is_plain() && opened.is_for(&worker) && opened.covers(b"anything"));
    }

    const REFERENCE: &str = "a9af0c7639729f7539a983af8fcae76e5a30d9ebc006a751f2921f7822bd45781807e5169b7d01039beb123ce3378058035e1d808ed81400f42d121bbb66930a";

    #[test]
    fn one_for_a_body_is_for_no_other_and_each_differs() {
        let key = SigningKey::generate().unwrap();
        let worker = "m8001".parse().unwrap();
        let make = || Authorisation::for_body(&worker, at(5), b"uptime").unwrap();
        let signed = make().sign(&key);
        assert_ne!(signed, make().sign(&key));
        let opened = Authorisation::open(&signed, &key.public()).unwrap();
        assert!(opened.covers(b"uptime") && !opened.covers(b"reboot"));
        assert!(!opened.is_plain());
    }

    #[test]
    fn a_nonce_of_hobs_tells_the_milliseconds() {
        let worker = "m8001".parse().unwrap();
        let time = at(5) + Duration::from_millis(42);
        let made = Authorisation::for_body(&worker, time, b"").unwrap();
        assert_eq!(made.at_millis(), 5042);
        for (message, millis) in [("5,w", 5000), ("5,w,n.07", 5000), ("5,w,n.999", 5999)] {
            let parsed = Authorisation::parse(message).unwrap();
            assert_eq!(parsed.at_millis(), millis, "{message}");
        }
    }

    #[test]
    fn odd_messages_are_refused() {
        let digest = "0".repeat(64);
        for good in ["1,w", "1,w,n", &format!("1,w,n,{digest}")] {
            let parsed = Authorisation::parse(good).expect(good);
            assert_eq!(parsed.message(), good);
        }
        for odd in [
            "",
            "1",
            "-1,w",
            "+1,w",
            "1,w,",
            "1,w,n,",
            "1,w,n,00",
            "99999999999999999999,w",
            &format!("1,w,n,{digest},x"),
            &format!("1,w,{}", "n".repeat(65)),
        ] {
            assert_eq!(Authorisation::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn names_have_no_comma() {
        for good in ["m8001", "148e21ea7d0389", "box-2.lan"] {
            assert!(good.parse::<WorkerId>().is_ok(), "{good}");
        }
        for odd in ["", "a,b", "a b", "é", &"x".repeat(129)] {
            assert!(odd.parse::<WorkerId>().is_err(), "{odd}");
        }
    }
}
