use std::time::SystemTime;

use hob_model::openfaas::FunctionNamespace;
use rusqlite::{OptionalExtension, Row, params};
use serde_json as json;

use super::{Store, function::to_text};
use crate::StoreError;

impl Store {
    /// Keeps `namespace`, in place of the one of its name.
    ///
    /// # Errors
    /// When the database cannot be written; then it is as it was.
    pub fn put_namespace(&self, namespace: &FunctionNamespace) -> Result<(), StoreError> {
        // Texts only: this always is JSON.
        let labels = json::to_string(&namespace.labels).unwrap_or_default();
        let annotations = json::to_string(&namespace.annotations).unwrap_or_default();
        self.with(|connection| {
            connection.execute(
                "INSERT INTO namespaces (name, labels, annotations, created_at)
                 VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET
                     labels = excluded.labels, annotations = excluded.annotations",
                params![
                    namespace.name,
                    labels,
                    annotations,
                    to_text(SystemTime::now())
                ],
            )
        })
        .map(drop)
    }

    /// The namespace called `name`, if somebody made it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn namespace(&self, name: &str) -> Result<Option<FunctionNamespace>, StoreError> {
        self.with(|connection| {
            connection
                .prepare("SELECT name, labels, annotations FROM namespaces WHERE name = ?1")?
                .query_row([name], read)
                .optional()
        })
    }

    /// The names of those that somebody made, sorted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn namespaces(&self) -> Result<Vec<String>, StoreError> {
        self.with(|connection| {
            connection
                .prepare("SELECT name FROM namespaces ORDER BY name")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
    }

    /// Forgets the namespace called `name`; false when nobody made it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remove_namespace(&self, name: &str) -> Result<bool, StoreError> {
        let changed = self.with(|connection| {
            connection.execute("DELETE FROM namespaces WHERE name = ?1", [name])
        })?;
        Ok(changed > 0)
    }
}

/// Words that somebody damaged by hand count as none.
fn read(row: &Row<'_>) -> rusqlite::Result<FunctionNamespace> {
    let words = |index| -> rusqlite::Result<_> {
        let text: String = row.get(index)?;
        Ok(json::from_str(&text).unwrap_or_default())
    };
    Ok(FunctionNamespace {
        name: row.get(0)?,
        labels: words(1)?,
        annotations: words(2)?,
    })
}
