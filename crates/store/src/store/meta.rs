use rusqlite::OptionalExtension;

use super::Store;
use crate::{AdminHash, AdminPassword, StoreError};

const ADMIN_HASH: &str = "admin_password_argon2id";

impl Store {
    /// The hash of the admin password, once there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn admin_password_hash(&self) -> Result<Option<AdminHash>, StoreError> {
        self.with(|connection| {
            connection
                .query_row(
                    "SELECT value FROM meta WHERE key = ?1",
                    [ADMIN_HASH],
                    |row| row.get(0).map(AdminHash),
                )
                .optional()
        })
    }

    /// Makes `hash` the one that counts.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn set_admin_password_hash(&self, hash: &AdminHash) -> Result<(), StoreError> {
        self.with(|connection| {
            connection.execute(
                "INSERT INTO meta (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [ADMIN_HASH, &hash.0],
            )
        })
        .map(drop)
    }

    /// Makes the admin password if there is none yet, and returns it for its one showing.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub fn ensure_admin_password(&self) -> Result<Option<AdminPassword>, StoreError> {
        if self.admin_password_hash()?.is_some() {
            return Ok(None);
        }
        let password = AdminPassword::create()?;
        self.set_admin_password_hash(&password.hash()?)?;
        Ok(Some(password))
    }
}
