-- A table of another shape: every kind of type, server-side defaults, a statement in two parts.
CREATE TABLE orders
(
    order_id UUID,
    placed_at DateTime64(6, 'UTC'),
    customer String,
    shop String,
    channel LowCardinality(Nullable(String)),
    tags Array(String),
    amount Decimal(18, 4),
    discount Nullable(Decimal(9, 2)),
    status Enum8('new' = 1, 'paid' = 2, 'it\'s; sent' = -3),
    ipv4 IPv4,
    ipv6 IPv6,
    ordered_on Date,
    deliver_by Date32,
    seen_at DateTime('UTC'),
    weight Float64,
    is_gift Bool,
    currency FixedString(3),
    note Nullable(String),
    payload String, -- the JSON text; as received
    origin String,
    priority UInt8 DEFAULT 5,
    label String DEFAULT concat('order of ', customer),
    doubled Decimal(18, 4) MATERIALIZED amount * 2,
    shouted String ALIAS upper(customer),
    tier LowCardinality(String),
    credit Int32,
    member_since Nullable(Date32),
    visit_orders Int64,
    visit_seconds UInt64,
    visit_paid_shops UInt32,
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(placed_at)
ORDER BY (customer, placed_at)
SETTINGS non_replicated_deduplication_window = 10000;

/* And a view of it. */
CREATE VIEW paid_orders AS SELECT * FROM orders WHERE status = 'paid';
