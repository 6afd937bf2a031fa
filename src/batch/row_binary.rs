//! Where the columns of an encoded row begin and end.

use crate::table::{ColumnType, dynamic};

/// In the place of the number of a Variant's type: NULL.
const NO_VARIANT: u8 = 255;
/// What stands for a missing object.
const NO_OBJECT: &[u8] = b"\x02{}";

/// Walks over one value after the other of a row in RowBinary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walker<'r>(pub(crate) &'r [u8]);

impl<'r> Walker<'r> {
    /// The bytes of the next value, which has this type; `None` where the row ends before it does.
    pub(crate) fn value(&mut self, column_type: &ColumnType) -> Option<&'r [u8]> {
        let row = self.0;
        self.skip(column_type)?;
        Some(&row[..row.len() - self.0.len()])
    }

    fn skip(&mut self, column_type: &ColumnType) -> Option<()> {
        match column_type {
            ColumnType::String | ColumnType::Json(_) => {
                let length = self.length()?;
                self.take(length)
            }
            ColumnType::Nullable(inner) => {
                let (&is_null, rest) = self.0.split_first()?;
                self.0 = rest;
                if is_null == 0 {
                    self.skip(inner)
                } else {
                    Some(())
                }
            }
            ColumnType::LowCardinality(inner) => self.skip(inner),
            ColumnType::Array(inner) => {
                let length = self.length()?;
                (0..length).try_for_each(|_| self.skip(inner))
            }
            ColumnType::Map(pair) => {
                let length = self.length()?;
                (0..length).try_for_each(|_| {
                    self.skip(&pair.0)?;
                    self.skip(&pair.1)
                })
            }
            ColumnType::Tuple(fields) => fields.types().iter().try_for_each(|t| self.skip(t)),
            ColumnType::Variant(types) => {
                let (&place, rest) = self.0.split_first()?;
                self.0 = rest;
                match types.get(usize::from(place)) {
                    Some(one) => self.skip(one),
                    None => (place == NO_VARIANT).then_some(()),
                }
            }
            ColumnType::Dynamic(_) => {
                let (&code, rest) = self.0.split_first()?;
                self.0 = rest;
                match dynamic::TYPES.iter().find(|(known, _)| *known == code) {
                    Some((_, one)) => self.skip(one),
                    None => (code == dynamic::NULL).then_some(()),
                }
            }
            fixed => self.take(fixed.fixed_size()?),
        }
    }

    /// The next value, which is a text, without its length.
    pub(crate) fn text(&mut self) -> Option<&'r [u8]> {
        let length = self.length()?;
        let row = self.0;
        self.take(length)?;
        Some(&row[..length])
    }

    /// The next value, which is a list of texts.
    pub(crate) fn texts(&mut self) -> Option<Vec<&'r [u8]>> {
        let length = self.length()?;
        (0..length).map(|_| self.text()).collect()
    }

    /// The next value, which is an UInt64.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn take(&mut self, length: usize) -> Option<()> {
        self.0 = self.0.get(length..)?;
        Some(())
    }

    /// A number of variable length: seven bits a byte, the lowest first.
    fn length(&mut self) -> Option<usize> {
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(length);
            }
            shift += 7;
        }
    }
}

/// Whether an encoded value is what stands for no value: NULL, an empty text, array or object, zero.
pub(crate) fn is_default(value: &[u8], column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::Nullable(inner) => {
            value.first().is_none_or(|is_null| *is_null != 0) || is_default(&value[1..], inner)
        }
        ColumnType::LowCardinality(inner) => is_default(value, inner),
        ColumnType::Json(_) => value == NO_OBJECT,
        ColumnType::Variant(_) => value == [NO_VARIANT],
        _ => value.iter().all(|byte| *byte == 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_size_are_found() {
        let types = [
            "Map(String, Array(Int16))",
            "Tuple(Float64, LowCardinality(String))",
            "JSON",
            "Variant(Array(UInt8), String)",
            "Variant(String)",
            "Dynamic",
            "Dynamic",
            "Int32",
            "String",
            "Nullable(String)",
            "Nullable(UUID)",
            "Array(Nullable(Int8))",
            "LowCardinality(Nullable(String))",
            "Decimal(38, 2)",
            "DateTime64(6)",
        ]
        .map(|name| ColumnType::parse(name).unwrap());
        let long = [vec![200, 1], vec![b'x'; 200]].concat();
        let values: [&[u8]; 15] = [
            &[1, 1, b'k', 2, 1, 0, 2, 0],
            &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 1, b'z'],
            b"\x02{}",
            &[0, 2, 7, 8],
            &[255],
            &[0x15, 1, b'1'],
            &[0],
            &[1, 2, 3, 4],
            &long,
            &[0, 2, b'a', b'b'],
            &[1],
            &[3, 0, 7, 1, 0, 9],
            &[0, 1, b'z'],
            &[5; 16],
            &[6; 8],
        ];
        let row = values.concat();
        let mut walker = Walker(&row);
        for (column_type, value) in types.iter().zip(values) {
            assert_eq!(walker.value(column_type), Some(value), "{column_type}");
        }
        assert_eq!(walker.0, b"");
        assert_eq!(walker.value(&types[7]), None);
        assert_eq!(Walker(&[9, b'a']).value(&types[8]), None);
        assert_eq!(Walker(&[2, 1, b'a']).value(&types[4]), None);
    }

    #[test]
    fn no_value_is_told_from_one() {
        let default =
            |name: &str, value: &[u8]| is_default(value, &ColumnType::parse(name).unwrap());
        assert!(default("Nullable(String)", &[1]) && default("Nullable(String)", &[0, 0]));
        assert!(!default("Nullable(String)", &[0, 1, b'0']));
        assert!(default("String", &[0]) && !default("Array(Int8)", &[1, 0]));
        assert!(default("JSON", b"\x02{}") && !default("JSON", b"\x07{\"a\":1}"));
        assert!(default("Variant(String)", &[255]) && !default("Variant(String)", &[0, 0]));
        assert!(default("Map(String, Int8)", &[0]) && default("Dynamic", &[0]));
        assert!(default("Int64", &[0; 8]) && !default("Int64", &[0, 1, 0, 0, 0, 0, 0, 0]));
    }
}
