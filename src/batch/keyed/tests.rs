use super::*;

/// Key UInt8, then two Nullable(String).
fn types() -> Vec<ColumnType> {
    vec![ColumnType::parse("Nullable(String)").unwrap(); 2]
}

fn bytes(key: u8, version: u64, deleted: bool, values: [Option<&str>; 2]) -> Vec<u8> {
    let mut row = vec![key];
    row.extend(version.to_le_bytes());
    row.push(u8::from(deleted));
    for value in values {
        match value {
            None => row.push(1),
            Some(text) => {
                row.extend([0, u8::try_from(text.len()).unwrap()]);
                row.extend(text.as_bytes());
            }
        }
    }
    row
}

fn push(rows: &mut KeyedRows, row: &[u8], gaps: Option<&Gaps>) {
    let version = u64::from_le_bytes(row[1..9].try_into().unwrap());
    let offset = i64::try_from(version).unwrap();
    let key_len = 1;
    rows.push(
        offset,
        KeyedRow {
            bytes: row,
            key_len,
            gaps,
        },
        &types(),
    );
}

fn own(key: u8, columns: Vec<u16>) -> Gaps {
    Gaps {
        kept: vec![],
        columns,
        source: GapSource::Key([key].into()),
        needed: true,
        moved: None,
    }
}

fn moved(old: u8, new: u8) -> Moved {
    Moved {
        old: [old].into(),
        new: [new].into(),
        lsn: Some(7),
    }
}

fn drain(rows: &mut KeyedRows) -> (Vec<Vec<u8>>, Vec<GappedRow>) {
    let mut whole = vec![];
    let gapped = rows.drain(|_, row| whole.push(row.to_vec()));
    (whole, gapped)
}

#[test]
fn the_last_row_of_a_key_counts() {
    let mut rows = KeyedRows::new();
    for (key, version) in [(1, 1), (2, 2), (1, 3), (3, 4), (2, 5)] {
        push(
            &mut rows,
            &bytes(key, version, false, [Some("a"), None]),
            None,
        );
    }
    assert_eq!(rows.len(), 3);
    let (whole, gapped) = drain(&mut rows);
    let expected = [(1, 3), (3, 4), (2, 5)];
    assert_eq!(
        whole,
        expected.map(|(k, v)| bytes(k, v, false, [Some("a"), None]))
    );
    assert!(gapped.is_empty() && rows.len() == 0);
}

#[test]
fn superseded_rows_give_their_room_back() {
    let mut rows = KeyedRows::new();
    let big = "x".repeat(100);
    for version in 0..100_000 {
        push(
            &mut rows,
            &bytes(version as u8 % 7, version, false, [Some(&big), None]),
            None,
        );
    }
    assert_eq!(rows.len(), 7);
    assert!(rows.memory_bytes() < 8 << 20);
    let (whole, _) = drain(&mut rows);
    let versions: Vec<_> = whole
        .iter()
        .map(|row| u64::from_le_bytes(row[1..9].try_into().unwrap()))
        .collect();
    assert_eq!(versions, (99_993..100_000).collect::<Vec<_>>());
}

#[test]
fn keys_of_any_length_are_told_apart_by_all_of_their_bytes() {
    let keys = ["", "a", "a\0", "12345678", "12345678a", "12345678b"];
    let mut rows = KeyedRows::new();
    let mut version = 0;
    for _ in 0..3 {
        for key in keys {
            version += 1;
            let mut row = key.as_bytes().to_vec();
            row.extend(bytes(0, version, false, [None, None]).split_off(1));
            let (offset, key_len) = (i64::try_from(version).unwrap(), key.len());
            let (bytes, gaps) = (&*row, None);
            let keyed = KeyedRow {
                bytes,
                key_len,
                gaps,
            };
            rows.push(offset, keyed, &types());
        }
    }
    let mut offsets = vec![];
    let gapped = rows.drain(|offset, _| offsets.push(offset));
    assert_eq!(offsets, (13..=18).collect::<Vec<_>>());
    assert!(gapped.is_empty());
}

#[test]
fn a_value_left_out_comes_from_the_row_before() {
    let mut rows = KeyedRows::new();
    push(
        &mut rows,
        &bytes(1, 1, false, [Some("big"), Some("a")]),
        None,
    );
    push(
        &mut rows,
        &bytes(1, 2, false, [None, Some("b")]),
        Some(&own(1, vec![0])),
    );
    let (whole, gapped) = drain(&mut rows);
    assert_eq!(whole, [bytes(1, 2, false, [Some("big"), Some("b")])]);
    assert!(gapped.is_empty());
}

