//! Secrets of a build, sealed by whoever asks for it with the builder's public key: each value in
//! a box of NaCl's (X25519, XSalsa20, Poly1305), in a small YAML file.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use crypto_box::{PublicKey, SalsaBox, SecretKey, aead::Aead};
use hob_model::port::SecretBytes;
use thiserror::Error;

/// How the files call what is done here.
pub(crate) const ALGORITHM: &str = "nacl/box";
/// The only format there is.
const VERSION: &str = "v1";
/// Letters of a public key that name it.
const KEY_ID: usize = 8;
/// Bytes before the sealed ones.
const NONCE: usize = 24;
/// Most secrets of a build.
const MAX_SECRETS: usize = 64;
/// Longest name of a secret.
const MAX_NAME: usize = 128;

/// The key that secrets are sealed for.
pub(crate) struct KeyPair(SecretKey);

/// Why nothing of a file is used. Nothing of a value is in it.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum SealedError {
    /// No YAML that hob reads: keys and plain values, a line each.
    #[error("line {0} of the sealed secrets is not `name: value`")]
    Line(usize),
    /// A field has a value that hob does not know.
    #[error("the sealed secrets say {field} `{found}`, and hob knows only `{known}`")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it may say.
        known: &'static str,
    },
    /// For somebody else, or for a key that is gone.
    #[error("the secrets are sealed for key `{found}`, and this is `{own}`: get /publickey again")]
    OtherKey {
        /// The key's name in the file.
        found: String,
        /// The name of the builder's own.
        own: String,
    },
    /// No key that anything could be sealed with.
    #[error("public_key of the sealed secrets is no base64 of 32 bytes")]
    PublicKey,
    /// A name that no step of a Dockerfile could use.
    #[error("build secret `{0}` must be called by letters, digits, `-`, `_` and `.`")]
    Name(String),
    /// A bound is passed.
    #[error("a build has at most {MAX_SECRETS} secrets")]
    TooMany,
    /// It was changed on its way, or sealed for another key.
    #[error("build secret `{0}` cannot be opened: seal it again with the key of /publickey")]
    Closed(String),
}

/// The file, as far as hob reads it.
#[derive(Debug, Default)]
struct Envelope<'a> {
    fields: BTreeMap<&'a str, &'a str>,
    secrets: BTreeMap<&'a str, &'a str>,
}

// === impl KeyPair ===

impl KeyPair {
    /// A new one.
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = zeroize::Zeroizing::new([0; crypto_box::KEY_SIZE]);
        getrandom::fill(&mut bytes[..])?;
        Ok(Self(SecretKey::from_bytes(*bytes)))
    }

    /// From its secret half in base64.
    pub(crate) fn read(text: &SecretBytes) -> Option<Self> {
        let bytes = STANDARD.decode(text.expose().trim_ascii()).ok()?;
        let bytes = SecretBytes::new(bytes);
        SecretKey::from_slice(bytes.expose()).ok().map(Self)
    }

    /// Its secret half in base64.
    pub(crate) fn text(&self) -> SecretBytes {
        let bytes = SecretBytes::new(self.0.to_bytes().to_vec());
        SecretBytes::new(STANDARD.encode(bytes.expose()).into_bytes())
    }

    /// The other half, in base64.
    pub(crate) fn public_key(&self) -> String {
        STANDARD.encode(self.0.public_key().as_bytes())
    }

    /// What a public key is called.
    pub(crate) fn id(&self) -> String {
        self.public_key()[..KEY_ID].to_owned()
    }

    /// Opens every value of a file.
    ///
    /// # Errors
    /// When there is one that does not open, or the file is no such file.
    pub(crate) fn open(&self, file: &str) -> Result<BTreeMap<String, SecretBytes>, SealedError> {
        let envelope = Envelope::read(file)?;
        envelope.expect("version", VERSION)?;
        envelope.expect("algorithm", ALGORITHM)?;
        let own = self.id();
        match envelope.field("key_id") {
            found if found.is_empty() || found == own => {}
            found => {
                let found = found.to_owned();
                return Err(SealedError::OtherKey { found, own });
            }
        }
        let sender = STANDARD.decode(envelope.field("public_key")).ok();
        let sender = sender.and_then(|bytes| PublicKey::from_slice(&bytes).ok());
        let opener = SalsaBox::new(&sender.ok_or(SealedError::PublicKey)?, &self.0);
        if envelope.secrets.len() > MAX_SECRETS {
            return Err(SealedError::TooMany);
        }
        let secrets = envelope.secrets.into_iter();
        let opened = secrets.map(|(name, sealed)| {
            check_name(name)?;
            let value = open(&opener, sealed);
            let value = value.ok_or_else(|| SealedError::Closed(name.to_owned()))?;
            Ok((name.to_owned(), value))
        });
        opened.collect()
    }
}

fn open(opener: &SalsaBox, sealed: &str) -> Option<SecretBytes> {
    let bytes = STANDARD.decode(sealed).ok()?;
    let (nonce, sealed) = bytes.split_at_checked(NONCE)?;
    let value = opener.decrypt(nonce.into(), sealed).ok()?;
    Some(SecretBytes::new(value))
}

/// It becomes a part of an option of another program.
fn check_name(name: &str) -> Result<(), SealedError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match name.len() <= MAX_NAME && name.bytes().all(allowed) {
        true => Ok(()),
        false => Err(SealedError::Name(name.chars().take(MAX_NAME).collect())),
    }
}

// === impl Envelope ===

