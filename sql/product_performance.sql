-- The table of the product_performance pipeline of examples/medallion.toml: one row every hour and product.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.
--
-- A row is written again when its window grows: read with FINAL, or the view below, which does.

CREATE TABLE IF NOT EXISTS product_performance
(
    window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'),
    product_id String,

    units_sold Decimal(38, 0),
    -- The sum of quantity x unit_price, exact.
    revenue Decimal(38, 9),
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
ORDER BY (window_start, product_id);

CREATE VIEW IF NOT EXISTS product_performance_current AS
SELECT * FROM product_performance FINAL;
