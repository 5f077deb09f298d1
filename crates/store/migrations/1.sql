-- Times are RFC 3339 in UTC; settings and run are JSON, as `hob describe -o json` shows them.
CREATE TABLE functions (
    namespace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    digest     TEXT NOT NULL,
    language   TEXT NOT NULL,
    replicas   INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    built_at   TEXT NOT NULL,
    run        TEXT NOT NULL,
    settings   TEXT NOT NULL,
    PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;

-- One row for each thing that the server itself must remember.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
