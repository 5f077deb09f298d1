use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hob_model::TOKEN_PREFIX;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::exit::Failure;

/// The user whom the admin password is of.
pub(crate) const ADMIN: &str = "admin";

/// Who asks, and how that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Login {
    /// A user with a password.
    Password {
        /// The user's name.
        username: String,
        /// The password.
        password: Hidden,
    },
    /// Whoever has the token.
    Token {
        /// The token.
        token: Hidden,
    },
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hidden(pub(crate) String);

impl Login {
    /// What `secret` is: tokens are known by how they begin, everything else is a password, and
    /// whatever comes with the name of a user.
    pub(crate) fn of(username: Option<&str>, secret: String) -> Self {
        match username {
            None if secret.starts_with(TOKEN_PREFIX) => Self::Token {
                token: Hidden(secret),
            },
            username => Self::Password {
                username: username.unwrap_or(ADMIN).to_owned(),
                password: Hidden(secret),
            },
        }
    }

    /// Cuts `USER:PASSWORD@` out of `url`, so that nothing that is told of the rest tells of it.
    ///
    /// # Errors
    /// A usage failure when one of the two is missing.
    pub(crate) fn cut_from(url: &str) -> Result<(String, Option<Self>), Failure> {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (format!("{scheme}://"), rest),
            None => (String::new(), url),
        };
        // A password may have an `@` of its own.
        let Some((login, place)) = rest.rsplit_once('@') else {
            return Ok((url.to_owned(), None));
        };
        let place = format!("{scheme}{place}");
        let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        match login.split_once(':') {
            Some((user, password)) if !user.is_empty() && !password.is_empty() => {
                let login = Self::of(Some(&decode(user)), decode(password));
                Ok((place, Some(login)))
            }
            _ => Err(Failure::usage(format!(
                "server `{place}`: before the `@` write USER:PASSWORD, or leave it out and set HOB_PASSWORD"
            ))),
        }
    }

    /// The user's name, or `a token`.
    pub(crate) fn user(&self) -> &str {
        match self {
            Self::Password { username, .. } => username,
            Self::Token { .. } => "a token",
        }
    }

    /// As it stands in an `Authorization` header; `None` when no header can hold it.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let text = match self {
            Self::Password { username, password } => {
                let pair = format!("{username}:{}", password.0);
                format!("Basic {}", BASE64_STANDARD.encode(pair))
            }
            Self::Token { token } => format!("Bearer {}", token.0),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_cut_out_of_the_url() {
        let admin = Some("Basic YWRtaW46cEB3OngvIA==");
        for (url, place, header) in [
            ("http://box.lan:1", "http://box.lan:1", None),
            (
                "http://admin:p@w:x%2F%20@box.lan:1",
                "http://box.lan:1",
                admin,
            ),
            ("admin:p%40w%3Ax%2f%20@[::1]:1", "[::1]:1", admin),
        ] {
            let (rest, login) = Login::cut_from(url).expect(url);
            assert_eq!(rest, place);
            let found = login.as_ref().and_then(Login::header);
            assert_eq!(found.as_ref().and_then(|it| it.to_str().ok()), header);
            assert!(!format!("{login:?}").contains("p@w"));
        }
        for url in [
            "http://secret@box.lan",
            "http://:secret@box.lan",
            "http://secret:@box.lan",
        ] {
            let error = Login::cut_from(url).expect_err(url).to_string();
            assert!(
                error.contains("box.lan") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
