//! What the API is asked with.

use std::{fmt, fs::File, io::Read, os::unix::fs::PermissionsExt, path::Path};

use reqwest::header::HeaderValue;

use super::FlyError;

/// Longest token file, in bytes. Tokens of organisations with many rules are some kilobytes.
const LARGEST: u64 = 64 << 10;
/// Permissions of others, of which its file must have none.
const OTHERS: u32 = 0o077;
/// The schemes that Fly's tokens are given out with.
const SCHEMES: [&str; 2] = ["FlyV1 ", "Bearer "];

/// A token of Fly. It is never shown.
#[derive(Clone)]
pub struct FlyToken(HeaderValue);

// === impl FlyToken ===

impl FlyToken {
    /// The one in a file.
    ///
    /// # Errors
    /// There is none, it cannot be read, or others can use it too.
    pub fn from_file(path: &Path) -> Result<Self, FlyError> {
        let problem = |problem: String| FlyError::TokenFile {
            path: path.to_owned(),
            problem,
        };
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (about, file) = opened.map_err(|error| problem(error.to_string()))?;
        if !about.is_file() || about.len() > LARGEST {
            return Err(problem("it is no file of a token's size".into()));
        }
        if about.permissions().mode() & OTHERS != 0 {
            let cure = format!("others can use it: `chmod 600 {}`", path.display());
            return Err(problem(cure));
        }
        let mut text = String::new();
        let read = file.take(LARGEST).read_to_string(&mut text);
        read.map_err(|error| problem(error.to_string()))?;
        Self::new(&text).map_err(|_| problem("it holds no token".into()))
    }

    /// One that was handed over. A bare one is sent as `Bearer`, one with its scheme as it is.
    ///
    /// # Errors
    /// It cannot be one.
    pub fn new(text: &str) -> Result<Self, FlyError> {
        let text = text.trim();
        let bare = !SCHEMES.iter().any(|scheme| text.starts_with(scheme));
        let field = match bare {
            true => format!("Bearer {text}"),
            false => text.to_owned(),
        };
        let mut field = HeaderValue::from_str(&field).map_err(|_| FlyError::Token)?;
        if text.is_empty() {
            return Err(FlyError::Token);
        }
        field.set_sensitive(true);
        Ok(Self(field))
    }

    /// For the field `Authorization`.
    pub(super) fn field(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for FlyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlyToken")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_token_is_sent_with_its_scheme_and_never_shown() {
        let field = |text: &str| {
            let token = FlyToken::new(text).unwrap();
            assert_eq!(format!("{token:?}"), "FlyToken");
            assert!(token.field().is_sensitive());
            token.field().to_str().unwrap().to_owned()
        };
        assert_eq!(field("abc\n"), "Bearer abc");
        assert_eq!(field("FlyV1 fm2_abc,fm2_def"), "FlyV1 fm2_abc,fm2_def");
        assert_eq!(field("Bearer abc"), "Bearer abc");
        assert!(FlyToken::new(" \n").is_err());
        assert!(FlyToken::new("a\nb").is_err());
    }

    #[test]
    fn a_file_without_a_token_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let missing = FlyToken::from_file(&path).unwrap_err().to_string();
        assert!(missing.contains("token"), "{missing}");
        let modes = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&path, "\n").unwrap();
        modes(0o600);
        let empty = FlyToken::from_file(&path).unwrap_err().to_string();
        assert!(empty.contains("holds no token"), "{empty}");
        assert!(FlyToken::from_file(folder.path()).is_err());
        fs::write(&path, "abc\n").unwrap();
        assert!(FlyToken::from_file(&path).is_ok());
        modes(0o640);
        let open = FlyToken::from_file(&path).unwrap_err().to_string();
        assert!(open.contains("chmod 600"), "{open}");
    }
}
