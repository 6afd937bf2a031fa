//! The tables of a workload, and random literals for their columns.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::Dialect;

/// A table that is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Orders,
    OrderItems,
    /// Values stored out of line, which an update of other columns does not log.
    Documents,
    /// A key of three columns.
    Accounts,
    /// The one whose columns change.
    Products,
}

/// A column outside the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// What a column's values look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A small whole number.
    Number,
    /// A time with up to six digits of a second.
    Instant,
    /// A word of a short list.
    Status,
    /// Two decimal places.
    Money,
    /// Three letters, or fewer and blanks, or NULL.
    Currency,
    /// Short text with what quoting gets wrong, or NULL.
    Text,
    LargeText,
    LargeJson,
    LargeBytes,
    LargeArray,
}

impl Kind {
    fn is_large(self) -> bool {
        matches!(
            self,
            Self::LargeText | Self::LargeJson | Self::LargeBytes | Self::LargeArray
        )
    }

    fn literal(self, random: &mut StdRng) -> String {
        let number: u32 = random.random();
        let length = random.random_range(80..240);
        match self {
            Self::Number => random.random_range(0..1_000).to_string(),
            Self::Instant => instant(random),
            Self::Status => format!("'{}'", pick(STATUSES, random)),
            Self::Money => {
                let sign = if random.random_bool(0.1) { "-" } else { "" };
                format!("{sign}{}.{:02}", number % 100_000, number % 97)
            }
            _ if random.random_bool(0.1) => "NULL".to_owned(),
            Self::Currency => format!("'{}'", pick(&["USD", "EUR", "X"], random)),
            Self::Text => format!("'{}{}'", pick(TEXTS, random), number % 1_000),
            Self::LargeText => format!("repeat(md5('{number}'), {length})"),
            Self::LargeJson => {
                format!(
                    "jsonb_build_object('n', {number}, 'é\"', repeat(md5('{number}'), {length}))"
                )
            }
            Self::LargeBytes => format!("decode(repeat(md5('{number}'), {length}), 'hex')"),
            Self::LargeArray => {
                format!("ARRAY['a,\"b', NULL, '', repeat(md5('{number}'), {length})]")
            }
        }
    }
}

const STATUSES: &[&str] = &["new", "paid", "sent", "returned"];
/// Within single quotes; a backslash is no escape.
const TEXTS: &[&str] = &[
    "",
    "PayPal ",
    "it''s ",
    "Straße\\n ",
    "\"q\" {\"a\":1} ",
    " 日本\n",
];

fn pick<T: Copy>(from: &[T], random: &mut StdRng) -> T {
    *from.choose(random).expect("the list is not empty")
}

