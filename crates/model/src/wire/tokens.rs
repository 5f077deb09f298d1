use std::{fmt, time::SystemTime};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Label, Scope, Timespan};

/// A token that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its name, for lists and for the audit.
    pub name: Label,
    /// What it lets its bearer do; at least one.
    #[schema(min_items = 1)]
    pub scopes: Vec<Scope>,
    /// After how long it ends; else never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Timespan>,
}

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenSummary {
    /// Its name.
    pub name: String,
    /// What it lets its bearer do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    #[serde(with = "crate::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: SystemTime,
    /// When it ends, or has ended.
    #[serde(with = "crate::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<SystemTime>,
    /// When it was last used; after a crash this may be a minute behind.
    #[serde(with = "crate::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<SystemTime>,
}

/// A token that was just made. Its text is shown this once and kept nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MadeToken {
    /// What its bearer sends.
    pub token: String,
    /// All else.
    #[serde(flatten)]
    pub summary: TokenSummary,
}

/// A new admin password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The password, of 12 characters or more.
    #[schema(min_length = 12, max_length = 256)]
    pub password: String,
}

impl fmt::Debug for MadeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MadeToken({:?})", self.summary)
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewPassword(…)")
    }
}
