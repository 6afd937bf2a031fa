use proptest::prelude::*;

use super::*;
use crate::table::{ColumnType, append_length};

fn column(type_name: &str, has_default: bool) -> BlockColumn {
    BlockColumn {
        name: "c".to_owned(),
        type_name: type_name.to_owned(),
        column_type: ColumnType::parse(type_name).expect("a type"),
        has_default,
    }
}

/// Fills chunks of so many rows each; returns the streams of all, and the rows as they come back.
fn through(plan: &BlockPlan, rows: &[Vec<u8>], per_chunk: usize) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut state, mut before) = (plan.state(), plan.state());
    let mut chunk = Chunk::default();
    let mut all = vec![vec![]; plan.streams()];
    let mut restored = vec![];
    for rows in rows.chunks(per_chunk) {
        let (mut bytes, mut ends) = (vec![], vec![]);
        for row in rows {
            bytes.extend_from_slice(row);
            ends.push(u32::try_from(bytes.len()).expect("a short row"));
        }
        plan.fill(&bytes, &ends, &mut state, &mut chunk);
        for (all, stream) in all.iter_mut().zip(chunk.streams()) {
            all.extend_from_slice(stream);
        }
        plan.restore(&chunk, rows.len(), &mut before, |row| {
            restored.push(row.to_vec())
        });
    }
    (all, restored)
}

fn text(content: &[u8]) -> Vec<u8> {
    let mut text = vec![];
    append_length(content.len(), &mut text);
    [text, content.to_vec()].concat()
}

/// A type and a strategy for its values in RowBinary.
fn values() -> impl Strategy<Value = (String, BoxedStrategy<Vec<u8>>)> {
    let texts = || {
        prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..4),
            1 => prop::collection::vec(any::<u8>(), 50..70),
            1 => prop::collection::vec(any::<u8>(), 100..300),
        ]
        .prop_map(|content| text(&content))
    };
    let fixed = [
        ("UInt8", 1),
        ("Bool", 1),
        ("Int16", 2),
        ("Date32", 4),
        ("DateTime64(3)", 8),
        ("UUID", 16),
        ("Decimal(76, 3)", 32),
        ("FixedString(5)", 5),
    ];
    let fixed = prop::sample::select(fixed.to_vec()).prop_map(|(name, size)| {
        let bytes = prop::collection::vec(0u8..4, size);
        (name.to_owned(), bytes.boxed())
    });
    let scalar = prop_oneof![fixed, Just(("String".to_owned(), texts().boxed()))];
    let nullable = |(name, values): (String, BoxedStrategy<Vec<u8>>)| {
        let value = values.prop_map(|value| [vec![0], value].concat());
        (
            format!("Nullable({name})"),
            prop_oneof![Just(vec![1]), value].boxed(),
        )
    };
    let element = prop_oneof![scalar.clone(), scalar.prop_map(nullable)];
    let dictionary = |(name, values)| (format!("LowCardinality({name})"), values);
    let element = prop_oneof![2 => element.clone(), 1 => element.prop_map(dictionary)];
    element.prop_recursive(2, 4, 1, |inner| {
        inner.prop_map(|(name, values)| {
            let values = prop::collection::vec(values, 0..4).prop_map(|values| {
                let mut list = vec![];
                append_length(values.len(), &mut list);
                [list, values.concat()].concat()
            });
            (format!("Array({name})"), values.boxed())
        })
    })
}

fn table() -> impl Strategy<Value = (Vec<BlockColumn>, bool, Vec<Vec<u8>>)> {
    let columns = prop::collection::vec((values(), any::<bool>()), 1..6);
    (columns, any::<bool>()).prop_flat_map(|(columns, has_flags)| {
        let (mut stated, mut cells) = (vec![], vec![]);
        for ((name, values), has_default) in columns {
            stated.push(column(&name, has_default));
            cells.push(match (has_flags, has_default) {
                (false, _) => values,
                (true, false) => values.prop_map(|value| [vec![0], value].concat()).boxed(),
                (true, true) => {
                    let value = values.prop_map(|value| [vec![0], value].concat());
                    prop_oneof![Just(vec![1]), value].boxed()
                }
            });
        }
        let row = cells.prop_map(|cells| cells.concat());
        let rows = prop::collection::vec(row, 1..40);
        (Just(stated), Just(has_flags), rows)
    })
}

proptest! {
    #[test]
    fn columns_become_the_rows_that_they_were_made_of(
        (columns, has_flags, rows) in table(), per_chunk in 1usize..20,
    ) {
        let plan = BlockPlan::new(columns, has_flags);
        let (_, restored) = through(&plan, &rows, per_chunk);
        prop_assert_eq!(restored, rows);
    }
}

#[test]
fn a_dictionary_has_each_value_once_and_null_first() {
    let plan = BlockPlan::new([column("LowCardinality(Nullable(String))", false)], false);
    let value = |content: &str| [vec![0], text(content.as_bytes())].concat();
    let rows = [value("a"), vec![1], value("b"), value("a"), value("")];
    let (streams, _) = through(&plan, &rows, 4);
    let number = |number: u64| number.to_le_bytes().to_vec();
    let first = [
        number(1 << 9),
        number(3),
        b"\0\x01a\x01b".to_vec(),
        number(4),
        vec![1, 0, 2, 1],
    ];
    let second = [
        number(1 << 9),
        number(2),
        b"\0\0".to_vec(),
        number(1),
        vec![1],
    ];
    assert_eq!(streams, [[first.concat(), second.concat()].concat()]);
}

#[test]
fn the_indexes_of_a_dictionary_are_as_wide_as_its_size_needs() {
    let plan = BlockPlan::new([column("LowCardinality(UInt32)", false)], false);
    for (count, width, kind) in [(256u32, 1, 0), (257, 2, 1), (65_536, 2, 1), (65_537, 4, 2)] {
        let rows: Vec<Vec<u8>> = (0..count).map(|n| n.to_le_bytes().to_vec()).collect();
        let (streams, restored) = through(&plan, &rows, rows.len());
        assert_eq!(streams[0][0], kind);
        assert_eq!(streams[0].len(), 24 + count as usize * (4 + width));
        assert!(restored == rows);
    }
}

#[test]
fn a_column_is_stated_where_all_rows_have_it_and_left_out_where_none_has() {
    let plan = BlockPlan::new(
        [
            column("UInt8", false),
            column("Array(LowCardinality(String))", true),
        ],
        true,
    );
    let (none, some) = (vec![0, 7, 1], vec![0, 7, 0, 1, 1, b'x']);
    let head = |head: &[u8], streams| Part {
        head: head.to_vec(),
        streams,
    };
    let parts = |rows: &[Vec<u8>]| {
        let (mut state, mut chunk) = (plan.state(), Chunk::default());
        for row in rows {
            let end = u32::try_from(row.len()).expect("a short row");
            plan.fill(row, &[end], &mut state, &mut chunk);
        }
        plan.parts(rows.len(), state.absent())
    };
    let first = b"\x01c\x05UInt8".as_slice();
    let second = b"\x01c\x1dArray(LowCardinality(String))\x01\0\0\0\0\0\0\0";
    let both = [b"\x02\x02", first].concat();
    let stated = [head(&both, 0..1), head(second, 2..4)];
    assert_eq!(parts(&[some.clone(), some.clone()]), Some(stated.into()));
    let alone = [b"\x01\x02", first].concat();
    assert_eq!(
        parts(&[none.clone(), none.clone()]),
        Some([head(&alone, 0..1)].into())
    );
    assert_eq!(parts(&[none, some]), None);
}