fn instant(random: &mut StdRng) -> String {
    let (day, hour) = (random.random_range(1..29), random.random_range(0..24));
    let micros = match random.random_range(0..4) {
        0 => 0,
        1 => random.random_range(0..1_000) * 1_000,
        _ => random.random_range(0..1_000_000),
    };
    format!("'2026-02-{day:02} {hour:02}:30:07.{micros:06}'")
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

const ORDERS: &[Column] = &[
    column("user_id", Kind::Number),
    column("order_date", Kind::Instant),
    column("status", Kind::Status),
    column("total_amount", Kind::Money),
    column("currency", Kind::Currency),
    column("payment_method", Kind::Text),
    column("shipping_address", Kind::Text),
    column("created_at", Kind::Instant),
    column("updated_at", Kind::Instant),
];
const ORDER_ITEMS: &[Column] = &[
    column("order_id", Kind::Number),
    column("product_id", Kind::Number),
    column("quantity", Kind::Number),
    column("unit_price", Kind::Money),
    column("discount", Kind::Money),
    column("created_at", Kind::Instant),
    column("updated_at", Kind::Instant),
];
const DOCUMENTS: &[Column] = &[
    column("revision", Kind::Number),
    column("title", Kind::Text),
    column("body", Kind::LargeText),
    column("attributes", Kind::LargeJson),
    column("content", Kind::LargeBytes),
    column("tags", Kind::LargeArray),
];
const ACCOUNTS: &[Column] = &[
    column("amount", Kind::Money),
    column("note", Kind::Text),
    column("changed_at", Kind::Instant),
];
/// As they are at first.
pub(super) const PRODUCTS: &[Column] = &[
    column("stock", Kind::Number),
    column("name", Kind::Text),
    column("price", Kind::Money),
    column("remark", Kind::Text),
    column("weight", Kind::Number),
];

impl Table {
    pub(super) const ALL: [Self; 5] = [
        Self::Orders,
        Self::OrderItems,
        Self::Documents,
        Self::Accounts,
        Self::Products,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::OrderItems => "order_items",
            Self::Documents => "documents",
            Self::Accounts => "accounts",
            Self::Products => "products",
        }
    }

    /// Those outside the key, for a table whose columns do not change.
    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Orders => ORDERS,
            Self::OrderItems => ORDER_ITEMS,
            Self::Documents => DOCUMENTS,
            Self::Accounts => ACCOUNTS,
            Self::Products => PRODUCTS,
        }
    }

    /// Column and literal of every part of the key with this number.
    pub(super) fn key(self, number: i64) -> Vec<(&'static str, String)> {
        let single = |column| vec![(column, number.to_string())];
        match self {
            Self::Orders => single("order_id"),
            Self::OrderItems => single("item_id"),
            Self::Documents => single("document_id"),
            Self::Products => single("product_id"),
            Self::Accounts => {
                let region = ["eu", "us", "it's"][number.unsigned_abs() as usize % 3];
                let day = number.unsigned_abs() % 7 + 1;
                vec![
                    ("region", format!("'{}'", region.replace('\'', "''"))),
                    ("account", number.to_string()),
                    ("day", format!("'2026-03-{day:02}'")),
                ]
            }
        }
    }

    /// `a = 1 AND b = 2` of a key.
    pub(super) fn is_key(self, number: i64) -> String {
        equations(&self.key(number)).join(" AND ")
    }
}

fn equations(pairs: &[(&str, String)]) -> Vec<String> {
    let equation = |(column, literal): &(&str, String)| format!("{column} = {literal}");
    pairs.iter().map(equation).collect()
}

/// `a = 1, b = 2` for a key.
pub(super) fn assign_key(table: Table, number: i64) -> String {
    equations(&table.key(number)).join(", ")
}

/// New values for some of the columns; mostly none of the large ones.
pub(super) fn assign_some(columns: &[Column], random: &mut StdRng) -> String {
    let large = random.random_bool(0.15);
    let candidates: Vec<_> = columns
        .iter()
        .filter(|column| large || !column.kind.is_large())
        .collect();
    let count = random.random_range(1..=3);
    let chosen = candidates.choose_multiple(random, count);
    let assignments: Vec<_> = chosen
        .map(|column| format!("{} = {}", column.name, column.kind.literal(random)))
        .collect();
    assignments.join(", ")
}

/// Column names and literals of a whole row.
pub(super) fn row(
    table: Table,
    number: i64,
    columns: &[Column],
    random: &mut StdRng,
) -> (String, String) {
    let mut pairs = table.key(number);
    pairs.extend(columns.iter().map(|c| (c.name, c.kind.literal(random))));
    let (names, literals): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    (names.join(", "), literals.join(", "))
}

/// A whole row, as far as all of its columns are sure to be there.
pub(super) fn mark(table: Table, number: i64) -> String {
    let columns = match table {
        Table::Products => &PRODUCTS[..1],
        _ => table.columns(),
    };
    let mut random = <StdRng as rand::SeedableRng>::seed_from_u64(number.unsigned_abs());
    let (names, literals) = row(table, number, columns, &mut random);
    format!("INSERT INTO {} ({names}) VALUES ({literals})", table.name())
}

/// What makes the tables, with a row in each.
pub(super) fn statements(dialect: Dialect) -> Vec<String> {
    let text = match dialect {
        Dialect::Postgres => include_str!("postgres.sql"),
        Dialect::MariaDb => include_str!("mariadb.sql"),
    };
    let statements = text.split(";\n").map(str::trim).filter(|s| !s.is_empty());
    let mut statements: Vec<_> = statements.map(str::to_owned).collect();
    let mut random = <StdRng as rand::SeedableRng>::seed_from_u64(0);
    for table in dialect.tables() {
        let (names, literals) = row(*table, 0, table.columns(), &mut random);
        statements.push(format!(
            "INSERT INTO {} ({names}) VALUES ({literals})",
            table.name()
        ));
    }
    statements
}
