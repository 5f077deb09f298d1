use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use hob_model::TOKEN_PREFIX;
use http::HeaderValue;
use serde::{Deserialize, Serialize};

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
