use std::{fmt, str::FromStr, sync::Arc, time::SystemTime};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::FunctionName;

/// What begins every token's text, so that people and scanners of leaks know it.
pub const TOKEN_PREFIX: &str = "hob_";

/// What a token lets its bearer do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Look at functions, their logs, revisions, images, calls and schedules.
    FunctionsRead,
    /// Deploy, remove and change them as well.
    FunctionsWrite,
    /// Set and remove secrets, and see their names.
    SecretsWrite,
    /// Call this function where it asks for a token; `None` means every function.
    Invoke(Option<FunctionName>),
    /// Everything.
    Admin,
}

/// A token that holds, as far as its bearer's rights go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What its maker called it.
    pub name: Box<str>,
    /// What it lets its bearer do.
    pub scopes: Vec<Scope>,
    /// When it ends, if it does.
    pub expires: Option<SystemTime>,
}

impl Token {
    /// Whether its bearer may do what `scope` lets do.
    pub fn allows(&self, scope: &Scope) -> bool {
        self.scopes.iter().any(|own| own.covers(scope))
    }
}

/// Why a text is no [`Scope`].
#[derive(Debug, Clone, Error)]
#[error(
    "`{0}` is no scope: write `functions:read`, `functions:write`, `secrets:write`, `invoke:NAME`, `invoke:*` or `admin`"
)]
pub struct ScopeError(String);

impl Scope {
    /// Whether who has this has `other` as well.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Admin, _)
            | (Self::FunctionsWrite, Self::FunctionsRead)
            | (Self::Invoke(None), Self::Invoke(_)) => true,
            _ => self == other,
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        match (text, text.strip_prefix("invoke:")) {
            ("functions:read", _) => Ok(Self::FunctionsRead),
            ("functions:write", _) => Ok(Self::FunctionsWrite),
            ("secrets:write", _) => Ok(Self::SecretsWrite),
            ("admin", _) => Ok(Self::Admin),
            (_, Some("*")) => Ok(Self::Invoke(None)),
            (_, Some(name)) => match name.parse() {
                Ok(name) => Ok(Self::Invoke(Some(name))),
                Err(_) => Err(ScopeError(text.to_owned())),
            },
            _ => Err(ScopeError(text.to_owned())),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FunctionsRead => f.write_str("functions:read"),
            Self::FunctionsWrite => f.write_str("functions:write"),
            Self::SecretsWrite => f.write_str("secrets:write"),
            Self::Invoke(Some(function)) => write!(f, "invoke:{function}"),
            Self::Invoke(None) => f.write_str("invoke:*"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, ScopeError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

/// Knows the tokens of this server, in memory: the data plane asks on every call that needs one.
pub trait Tokens: Send + Sync {
    /// Whose token this is, if it holds; notes that it was used. Never blocks.
    fn find(&self, text: &str) -> Option<Arc<Token>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_what_is_narrower() {
        let scope = |text: &str| text.parse::<Scope>().expect(text);
        for (wide, narrow) in [
            ("admin", "secrets:write"),
            ("functions:write", "functions:read"),
            ("invoke:*", "invoke:hello"),
            ("invoke:hello", "invoke:hello.openfaas-fn"),
        ] {
            assert!(scope(wide).covers(&scope(narrow)), "{wide} {narrow}");
        }
        for (one, other) in [
            ("functions:read", "functions:write"),
            ("functions:write", "secrets:write"),
            ("invoke:hello", "invoke:other"),
            ("invoke:hello", "invoke:*"),
            ("secrets:write", "functions:read"),
        ] {
            assert!(!scope(one).covers(&scope(other)), "{one} {other}");
        }
        for text in ["", "read", "invoke:", "invoke:../x", "Admin"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        assert_eq!(scope("invoke:a.b").to_string(), "invoke:a.b");
    }
}
