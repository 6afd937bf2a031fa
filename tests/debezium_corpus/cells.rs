//! RowBinary back to the text that the server shows.

use streamweir::table::ColumnType;

/// The text of a whole cell; none for NULL. Bytes that are no text come as hex digits where asked for.
pub(crate) fn text(column_type: &ColumnType, cell: &[u8], as_hex: bool) -> Option<String> {
    let text = match column_type {
        ColumnType::Nullable(inner) => match cell.split_first().expect("a flag") {
            (1, []) => return None,
            (0, rest) => return text(inner, rest, as_hex),
            other => panic!("no flag of NULL: {other:?}"),
        },
        ColumnType::String if as_hex => string(cell).iter().map(|b| format!("{b:02X}")).collect(),
        ColumnType::String => String::from_utf8(string(cell).to_vec()).expect("UTF-8"),
        ColumnType::Bool => (cell == [1]).to_string(),
        ColumnType::Int8 | ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => {
            signed(cell).to_string()
        }
        ColumnType::UInt8 | ColumnType::UInt16 | ColumnType::UInt32 | ColumnType::UInt64 => {
            (signed(cell) as u128 & (!0 >> (128 - 8 * cell.len()))).to_string()
        }
        ColumnType::Float32 => float(f32::from_le_bytes(cell.try_into().expect("4 bytes")).into())
            .unwrap_or_else(|| f32::from_le_bytes(cell.try_into().expect("4 bytes")).to_string()),
        ColumnType::Float64 => {
            let value = f64::from_le_bytes(cell.try_into().expect("8 bytes"));
            float(value).unwrap_or_else(|| value.to_string())
        }
        ColumnType::Decimal { scale, .. } => decimal(signed(cell), *scale),
        ColumnType::Date32 => day(signed(cell) as i64),
        ColumnType::DateTime64 { precision, .. } => {
            let (seconds, fraction) = ticks(cell, *precision);
            let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
            format!("{} {}{fraction}", day(days), of_day(clock))
        }
        ColumnType::Time64 { precision } => {
            let (seconds, fraction) = ticks(cell, *precision);
            format!("{}{fraction}", of_day(seconds))
        }
        ColumnType::Uuid => uuid(cell),
        other => panic!("no column of the corpus has {other}"),
    };
    Some(text)
}

fn string(cell: &[u8]) -> &[u8] {
    let length_bytes = 1 + cell.iter().take_while(|&&byte| byte >= 0x80).count();
    let (length, content) = cell.split_at(length_bytes);
    let fold = |length, byte: &u8| length << 7 | usize::from(byte & 0x7f);
    assert_eq!(length.iter().rev().fold(0, fold), content.len());
    content
}

fn signed(cell: &[u8]) -> i128 {
    assert!(cell.len() <= 16, "no corpus column is wider");
    let negative = cell.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[..cell.len()].copy_from_slice(cell);
    i128::from_le_bytes(wide)
}

fn float(value: f64) -> Option<String> {
    if value.is_nan() {
        Some("nan".to_owned())
    } else if value.is_infinite() {
        Some(if value > 0.0 { "inf" } else { "-inf" }.to_owned())
    } else {
        None
    }
}

fn decimal(unscaled: i128, scale: u8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}0")
}

fn ticks(cell: &[u8], precision: u8) -> (i64, String) {
    let per_second = 10i64.pow(precision.into());
    let ticks = signed(cell) as i64;
    let (seconds, part) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    (
        seconds,
        format!(".{part:0>width$}", width = precision.into()),
    )
}

fn day(days: i64) -> String {
    let epoch = jiff::civil::date(1970, 1, 1);
    let day = epoch
        .checked_add(jiff::Span::new().days(days))
        .expect("a day");
    day.to_string()
}

fn of_day(seconds: i64) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn uuid(cell: &[u8]) -> String {
    let mut bytes: Vec<u8> = cell.to_vec();
    bytes[..8].reverse();
    bytes[8..].reverse();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}
