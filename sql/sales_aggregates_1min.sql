-- The table of the sales pipeline: one row a minute and category.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.
--
-- A row is written again when its minute grows: read with FINAL, or the view below, which does.

CREATE TABLE IF NOT EXISTS sales_aggregates_1min
(
    window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'),
    category LowCardinality(String),

    total_sales UInt64,
    -- Exact: never through a float. An amount with more digits behind the point is a dead letter.
    total_revenue Decimal(38, 9),
    unique_customers UInt64,
    unique_products UInt64,
    -- total_revenue / total_sales, rounded half to even.
    avg_transaction_value Decimal(38, 2),

    -- How many records are in the row, and how many of them came after the minute's end.
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
ORDER BY (window_start, category);

CREATE VIEW IF NOT EXISTS sales_aggregates_1min_current AS
SELECT * FROM sales_aggregates_1min FINAL;
