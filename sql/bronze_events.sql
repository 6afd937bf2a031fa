-- The table of a raw pipeline: every record as it was received, whatever it is.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.

CREATE TABLE IF NOT EXISTS bronze_events
(
    -- The record's own bytes, text or not. A value that is NULL is a tombstone.
    message_key Nullable(String),
    message_value Nullable(String),
    headers Array(Tuple(String, String)),

    -- Where the record came from. Exactly-once looks here before it writes a range again.
    topic LowCardinality(String),
    partition UInt32,
    offset UInt64,

    -- When it was put into Kafka, and by whose clock: create_time or log_append_time.
    kafka_timestamp DateTime64(3, 'UTC'),
    timestamp_type LowCardinality(String),

    -- The schema that the frame before the value names, where there is such a frame.
    schema_id Nullable(UInt32),

    ingestion_timestamp DateTime64(3, 'UTC') DEFAULT now64(3),
    processing_date Date DEFAULT toDate(kafka_timestamp)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(processing_date)
-- Rows of one partition stand in the order of their offsets: looking for a range of them reads little.
ORDER BY (topic, partition, offset)
-- The server recognises a repeated insert by its token as long as the token is among the last ones it
-- keeps. One token is kept for every part an insert makes: batches times months touched.
SETTINGS non_replicated_deduplication_window = 10000;
