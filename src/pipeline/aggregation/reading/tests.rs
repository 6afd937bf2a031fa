//! Numbers and texts of records become samples.

use super::*;

const WIDE: Digits = Digits {
    precision: 38,
    scale: 9,
};

#[test]
fn short_numbers_are_those_of_the_long_way() {
    for json in [
        "0",
        "-0",
        "12",
        "12.5",
        "-12.50",
        "0.000000001",
        "99999999999999999",
        "1.10",
        "-0.000000009",
    ] {
        let raw = Raw::parse(json).unwrap();
        let long = decimal(raw).unwrap().unscaled(38, 9).unwrap().as_i128();
        assert_eq!(short_number(raw, WIDE), Some(long), "{json}");
    }
    for json in ["1e2", "0.0000000001", "123456789012345678"] {
        assert_eq!(
            short_number(Raw::parse(json).unwrap(), WIDE),
            None,
            "{json}"
        );
    }
    let narrow = Digits {
        precision: 10,
        scale: 2,
    };
    assert_eq!(short_number(Raw::parse("1.5").unwrap(), narrow), None);
}

#[test]
fn int64_takes_every_whole_number_of_64_bits_and_no_other() {
    let number = |type_name: &str, json: &str| {
        let metric = MetricPlan {
            name: "m".to_owned(),
            function: crate::config::Function::Sum,
            inputs: vec![],
            checks: vec![],
            digits: Digits {
                precision: 18,
                scale: 0,
            },
            column: Some(crate::table::ColumnType::parse(type_name).expect("a type")),
            time_unit: None,
        };
        let exact = exact(&metric, decimal(Raw::parse(json).unwrap()).unwrap());
        exact.map_err(|reject| reject.reason)
    };
    for whole in [i64::MIN, -1, 0, 1_000_000_000_000_000_000, i64::MAX] {
        let read = number("Nullable(Int64)", &whole.to_string());
        assert_eq!(read, Ok(i128::from(whole)));
    }
    for other in [
        "9223372036854775808",
        "-9223372036854775809",
        "10000000000000000000",
        "1.5",
    ] {
        let read = number("Int64", other);
        assert_eq!(read, Err(Reason::OutOfRange), "{other}");
    }
    let narrow = number("Decimal(18, 0)", "1000000000000000000");
    assert_eq!(narrow, Err(Reason::OutOfRange));
}

#[test]
fn only_texts_that_no_other_text_equals_become_integers() {
    assert_eq!(plain_integer(b"0"), Some(0));
    assert_eq!(
        plain_integer(b"1234567890123456789"),
        Some(1_234_567_890_123_456_789)
    );
    for text in [
        "",
        "00",
        "01",
        "-1",
        "+1",
        "1.0",
        "12345678901234567890",
        "1 ",
    ] {
        assert_eq!(plain_integer(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn groups_and_times_may_be_what_kafka_says_of_the_record() {
    let text = "[[pipeline]]\nname = \"w\"\nkind = \"aggregation\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n\
                output.topic = \"o\"\ntime_field = { from = \"timestamp\" }\n[pipeline.group]\n\
                tenant = { from = \"header:tenant\", default = \"none\" }\nkey = { from = \"key\" }\n\
                [pipeline.metrics]\nn = { function = \"count\" }\n";
    let loaded = crate::config::Config::parse(text, "c", std::path::Path::new("/"), []);
    let mut loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let crate::config::Kind::Aggregation(config) = loaded.config.pipelines.remove(0).kind else {
        panic!("an aggregation");
    };
    let plan = AggregationPlan::new(&config, None).expect("a plan");
    let mut reader = Reader::new(Arc::new(plan));
    let tenant = |value: &[u8]| [("tenant".to_owned(), Some(value.to_vec()))];
    for (headers, group) in [
        (&tenant(b"acme")[..], &b"\x04acme\x01k"[..]),
        (&[], b"\x04none\x01k"),
    ] {
        let made =
            crate::source::MadeRecord::new(Some(b"k"), Some(b"{}"), 7, 1).of("t", 0, headers);
        let read = reader.read(made.record(), 0).expect("it counts");
        assert_eq!(read, Read::Counts);
        assert_eq!(
            (reader.event().group, reader.event().place.time_ms),
            (group, 7)
        );
    }
    let headers = tenant(b"\xff");
    let made = crate::source::MadeRecord::new(Some(b"k"), Some(b"{}"), 7, 1).of("t", 0, &headers);
    let refused = reader.read(made.record(), 0);
    assert!(matches!(refused, Err(NotAccepted::Refused(_))));
}
