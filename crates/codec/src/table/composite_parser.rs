//! Names of types that are made of several others: `Map`, `Tuple`, `Nested`, `Variant`, `JSON`, the
//! geometric types.

use std::collections::HashSet;

use super::ColumnType;
use super::column_type::TupleFields;
use super::type_parser::{NESTING_MAX, parse, string_literal};

const NOT_WRITTEN: &str = "the daemon does not write it";

/// A type of this name, which has no arguments.
pub(super) fn without_arguments(name: &str) -> Result<ColumnType, &'static str> {
    let point = || {
        ColumnType::Tuple(TupleFields {
            names: None,
            types: Box::new([ColumnType::Float64, ColumnType::Float64]),
        })
    };
    // Each is an array of those before it.
    let depth = match name {
        "JSON" => return Ok(ColumnType::Json(Box::default())),
        "Dynamic" => return Ok(ColumnType::Dynamic(Box::default())),
        "Point" => 0,
        "Ring" | "LineString" => 1,
        "Polygon" | "MultiLineString" => 2,
        "MultiPolygon" => 3,
        _ => return Err(NOT_WRITTEN),
    };
    Ok((0..depth).fold(point(), |inner, _| ColumnType::Array(Box::new(inner))))
}

/// A type of this name, with arguments.
pub(super) fn with_arguments(
    name: &str,
    arguments: &str,
    nesting: usize,
) -> Result<ColumnType, &'static str> {
    if nesting >= NESTING_MAX {
        return Err("too many types in types");
    }
    match name {
        "Map" => map(arguments, nesting),
        "Tuple" => Ok(ColumnType::Tuple(fields(arguments, nesting)?)),
        "Nested" => {
            let fields = fields(arguments, nesting)?;
            if fields.names.is_none() {
                return Err("its fields have no names");
            }
            Ok(ColumnType::Array(Box::new(ColumnType::Tuple(fields))))
        }
        "Variant" => variant(arguments, nesting),
        "JSON" => {
            split(arguments)?;
            Ok(ColumnType::Json(format!("({arguments})").into()))
        }
        "Dynamic" => Ok(ColumnType::Dynamic(format!("({arguments})").into())),
        _ => Err(NOT_WRITTEN),
    }
}

fn map(arguments: &str, nesting: usize) -> Result<ColumnType, &'static str> {
    match split(arguments)?[..] {
        [key, value] => {
            let key = parse(key, nesting + 1)?;
            if key.is_nullable() {
                return Err("the keys of a Map are never NULL");
            }
            Ok(ColumnType::Map(Box::new((key, parse(value, nesting + 1)?))))
        }
        _ => Err("it is not Map(key, value)"),
    }
}

fn variant(arguments: &str, nesting: usize) -> Result<ColumnType, &'static str> {
    let types = split(arguments)?.into_iter();
    let types: Vec<ColumnType> = types
        .map(|one| parse(one, nesting + 1))
        .collect::<Result<_, _>>()?;
    // The server has one byte for the number of the type, and 255 for NULL.
    if !(1..255).contains(&types.len()) {
        return Err("it has not 1 to 254 types");
    }
    if types.iter().any(ColumnType::is_nullable) {
        return Err("Variant takes no Nullable, Variant and Dynamic");
    }
    Ok(ColumnType::Variant(types.into()))
}

/// `String, UInt8` or `a String, b UInt8`.
fn fields(arguments: &str, nesting: usize) -> Result<TupleFields, &'static str> {
    let (mut names, mut types) = (vec![], vec![]);
    for field in split(arguments)? {
        let (name, type_name) = field_name(field)?;
        names.extend(name.map(String::into_boxed_str));
        types.push(parse(type_name, nesting + 1)?);
    }
    let are_different = names.iter().collect::<HashSet<_>>().len() == names.len();
    let names = match names.len() {
        0 => None,
        named if named == types.len() && are_different => Some(names.into()),
        _ => return Err("its fields have no names of their own"),
    };
    if types.is_empty() {
        return Err("it has no fields");
    }
    let types = types.into();
    Ok(TupleFields { names, types })
}

/// The name before a type, if there is one.
fn field_name(field: &str) -> Result<(Option<String>, &str), &'static str> {
    if let Some(quoted) = field.strip_prefix('`') {
        let mut name = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next().ok_or("a quoted name does not end")? {
                '\\' => name.extend(chars.next()),
                '`' => return Ok((Some(name), chars.as_str().trim())),
                c => name.push(c),
            }
        }
    }
    let end = field.find(|c: char| !(c == '_' || c.is_alphanumeric()));
    match end.map(|end| field.split_at(end)) {
        Some((name, rest)) if rest.starts_with(' ') && !rest.trim().starts_with('(') => {
            Ok((Some(name.to_owned()), rest.trim()))
        }
        _ => Ok((None, field)),
    }
}

/// Splits at the commas that are in no parentheses and no quotes. Nothing of nothing.
pub(super) fn split(text: &str) -> Result<Vec<&str>, &'static str> {
    let (mut parts, mut depth, mut from) = (vec![], 0usize, 0);
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '\'' => {
                let (_, rest) = string_literal(&text[at..])?;
                at = text.len() - rest.len();
                continue;
            }
            '`' => {
                let end = quoted_name_end(&text[at + 1..]).ok_or("a quoted name does not end")?;
                at += 1 + end;
                continue;
            }
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("its parentheses do not match")?,
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    if depth > 0 {
        return Err("its parentheses do not match");
    }
    if !text.trim().is_empty() {
        parts.push(text[from..].trim());
    }
    Ok(parts)
}

/// Where a name in backticks ends, the closing one included.
fn quoted_name_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '`' if !is_escaped => return Some(at + 1),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    None
}
