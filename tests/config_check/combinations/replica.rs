//! The same of replicas.

use super::*;

/// The same for the kind cdc.
const REPLICA_COMBINATIONS: &[(&[Edit], &str, &str)] = &[
    (
        &[("pipeline.dead_letter.payload", "\"masked\"")],
        "pipeline.dead_letter.payload",
        "hides no fields",
    ),
    (
        &[("pipeline.clickhouse.table", "\"orders\"")],
        "pipeline.clickhouse.table",
        "[pipeline.tables.\"topic\"]",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.order_items\".table",
            "\"orders\"",
        )],
        "pipeline.topics",
        "shop.public.order_items and shop.public.orders would both be written to the table orders",
    ),
    (
        &[(
            "pipeline.topics",
            "[\"a.orders\", \"b.orders\", \"shop.public.orders\"]",
        )],
        "pipeline.topics",
        "a.orders and b.orders would both be written to the table orders",
    ),
    (
        &[("pipeline.tables.\"crm.orders\".key", "[]")],
        "pipeline.topics",
        "crm.orders",
    ),
    (
        &[("pipeline.tables.elsewhere.key", "[]")],
        "pipeline.tables.elsewhere",
        "one of the pipeline's topics; a topic's name goes in quotes",
    ),
    (
        &[("pipeline.tables.shop.public.orders.table", "\"x\"")],
        "pipeline.tables.shop",
        "goes in quotes",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".key",
            "[\"a\", \"b\", \"a\"]",
        )],
        "pipeline.tables.shop.public.orders.key",
        "each column once: a",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".key",
            "[\"_version\"]",
        )],
        "pipeline.tables.shop.public.orders.key",
        "the daemon fills it",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".deleted_column",
            "\"_version\"",
        )],
        "pipeline.tables.shop.public.orders.deleted_column",
        "must not be the version_column",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".version_column",
            "\"total\"",
        )],
        "pipeline.tables.shop.public.orders.columns.total",
        "the daemon makes and fills it",
    ),
    (
        &[
            ("pipeline.tables.\"shop.public.orders\".table", "\"o\""),
            ("pipeline.tables.\"shop.public.orders\".view", "\"o\""),
        ],
        "pipeline.tables.shop.public.orders.view",
        "must not be the table",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".accept_empty",
            "\"yes\"",
        )],
        "pipeline.tables.shop.public.orders.accept_empty",
        "true or false",
    ),
    (
        &[("pipeline.tables.\"shop.public.orders\".shared", "1")],
        "pipeline.tables.shop.public.orders.shared",
        "true or false",
    ),
    (
        &[("pipeline.debezium.signal_table", "[]")],
        "pipeline.debezium.signal_table",
        "or a list of such",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".columns._deleted",
            "\"UInt8\"",
        )],
        "pipeline.tables.shop.public.orders.columns._deleted",
        "the daemon makes and fills it",
    ),
    (
        &[("pipeline.columns._lsn", "{ from = \"offset\" }")],
        "pipeline.columns._lsn.from",
        "only kind = \"enrichment\"",
    ),
    (
        &[("pipeline.columns._lsn", "\"$.source.lsn[0]\"")],
        "pipeline.columns._lsn.path",
        "must be names of members alone",
    ),
    (
        &[("pipeline.columns._lsn", "\"$\"")],
        "pipeline.columns._lsn.path",
        "must be names of members alone",
    ),
    (
        &[("pipeline.columns._version", "\"$.source.lsn\"")],
        "pipeline.columns._version",
        "the daemon fills it",
    ),
    (
        &[("pipeline.columns._offset", "\"$.source.lsn\"")],
        "pipeline.columns._offset",
        "the daemon fills it",
    ),
    (
        &[("pipeline.time_field", "\"ts\"")],
        "pipeline.time_field",
        "unknown key",
    ),
    (
        &[("pipeline.lookup.kind", "\"redis\"")],
        "pipeline.lookup",
        "unknown key",
    ),
    (
        &[("pipeline.session.timeout", "\"1m\"")],
        "pipeline.session",
        "unknown key",
    ),
    (
        &[("pipeline.state.keep", "1")],
        "pipeline.state",
        "unknown key",
    ),
    (
        &[("pipeline.debezium.nonsense", "1")],
        "pipeline.debezium.nonsense",
        "unknown key",
    ),
    (
        &[("pipeline.tables.\"shop.public.orders\".colums", "{}")],
        "pipeline.tables.shop.public.orders.colums",
        "did you mean columns?",
    ),
];

#[test]
fn impossible_combinations_of_a_replica_are_named() {
    for (edits, key, says) in REPLICA_COMBINATIONS {
        assert_problem(&replica_with(edits), &path_in("shop", key), &[says]);
    }
}
