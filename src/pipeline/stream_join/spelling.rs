//! The ways in which JSON strings of one text may differ, byte for byte: `"é"` and `"\u00e9"`, `"a/b"` and
//! `"a\/b"`. Producers keep to one way each, and partitioners go by the bytes.

/// Which of the ways a string shows. Without a character of a kind it says nothing about that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::pipeline) struct Spelling {
    /// A bit for each kind of which a character is written as it is, or in the short form.
    plain: u8,
    /// The same of the longer form.
    escaped: u8,
}

const NOT_ASCII: u8 = 1;
/// Lower and upper case of the digits in an escape.
const DIGITS: u8 = 1 << 1;
/// `/` and `\/`.
const SLASH: u8 = 1 << 2;
/// `\n` and `\u000a`, as of all that have a short form.
const SHORT: u8 = 1 << 3;
/// What some escape for the sake of HTML.
const HTML: u8 = 1 << 4;
const DELETE: u8 = 1 << 5;
/// All else that needs no escape.
const OTHER: u8 = 1 << 6;

impl Spelling {
    /// Of what stands between the quotes of a valid JSON string.
    pub(super) fn of(string: &str) -> Spelling {
        let mut spelling = Spelling::default();
        let mut bytes = string.bytes();
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                spelling.plain |= kind(u32::from(byte));
                continue;
            }
            match bytes.next() {
                Some(b'u') => spelling.note_escape(&mut bytes),
                Some(b'/') => spelling.escaped |= SLASH,
                _ => spelling.plain |= SHORT,
            }
        }
        spelling
    }

    /// The four digits of an escape follow.
    fn note_escape(&mut self, bytes: &mut std::str::Bytes<'_>) {
        let mut code = 0;
        for digit in bytes.take(4) {
            match digit {
                b'a'..=b'f' => self.plain |= DIGITS,
                b'A'..=b'F' => self.escaped |= DIGITS,
                _ => {}
            }
            code = code * 16 + char::from(digit).to_digit(16).unwrap_or_default();
        }
        self.escaped |= kind(code);
    }

    /// Whether one text may be written in one way here and in another there.
    pub(super) fn differs_from(self, other: Spelling) -> bool {
        let differs = self.plain & other.escaped != 0 || self.escaped & other.plain != 0;
        // One that shows both ways for one kind is alike to what does the same.
        differs && self != other
    }
}

fn kind(code: u32) -> u8 {
    let Some(byte) = u8::try_from(code).ok().filter(u8::is_ascii) else {
        return NOT_ASCII;
    };
    match byte {
        b'/' => SLASH,
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => SHORT,
        // These have one form alone.
        ..0x20 => 0,
        b'<' | b'>' | b'&' | b'\'' | b'=' => HTML,
        0x7f => DELETE,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_differ_where_one_text_could_be_written_in_both_ways() {
        let differ = [
            ("ab", r"a\u0062"),
            ("é", r"x\u00e9"),
            (r"\u00e9", r"\u00E9"),
            ("a/b", r"\/"),
            (r"\u002f", "/"),
            (r"\n", r"\u000a"),
            (r#"\""#, r"\u0022"),
            ("a<b", r"a\u003cb"),
            ("\u{7f}", r"\u007f"),
            ("😀", r"\ud83d\ude00"),
        ];
        let may_agree = [
            ("ab", r"\u00e9"),
            ("ab", "é"),
            (r"\u00e9", r"b\u00f1"),
            (r"\u0130", r"\u00E9"),
            (r"\n", r#"\"\\"#),
            ("", r"\u0062"),
            (r"\u0001", r"\n"),
            ("a/b", "c"),
        ];
        for (pairs, expected) in [(&differ[..], true), (&may_agree[..], false)] {
            for (one, other) in pairs {
                let spellings = (Spelling::of(one), Spelling::of(other));
                assert_eq!(
                    spellings.0.differs_from(spellings.1),
                    expected,
                    "{one} {other}"
                );
                assert_eq!(
                    spellings.1.differs_from(spellings.0),
                    expected,
                    "{one} {other}"
                );
            }
        }
    }
}
