//! Random values, written as Debezium writes them, into a column and back; and bytes that are nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ethnum::I256;
use proptest::prelude::*;

use super::*;

fn typed_value(field: &str, type_name: &str, json: &str) -> Vec<u8> {
    typed(field, type_name, json)
        .expect("a value")
        .expect("no placeholder")
}

fn untyped_value(type_name: &str, json: &str, time: TimeMode) -> Vec<u8> {
    let modes = Modes {
        time,
        ..Modes::default()
    };
    untyped(type_name, json, modes)
        .expect("a value")
        .expect("no placeholder")
}

/// Two's complement, as few bytes as hold it, in base64.
fn unscaled(number: i128) -> String {
    let bytes = number.to_be_bytes();
    let is_sign = |pair: &&[u8]| {
        let sign = if number < 0 { 0xff } else { 0 };
        pair[0] == sign && (pair[1] ^ sign) & 0x80 == 0
    };
    let skipped = bytes.windows(2).take_while(is_sign).count();
    STANDARD.encode(&bytes[skipped..])
}

fn plain_digits(number: i128, scale: usize) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{whole}{point}{fraction}")
}

const MICROS: std::ops::Range<i64> = -2_208_988_800_000_000..10_413_792_000_000_000;

proptest! {
    #[test]
    fn decimals_come_back(number in any::<i128>(), scale in 0u8..=38) {
        let json = format!("\"{}\"", unscaled(number));
        let field = format!(r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{{"scale":"{scale}"}}"#);
        let column = format!("Decimal(76, {scale})");
        let bytes = typed_value(&field, &column, &json);
        prop_assert_eq!(I256::from_le_bytes(bytes.clone().try_into().unwrap()), I256::from(number));
        prop_assert_eq!(untyped_value(&column, &json, TimeMode::Adaptive), bytes);
        let text = as_text(typed(&field, "String", &json)).unwrap();
        prop_assert_eq!(text, plain_digits(number, scale.into()));
    }

    #[test]
    fn variable_decimals_come_back(number in any::<i128>(), scale in 0usize..60) {
        let json = format!(r#"{{"scale":{scale},"value":"{}"}}"#, unscaled(number));
        let text = as_text(untyped("String", &json, Modes::default())).unwrap();
        prop_assert_eq!(text, plain_digits(number, scale));
    }

    #[test]
    fn large_decimals_have_every_digit(digits in "[1-9][0-9]{80,300}", negative in any::<bool>()) {
        let magnitude = bytes_of(&digits);
        let bytes = if negative { negated(&magnitude) } else { magnitude };
        let json = format!(r#"{{"scale":0,"value":"{}"}}"#, STANDARD.encode(bytes));
        let found = untyped("String", &json, Modes::default()).unwrap().unwrap();
        let sign = if negative { "-" } else { "" };
        let expected = format!("{sign}{digits}");
        prop_assert!(found.ends_with(expected.as_bytes()));
    }

    #[test]
    fn timestamps_come_back_in_every_unit(micros in MICROS) {
        let ticks = micros.to_le_bytes().to_vec();
        let us = r#""type":"int64","name":"io.debezium.time.MicroTimestamp""#;
        prop_assert_eq!(&typed_value(us, "DateTime64(6)", &micros.to_string()), &ticks);
        prop_assert_eq!(&untyped_value("DateTime64(6)", &micros.to_string(), TimeMode::Adaptive), &ticks);
        let text = as_text(typed(us, "String", &micros.to_string())).unwrap();
        let zoned = format!("\"{}Z\"", text.replace(' ', "T"));
        let field = r#""type":"string","name":"io.debezium.time.ZonedTimestamp""#;
        prop_assert_eq!(&typed_value(field, "DateTime64(6)", &zoned), &ticks);
        prop_assert_eq!(&untyped_value("DateTime64(6)", &zoned, TimeMode::IsoString), &ticks);
        let millis = micros.div_euclid(1000);
        let found = untyped_value("DateTime64(6)", &millis.to_string(), TimeMode::Connect);
        prop_assert_eq!(found, (millis * 1000).to_le_bytes().to_vec());
    }

    #[test]
    fn times_of_day_come_back(micros in -3_600_000_000_000i64 + 1..3_600_000_000_000) {
        let field = r#""type":"int64","name":"io.debezium.time.MicroTime""#;
        let ticks = micros.to_le_bytes().to_vec();
        prop_assert_eq!(&typed_value(field, "Time64(6)", &micros.to_string()), &ticks);
        let text = as_text(typed(field, "String", &micros.to_string())).unwrap();
        let iso = r#""type":"string","name":"io.debezium.time.IsoTime""#;
        prop_assert_eq!(&typed_value(iso, "Time64(6)", &format!("\"{text}Z\"")), &ticks);
    }

    #[test]
    fn days_come_back(days in -25_567i32..=120_529) {
        let json = days.to_string();
        let bytes = days.to_le_bytes().to_vec();
        let field = r#""type":"int32","name":"io.debezium.time.Date""#;
        prop_assert_eq!(&typed_value(field, "Date32", &json), &bytes);
        let text = as_text(typed(field, "String", &json)).unwrap();
        prop_assert_eq!(&untyped_value("Date32", &format!("\"{text}Z\""), TimeMode::IsoString), &bytes);
    }

    #[test]
    fn bytes_and_bits_come_back(bytes in prop::collection::vec(any::<u8>(), 0..100), bits in any::<u64>()) {
        let json = format!("\"{}\"", STANDARD.encode(&bytes));
        let found = typed_value(r#""type":"bytes""#, "String", &json);
        prop_assert_eq!(&found[1..], &bytes[..]);
        let trimmed = bits.to_le_bytes();
        let len = 8 - bits.leading_zeros() as usize / 8;
        let json = format!("\"{}\"", STANDARD.encode(&trimmed[..len]));
        let field = r#""type":"bytes","name":"io.debezium.data.Bits""#;
        prop_assert_eq!(typed_value(field, "UInt64", &json), bits.to_le_bytes().to_vec());
    }

    #[test]
    fn any_integer_in_any_time_column_is_a_value_or_refused(number in any::<i64>(), mode in 0usize..6) {
        let mode = [TimeMode::Adaptive, TimeMode::AdaptiveTimeMicroseconds, TimeMode::Microseconds,
            TimeMode::Nanoseconds, TimeMode::Connect, TimeMode::IsoString][mode];
        let modes = Modes { time: mode, ..Modes::default() };
        for column in ["Date", "Date32", "DateTime", "DateTime64(0)", "DateTime64(9)", "Time", "Time64(9)"] {
            let refused = untyped(column, &number.to_string(), modes).err();
            let expected = [None, Some(Reason::OutOfRange), Some(Reason::NotRepresentable), Some(Reason::InvalidValue)];
            prop_assert!(expected.contains(&refused), "{column}: {refused:?}");
        }
    }

    #[test]
    fn a_record_of_any_bytes_is_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..400, byte in any::<u8>()) {
        let columns = || Columns::new().with("id", ColumnType::Int32).with("v", ColumnType::String);
        let mut rows = RowReader::new(columns(), Some(Modes::default()));
        let mut keys = KeyReader::new(columns(), Some(Modes::default()));
        let mut record = WHOLE.as_bytes().to_vec();
        let at = at.min(record.len() - 1);
        record[at] = byte;
        for bytes in [&value[..], &record[..], &WHOLE.as_bytes()[..at]] {
            let mut out = Vec::new();
            match rows.read("t", Some(bytes), Some(bytes)) {
                Ok(Change::Row(row)) => {
                    for column in 0..2 {
                        let _ = row.encode(column, &mut out);
                    }
                    row.others().for_each(drop);
                }
                Ok(Change::Delete(delete)) => drop(delete.encode_before(0, &mut out)),
                Ok(_) | Err(_) => {}
            }
            let _ = keys.encode(Some(bytes), &mut out);
        }
    }
}

const WHOLE: &str = r#"{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int32","field":"id"},{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"field":"v"}],"field":"after"},{"type":"string","field":"op"}]},"payload":{"before":null,"after":{"id":1,"v":"AJY="},"source":{"lsn":1},"op":"c","ts_ms":1}}"#;

/// A number's big-endian bytes, a zero before them for the sign.
fn bytes_of(digits: &str) -> Vec<u8> {
    let mut bytes = vec![0u8; digits.len() / 2 + 2];
    for digit in digits.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in bytes.iter_mut().rev() {
            let value = u32::from(*byte) * 10 + carry;
            *byte = value as u8;
            carry = value >> 8;
        }
    }
    bytes
}

fn negated(bytes: &[u8]) -> Vec<u8> {
    let mut carry = true;
    let mut negated: Vec<u8> = bytes
        .iter()
        .rev()
        .map(|byte| {
            let (value, over) = (!byte).overflowing_add(u8::from(carry));
            carry = over;
            value
        })
        .collect();
    negated.reverse();
    negated
}
