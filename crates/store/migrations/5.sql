-- What lets programs log in. Of a token's text only the hash is here: it has 256 random bits, which
-- nobody finds by trying, so that nothing slower than SHA-256 is needed.
CREATE TABLE tokens (
    name       TEXT NOT NULL PRIMARY KEY,
    hash       BLOB NOT NULL UNIQUE, -- SHA-256 of the text
    scopes     TEXT NOT NULL,        -- JSON: ["functions:read"]
    created_at INTEGER NOT NULL,     -- milliseconds since 1970, as all times here
    expires_at INTEGER,
    used_at    INTEGER               -- about: written down once a minute
) STRICT, WITHOUT ROWID;
