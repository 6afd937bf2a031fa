-- The table of examples/enriched.toml: what the join `enriched` of config.toml writes to its topic.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.

CREATE TABLE IF NOT EXISTS enriched_clickstream
(
    -- From the event.
    event_id String,
    event_type LowCardinality(String),
    user_id UInt64,
    session_id String,
    timestamp DateTime64(3, 'UTC'),

    -- From the profile that belongs to it; NULL where there is none.
    user_email Nullable(String),
    user_name Nullable(String),
    user_segment LowCardinality(Nullable(String)),
    user_country LowCardinality(Nullable(String)),
    profile_updated_at Nullable(DateTime64(3, 'UTC')),
    join_timestamp DateTime64(3, 'UTC'),

    processed_at DateTime64(3, 'UTC') DEFAULT now64(3),

    -- Where the joined record is. Exactly-once looks here before it writes a range again.
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,

    INDEX _offset_minmax _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (timestamp, user_id, event_id)
SETTINGS non_replicated_deduplication_window = 10000;
