-- The table of the readings pipeline of examples/iot.toml: one row for each reading.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.

CREATE TABLE IF NOT EXISTS device_readings
(
    device_id String,
    reading_id UInt64,
    measured_at DateTime64(3, 'UTC'),
    temperature Nullable(Decimal(9, 3)),
    humidity Nullable(Decimal(9, 3)),
    battery Nullable(Decimal(9, 3)),
    -- <0, 0-25, 25-60, >=60, or unknown
    temperature_band LowCardinality(String),

    quality_passed UInt8,
    quality_failed Array(LowCardinality(String)),

    -- Where the record came from. Exactly-once looks here before it writes a range again.
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,

    -- Looking for a range of offsets after a failure reads little.
    INDEX _offset_minmax _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(measured_at)
ORDER BY (device_id, measured_at)
-- The server recognises a repeated insert by its token as long as the token is among the last ones it
-- keeps. One token is kept for every part an insert makes: batches times months touched.
SETTINGS non_replicated_deduplication_window = 10000;

-- The last value of each device.
CREATE VIEW IF NOT EXISTS device_last AS
SELECT
    device_id,
    max(measured_at) AS last_measured_at,
    argMax(temperature, (measured_at, reading_id)) AS last_temperature,
    argMax(humidity, (measured_at, reading_id)) AS last_humidity,
    argMax(battery, (measured_at, reading_id)) AS last_battery
FROM device_readings
WHERE quality_passed = 1
GROUP BY device_id;
