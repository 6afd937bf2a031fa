//! The tables that records are held against: the shipped one, and one with every type.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use crate::config::{Config, Enrichment, Kind};
use crate::pipeline::RowPlan;
use crate::sink::{ColumnInfo, TableInfo, Target};
use crate::table::ColumnType;

/// One table, and the pipeline that fills it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) config: Enrichment,
    pub(super) columns: Vec<TableColumn>,
    pub(super) plan: Arc<RowPlan>,
    pub(super) target: Arc<Target>,
}

#[derive(Debug)]
pub(super) struct TableColumn {
    pub(super) name: String,
    pub(super) column_type: ColumnType,
    pub(super) has_server_default: bool,
}

/// The table of the shipped configuration, columns and settings as they are shipped.
pub(super) static SHIPPED: LazyLock<Table> = LazyLock::new(|| {
    let ddl = include_str!("../../sql/clickstream_events.sql");
    let (_, columns) = ddl.split_once("\n(\n").expect("a list of columns");
    let (columns, _) = columns.split_once("\n)\n").expect("its end");
    Table::new(include_str!("../../config.toml"), columns)
});

/// Every type of the contract, values in nested objects, fields that no column takes.
pub(super) static EVERY_TYPE: LazyLock<Table> =
    LazyLock::new(|| Table::new(EVERY_TYPE_CONFIG, EVERY_TYPE_COLUMNS));

const EVERY_TYPE_CONFIG: &str = r#"
[[pipeline]]
name = "every-type"
kind = "enrichment"
topics = ["events"]
group_id = "group"
time_field = "at"
[pipeline.columns]
raw = { raw = "any" }
rawo = { raw = "object", default = "{}" }
deep = "$.a.b.c"
deeper = { path = "$.a.b.d", default = "7" }
need = { path = "$.a.n", required = true }
[pipeline.lookup]
key_field = "who"
[pipeline.lookup.columns]
p_s = { path = "$.s", default = "x" }
p_n = { path = "$.n.n" }
p_d = { path = "$.d", default = "2020-02-29" }
p_l = { path = "$.l" }
[pipeline.session]
key_field = "visit"
count_column = "n_events"
duration_column = "n_seconds"
distinct_column = "n_distinct"
distinct_field = "s"
distinct_where = { e8 = "a" }
[pipeline.clickhouse]
table = "every_type"
[pipeline.dead_letter]
topic = "dead"
"#;

const EVERY_TYPE_COLUMNS: &str = "
    s String,
    low LowCardinality(String),
    lown LowCardinality(Nullable(String)),
    fix FixedString(5),
    u8 UInt8,
    u16 UInt16,
    u32 UInt32,
    u64 UInt64,
    i8 Int8,
    i16 Int16,
    i32 Int32,
    i64 Int64,
    f32 Float32,
    f64 Float64,
    b Bool,
    d9 Decimal(9, 2),
    d18 Decimal(18, 4),
    d38 Decimal(38, 9),
    d76 Decimal(76, 38),
    date Date,
    date32 Date32,
    dt DateTime('UTC'),
    t0 DateTime64(0),
    t3 DateTime64(3, 'UTC'),
    t9 DateTime64(9),
    tm Time,
    tm6 Time64(6),
    uuid UUID,
    e8 Enum8('a' = -1, 'b' = 2, '' = 3),
    e16 Enum16('a' = 300, 'ü' = -300),
    v4 IPv4,
    v6 IPv6,
    ns Nullable(String),
    nu Nullable(UInt64),
    nd Nullable(Decimal(18, 4)),
    nt Nullable(DateTime64(6)),
    ne Nullable(Enum8('x' = 1)),
    nfix Nullable(FixedString(3)),
    ls Array(String),
    li Array(Nullable(Int32)),
    ll Array(Array(Decimal(9, 2))),
    ln Array(LowCardinality(Nullable(String))),
    lt Array(DateTime64(3)),
    i128 Int128,
    u256 UInt256,
    m Map(LowCardinality(String), Nullable(UInt64)),
    tup Tuple(a UInt8, b Nullable(String), c Array(Int16)),
    js JSON,
    raw String,
    rawo Nullable(String),
    deep String,
    deeper UInt8,
    need String,
    p_s String,
    p_n Nullable(UInt64),
    p_d Date,
    p_l Array(String),
    n_events UInt32,
    n_seconds UInt64,
    n_distinct Nullable(Int64),
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
";

impl Table {
    fn new(config: &str, ddl: &str) -> Table {
        let loaded = Config::parse(config, "config.toml", Path::new("/"), []);
        let mut loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let Kind::Enrichment(config) = loaded.config.pipelines.remove(0).kind else {
            panic!("an enrichment");
        };
        let infos: Vec<ColumnInfo> = ddl.lines().filter_map(column).collect();
        let plan = RowPlan::new(&config, &infos, true).unwrap_or_else(|error| panic!("{error}"));
        let info = TableInfo {
            engine: "MergeTree".to_owned(),
            engine_full: String::new(),
            sorting_key: String::new(),
            partition_key: String::new(),
            columns: infos.clone(),
            metadata_version: 0,
            has_tokens: true,
        };
        let (label, sql) = (String::new(), String::new());
        let target = Target::of_columns(label, sql, &info, plan.names(), plan.format());
        let columns = infos.into_iter().map(|info| TableColumn {
            column_type: ColumnType::parse(&info.type_name).expect("a type that can be written"),
            has_server_default: info.default_kind == "DEFAULT",
            name: info.name,
        });
        Table {
            columns: columns.collect(),
            config: *config,
            plan: Arc::new(plan),
            target: Arc::new(target),
        }
    }

    /// FORMAT RowBinaryWithDefaults: a column may be left to the server.
    pub(super) fn has_flags(&self) -> bool {
        self.columns.iter().any(|column| column.has_server_default)
    }
}

/// A line of a CREATE TABLE that declares a column.
fn column(line: &str) -> Option<ColumnInfo> {
    let line = line.trim().trim_end_matches(',');
    let is_column = !line.is_empty() && !line.starts_with("--") && !line.starts_with("INDEX ");
    let (name, rest) = line.split_once(' ').filter(|_| is_column)?;
    let type_name = rest
        .split_once(" DEFAULT ")
        .map_or(rest, |(type_name, _)| type_name);
    Some(ColumnInfo {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        default_kind: if type_name == rest { "" } else { "DEFAULT" }.to_owned(),
    })
}
