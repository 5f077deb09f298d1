use std::time::SystemTime;

use hob_model::{AddressRange, Ban, BanOrigin};
use rusqlite::{Row, params};

use super::Store;
use crate::{
    StoreError,
    clock::{system_time, unix_time},
};

/// Most bans by conduct that are kept, ended or not: those that end first go. Twice as many as there
/// can be at a time.
const BY_CONDUCT_MOST: u32 = 100_000;

impl Store {
    /// Every ban, those that have ended too.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn bans(&self) -> Result<Vec<Ban>, StoreError> {
        let rows: Vec<Option<Ban>> = self.with(|connection| {
            connection
                .prepare("SELECT address, since, until, reason, by_hand, times FROM bans")?
                .query_map([], read)?
                .collect()
        })?;
        // An address that somebody damaged by hand is nobody's.
        Ok(rows.into_iter().flatten().collect())
    }

    /// Keeps these, and forgets those that had ended by `before`.
    ///
    /// # Errors
    /// When the database cannot be written; then it is as it was.
    pub fn put_bans(&self, bans: &[Ban], before: SystemTime) -> Result<(), StoreError> {
        self.with(|connection| {
            let transaction = connection.unchecked_transaction()?;
            transaction.execute("DELETE FROM bans WHERE until <= ?1", [unix_time(before)])?;
            let mut insert = transaction.prepare(
                "INSERT OR REPLACE INTO bans (address, since, until, reason, by_hand, times)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for ban in bans {
                insert.execute(params![
                    ban.address.to_string(),
                    unix_time(ban.since),
                    ban.until.map(unix_time),
                    ban.reason,
                    ban.origin == BanOrigin::Hand,
                    ban.times,
                ])?;
            }
            drop(insert);
            transaction.execute(
                "DELETE FROM bans WHERE by_hand = 0 AND address IN (
                     SELECT address FROM bans WHERE by_hand = 0 ORDER BY until DESC LIMIT -1 OFFSET ?1)",
                [BY_CONDUCT_MOST],
            )?;
            transaction.commit()
        })
    }

    /// Forgets a ban.
    ///
    /// # Errors
    /// When the database cannot be written; then it is as it was.
    pub fn remove_ban(&self, address: &AddressRange) -> Result<(), StoreError> {
        self.with(|connection| {
            connection.execute("DELETE FROM bans WHERE address = ?1", [address.to_string()])
        })
        .map(drop)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<Ban>> {
    let Ok(address) = row.get::<_, String>(0)?.parse() else {
        return Ok(None);
    };
    let by_hand: bool = row.get(4)?;
    Ok(Some(Ban {
        address,
        since: system_time(row.get(1)?),
        until: row.get::<_, Option<i64>>(2)?.map(system_time),
        reason: row.get(3)?,
        origin: match by_hand {
            true => BanOrigin::Hand,
            false => BanOrigin::Conduct,
        },
        times: row.get(5)?,
    }))
}
