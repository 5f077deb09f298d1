use std::path::Path;

use rusqlite::Connection;

use crate::StoreError;

/// Each brings the database from the schema of its index to the next. Released ones never change.
const MIGRATIONS: [&str; 7] = [
    include_str!("../../migrations/1.sql"),
    include_str!("../../migrations/2.sql"),
    include_str!("../../migrations/3.sql"),
    include_str!("../../migrations/4.sql"),
    include_str!("../../migrations/5.sql"),
    include_str!("../../migrations/6.sql"),
    include_str!("../../migrations/7.sql"),
];

/// Brings the database to the schema that this hob works with.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let known = MIGRATIONS.len() as i64;
    let sql = |error| StoreError::sql(path, error);
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(sql)?;
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for version in found.max(0)..known {
        step(connection, version).map_err(sql)?;
    }
    Ok(())
}

/// All or nothing: SQLite rolls `user_version` back with the rest.
fn step(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(MIGRATIONS[version as usize])?;
    transaction.pragma_update(None, "user_version", version + 1)?;
    transaction.commit()
}
