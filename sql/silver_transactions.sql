-- The table of the silver pipeline of examples/medallion.toml: one row for each valid transaction.
-- `streamweir schema apply` runs these statements in the database of the configuration. They create
-- what is missing and change nothing that is there.

CREATE TABLE IF NOT EXISTS silver_transactions
(
    transaction_id String,
    customer_id String,
    product_id String,
    quantity UInt32,
    unit_price Decimal(38, 9),
    -- quantity x unit_price, exact.
    total_amount Decimal(38, 9),
    transaction_date DateTime64(3, 'UTC'),
    -- In upper case; UNKNOWN where there was none.
    country LowCardinality(String),

    -- Of transaction_date, in UTC; Monday is 1.
    transaction_hour UInt8,
    transaction_weekday UInt8,
    transaction_month UInt8,
    is_weekend Bool,

    -- 1: no rule of severity error failed. The names are those of warnings, too.
    quality_passed UInt8,
    quality_failed Array(LowCardinality(String)),

    -- Where the record came from. Exactly-once looks here before it writes a range again.
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,

    processed_at DateTime64(3, 'UTC') DEFAULT now64(3),

    -- Looking for a range of offsets after a failure reads little.
    INDEX _offset_minmax _offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(transaction_date)
ORDER BY (transaction_date, customer_id, transaction_id)
-- The server recognises a repeated insert by its token as long as the token is among the last ones it
-- keeps. One token is kept for every part an insert makes: batches times months touched.
SETTINGS non_replicated_deduplication_window = 10000;

-- Recency, frequency and monetary value of each customer, and their quintiles: 5 is best.
CREATE VIEW IF NOT EXISTS customer_rfm AS
SELECT
    customer_id,
    last_purchase,
    dateDiff('day', last_purchase, newest) AS recency_days,
    frequency,
    monetary,
    6 - ntile(5) OVER (ORDER BY recency_days, customer_id) AS recency_score,
    ntile(5) OVER (ORDER BY frequency, customer_id) AS frequency_score,
    ntile(5) OVER (ORDER BY monetary, customer_id) AS monetary_score
FROM
(
    SELECT
        customer_id,
        max(transaction_date) AS last_purchase,
        count() AS frequency,
        sum(total_amount) AS monetary
    FROM silver_transactions
    GROUP BY customer_id
) AS customers
CROSS JOIN (SELECT max(transaction_date) AS newest FROM silver_transactions) AS newest_transaction;

-- The key figures of each day.
CREATE VIEW IF NOT EXISTS retail_kpis AS
SELECT
    toDate(transaction_date) AS day,
    count() AS transactions,
    sum(total_amount) AS revenue,
    revenue / transactions AS avg_order_value,
    uniqExact(customer_id) AS customers,
    uniqExact(product_id) AS products,
    countIf(quality_passed = 1) / transactions AS quality_ratio
FROM silver_transactions
GROUP BY day;
