//! Made columns and private fields.

use super::*;

/// What a made column cannot be, with the key and the message.
const MADE_COLUMNS: &[(&str, &str, &str)] = &[
    ("{ apply = [] }", ".apply", "must have 1 to 32 steps, has 0"),
    (
        "{ apply = [\"lowr\"] }",
        ".apply[0]",
        "unknown step \"lowr\", did you mean lower? (allowed: abs, lower,",
    ),
    (
        "{ apply = [\"trim\", { rond = 2 }] }",
        ".apply[1]",
        "unknown step \"rond\", did you mean round?",
    ),
    (
        "{ apply = [\"round\"] }",
        ".apply[0]",
        "needs a value: write { round = … }",
    ),
    (
        "{ apply = [{ trim = true }] }",
        ".apply[0]",
        "must be written as a name: \"trim\"",
    ),
    (
        "{ apply = [{ round = 2, scale = \"0.1\" }] }",
        ".apply[0]",
        "must have one step, found round and scale",
    ),
    (
        "{ apply = [7] }",
        ".apply[0]",
        "must be the name of a step or a table with one, found 7",
    ),
    (
        "{ apply = [{ round = 77 }] }",
        ".apply[0].round",
        "from 0 to 76",
    ),
    (
        "{ apply = [{ split = \",\", idx = 1 }] }",
        ".apply[0].idx",
        "unknown key, did you mean index?",
    ),
    (
        "{ apply = [{ split = \"\" }] }",
        ".apply[0].split",
        "must not be empty",
    ),
    (
        "{ apply = [{ replace = [\"a\"] }] }",
        ".apply[0].replace",
        "a list of two texts",
    ),
    (
        "{ apply = [{ extract = \"(\" }] }",
        ".apply[0].extract",
        "must be a regular expression",
    ),
    (
        "{ apply = [{ scale = \"1,5\" }] }",
        ".apply[0].scale",
        "a number, as a text where its digits matter",
    ),
    (
        "{ apply = [{ bucket = [2, 1] }] }",
        ".apply[0].bucket",
        "each larger than the one before",
    ),
    (
        "{ apply = [{ part = \"week\" }] }",
        ".apply[0].part",
        "one of \"hour\", \"day_of_week\"",
    ),
    (
        "{ apply = [{ part = \"hour\", zone = \"Berlin\" }] }",
        ".apply[0].zone",
        "a time zone of the IANA database",
    ),
    (
        "{ apply = [{ part = \"hour\", hours = [1, 2] }] }",
        ".apply[0].hours",
        "unknown key",
    ),
    (
        "{ apply = [{ part = \"is_business_hours\", hours = [17, 9] }] }",
        ".apply[0].hours",
        "the first before the second",
    ),
    (
        "{ apply = [{ truncate_time = \"7h\" }] }",
        ".apply[0].truncate_time",
        "must be a part of a day",
    ),
    (
        "{ apply = [{ map_file = \"nowhere.csv\" }] }",
        ".apply[0].map_file",
        "must name a file of CSV with the header from,to",
    ),
    (
        "{ path = \"$.a\", sum = [\"$.b\"] }",
        ".path",
        "cannot be set together with a value that is computed",
    ),
    (
        "{ product = [\"$.a\"], sum = [\"$.b\"] }",
        ".sum",
        "cannot be set together with product",
    ),
    (
        "{ sum = [\"$.a\"], separator = \"-\" }",
        ".separator",
        "needs concat",
    ),
    (
        "{ concat = [\"$.a[*].b\"] }",
        ".concat",
        "[*] leads to several",
    ),
    (
        "{ path = \"$.a[*]\", mask = \"redact\" }",
        ".path",
        "[*] leads to several",
    ),
    (
        "{ raw = \"any\", apply = [\"trim\"] }",
        ".raw",
        "cannot be set together with apply",
    ),
    (
        "{ from = \"key\", mask = \"redact\" }",
        ".from",
        "cannot be set together with apply",
    ),
    (
        "{ on_error = \"default\" }",
        ".on_error",
        "needs apply, mask",
    ),
    (
        "{ apply = [\"trim\"], on_error = \"default\", required = true }",
        ".on_error",
        "cannot be set together with required",
    ),
    (
        "{ mask = \"hmac\" }",
        ".mask",
        "needs service.mask_key_file",
    ),
    (
        "{ mask = \"redact\", keep = 2 }",
        ".keep",
        "needs mask = \"keep_last\"",
    ),
];

#[test]
fn what_no_value_can_be_made_of_is_named_with_its_step() {
    for (entry, key, says) in MADE_COLUMNS {
        let text = shipped_with(&[("pipeline.columns.made", entry)]);
        let key = problem_path(&format!("pipeline.columns.made{key}"));
        assert_problem(&text, &key, &[says]);
    }
    for (key, field) in [("time_field", "at"), ("session.key_field", "visitor")] {
        let column = format!("pipeline.columns.{field}");
        let key = format!("pipeline.{key}");
        let quoted = format!("\"{field}\"");
        let text = shipped_with(&[(&column, "{ apply = [\"trim\"] }"), (&key, &quoted)]);
        assert_problem(&text, &problem_path(&key), &["makes that column of fields"]);
    }
}

#[test]
fn private_fields_in_whole_dead_letters_draw_a_warning() {
    let fields = ("pipeline.privacy.fields", "[\"$.email\"]");
    let warned = |edits: &[Edit]| {
        let loaded = parse(&shipped_with(edits)).expect("nothing is wrong with it");
        let mut warnings = loaded.warnings.into_iter();
        warnings.any(|w| w.key_path == "pipeline.clickstream.dead_letter.payload")
    };
    assert!(!warned(&[]));
    assert!(warned(&[fields]));
    for payload in ["\"masked\"", "\"omit\""] {
        assert!(!warned(&[
            fields,
            ("pipeline.dead_letter.payload", payload)
        ]));
    }
}
