//! The same of replicas.

/// The same for the keys that only the kind cdc has.
pub(super) const WRONG_REPLICA_VALUES: &[(&str, &str, &str)] = &[
    ("pipeline.create_tables", "\"yes\"", "true or false"),
    (
        "pipeline.evolution",
        "\"all\"",
        "one of \"strict\", \"add_columns\", \"ignore\"",
    ),
    (
        "pipeline.truncate",
        "\"drop\"",
        "one of \"halt\", \"apply\", \"ignore\"",
    ),
    ("pipeline.toast_wait", "\"11m\"", "from 0s to 10m"),
    ("pipeline.version_epochs", "1", "a list of { since"),
    (
        "pipeline.version_epochs",
        "[{ since = \"yesterday\", epoch = 1 }]",
        "found { epoch = 1, since = \"yesterday\" }",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00.0001Z\", epoch = 1 }]",
        "to the millisecond",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00Z\", epoch = 65536 }]",
        "epochs from 1 to 65,535",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00Z\", epoch = 0 }]",
        "found { epoch = 0, since",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00Z\", epoch = 2 }, { since = \"2026-11-22T02:00:00Z\", epoch = 2 }]",
        "found times or epochs that do not rise",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00Z\", epoch = 1 }, { since = \"2026-11-21T02:00:00Z\", epoch = 2 }]",
        "found times or epochs that do not rise",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00Z\", epoch = 1, until = 2 }]",
        "until = 2",
    ),
    (
        "pipeline.key_format",
        "\"string\"",
        "one of \"json\", \"avro\"",
    ),
    (
        "pipeline.key_format",
        "\"avro\"",
        "needs [schema_registry] with url: it has the schemas of keys",
    ),
    (
        "pipeline.format",
        "\"protobuf\"",
        "needs [schema_registry] with url, or protobuf.descriptor_file",
    ),
    (
        "pipeline.compression",
        "\"lz4\"",
        "one of \"none\", \"gzip\"",
    ),
    (
        "pipeline.debezium.decimal_mode",
        "\"exact\"",
        "one of \"precise\", \"string\", \"double\"",
    ),
    (
        "pipeline.debezium.time_mode",
        "\"adaptive_time\"",
        "\"adaptive\", \"adaptive_time_microseconds\", \"microseconds\", \"nanoseconds\", \"connect\"",
    ),
    (
        "pipeline.debezium.binary_mode",
        "\"octal\"",
        "\"bytes\", \"base64\", \"base64-url-safe\", \"hex\"",
    ),
    (
        "pipeline.debezium.bigint_unsigned_mode",
        "\"string\"",
        "one of \"long\", \"precise\"",
    ),
    (
        "pipeline.debezium.unavailable_value_placeholder",
        "\"\"",
        "1 to 1,024 bytes",
    ),
    (
        "pipeline.tables.\"shop.public.orders\"",
        "\"orders\"",
        "must be a table",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".table",
        "\"a.b\"",
        "the database is clickhouse.database",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".key",
        "\"id\"",
        "the name of a column",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".absent",
        "\"zero\"",
        "one of \"null\", \"keep\", \"halt\"",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".columns.note.type",
        "\"AggregateFunction(sum, UInt64)\"",
        "a type that the daemon writes",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".columns.note.on_out_of_range",
        "\"drop\"",
        "one of \"dead_letter\", \"null\", \"clamp\"",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".columns.note",
        "\"IntervalDay\"",
        "a type that the daemon writes, such as \"Nullable(Decimal(10, 2))\"",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".source_types.note",
        "\"org.apache.kafka.connect.data.Decimal\"",
        "Decimal(2)\" with its scale",
    ),
    ("pipeline.debezium.signal_table", "[]", "or a list of such"),
    (
        "pipeline.tables.\"shop.public.orders\".version_column",
        "\"\"",
        "the name of a column",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".deleted_column",
        "\"a`b\"",
        "the name of a column",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".view",
        "\"a.b\"",
        "the database is clickhouse.database",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".accept_empty",
        "\"yes\"",
        "true or false",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".shared",
        "1",
        "true or false",
    ),
];
