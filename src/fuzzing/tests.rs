//! The properties of the fuzz targets on a fixed corpus, with the toolchain that builds the daemon.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

/// Calls the entry point with every file of a directory under `tests/material`, and names those that
/// fail.
fn replay(entry_point: fn(&[u8]), directory: &str, files_min: usize) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/material")
        .join(directory);
    let mut files = 0;
    let mut failed = vec![];
    for entry in fs::read_dir(&directory).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let data = fs::read(&path).expect("a file");
        files += 1;
        if panic::catch_unwind(AssertUnwindSafe(|| entry_point(&data))).is_err() {
            failed.push(path.file_name().map(ToOwned::to_owned));
        }
    }
    assert!(failed.is_empty(), "{failed:?} of {}", directory.display());
    assert!(
        files >= files_min,
        "{files} files in {}",
        directory.display()
    );
}

#[test]
fn records_that_were_hostile_before_do_no_harm() {
    replay(super::record, "hostile/record", 300);
}

#[test]
fn other_inputs_that_were_hostile_before_do_no_harm() {
    replay(super::inputs, "hostile/inputs", 100);
}

#[test]
fn the_files_of_the_json_suite_are_judged_as_a_second_parser_judges_them() {
    replay(super::record, "json/test_parsing", 318);
}

/// Without this a model that refuses everything would agree with a daemon that does.
#[test]
fn good_records_among_them_are_rows_in_the_table_they_are_meant_for() {
    let rows = |file: &str| {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material/hostile/record");
        super::record::rows(&fs::read(corpus.join(file)).expect("a file"))
    };
    assert_eq!(rows("event-plain"), [1, 0]);
    assert_eq!(rows("event-duplicates"), [1, 0]);
    assert_eq!(rows("three-of-one-session"), [3, 0]);
    assert_eq!(rows("every-type"), [0, 1]);
    assert_eq!(rows("typed-leap"), [0, 1]);
    assert_eq!(rows("profile-of-key"), [0, 1]);
}