impl<'a> Envelope<'a> {
    /// Reads fields of one line, and one field with more of them below it. That is all that such
    /// files have; anchors, folded text and the like are no part of it.
    fn read(file: &'a str) -> Result<Self, SealedError> {
        let mut envelope = Self::default();
        let mut section = "";
        for (number, line) in (1..).zip(file.lines()) {
            let text = line.trim();
            if text.is_empty() || text.starts_with('#') || text == "---" {
                continue;
            }
            let pair = || {
                let (name, value) = text.split_once(':')?;
                let spaced = value.is_empty() || value.starts_with(' ');
                spaced.then_some((bare(name)?, bare(value.trim())?))
            };
            let (name, value) = pair().ok_or(SealedError::Line(number))?;
            let indented = line.starts_with(' ');
            let twice = match (indented, section) {
                (true, "secrets") if !value.is_empty() => envelope.secrets.insert(name, value),
                (true, "secrets") => return Err(SealedError::Line(number)),
                (true, _) => None,
                (false, _) => {
                    section = name;
                    envelope.fields.insert(name, value)
                }
            };
            if twice.is_some() {
                return Err(SealedError::Line(number));
            }
        }
        Ok(envelope)
    }

    fn field(&self, name: &str) -> &'a str {
        self.fields.get(name).copied().unwrap_or_default()
    }

    fn expect(&self, field: &'static str, known: &'static str) -> Result<(), SealedError> {
        let found = self.field(field);
        (found == known)
            .then_some(())
            .ok_or_else(|| SealedError::Unknown {
                field,
                found: found.chars().take(MAX_NAME).collect(),
                known,
            })
    }
}

/// Text without the quotes around it; with an escape in it it is none of ours.
fn bare(text: &str) -> Option<&str> {
    let quoted = ['"', '\''].into_iter().find(|mark| text.starts_with(*mark));
    let inside = match quoted {
        Some(mark) => text.strip_prefix(mark)?.strip_suffix(mark)?,
        None => text,
    };
    (!inside.contains(['"', '\'', '\\'])).then_some(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(byte: u8) -> KeyPair {
        KeyPair(SecretKey::from_bytes([byte; 32]))
    }

    /// As a client writes it.
    fn seal(own: &KeyPair, secrets: &[(&str, &[u8])]) -> String {
        let sender = SecretKey::from_bytes([9; 32]);
        let sealer = SalsaBox::new(&own.0.public_key(), &sender);
        let public = STANDARD.encode(sender.public_key().as_bytes());
        let id = own.id();
        let mut file = format!(
            "version: v1\nalgorithm: nacl/box\nkey_id: {id}\npublic_key: {public}\nsecrets:\n"
        );
        for (name, value) in secrets {
            let nonce = [7; NONCE];
            let mut sealed = nonce.to_vec();
            sealed.extend(sealer.encrypt(&nonce.into(), *value).expect("seals"));
            file.push_str(&format!("    {name}: {}\n", STANDARD.encode(sealed)));
        }
        file
    }

    #[test]
    fn what_is_sealed_is_opened_byte_for_byte() {
        let own = pair(1);
        let file = seal(&own, &[("api_key", b"Kwam\n\0"), ("\"123\"", b"")]);
        let opened = own.open(&file).expect("opens");
        assert_eq!(opened["api_key"].expose(), b"Kwam\n\0");
        assert_eq!(opened["123"].expose(), b"");
        let quoted = file
            .replace("v1", "\"v1\"")
            .replace("nacl/box", "'nacl/box'");
        let again = KeyPair::read(&own.text()).expect("a key");
        assert_eq!(again.open(&quoted).expect("opens").len(), 2);
    }

    #[test]
    fn a_box_of_another_library_is_opened() {
        // By golang.org/x/crypto/nacl/box and gopkg.in/yaml.v3.
        let file = r#"version: v1
algorithm: nacl/box
key_id: pOCSkrZR
public_key: N2v5+LsKsNBDW14+/OCW3WZyc2qhMZ9d4Ft3d032Oi0=
secrets:
    "123": upxxAPFyAwBTGwaVny2v0Al9hgrafFBZYZiE9qA1WiLzDeP/u6nxuOzw6c4=
    api_key: YyWkeMEOe+0kO3SczYCkFss1vMtvaJ649ExQvNbAfo/diROibNaW3OHEwpgX+PJcDskfGg==
"#;
        let opened = pair(1).open(file).expect("opens");
        assert_eq!(opened["123"].expose(), b"Lucy");
        assert_eq!(opened["api_key"].expose(), b"Mina Harker\n");
    }

    #[test]
    fn what_is_not_for_us_is_told_apart() {
        let own = pair(1);
        let file = seal(&own, &[("key", b"Kwam")]);
        let error = |file: &str| own.open(file).expect_err("an error").to_string();
        assert!(error(&seal(&pair(2), &[])).contains("get /publickey again"));
        let nameless = seal(&pair(2), &[("key", b"Kwam")]).replace("key_id", "other_id");
        assert!(error(&nameless).contains("build secret `key` cannot be opened"));
        assert!(error(&file.replace("v1", "v2")).contains("version `v2`"));
        assert!(error(&file.replace("/box", "/secretbox")).contains("`nacl/box`"));
        assert!(error(&file.replace("public_key: ", "public_key: A")).contains("32 bytes"));
        assert!(error(&file.replace(" key:", " a,b:")).contains("`a,b` must be called"));
        assert!(error(&file.replace(" key:", " key: >\n")).contains("line 7"));
        assert!(error("version: v1\nnonsense\n").contains("line 2"));
        assert!(error(&format!("{file}{}", file.lines().last().expect("one"))).contains("line 7"));
        assert!(error("").contains("version ``"));
        let many: Vec<_> = (0..=MAX_SECRETS).map(|number| number.to_string()).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        assert!(error(&seal(&own, &many)).contains("at most"));
    }
}
