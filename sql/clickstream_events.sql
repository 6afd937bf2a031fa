-- The table of the clickstream pipeline, and a view over it.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.

CREATE TABLE IF NOT EXISTS clickstream_events
(
    -- From the event.
    event_id String,
    event_type LowCardinality(String),
    user_id UInt64,
    session_id String,
    timestamp DateTime64(3, 'UTC'),
    page_url String,
    referrer String,
    user_agent String,
    ip_address String,
    country LowCardinality(String),
    city String,

    -- From the profile of user_id.
    user_email String,
    user_segment LowCardinality(String),
    user_signup_date Date,

    -- From the session so far, this event included.
    session_duration_seconds UInt32,
    session_event_count UInt32,
    session_pages_viewed UInt32,

    -- The object as the event carried it, byte for byte.
    properties String,

    processed_at DateTime64(3, 'UTC') DEFAULT now64(3),

    -- Where the record came from. Exactly-once looks here before it writes a range again.
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,

    -- A batch is a run of offsets, so every part holds a narrow range of them: looking for a range
    -- of offsets reads few granules although the table is not sorted by them.
    INDEX _offset_minmax _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (timestamp, user_id, event_id)
-- The server recognises a repeated insert by its token as long as the token is among the last ones it
-- keeps. One token is kept for every part an insert makes: batches times months touched.
SETTINGS non_replicated_deduplication_window = 10000;

-- Traffic per minute: `avg_session_duration_seconds` is the mean, over the sessions seen in the minute,
-- of the longest duration each had reached in it. Events without a user count as user 0.
--
-- A plain view on purpose. A materialized view sees one insert at a time, while the users and
-- sessions of a minute arrive in many, late ones included. It would have to keep aggregate states, and
-- states would have to be protected against doubles on their own. This one reads the rows, so it is
-- exact whenever they are. Restrict `minute` and only the granules of that time are read.
CREATE VIEW IF NOT EXISTS clickstream_metrics_1min AS
SELECT
    minute,
    sum(session_events) AS event_count,
    uniqExactMerge(session_users) AS unique_users,
    avg(session_duration) AS avg_session_duration_seconds
FROM
(
    SELECT
        toStartOfMinute(timestamp) AS minute,
        session_id,
        count() AS session_events,
        uniqExactState(user_id) AS session_users,
        max(session_duration_seconds) AS session_duration
    FROM clickstream_events
    GROUP BY minute, session_id
)
GROUP BY minute;
