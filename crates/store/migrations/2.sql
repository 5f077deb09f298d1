-- The folder in bundles/ that a revision runs: several revisions may differ in settings only.
ALTER TABLE functions ADD COLUMN bundle TEXT NOT NULL DEFAULT '';
UPDATE functions SET bundle = digest WHERE run ->> '$.image' IS NULL;

-- Namespaces that somebody made; those of functions exist without a row as well.
CREATE TABLE namespaces (
    name        TEXT NOT NULL PRIMARY KEY,
    labels      TEXT NOT NULL, -- JSON
    annotations TEXT NOT NULL, -- JSON
    created_at  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Asynchronous calls. Times are milliseconds since 1970, since they are compared.
CREATE TABLE calls (
    seq         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- the order in which they were taken
    id          TEXT NOT NULL,    -- X-Call-Id; the caller's own may come twice
    namespace   TEXT NOT NULL,
    function    TEXT NOT NULL,
    state       TEXT NOT NULL,    -- waiting, callback, done, dead
    taken_at    INTEGER NOT NULL,
    due_at      INTEGER NOT NULL, -- of the next attempt, of the call or of its callback
    ended_at    INTEGER,
    attempts    INTEGER NOT NULL DEFAULT 0,
    end         TEXT,             -- the last attempt's end reason
    status      INTEGER,          -- the last attempt's status code
    millis      INTEGER,          -- how long the last attempt took
    problem     TEXT,             -- why it failed, in words
    callback    TEXT,             -- where the answer goes
    callback_attempts INTEGER NOT NULL DEFAULT 0,
    callback_problem  TEXT,
    target      TEXT NOT NULL,    -- path and query behind the function's name
    headers     BLOB NOT NULL,    -- JSON, of the request
    answer      BLOB,             -- JSON, the fields of the answer
    result      BLOB,             -- the body of the answer
    body        BLOB NOT NULL
) STRICT;
CREATE INDEX calls_by_id ON calls (id);
CREATE INDEX calls_by_state ON calls (state, ended_at);

-- When each schedule of a function was last run.
CREATE TABLE schedules (
    namespace TEXT NOT NULL,
    function  TEXT NOT NULL,
    schedule  TEXT NOT NULL,      -- as it is shown: `CRON_TZ=Europe/Berlin 0 9 * * 1-5`
    since     INTEGER NOT NULL,   -- milliseconds since 1970: runs up to here are settled
    last_run  INTEGER,            -- milliseconds since 1970: the time that the last run was for
    last_call TEXT,               -- its call id
    PRIMARY KEY (namespace, function, schedule)
) STRICT, WITHOUT ROWID;
