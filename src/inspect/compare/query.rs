//! The queries of a comparison.

use serde_json::Value;

use super::columns::{Column, Plan};
use super::tables::Table;

/// Rows of a bucket, about.
const BUCKET_ROWS: u64 = 20_000;
/// Most buckets: what the server keeps of one is small, and so is its answer.
const BUCKETS_MAX: u64 = 65_536;
/// Buckets that one query names: a query is at most 256 KiB.
const GROUP_MAX: usize = 8_192;
/// Keys of each kind of difference that are shown.
pub(super) const SAMPLES_MAX: usize = 20;

/// One of the two tables, as it is read.
#[derive(Debug)]
pub(super) struct Side {
    /// `table FINAL WHERE …`
    from: String,
    key: String,
    rows: String,
}

fn hashed(columns: &[Column]) -> String {
    let columns: Vec<&str> = columns.iter().map(|column| &*column.hashed).collect();
    format!("sipHash64({})", columns.join(", "))
}

impl Side {
    pub(super) fn new(table: &Table, plan: &Plan, name: char) -> Side {
        let last = if table.is_replacing { " FINAL" } else { "" };
        let condition = plan.condition.as_ref();
        let condition = condition.map_or(String::new(), |condition| format!(" WHERE {condition}"));
        let (key, row) = (hashed(&plan.key), hashed(&plan.columns));
        let from = format!("{}{last}{condition}", table.sql_name);
        let is_b = u8::from(name == 'b');
        Side {
            rows: format!(
                "SELECT {key} AS _sw_key, {row} AS _sw_row, {is_b} AS _sw_side FROM {from}"
            ),
            key,
            from,
        }
    }
}

/// How many buckets tables of so many rows have.
pub(super) fn bucket_count(rows: u64) -> u64 {
    (rows / BUCKET_ROWS).clamp(16, BUCKETS_MAX)
}

const SUMS: &str = "countIf(_sw_side = 0) AS a, countIf(_sw_side = 1) AS b, \
                    sumIf(_sw_row, _sw_side = 0) AS sum_a, sumIf(_sw_row, _sw_side = 1) AS sum_b";

/// Count and sum of the rows of each bucket.
pub(super) fn sums(a: &Side, b: &Side, count: u64) -> String {
    format!(
        "SELECT _sw_key % {count} AS bucket, {SUMS} FROM ({} UNION ALL {}) GROUP BY bucket",
        a.rows, b.rows
    )
}

/// What one bucket holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    number: u64,
    pub(super) rows_a: u64,
    pub(super) rows_b: u64,
    sums: (u64, u64),
}

impl Bucket {
    pub(super) fn parse(line: &Value) -> Option<Bucket> {
        let number = |key: &str| line.get(key)?.as_u64();
        Some(Bucket {
            number: number("bucket")?,
            rows_a: number("a")?,
            rows_b: number("b")?,
            sums: (number("sum_a")?, number("sum_b")?),
        })
    }

    pub(super) fn differs(&self) -> bool {
        self.rows_a != self.rows_b || self.sums.0 != self.sums.1
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows_a + self.rows_b
    }
}

/// The buckets in groups of at most so many rows; one that has more is a group of its own.
pub(super) fn groups(buckets: &[Bucket], rows_max: u64) -> impl Iterator<Item = &[Bucket]> {
    let mut rest = buckets;
    std::iter::from_fn(move || {
        let mut rows = 0;
        let fits = |bucket: &&Bucket| {
            rows += bucket.rows();
            rows <= rows_max
        };
        let count = rest.iter().take(GROUP_MAX).take_while(fits).count().max(1);
        let (group, others) = rest.split_at_checked(count)?;
        rest = others;
        Some(group)
    })
}

/// In how many parts a group is asked for: more than one where a single bucket has more rows.
pub(super) fn split(group: &[Bucket], rows_max: u64) -> u64 {
    let rows: u64 = group.iter().map(Bucket::rows).sum();
    rows.div_ceil(rows_max).max(1)
}

