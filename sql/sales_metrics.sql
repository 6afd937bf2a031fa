-- The table of the sales_metrics pipeline of examples/medallion.toml: one row every five minutes and country.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.
--
-- A row is written again when its window grows: read with FINAL, or the view below, which does.

CREATE TABLE IF NOT EXISTS sales_metrics
(
    window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'),
    country LowCardinality(String),

    transaction_count UInt64,
    -- The sum of quantity x unit_price, exact.
    total_revenue Decimal(38, 9),
    -- total_revenue / transaction_count, rounded half to even.
    avg_order_value Decimal(38, 2),
    unique_customers UInt64,

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
ORDER BY (window_start, country);

CREATE VIEW IF NOT EXISTS sales_metrics_current AS
SELECT * FROM sales_metrics FINAL;
