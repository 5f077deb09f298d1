use std::fmt;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use hob_model::TOKEN_PREFIX;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::StoreError;

/// Letters and digits that nobody mixes up when reading aloud: no `0`, `1`, `l`, `o`.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// 28 characters of 5 bits each make 140 bits.
const CHARACTERS: usize = 28;
/// A dash after so many, for the eye.
const GROUP: usize = 4;

/// Fewest characters of a password that somebody has thought up.
const SHORTEST: usize = 12;
/// Most bytes of one: longer ones are not even looked at when they are given.
const LONGEST: usize = 256;

/// The admin password in the clear: shown once, kept nowhere.
pub struct AdminPassword(Zeroizing<String>);

impl AdminPassword {
    /// Draws a new password from the system's random source.
    ///
    /// # Errors
    /// When the system has no random source.
    pub fn create() -> Result<Self, StoreError> {
        let mut random = Zeroizing::new([0_u8; CHARACTERS]);
        getrandom::fill(random.as_mut()).map_err(|error| StoreError::Crypto {
            action: "make a password",
            problem: error.to_string(),
        })?;
        let mut text = Zeroizing::new(String::with_capacity(CHARACTERS + CHARACTERS / GROUP));
        for (index, byte) in random.iter().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            // 32 divides 256: every character is equally likely.
            text.push(char::from(ALPHABET[usize::from(byte % 32)]));
        }
        Ok(Self(text))
    }

    /// Takes one that somebody has thought up.
    ///
    /// # Errors
    /// When it is too short, too long, or could be mistaken for something else.
    pub fn chosen(text: String) -> Result<Self, PasswordError> {
        let text = Zeroizing::new(text);
        if text.chars().count() < SHORTEST {
            return Err(PasswordError::Short);
        }
        if text.len() > LONGEST {
            return Err(PasswordError::Long);
        }
        if text.chars().any(char::is_control) {
            return Err(PasswordError::Control);
        }
        if text.starts_with(TOKEN_PREFIX) {
            return Err(PasswordError::Token);
        }
        Ok(Self(text))
    }

    /// The text to show.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What may be kept. Takes some 20 MiB and tens of milliseconds, by design.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn hash(&self) -> Result<AdminHash, StoreError> {
        // The default is argon2id with 19 MiB, two passes and one lane, as OWASP has it.
        let hash = Argon2::default().hash_password(self.0.as_bytes());
        hash.map(|hash| AdminHash(hash.to_string()))
            .map_err(|error| StoreError::Crypto {
                action: "hash the admin password",
                problem: error.to_string(),
            })
    }
}

/// Why a password was not taken. It is never part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// It is guessed too soon.
    #[error("the password is too short: use at least {SHORTEST} characters, or have one made")]
    Short,
    /// It would never be looked at.
    #[error("the password is too long: use at most {LONGEST} bytes")]
    Long,
    /// Nobody could type it, and most of these are mistakes.
    #[error("the password has a line end or another control character in it: leave that out")]
    Control,
    /// It would be taken for a token.
    #[error("the password must not begin with `{TOKEN_PREFIX}`, as tokens do")]
    Token,
}

impl fmt::Debug for AdminPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminPassword(…)")
    }
}

/// The argon2id hash of the admin password, as a PHC string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminHash(pub(crate) String);

impl AdminHash {
    /// Whether `given` is the password. Takes some 20 MiB and tens of milliseconds, by design:
    /// the caller bounds how many run at once.
    pub fn verify(&self, given: &[u8]) -> bool {
        PasswordHash::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(given, &hash).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_opens_its_hash() {
        let password = AdminPassword::create().expect("random source");
        let hash = password.hash().expect("memory");
        assert!(hash.0.starts_with("$argon2id$"), "{hash:?}");
        assert!(hash.verify(password.reveal().as_bytes()));
        assert!(!hash.verify(b"") && !hash.verify(b"admin"));
        assert!(!AdminHash("nonsense".into()).verify(b""));
    }

    #[test]
    fn a_chosen_password_is_long_enough_and_nothing_else() {
        let chosen = |text: &str| AdminPassword::chosen(text.to_owned()).map(drop);
        assert_eq!(chosen("correct horse"), Ok(()));
        assert_eq!(chosen("zwölf Zeiche"), Ok(()));
        assert_eq!(chosen("elf Zeichen"), Err(PasswordError::Short));
        assert_eq!(chosen(&"x".repeat(LONGEST)), Ok(()));
        assert_eq!(chosen(&"x".repeat(LONGEST + 1)), Err(PasswordError::Long));
        assert_eq!(chosen("correct horse\n"), Err(PasswordError::Control));
        assert_eq!(chosen("hob_0123456789"), Err(PasswordError::Token));
    }

    #[test]
    fn a_password_is_grouped_hidden_and_new_each_time() {
        let (one, two) = (AdminPassword::create(), AdminPassword::create());
        let (one, two) = (one.expect("random source"), two.expect("random source"));
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(one.reveal().split('-').count(), CHARACTERS / GROUP);
        assert!(!format!("{one:?}").contains(one.reveal()));
    }
}
