-- The table of the device_minutes pipeline of examples/iot.toml: one row every minute and device.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.
--
-- A row is written again when its window grows: read with FINAL, or the view below, which does.

CREATE TABLE IF NOT EXISTS device_minutes
(
    window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'),
    device_id String,

    readings UInt64,
    temperature_min Nullable(Decimal(9, 3)),
    temperature_max Nullable(Decimal(9, 3)),
    -- Rounded half to even.
    temperature_avg Nullable(Decimal(9, 2)),
    -- Of the reading with the largest event time.
    temperature_last Nullable(Decimal(9, 3)),

    -- How many records are in the row, and how many of them came after the window's end.
    revision UInt64,
    late_count UInt64,
    -- 1: no record can change the row any more.
    is_final UInt8,
    -- 2 x revision + is_final: the fullest row wins.
    version UInt64,
    processed_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(window_start)
ORDER BY (window_start, device_id);

CREATE VIEW IF NOT EXISTS device_minutes_current AS
SELECT * FROM device_minutes FINAL;
