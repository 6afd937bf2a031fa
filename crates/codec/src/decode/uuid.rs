//! UUIDs.

use super::json::{Kind, Raw};
use super::{Reject, text};

/// Reads 36 characters, 8-4-4-4-12 hex digits of either case; the bytes in the order they are written.
///
/// # Errors
/// `invalid_value` for every other form.
pub fn uuid(raw: Raw<'_>) -> Result<[u8; 16], Reject> {
    let not_a_uuid = || Reject::invalid_value("not a UUID: 8-4-4-4-12 hex digits");
    if raw.kind() != Kind::String {
        return Err(not_a_uuid());
    }
    parse(text::to_text(raw)?.as_bytes()).ok_or_else(not_a_uuid)
}

fn parse(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
    if [text[8], text[13], text[18], text[23]] != *b"----" {
        return None;
    }
    let mut digits = text
        .iter()
        .enumerate()
        .filter(|(i, _)| !matches!(i, 8 | 13 | 18 | 23));
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        let mut digit = || digits.next().and_then(|(_, &c)| char::from(c).to_digit(16));
        *byte = (digit()? << 4 | digit()?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_one_form_in_either_case() {
        let expected = 0x0123_4567_89ab_cdef_0011_2233_4455_6677u128.to_be_bytes();
        for text in [
            "01234567-89ab-cdef-0011-223344556677",
            "01234567-89AB-CDEF-0011-223344556677",
        ] {
            assert_eq!(uuid(Raw::string(text)), Ok(expected));
        }
        let forms = [
            "",
            "0123456789abcdef0011223344556677",
            "{01234567-89ab-cdef-0011-223344556677}",
            "01234567-89ab-cdef-0011-22334455667",
            "01234567-89ab-cdef-0011-22334455667g",
            "01234567-89ab-cdef-0011 223344556677",
            "0123456-789ab-cdef-0011-223344556677",
            "+1234567-89ab-cdef-0011-223344556677",
        ];
        for text in forms {
            assert!(uuid(Raw::string(text)).is_err(), "{text}");
        }
        assert!(uuid(Raw::parse("7").unwrap()).is_err());
    }
}
