//! Messages that are a time, a date or a duration, as texts.

use super::schema::{Message, WellKnown};
use super::wire::{Fields, Payload, Read, fault};
use crate::decode::json::Kind as Json;
use crate::format::json_text::{append, append_clock, append_moment, append_padded};

const NANOS_PER_SECOND: i32 = 1_000_000_000;
/// Fields of the longest of them.
const PARTS_MAX: usize = 4;

/// Appends a message that is a time, a date or a duration.
pub(super) fn append_of_time(
    message: &Message,
    body: &[u8],
    base: usize,
    out: &mut String,
) -> Read<Json> {
    let mut parts = [0; PARTS_MAX];
    let mut fields = Fields::new(body, base);
    let mut expected = 0;
    while let Some((number, wire, payload)) = fields.next()? {
        let Some(index) = message.index_of(number, expected) else {
            continue;
        };
        expected = index + 1;
        let field = &message.fields[index];
        if !field.kind.takes(wire, field.shape) {
            let what = format!("wire type {wire} is none of the field's type");
            return fault(base, what).map_err(|fault| fault.within(&field.name));
        }
        if let (Some(part), Payload::Bits(bits)) = (parts.get_mut(index), payload) {
            *part = bits;
        }
    }
    let [first, second, third, fourth] = parts;
    match message.known {
        Some(WellKnown::Timestamp) => append_timestamp(first as i64, second as i32, base, out)?,
        Some(WellKnown::Date) => append_date([first, second, third], base, out)?,
        Some(WellKnown::TimeOfDay) => {
            append_time_of_day([first, second, third], fourth as i32, base, out)?;
        }
        _ => append_duration(first as i64, second as i32, base, out)?,
    }
    Ok(Json::String)
}

fn append_timestamp(seconds: i64, nanos: i32, base: usize, out: &mut String) -> Read<()> {
    if !(0..NANOS_PER_SECOND).contains(&nanos) {
        return fault(base, format!("no timestamp: {nanos} ns"));
    }
    append_moment(seconds, (0, 0), "", out);
    append_nanos(nanos.unsigned_abs(), out);
    out.push('Z');
    Ok(())
}

fn append_duration(seconds: i64, nanos: i32, base: usize, out: &mut String) -> Read<()> {
    if nanos.unsigned_abs() >= NANOS_PER_SECOND.unsigned_abs()
        || (seconds > 0 && nanos < 0)
        || (seconds < 0 && nanos > 0)
    {
        return fault(base, format!("no duration: {seconds} s and {nanos} ns"));
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let seconds = seconds.unsigned_abs();
    append(out, format_args!("{sign}PT{seconds}"));
    append_nanos(nanos.unsigned_abs(), out);
    out.push('S');
    Ok(())
}

/// Appends `YYYY-MM-DD`. What is missing in it is zero: which columns take that is theirs to say.
fn append_date(parts: [u64; 3], base: usize, out: &mut String) -> Read<()> {
    let [year, month, day] = parts.map(|part| part as i32);
    let are_digits = (0..=9999).contains(&year) && [month, day].iter().all(is_pair);
    if !are_digits {
        return fault(base, format!("no date: {year}, {month}, {day}"));
    }
    append(out, format_args!("{year:04}-{month:02}-{day:02}"));
    Ok(())
}

fn append_time_of_day(parts: [u64; 3], nanos: i32, base: usize, out: &mut String) -> Read<()> {
    let numbers = parts.map(|part| part as i32);
    if !numbers.iter().all(is_pair) || !(0..NANOS_PER_SECOND).contains(&nanos) {
        let [hours, minutes, seconds] = numbers;
        let what = format!("no time of day: {hours}, {minutes}, {seconds} and {nanos} ns");
        return fault(base, what);
    }
    let [hours, minutes, seconds] = numbers.map(|number| number.unsigned_abs().into());
    append_clock(hours, minutes, seconds, out);
    append_nanos(nanos.unsigned_abs(), out);
    Ok(())
}

fn is_pair(number: &i32) -> bool {
    (0..=99).contains(number)
}

fn append_nanos(nanos: u32, out: &mut String) {
    if nanos != 0 {
        out.push('.');
        append_padded(nanos.into(), 9, out);
        out.truncate(out.trim_end_matches('0').len());
    }
}
