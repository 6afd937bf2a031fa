//! Which columns are compared, and as what: equal values of both tables become equal bytes.

use super::CompareOptions;
use super::tables::Table;
use crate::sink::quote_name;

/// A column that both tables have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its types in both, where they differ.
    pub(super) types: Option<(String, String)>,
    /// What is hashed of it: the same for equal values of either table.
    pub(super) hashed: String,
    /// Its value as a text, or NULL.
    pub(super) text: String,
}

/// What is compared.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) key: Vec<Column>,
    /// All that count, those of the key among them.
    pub(super) columns: Vec<Column>,
    pub(super) ignored: Vec<String>,
    pub(super) only_in_a: Vec<String>,
    pub(super) only_in_b: Vec<String>,
    /// Which rows count.
    pub(super) condition: Option<String>,
}

impl Plan {
    /// # Errors
    /// A column that is not there; the message names it.
    pub(super) fn new(
        a: &Table,
        b: &Table,
        options: &CompareOptions,
        time_field: Option<&str>,
    ) -> Result<Plan, String> {
        let ignored = |name: &str| options.ignore.iter().any(|ignored| ignored == name);
        let has = |table: &Table, name: &str| table.columns.iter().any(|(known, _)| known == name);
        for name in &options.ignore {
            if !has(a, name) && !has(b, name) {
                return Err(format!(
                    "--ignore {name}: neither {} nor {} has this column",
                    a.name, b.name
                ));
            }
        }
        for name in &options.key {
            for table in [a, b] {
                if !has(table, name) {
                    return Err(format!(
                        "--key {name}: table {} has no such column",
                        table.name
                    ));
                }
            }
            if ignored(name) {
                return Err(format!("--ignore {name}: it is a column of the key"));
            }
        }
        let alone = |table: &Table, other: &Table| -> Vec<String> {
            let names = table.columns.iter().map(|(name, _)| name.clone());
            names
                .filter(|name| !has(other, name) && !ignored(name))
                .collect()
        };
        let mut columns = vec![];
        for (name, in_a) in &a.columns {
            let in_b = b.columns.iter().find(|(known, _)| known == name);
            if let Some((_, in_b)) = in_b.filter(|_| !ignored(name)) {
                columns.push(Column::new(name, in_a, in_b));
            }
        }
        let of_key = |name: &String| columns.iter().find(|c| c.name == *name).cloned();
        Ok(Plan {
            key: options.key.iter().filter_map(of_key).collect(),
            ignored: options.ignore.clone(),
            only_in_a: alone(a, b),
            only_in_b: alone(b, a),
            condition: condition(a, b, options, time_field)?,
            columns,
        })
    }
}

impl Column {
    fn new(name: &str, in_a: &str, in_b: &str) -> Column {
        let quoted = quote_name(name);
        let (plain_a, plain_b) = (plain(in_a), plain(in_b));
        let value = match plain_a == plain_b {
            true => quoted.clone(),
            false => match (time_digits(plain_a), time_digits(plain_b)) {
                (Some(a), Some(b)) => format!("toDateTime64({quoted}, {}, 'UTC')", a.max(b)),
                _ => quoted.clone(),
            },
        };
        let text = format!("toString({value})");
        let is_bare = |type_name: &str| !type_name.contains("Nullable(");
        let hashed = match plain_a == plain_b
            && is_hashed_as_is(plain_a)
            && is_bare(in_a)
            && is_bare(in_b)
        {
            true => quoted,
            false => format!("isNull({value}), ifNull({text}, '')"),
        };
        Column {
            name: name.to_owned(),
            types: (in_a != in_b).then(|| (in_a.to_owned(), in_b.to_owned())),
            hashed,
            text: format!("CAST({text} AS Nullable(String))"),
        }
    }
}

