-- The table of the customer_analytics pipeline of examples/medallion.toml: one row every day and customer.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.
--
-- A row is written again when its window grows: read with FINAL, or the view below, which does.

CREATE TABLE IF NOT EXISTS customer_analytics
(
    window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'),
    customer_id String,

    daily_transaction_count UInt64,
    -- The sum of quantity x unit_price, exact.
    daily_total_spent Decimal(38, 9),
    -- daily_total_spent / daily_transaction_count, rounded half to even.
    daily_avg_order_value Decimal(38, 2),
    daily_unique_products UInt64,

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
ORDER BY (window_start, customer_id);

CREATE VIEW IF NOT EXISTS customer_analytics_current AS
SELECT * FROM customer_analytics FINAL;
