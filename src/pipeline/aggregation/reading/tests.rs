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