/// The type inside `LowCardinality` and `Nullable`.
fn plain(type_name: &str) -> &str {
    let inside = |text: &str, outer: &str| -> Option<usize> {
        let inner = text.strip_prefix(outer)?.strip_suffix(')')?;
        Some(inner.len())
    };
    let mut text = type_name;
    for outer in ["LowCardinality(", "Nullable("] {
        if inside(text, outer).is_some() {
            text = &text[outer.len()..text.len() - 1];
        }
    }
    text
}

/// Types whose equal values have equal bytes. The others are compared by their text: of floating-point numbers
/// every NaN is the same, and arrays keep their borders.
fn is_hashed_as_is(plain: &str) -> bool {
    let name = plain.split('(').next().unwrap_or_default();
    let is_number = name.strip_prefix('U').unwrap_or(name).starts_with("Int");
    is_number
        || name.starts_with("Decimal")
        || name.starts_with("Enum")
        || [
            "String",
            "FixedString",
            "Bool",
            "Date",
            "Date32",
            "DateTime",
            "DateTime64",
            "UUID",
            "IPv4",
            "IPv6",
        ]
        .contains(&name)
}

/// Digits of the fraction of a second, of a type that is a point in time.
fn time_digits(plain: &str) -> Option<u8> {
    if let Some(digits) = plain.strip_prefix("DateTime64(") {
        let digits = digits.split([',', ')']).next()?;
        return digits.trim().parse().ok();
    }
    let name = plain.split('(').next()?;
    (name == "DateTime").then_some(0)
}

/// The rows of `--since` and `--until`.
fn condition(
    a: &Table,
    b: &Table,
    options: &CompareOptions,
    time_field: Option<&str>,
) -> Result<Option<String>, String> {
    if options.since.is_none() && options.until.is_none() {
        return Ok(None);
    }
    let column = quote_name(&time_column(a, b, options, time_field)?);
    let bounds = [(">=", &options.since), ("<", &options.until)];
    let bounds = bounds.into_iter().filter_map(|(sign, time)| {
        let micros = time.as_ref()?.as_microsecond();
        Some(format!(
            "{column} {sign} fromUnixTimestamp64Micro({micros}, 'UTC')"
        ))
    });
    Ok(Some(bounds.collect::<Vec<_>>().join(" AND ")))
}

