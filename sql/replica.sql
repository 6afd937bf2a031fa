-- Replicas of two tables of a shop, and views of the rows that are there. `streamweir schema apply`
-- runs these statements in the database of the configuration (`replica`, say, so that the source's
-- table names are free); they create what is missing and change nothing that is there. Without this
-- file the pipeline makes the same tables from the schema blocks of the records.

CREATE TABLE IF NOT EXISTS orders
(
    order_id Int64,
    user_id Int64,
    -- PostgreSQL's timestamp has microseconds; of one declared timestamp(3) it is DateTime64(3, 'UTC').
    -- With a zone in its type it shows the source's clock, whatever zone the server is in.
    order_date DateTime64(6, 'UTC'),
    status String,
    total_amount Decimal(10, 2),
    -- NULL at the source is NULL here, never a default.
    currency Nullable(String),
    payment_method Nullable(String),
    shipping_address Nullable(String),
    created_at DateTime64(6, 'UTC'),
    updated_at DateTime64(6, 'UTC'),

    -- The order of the changes of a row: an epoch in the upper 16 bits, below it the record's offset in
    -- its partition. No field of the source orders changes as well.
    _version UInt64,
    -- 1: the row is gone. It stays in the table, so that an older change that comes late finds it.
    _deleted UInt8
)
ENGINE = ReplacingMergeTree(_version, _deleted)
-- The primary key of the source, and nothing else. Not partitioned: a row that an update moves to
-- another partition is never replaced.
ORDER BY (order_id);

CREATE TABLE IF NOT EXISTS order_items
(
    item_id Int64,
    order_id Int64,
    product_id Int64,
    quantity Int32,
    unit_price Decimal(10, 2),
    discount Nullable(Decimal(10, 2)),
    created_at DateTime64(6, 'UTC'),
    updated_at DateTime64(6, 'UTC'),

    _version UInt64,
    _deleted UInt8
)
ENGINE = ReplacingMergeTree(_version, _deleted)
ORDER BY (item_id);

-- The rows as the source has them now. FINAL merges the versions of a row while it reads. A view keeps
-- the columns that its table had when it was made: after ALTER TABLE make it anew with CREATE OR
-- REPLACE VIEW (the pipeline does that for the columns that it adds itself).
CREATE VIEW IF NOT EXISTS orders_current AS
SELECT * EXCEPT (_version, _deleted) FROM orders FINAL WHERE _deleted = 0;

CREATE VIEW IF NOT EXISTS order_items_current AS
SELECT * EXCEPT (_version, _deleted) FROM order_items FINAL WHERE _deleted = 0;

-- What rows were when their primary keys changed, for the rows under the new keys, whose records leave
-- large values out. One table for all replicas of a database; nothing else is written to it.
CREATE TABLE IF NOT EXISTS streamweir_moved_rows
(
    table_name LowCardinality(String),
    old_key String,
    new_key String,
    -- The position in the source's log, which both records of a change have.
    change String,
    version UInt64,
    column_names Array(String),
    column_types Array(String),
    column_values String,
    written_at DateTime DEFAULT now()
)
ENGINE = MergeTree
ORDER BY (table_name, old_key, new_key, change)
-- Longer than the topics keep their records.
TTL written_at + INTERVAL 30 DAY;
