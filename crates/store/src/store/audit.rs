use rusqlite::{Row, params};

use super::Store;
use crate::StoreError;

/// Most changes that are kept. The oldest go first.
pub const AUDIT_MOST: u32 = 100_000;
/// Most of those that were refused or failed. They are counted apart, so that nobody who may do
/// little can push out what others did.
pub const AUDIT_REFUSED_MOST: u32 = 10_000;
/// From this status on a change was not made.
const REFUSED: u16 = 400;

/// A change that somebody made or tried to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When it ended: milliseconds since 1970.
    pub at: i64,
    /// Who: `admin`, `token:NAME`, `local:UID`.
    pub who: String,
    /// Whence: an address, or `local`.
    pub address: String,
    /// What: `function.deploy`.
    pub action: String,
    /// The name of what was changed; may be empty.
    pub target: String,
    /// How it went: a status of HTTP.
    pub status: u16,
}

/// Which changes are meant: those that are everything that is asked for.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Those that ended then or later: milliseconds since 1970.
    pub since: Option<i64>,
    /// Those by this one.
    pub who: Option<String>,
    /// Those with this word, or all whose word begins with it and a dot.
    pub action: Option<String>,
    /// Those of what is called this.
    pub target: Option<String>,
    /// The newest so many.
    pub limit: u32,
}

impl Store {
    /// Writes a change down, and forgets the oldest of its kind, made or refused, where there are too
    /// many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn note_change(&self, row: &AuditRow) -> Result<(), StoreError> {
        let most = match row.status < REFUSED {
            true => AUDIT_MOST,
            false => AUDIT_REFUSED_MOST,
        };
        self.note_within(row, most)
    }

    fn note_within(&self, row: &AuditRow, most: u32) -> Result<(), StoreError> {
        self.with(|connection| {
            let transaction = connection.unchecked_transaction()?;
            transaction.execute(
                "INSERT INTO audit (at, who, address, action, target, status)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    row.at,
                    row.who,
                    row.address,
                    row.action,
                    row.target,
                    row.status
                ],
            )?;
            // By the index `audit_kind`: as it is written there.
            transaction.execute(
                "DELETE FROM audit WHERE (status >= 400) = ?1 AND seq <= (
                     SELECT seq FROM audit WHERE (status >= 400) = ?1
                     ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
                params![row.status >= REFUSED, most],
            )?;
            transaction.commit()
        })
    }

    /// The changes that are meant, the newest last.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn changes(&self, filter: &AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
        let mut rows: Vec<AuditRow> = self.with(|connection| {
            connection
                .prepare(
                    "SELECT at, who, address, action, target, status FROM audit
                     WHERE (?1 IS NULL OR at >= ?1) AND (?2 IS NULL OR who = ?2)
                       AND (?3 IS NULL OR action = ?3 OR substr(action, 1, length(?3) + 1) = ?3 || '.')
                       AND (?4 IS NULL OR target = ?4)
                     ORDER BY seq DESC LIMIT ?5",
                )?
                .query_map(
                    params![
                        filter.since,
                        filter.who,
                        filter.action,
                        filter.target,
                        filter.limit
                    ],
                    read,
                )?
                .collect()
        })?;
        rows.reverse();
        Ok(rows)
    }

    /// Forgets what ended before `time`, in milliseconds since 1970; returns how much that was.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn forget_changes(&self, time: i64) -> Result<usize, StoreError> {
        self.with(|connection| connection.execute("DELETE FROM audit WHERE at < ?1", [time]))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    Ok(AuditRow {
        at: row.get(0)?,
        who: row.get(1)?,
        address: row.get(2)?,
        action: row.get(3)?,
        target: row.get(4)?,
        status: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: i64) -> AuditRow {
        AuditRow {
            at,
            who: "admin".into(),
            address: "local".into(),
            action: "function.deploy".into(),
            target: "hello".into(),
            status: 200,
        }
    }

    fn all() -> AuditFilter {
        AuditFilter {
            limit: 10,
            ..AuditFilter::default()
        }
    }

    #[test]
    fn the_newest_come_last_and_only_those_that_are_meant() {
        let data = tempfile::tempdir().expect("tempdir");
        let store = Store::open(data.path()).expect("opens");
        let others = [
            AuditRow {
                who: "token:ci".into(),
                ..row(2)
            },
            AuditRow {
                action: "functional".into(),
                ..row(3)
            },
            AuditRow {
                target: "other".into(),
                ..row(4)
            },
        ];
        for row in [row(1)].iter().chain(&others) {
            store.note_change(row).expect("noted");
        }
        let times = |filter: AuditFilter| {
            let rows = store.changes(&filter).expect("reads");
            rows.into_iter().map(|row| row.at).collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(times(all()), [1, 2, 3, 4]);
        assert_eq!(times(AuditFilter { limit: 2, ..all() }), [3, 4]);
        let since = AuditFilter {
            since: Some(3),
            ..all()
        };
        assert_eq!(times(since), [3, 4]);
        let who = AuditFilter {
            who: text("token:ci"),
            ..all()
        };
        assert_eq!(times(who), [2]);
        let target = AuditFilter {
            target: text("other"),
            ..all()
        };
        assert_eq!(times(target), [4]);
        for (action, expected) in [
            ("function.deploy", &[1, 2, 4][..]),
            ("function", &[1, 2, 4]),
            ("functional", &[3]),
            ("func", &[]),
            ("function%", &[]),
        ] {
            let action = AuditFilter {
                action: text(action),
                ..all()
            };
            assert_eq!(times(action), expected);
        }
        assert_eq!(store.changes(&all()).expect("reads")[0], row(1));
    }

    #[test]
    fn the_oldest_go_by_their_age_and_by_their_number() {
        let data = tempfile::tempdir().expect("tempdir");
        let store = Store::open(data.path()).expect("opens");
        for at in 1..=4 {
            store.note_change(&row(at)).expect("noted");
        }
        assert_eq!(store.forget_changes(3).expect("forgets"), 2);
        let times = || {
            let rows = store.changes(&all()).expect("reads");
            rows.into_iter().map(|row| row.at).collect::<Vec<_>>()
        };
        assert_eq!(times(), [3, 4]);
        for at in 5..=7 {
            store.note_within(&row(at), 3).expect("noted");
        }
        assert_eq!(times(), [5, 6, 7]);
    }

    #[test]
    fn what_is_refused_pushes_out_nothing_that_was_made() {
        let data = tempfile::tempdir().expect("tempdir");
        let store = Store::open(data.path()).expect("opens");
        let refused = |at| AuditRow {
            who: "token:narrow".into(),
            status: 403,
            ..row(at)
        };
        store.note_within(&row(1), 3).expect("noted");
        for at in 2..=9 {
            store.note_within(&refused(at), 3).expect("noted");
        }
        store.note_within(&row(10), 3).expect("noted");
        let rows = store.changes(&all()).expect("reads");
        let times: Vec<_> = rows.iter().map(|row| row.at).collect();
        assert_eq!(times, [1, 7, 8, 9, 10]);
        let plan: String = store
            .with(|connection| {
                let query = "EXPLAIN QUERY PLAN SELECT seq FROM audit WHERE (status >= 400) = 1
                     ORDER BY seq DESC LIMIT 1 OFFSET 3";
                connection.query_row(query, [], |row| row.get("detail"))
            })
            .expect("explained");
        assert!(plan.contains("audit_kind"), "{plan}");
    }
}
