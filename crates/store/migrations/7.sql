-- Addresses that are shut out. Times are milliseconds since 1970.
CREATE TABLE bans (
    address TEXT NOT NULL PRIMARY KEY, -- 203.0.113.9 or 2001:db8::/64
    since   INTEGER NOT NULL,
    until   INTEGER,                   -- NULL: until somebody lifts it
    reason  TEXT NOT NULL,
    by_hand INTEGER NOT NULL,          -- 1: by the owner, 0: by what the address did
    times   INTEGER NOT NULL           -- how many bans followed each other
) STRICT, WITHOUT ROWID;