#[test]
fn what_the_row_before_lacks_too_is_looked_for_where_it_would_look() {
    let mut rows = KeyedRows::new();
    push(
        &mut rows,
        &bytes(1, 1, false, [None, Some("a")]),
        Some(&own(1, vec![0])),
    );
    push(
        &mut rows,
        &bytes(1, 2, false, [None, None]),
        Some(&own(1, vec![0, 1])),
    );
    let (whole, gapped) = drain(&mut rows);
    assert!(whole.is_empty());
    assert_eq!(gapped[0].bytes, bytes(1, 2, false, [None, Some("a")]));
    assert_eq!(gapped[0].gaps, own(1, vec![0]));
}

#[test]
fn a_deleted_row_has_no_values_to_give() {
    let mut rows = KeyedRows::new();
    push(&mut rows, &bytes(1, 1, true, [None, None]), None);
    push(
        &mut rows,
        &bytes(1, 2, false, [None, Some("b")]),
        Some(&own(1, vec![0])),
    );
    let (_, gapped) = drain(&mut rows);
    assert_eq!(
        (&*gapped[0].gaps.columns, &gapped[0].gaps.source),
        (&[0][..], &GapSource::None)
    );
}

#[test]
fn a_row_that_may_become_a_dead_letter_leaves_the_one_before_it_in_place() {
    let mut rows = KeyedRows::new();
    let gone = bytes(1, 1, true, [None, None]);
    push(&mut rows, &gone, None);
    for version in [2, 3] {
        let row = bytes(1, version, false, [None, Some("b")]);
        push(&mut rows, &row, Some(&own(1, vec![0])));
    }
    assert_eq!(rows.len(), 2);
    let (whole, gapped) = drain(&mut rows);
    assert_eq!(whole, [gone]);
    assert_eq!((gapped.len(), gapped[0].offset), (1, 3));
}

/// Row 1 leaves for 2 in the change of `lsn`; its tombstone names none.
fn leave(rows: &mut KeyedRows, version: u64, lsn: Option<u64>) {
    let leaves = |lsn| Gaps {
        kept: vec![],
        needed: false,
        moved: Some(Moved { lsn, ..moved(1, 2) }),
        ..own(1, vec![0, 1])
    };
    let row = |version| bytes(1, version, true, [None, None]);
    push(rows, &row(version), Some(&leaves(lsn)));
    push(rows, &row(version + 1), Some(&leaves(None)));
}

/// Row 2, which was row 1.
fn come(rows: &mut KeyedRows, version: u64, lsn: Option<u64>) -> Gaps {
    let comes = Gaps {
        kept: vec![],
        source: GapSource::Moved(Moved { lsn, ..moved(1, 2) }),
        ..own(1, vec![0])
    };
    let row = bytes(2, version, false, [None, Some("a")]);
    push(rows, &row, Some(&comes));
    comes
}

#[test]
fn without_a_position_in_the_log_a_row_under_its_new_key_takes_the_values_it_had_under_the_old() {
    let mut rows = KeyedRows::new();
    let before = bytes(1, 1, false, [Some("big"), Some("a")]);
    push(&mut rows, &before, None);
    leave(&mut rows, 2, None);
    come(&mut rows, 4, None);
    let (whole, gapped) = drain(&mut rows);
    assert_eq!(whole, [bytes(2, 4, false, [Some("big"), Some("a")])]);
    assert_eq!(
        gapped.len(),
        1,
        "the tombstone has taken the place of the delete"
    );
    assert_eq!(gapped[0].bytes, bytes(1, 3, true, [Some("big"), Some("a")]));
    assert!(gapped[0].gaps.columns.is_empty());
}

#[test]
fn a_change_that_has_a_position_is_looked_up_by_it() {
    let mut rows = KeyedRows::new();
    let before = bytes(1, 1, false, [Some("big"), Some("a")]);
    push(&mut rows, &before, None);
    leave(&mut rows, 2, Some(7));
    let comes = come(&mut rows, 4, Some(7));
    let (whole, gapped) = drain(&mut rows);
    assert!(whole.is_empty(), "{whole:?}");
    assert_eq!(
        gapped[0].gaps.moved,
        Some(moved(1, 2)),
        "the delete's position is kept"
    );
    assert_eq!(gapped[1].gaps, comes);
}

