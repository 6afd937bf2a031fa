-- The table of the customer_sessions pipeline: one row a customer and session.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.
--
-- A row is written again when its session grows, and deleted when its beginning moves: read with FINAL,
-- or the view below, which does.

CREATE TABLE IF NOT EXISTS customer_sessions
(
    -- The first transaction, and the last one plus the gap of 30 minutes.
    window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'),
    customer_id String,

    transactions UInt64,
    total Decimal(38, 9),
    session_start DateTime64(3, 'UTC') ALIAS window_start,
    session_end DateTime64(3, 'UTC') ALIAS window_end - INTERVAL 30 MINUTE,

    -- How many records are in the row, and how many of them came after the session's end.
    revision UInt64,
    late_count UInt64,
    -- 1: no record can change the row any more.
    is_final UInt8,
    -- 2 x revision + is_final: the fullest row wins.
    version UInt64,
    -- 1: the session begins earlier than this row says, or is part of another one.
    _deleted UInt8,
    processed_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(version, _deleted)
PARTITION BY toYYYYMM(window_start)
ORDER BY (window_start, customer_id);

CREATE VIEW IF NOT EXISTS customer_sessions_current AS
SELECT *, session_start, session_end FROM customer_sessions FINAL WHERE _deleted = 0;
