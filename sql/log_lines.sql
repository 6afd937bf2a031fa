-- The table of examples/logs.toml: one row for each line.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.

CREATE TABLE IF NOT EXISTS log_lines
(
    logged_at DateTime64(3, 'UTC'),
    level LowCardinality(String),
    service LowCardinality(String),
    message String,
    line String,

    quality_passed UInt8,
    quality_failed Array(LowCardinality(String)),

    -- Where the line came from. Exactly-once looks here before it writes a range again.
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,

    -- Looking for a range of offsets after a failure reads little.
    INDEX _offset_minmax _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(logged_at)
ORDER BY (service, logged_at)
-- The server recognises a repeated insert by its token as long as the token is among the last ones it
-- keeps. One token is kept for every part an insert makes: batches times months touched.
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS log_levels_1min AS
SELECT toStartOfMinute(logged_at) AS minute, service, level, count() AS lines
FROM log_lines
GROUP BY minute, service, level;

CREATE VIEW IF NOT EXISTS log_errors_1min AS
SELECT
    toStartOfMinute(logged_at) AS minute,
    service,
    count() AS lines,
    countIf(level IN ('ERROR', 'FATAL')) AS errors,
    errors / lines AS error_ratio
FROM log_lines
GROUP BY minute, service;
