use hob_model::Scope;
use rusqlite::{OptionalExtension, Row, params};
use serde_json as json;

use super::Store;
use crate::StoreError;

/// A token as it is kept. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// What its maker called it; no two have the same name.
    pub name: String,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
    /// What it lets its bearer do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: i64,
    /// When it ends, if it does.
    pub expires_at: Option<i64>,
    /// When it was last used, as far as that is written down.
    pub used_at: Option<i64>,
}

impl Store {
    /// All tokens, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        self.with(|connection| {
            connection
                .prepare(
                    "SELECT name, hash, scopes, created_at, expires_at, used_at
                     FROM tokens ORDER BY name",
                )?
                .query_map([], read)?
                .collect()
        })
    }

    /// Keeps a new token; false when there is one of its name.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn add_token(&self, token: &TokenRow) -> Result<bool, StoreError> {
        // Texts only: this always is JSON.
        let scopes = json::to_string(&token.scopes).unwrap_or_default();
        let added = self.with(|connection| {
            connection
                .query_row(
                    "INSERT INTO tokens (name, hash, scopes, created_at, expires_at, used_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO NOTHING RETURNING 1",
                    params![
                        token.name,
                        token.hash,
                        scopes,
                        token.created_at,
                        token.expires_at,
                        token.used_at
                    ],
                    |_| Ok(()),
                )
                .optional()
        })?;
        Ok(added.is_some())
    }

    /// Forgets the token called `name`; false when there is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remove_token(&self, name: &str) -> Result<bool, StoreError> {
        let changed = self
            .with(|connection| connection.execute("DELETE FROM tokens WHERE name = ?1", [name]))?;
        Ok(changed > 0)
    }

    /// Writes down when tokens were last used: hash and time of each. One that is gone is passed
    /// by.
    ///
    /// # Errors
    /// When the database cannot be written; then none of it is.
    pub fn note_token_uses(&self, uses: &[([u8; 32], i64)]) -> Result<(), StoreError> {
        self.with(|connection| {
            let transaction = connection.unchecked_transaction()?;
            {
                let mut update =
                    transaction.prepare("UPDATE tokens SET used_at = ?2 WHERE hash = ?1")?;
                for (hash, at) in uses {
                    update.execute(params![hash, at])?;
                }
            }
            transaction.commit()
        })
    }
}

/// Scopes that somebody damaged by hand count as none: such a token lets do nothing.
fn read(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    let scopes: String = row.get(2)?;
    Ok(TokenRow {
        name: row.get(0)?,
        hash: row.get(1)?,
        scopes: json::from_str(&scopes).unwrap_or_default(),
        created_at: row.get(3)?,
        expires_at: row.get(4)?,
        used_at: row.get(5)?,
    })
}