fn time_column(
    a: &Table,
    b: &Table,
    options: &CompareOptions,
    time_field: Option<&str>,
) -> Result<String, String> {
    let is_time = |table: &Table, name: &str| {
        let known = table.columns.iter().find(|(known, _)| known == name);
        known.is_some_and(|(_, type_name)| plain(type_name).starts_with("Date"))
    };
    let in_both = |name: &str| is_time(a, name) && is_time(b, name);
    if let Some(named) = &options.time_column {
        if in_both(named) {
            return Ok(named.clone());
        }
        return Err(format!(
            "--time-column {named}: {} and {} have no such column that holds a time",
            a.name, b.name
        ));
    }
    if let Some(field) = time_field.filter(|field| in_both(field)) {
        return Ok(field.to_owned());
    }
    let names = a.columns.iter().map(|(name, _)| name.as_str());
    let times: Vec<&str> = names.filter(|name| in_both(name)).collect();
    match times[..] {
        [only] => Ok(only.to_owned()),
        [] => Err(
            "--since and --until need a column that holds a time, and there is none in both tables"
                .to_owned(),
        ),
        _ => Err(format!(
            "--since and --until: name the column that they mean with --time-column, one of {}",
            times.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, columns: &[(&str, &str)]) -> Table {
        let columns = columns
            .iter()
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()));
        Table {
            name: name.to_owned(),
            sql_name: name.to_owned(),
            is_replacing: false,
            rows_about: 0,
            columns: columns.collect(),
        }
    }

    fn options(key: &str, ignore: &[&str]) -> CompareOptions {
        CompareOptions {
            a: "a".to_owned(),
            b: "b".to_owned(),
            key: key.split(',').map(str::to_owned).collect(),
            since: None,
            until: None,
            time_column: None,
            ignore: ignore.iter().map(|name| (*name).to_owned()).collect(),
            pipeline: None,
        }
    }

    #[test]
    fn columns_of_both_tables_are_compared_and_the_others_are_named() {
        let a = table(
            "db.a",
            &[
                ("id", "UInt64"),
                ("x", "String"),
                ("old", "String"),
                ("at", "DateTime"),
            ],
        );
        let b = table(
            "db.b",
            &[
                ("id", "UInt64"),
                ("new", "String"),
                ("x", "LowCardinality(String)"),
                ("at", "DateTime"),
            ],
        );
        let plan = Plan::new(&a, &b, &options("id", &["at"]), None).unwrap();
        let names: Vec<&str> = plan.columns.iter().map(|c| &*c.name).collect();
        assert_eq!(names, ["id", "x"]);
        assert_eq!(
            (plan.only_in_a, plan.only_in_b),
            (vec!["old".to_owned()], vec!["new".to_owned()])
        );
        for (key, ignore, message) in [
            (
                "nothing",
                &[][..],
                "--key nothing: table db.a has no such column",
            ),
            ("new", &[], "--key new: table db.a has no such column"),
            ("id", &["id"], "--ignore id: it is a column of the key"),
            (
                "id",
                &["y"],
                "--ignore y: neither db.a nor db.b has this column",
            ),
        ] {
            let refused = Plan::new(&a, &b, &options(key, ignore), None).unwrap_err();
            assert_eq!(refused, message);
        }
    }

    #[test]
    fn equal_values_of_other_types_are_hashed_as_the_same_bytes() {
        let hashed = |a: &str, b: &str| Column::new("c", a, b).hashed;
        let as_text = "isNull(`c`), ifNull(toString(`c`), '')";
        for (a, b) in [
            ("String", "String"),
            ("LowCardinality(String)", "String"),
            ("UInt64", "UInt64"),
            ("DateTime64(3, 'UTC')", "DateTime64(3, 'UTC')"),
            ("Decimal(18, 4)", "Decimal(18, 4)"),
        ] {
            assert_eq!(hashed(a, b), "`c`", "{a} {b}");
        }
        for (a, b) in [
            ("Nullable(Int32)", "Int32"),
            ("LowCardinality(Nullable(String))", "String"),
            ("Int32", "Int64"),
            ("Float64", "Float64"),
            ("Array(String)", "Array(String)"),
            ("Map(String, Nullable(Int8))", "Map(String, Nullable(Int8))"),
        ] {
            assert_eq!(hashed(a, b), as_text, "{a} {b}");
        }
        assert_eq!(
            hashed("DateTime", "DateTime64(3, 'UTC')"),
            "isNull(toDateTime64(`c`, 3, 'UTC')), ifNull(toString(toDateTime64(`c`, 3, 'UTC')), '')"
        );
    }

    #[test]
    fn a_time_means_the_event_time_or_the_only_time_there_is() {
        let two = table(
            "db.a",
            &[
                ("id", "UInt64"),
                ("at", "DateTime"),
                ("processed_at", "DateTime64(3)"),
            ],
        );
        let mut asked = options("id", &[]);
        asked.since = Some("1970-01-01T00:00:01.5Z".parse().unwrap());
        asked.until = Some("1970-01-01T00:00:02Z".parse().unwrap());
        let condition = |asked: &CompareOptions, field| condition(&two, &two, asked, field);
        let expected = "`at` >= fromUnixTimestamp64Micro(1500000, 'UTC') AND `at` < fromUnixTimestamp64Micro(2000000, 'UTC')";
        assert_eq!(condition(&asked, Some("at")).unwrap().unwrap(), expected);
        let refused = condition(&asked, None).unwrap_err();
        assert!(
            refused.ends_with("--time-column, one of at, processed_at"),
            "{refused}"
        );
        asked.time_column = Some("at".to_owned());
        assert_eq!(condition(&asked, None).unwrap().unwrap(), expected);
        asked.time_column = Some("id".to_owned());
        assert!(
            condition(&asked, None)
                .unwrap_err()
                .contains("--time-column id")
        );
    }
}
