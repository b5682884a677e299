-- Retention. `first` is how many of a stream's first records were removed: its snapshot stands for them, and stays.
ALTER TABLE streams ADD COLUMN first INTEGER NOT NULL DEFAULT 0 CHECK (first >= 0);

-- The highest number over all streams among the removed records: up to it some are missing, after it none.
CREATE TABLE removed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    global INTEGER NOT NULL CHECK (global >= 0)
) STRICT;
INSERT INTO removed (one, global) VALUES (1, 0);

DROP TRIGGER records_never_go;

CREATE TRIGGER records_never_go BEFORE DELETE ON records
WHEN old.seq > (SELECT first FROM streams WHERE id = old.stream)
BEGIN SELECT RAISE(ABORT, 'records are never removed unless a snapshot stands for them'); END;

CREATE TRIGGER first_only_grows BEFORE UPDATE OF first ON streams
WHEN new.first < old.first OR new.first > coalesce((SELECT seq FROM snapshots WHERE stream = old.id), 0)
BEGIN SELECT RAISE(ABORT, 'records are never removed unless a snapshot stands for them'); END;

CREATE TRIGGER snapshots_stay BEFORE DELETE ON snapshots
WHEN (SELECT first FROM streams WHERE id = old.stream) > 0
BEGIN SELECT RAISE(ABORT, 'this snapshot stands for records that were removed'); END;
