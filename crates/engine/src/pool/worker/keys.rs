use std::{fmt, str::FromStr};

use aws_lc_rs::{
    encoding::{AsBigEndian, Curve25519SeedBin},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes of a seed and of a public key; a private key is one after the other.
const HALF: usize = 32;
/// Bytes that a signature puts before what is signed.
const SIGNATURE: usize = 64;

/// An Ed25519 key by which a coordinator authorises runs. As text it is 128 hexadecimal digits:
/// the seed and the public key, as NaCl has it.
pub struct SigningKey(Ed25519KeyPair);

/// What a worker needs to know of a [`SigningKey`]: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; HALF]);

/// Why a text is no key. It has nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not made of hexadecimal digits, or not of so many.
    #[error("it is not {digits} hexadecimal digits: `hob keys generate` makes a pair")]
    Form {
        /// How many there should be.
        digits: usize,
    },
    /// The two halves do not belong together.
    #[error("its halves do not belong together: `hob keys generate` makes a pair")]
    Halves,
    /// It is the other one of the pair.
    #[error("this is the private key, which stays with the coordinator: give the public one")]
    Private,
    /// The same the other way around.
    #[error("this is the public key, which is for workers: give the private one")]
    Public,
    /// The library does not give the seed away.
    #[error("the key cannot be written down")]
    Hidden,
    /// The system's randomness is missing.
    #[error("no key can be made: the system has no randomness")]
    Randomness,
}

// === impl SigningKey ===

impl SigningKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Randomness)?;
        Ok(Self(pair))
    }

    /// What is given to workers.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; HALF];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    /// The private key as it is kept in a file.
    ///
    /// # Errors
    /// When the key does not give its seed away.
    pub fn reveal(&self) -> Result<Zeroizing<String>, KeyError> {
        let seed = self.0.seed().map_err(|_| KeyError::Hidden)?;
        let seed: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(|_| KeyError::Hidden)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * HALF));
        bytes.extend_from_slice(seed.as_ref());
        bytes.extend_from_slice(self.0.public_key().as_ref());
        Ok(Zeroizing::new(hex::encode(&*bytes)))
    }

    /// Signature and message in one, as NaCl's `crypto_sign` makes it, in hexadecimal digits.
    pub(super) fn sign(&self, message: &[u8]) -> String {
        let mut signed = self.0.sign(message).as_ref().to_vec();
        signed.extend_from_slice(message);
        hex::encode(signed)
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = 4 * HALF;
        if text.len() == 2 * HALF && hex::decode(text).is_ok() {
            return Err(KeyError::Public);
        }
        let bytes = Zeroizing::new(hex::decode(text).map_err(|_| KeyError::Form { digits })?);
        if bytes.len() != 2 * HALF {
            return Err(KeyError::Form { digits });
        }
        let (seed, public) = bytes.split_at(HALF);
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
        pair.map(Self).map_err(|_| KeyError::Halves)
    }
}

/// Without the key: it must not get into a log.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

// === impl PublicKey ===

impl PublicKey {
    /// The message, if the key's owner signed it.
    pub(super) fn open(&self, signed: &str) -> Option<Vec<u8>> {
        let mut signature = hex::decode(signed).ok()?;
        if signature.len() < SIGNATURE {
            return None;
        }
        let message = signature.split_off(SIGNATURE);
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(&message, &signature).ok()?;
        Some(message)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = 2 * HALF;
        let bytes = hex::decode(text).map_err(|_| KeyError::Form { digits })?;
        if bytes.len() == 2 * HALF {
            return Err(KeyError::Private);
        }
        let bytes = bytes.try_into().map_err(|_| KeyError::Form { digits })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1: seed, public key, message and signature of tests 1 to 3.
    const VECTORS: [[&str; 4]; 3] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
    ];

    #[test]
    fn what_is_signed_is_as_the_rfc_has_it() {
        for [seed, public, message, signature] in VECTORS {
            let key: SigningKey = format!("{seed}{public}").parse().unwrap();
            assert_eq!(key.public().to_string(), public);
            assert_eq!(key.reveal().unwrap().as_str(), format!("{seed}{public}"));
            let message = hex::decode(message).unwrap();
            let signed = key.sign(&message);
            assert_eq!(signed, format!("{signature}{}", hex::encode(&message)));
            assert_eq!(key.public().open(&signed), Some(message));
        }
    }

    #[test]
    fn nothing_else_opens() {
        let key = SigningKey::generate().unwrap();
        let signed = key.sign(b"1,w");
        let other = SigningKey::generate().unwrap();
        assert_eq!(other.public().open(&signed), None);
        for at in [0, 64, 128, signed.len() - 1] {
            let mut forged = signed.clone().into_bytes();
            forged[at] = if forged[at] == b'0' { b'1' } else { b'0' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(key.public().open(&forged), None, "{at}");
        }
        for odd in ["", "zz", &signed[..127], &signed[..100]] {
            assert_eq!(key.public().open(odd), None);
        }
    }

    #[test]
    fn a_key_in_the_wrong_place_is_told_and_not_shown() {
        let key = SigningKey::generate().unwrap();
        let private = key.reveal().unwrap();
        let public = key.public().to_string();
        assert_eq!(private.parse::<PublicKey>(), Err(KeyError::Private));
        assert_eq!(public.parse::<SigningKey>().err(), Some(KeyError::Public));
        let halves = format!("{}{}", &private[..64], "0".repeat(64));
        assert_eq!(halves.parse::<SigningKey>().err(), Some(KeyError::Halves));
        for odd in ["", "12", "x", &private[1..]] {
            assert!(matches!(
                odd.parse::<SigningKey>(),
                Err(KeyError::Form { .. })
            ));
            assert!(matches!(
                odd.parse::<PublicKey>(),
                Err(KeyError::Form { .. })
            ));
        }
        assert!(!format!("{key:?}").contains(&private[..64]));
    }
}
