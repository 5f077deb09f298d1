-- The revisions of each function that a rollback can bring back. The row in functions stays whole,
-- so that one row shows what runs; `number` says which of these it is.
CREATE TABLE revisions (
    namespace   TEXT NOT NULL,
    function    TEXT NOT NULL,
    number      INTEGER NOT NULL, -- 1 is the first deploy of that name; it only grows
    digest      TEXT NOT NULL,
    bundle      TEXT NOT NULL,
    language    TEXT NOT NULL,
    run         TEXT NOT NULL,    -- JSON
    settings    TEXT NOT NULL,    -- JSON
    built_at    TEXT NOT NULL,
    deployed_at TEXT NOT NULL,
    PRIMARY KEY (namespace, function, number)
) STRICT, WITHOUT ROWID;

ALTER TABLE functions ADD COLUMN number INTEGER NOT NULL DEFAULT 1;
INSERT INTO revisions
    SELECT namespace, name, number, digest, bundle, language, run, settings, built_at, updated_at
    FROM functions;

-- Bundles of functions that were removed a moment ago: clients that replace a function remove it
-- first, and name its bundle after that.
CREATE TABLE removed_bundles (
    bundle     TEXT NOT NULL PRIMARY KEY,
    removed_at INTEGER NOT NULL -- milliseconds since 1970
) STRICT, WITHOUT ROWID;