#[test]
fn a_later_life_of_a_key_is_written_behind_the_row_that_has_left_it() {
    let mut rows = KeyedRows::new();
    let other = bytes(3, 0, false, [None, None]);
    push(&mut rows, &other, None);
    leave(&mut rows, 2, Some(7));
    let reborn = bytes(1, 5, false, [Some("new"), None]);
    push(&mut rows, &reborn, None);
    let (whole, gapped) = drain(&mut rows);
    assert_eq!(whole, [other]);
    let gapped: Vec<_> = gapped
        .iter()
        .map(|row| (row.offset, &row.gaps.source))
        .collect();
    let own_key = GapSource::Key([1].into());
    assert_eq!(gapped, [(3, &own_key), (5, &GapSource::None)]);
}

#[test]
fn a_key_that_is_left_twice_without_a_row_between_gives_its_values_once() {
    let mut rows = KeyedRows::new();
    let before = bytes(1, 1, false, [Some("big"), Some("a")]);
    push(&mut rows, &before, None);
    leave(&mut rows, 2, Some(7));
    leave(&mut rows, 4, Some(8));
    let (_, gapped) = drain(&mut rows);
    assert_eq!(gapped.len(), 2, "{gapped:?}");
    assert_eq!(gapped[0].bytes, bytes(1, 3, true, [Some("big"), Some("a")]));
    assert_eq!(gapped[1].bytes, bytes(1, 5, true, [None, None]));
    assert_eq!(gapped[1].gaps.source, GapSource::None);
}

#[test]
fn a_kept_value_may_be_the_types_default_and_needs_a_living_row() {
    let gaps = |columns: Vec<u16>| Gaps {
        kept: columns.clone(),
        ..own(1, columns)
    };
    let types = [
        ColumnType::Int64,
        ColumnType::Nullable(Box::new(ColumnType::Int64)),
    ];
    let row = |version: u64, is_deleted: u8, first: i64, second: Option<i64>| {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.push(is_deleted);
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.push(u8::from(second.is_none()));
        bytes.extend(second.map(i64::to_le_bytes).into_iter().flatten());
        bytes
    };
    let write = |rows: &mut KeyedRows, bytes: &[u8], gaps: Option<&Gaps>| {
        let row = KeyedRow {
            bytes,
            key_len: 1,
            gaps,
        };
        rows.push(0, row, &types);
    };
    let drained = |mut rows: KeyedRows| {
        let mut whole = vec![];
        let gapped = rows.drain(|_, row| whole.push(row.to_vec()));
        (whole, gapped.len())
    };
    let (mut rows, kept) = (KeyedRows::new(), gaps(vec![1]));
    write(&mut rows, &row(1, 0, 5, Some(0)), None);
    write(&mut rows, &row(2, 0, 6, None), Some(&kept));
    assert_eq!(
        drained(rows),
        (vec![row(2, 0, 6, Some(0))], 0),
        "zero is a value"
    );
    let mut rows = KeyedRows::new();
    write(&mut rows, &row(1, 1, 0, None), None);
    write(&mut rows, &row(2, 0, 6, None), Some(&kept));
    assert_eq!(
        drained(rows),
        (vec![row(2, 0, 6, None)], 0),
        "a deleted row has none"
    );
    let mut rows = KeyedRows::new();
    write(&mut rows, &row(2, 0, 6, None), Some(&kept));
    assert_eq!(drained(rows), (vec![], 1), "the table is asked");
}

#[test]
fn a_row_with_a_map_has_its_values_and_those_of_the_row_before() {
    let others = ["Map(String, UInt8)", "Nullable(String)"].map(|t| ColumnType::parse(t).unwrap());
    let row = |version: u64, map: &[u8], text: &[u8]| {
        [&[1][..], &version.to_le_bytes(), &[0], map, text].concat()
    };
    let mut rows = KeyedRows::new();
    let before = row(1, b"\x01\x01a\x07", b"\0\x01x");
    let after = row(2, b"\x02\x01a\x08\x01b\x09", b"\x01");
    for (offset, bytes, gaps) in [(1, &before, None), (2, &after, Some(own(1, vec![1])))] {
        let row = KeyedRow {
            bytes,
            key_len: 1,
            gaps: gaps.as_ref(),
        };
        rows.push(offset, row, &others);
    }
    let (whole, gapped) = drain(&mut rows);
    assert_eq!(whole, [row(2, b"\x02\x01a\x08\x01b\x09", b"\0\x01x")]);
    assert!(gapped.is_empty());
}