/// How many keys differ in which way, and some of them, of one part of these buckets.
pub(super) fn keys(
    a: &Side,
    b: &Side,
    count: u64,
    buckets: &[Bucket],
    (part, parts): (u64, u64),
) -> String {
    let of_part = match parts {
        0 | 1 => String::new(),
        _ => format!(" AND intDiv(_sw_key, {count}) % {parts} = {part}"),
    };
    let numbers: Vec<String> = buckets
        .iter()
        .map(|bucket| bucket.number.to_string())
        .collect();
    format!(
        "SELECT multiIf(b = 0, 'missing_in_b', a = 0, 'missing_in_a', a != b, 'doubled', 'differs') AS kind, \
         count() AS keys, arraySlice(groupArraySorted({SAMPLES_MAX})((_sw_key, a, b)), 1) AS samples FROM \
         (SELECT _sw_key, {SUMS} FROM ({} UNION ALL {}) WHERE _sw_key % {count} IN ({}){of_part} GROUP BY _sw_key \
         HAVING a != b OR sum_a != sum_b) GROUP BY kind",
        a.rows,
        b.rows,
        numbers.join(", ")
    )
}

/// One row of each of these keys, as texts.
pub(super) fn samples(side: &Side, plan: &Plan, hashes: &[u64]) -> String {
    let hashes: Vec<String> = hashes.iter().map(u64::to_string).collect();
    let texts: Vec<&str> = plan.columns.iter().map(|column| &*column.text).collect();
    let Side { from, key, .. } = side;
    format!(
        "SELECT {key} AS _sw_key, [{}] AS _sw_values FROM {from}{} {key} IN ({}) \
         ORDER BY _sw_key, _sw_values LIMIT 1 BY _sw_key",
        texts.join(", "),
        if plan.condition.is_some() {
            " AND"
        } else {
            " WHERE"
        },
        hashes.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(number: u64, rows: u64) -> Bucket {
        Bucket {
            number,
            rows_a: rows,
            rows_b: 0,
            sums: (0, 0),
        }
    }

    #[test]
    fn buckets_are_asked_for_together_up_to_a_number_of_rows() {
        let sizes = |rows: &[u64]| -> Vec<usize> {
            let buckets: Vec<Bucket> = (0..).zip(rows).map(|(n, rows)| bucket(n, *rows)).collect();
            groups(&buckets, 10).map(<[Bucket]>::len).collect()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[3, 3, 4, 1]), [3, 1]);
        assert_eq!(sizes(&[30, 1, 30]), [1, 1, 1]);
        assert_eq!(sizes(&[1; 25]), [10, 10, 5]);
        assert_eq!(sizes(&[0; GROUP_MAX + 1]), [GROUP_MAX, 1]);
    }

    #[test]
    fn a_bucket_of_too_many_rows_is_asked_for_in_parts() {
        let parts = |rows: &[u64]| {
            let buckets: Vec<Bucket> = rows.iter().map(|rows| bucket(3, *rows)).collect();
            split(&buckets, 10)
        };
        assert_eq!(parts(&[3, 7]), 1);
        assert_eq!(parts(&[31]), 4);
        let side = || Side {
            from: String::new(),
            key: String::new(),
            rows: "SELECT 1".to_owned(),
        };
        let sql = |parts| keys(&side(), &side(), 16, &[bucket(3, 31)], parts);
        assert!(sql((2, 4)).contains("IN (3) AND intDiv(_sw_key, 16) % 4 = 2 GROUP BY"));
        assert!(sql((0, 1)).contains("IN (3) GROUP BY"));
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        assert_eq!(bucket_count(0), 16);
        assert_eq!(bucket_count(2_000_000), 100);
        assert_eq!(bucket_count(u64::MAX), 65_536);
    }

    #[test]
    fn a_bucket_differs_by_its_rows_or_by_their_values() {
        let parse = |a, b, sum_a, sum_b| {
            let line =
                serde_json::json!({"bucket": 1, "a": a, "b": b, "sum_a": sum_a, "sum_b": sum_b});
            Bucket::parse(&line).unwrap().differs()
        };
        assert!(!parse(2, 2, u64::MAX, u64::MAX));
        assert!(parse(2, 1, 5, 5));
        assert!(parse(2, 2, 5, 6));
        assert!(Bucket::parse(&serde_json::json!({"bucket": 1})).is_none());
    }
}
