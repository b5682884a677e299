-- Who held the journal, in order. The highest epoch is in force.
CREATE TABLE claims (
    epoch INTEGER PRIMARY KEY CHECK (epoch > 0),
    holder TEXT NOT NULL
) STRICT;

-- `events` is how many records the stream has: the loss of its last ones is seen by it.
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    events INTEGER NOT NULL CHECK (events >= 0)
) STRICT;

CREATE TABLE records (
    global INTEGER PRIMARY KEY CHECK (global > 0),
    stream INTEGER NOT NULL REFERENCES streams (id),
    seq INTEGER NOT NULL CHECK (seq > 0),
    epoch INTEGER NOT NULL REFERENCES claims (epoch),
    at TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 0),
    event TEXT NOT NULL,
    sum BLOB NOT NULL,
    UNIQUE (stream, seq)
) STRICT;

CREATE TRIGGER records_never_change BEFORE UPDATE ON records
BEGIN SELECT RAISE(ABORT, 'records are never changed'); END;

CREATE TRIGGER records_never_go BEFORE DELETE ON records
BEGIN SELECT RAISE(ABORT, 'records are never removed'); END;

CREATE TABLE snapshots (
    stream INTEGER PRIMARY KEY REFERENCES streams (id),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    version INTEGER NOT NULL CHECK (version >= 0),
    state TEXT NOT NULL,
    sum BLOB NOT NULL
) STRICT;

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    bytes BLOB NOT NULL,
    sum BLOB NOT NULL
) STRICT;
