-- Who changed what: one row for each change through the API of the last 90 days, the newest 100,000 of
-- those that were made and the newest 10,000 of the others.
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order in which the changes ended; no number twice
    at      INTEGER NOT NULL,                  -- milliseconds since 1970
    who     TEXT NOT NULL,                     -- admin, token:NAME, local:UID
    address TEXT NOT NULL,                     -- whence, or `local`
    action  TEXT NOT NULL,                     -- function.deploy
    target  TEXT NOT NULL,                     -- the name of what was changed, or nothing
    status  INTEGER NOT NULL                   -- how it went, as HTTP says it
) STRICT;
CREATE INDEX audit_kind ON audit (status >= 400, seq);
