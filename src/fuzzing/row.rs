//! What a record must become: the row's values, or the reasons of which any would do.

use super::cell::Cell;
use super::row_binary::Reader;
use super::tables::{Table, TableColumn};
use super::{json, reading, time};
use crate::config::{ColumnMapping, RawMode, Session};
use crate::decode::Reason;
use crate::lookup::Found;
use crate::table::ColumnType;

/// An accepted record.
#[derive(Debug)]
pub(super) struct Expected {
    /// The values of the event's own columns, in the table's order.
    event: Vec<Cell>,
    pub(super) lookup_key: Option<Vec<u8>>,
}

const PROVENANCE: [&str; 3] = ["_topic", "_partition", "_offset"];

impl Table {
    /// Judges a record's value, in the order in which nothing matters but the sum.
    pub(super) fn expect(
        &self,
        value: Option<&[u8]>,
        timestamp_ms: i64,
    ) -> Result<Expected, Vec<Reason>> {
        let object = &json::record(value)?;
        let mut reasons = vec![];
        let mut event = vec![];
        for column in self
            .columns
            .iter()
            .filter(|column| self.is_event_column(&column.name))
        {
            match self.event_cell(column, object) {
                Ok(cell) => event.push(cell),
                Err(reason) => reasons.push(reason),
            }
        }
        reasons.extend(self.time_reason(object, timestamp_ms));
        reasons.extend(self.session_reason(object));
        reasons.extend(self.lookup_reason(object));
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let lookup_key = self.lookup_key(object);
        Ok(Expected { event, lookup_key })
    }

    fn is_event_column(&self, name: &str) -> bool {
        let of_session = self
            .config
            .session
            .as_ref()
            .is_some_and(|s| session_columns(s).contains(&Some(name)));
        !of_session && !self.is_profile_column(name) && !PROVENANCE.contains(&name)
    }

    fn is_profile_column(&self, name: &str) -> bool {
        self.config
            .lookup
            .as_ref()
            .is_some_and(|lookup| lookup.columns.contains_key(name))
    }

    fn event_cell(&self, column: &TableColumn, object: &json::Object<'_>) -> Result<Cell, Reason> {
        let mapping = self.config.columns.get(&column.name);
        let raw = mapping.map_or(RawMode::No, |m| m.raw);
        match (object.find(&self.path(&column.name)), raw) {
            (Some(value), RawMode::No) => reading::cell(&column.column_type, value),
            (Some(value), RawMode::Object) if !value.starts_with('{') => Err(Reason::InvalidValue),
            (Some(value), _) => Ok(Cell::Bytes(value.into())),
            (None, _) => missing(column, mapping),
        }
    }

    /// Where a field of this name lies: a column's path, a path, or a member of that name.
    fn path<'t>(&'t self, field: &'t str) -> Vec<&'t str> {
        let path = self
            .config
            .columns
            .get(field)
            .and_then(|mapping| mapping.path.as_deref());
        match path.unwrap_or(field).strip_prefix("$.") {
            Some(names) => names.split('.').collect(),
            None => vec![field],
        }
    }

    fn time_reason(&self, object: &json::Object<'_>, timestamp_ms: i64) -> Option<Reason> {
        let time_field = self.config.time_field.field()?;
        let Some(value) = object.find(&self.path(time_field)) else {
            return Some(Reason::MissingField);
        };
        let mut columns = self.columns.iter();
        let column = columns.find(|column| column.name == time_field);
        let unit = match column.map(|column| &column.column_type) {
            Some(ColumnType::DateTime { .. }) => time::Undeclared::SecondsIfLikely,
            _ => time::Undeclared::Milliseconds,
        };
        let moment = time::moment(value, unit);
        let event_ms = match moment.and_then(|moment| moment.ticks(3)) {
            Ok(event_ms) => event_ms,
            Err(reason) => return Some(reason),
        };
        let ahead_max_ms = self.config.timestamp_ahead_max.as_millis() as i128;
        let is_ahead = i128::from(event_ms) - i128::from(timestamp_ms) > ahead_max_ms;
        (is_ahead && timestamp_ms >= 0).then_some(Reason::TooFarAhead)
    }

    /// A session's key that no column takes must be a text.
    fn session_reason(&self, object: &json::Object<'_>) -> Option<Reason> {
        let key_field = &self.config.session.as_ref()?.key_field;
        let is_column = self.columns.iter().any(|column| column.name == *key_field);
        let value = object.find(&self.path(key_field)).filter(|_| !is_column)?;
        reading::text(value).err()
    }

    /// A profile's key that is a number is no boolean.
    fn lookup_reason(&self, object: &json::Object<'_>) -> Option<Reason> {
        let field = &self.config.lookup.as_ref()?.key_field;
        let value = object.find(&self.path(field))?;
        let column = self.columns.iter().find(|column| column.name == *field)?;
        let is_number = column.column_type == ColumnType::UInt64;
        (is_number && ["true", "false"].contains(&value)).then_some(Reason::InvalidValue)
    }

    fn lookup_key(&self, object: &json::Object<'_>) -> Option<Vec<u8>> {
        let field = &self.config.lookup.as_ref()?.key_field;
        let value = object.find(&self.path(field))?;
        let column = self.columns.iter().find(|column| column.name == *field);
        match column.map(|column| reading::cell(&column.column_type, value)) {
            Some(Ok(Cell::Integer(number))) => Some(number.to_string().into_bytes()),
            _ => reading::text(value).ok().map(String::into_bytes),
        }
    }

    /// Checks every byte of a row.
    pub(super) fn check(&self, row: [&[u8]; 3], expected: &Expected, found: &Found, offset: i64) {
        let [head, session, profile] = row;
        let mut head = Reader(head);
        let mut session_part = Reader(session);
        let mut event = expected.event.iter();
        for column in self
            .columns
            .iter()
            .filter(|column| self.is_event_column(&column.name))
        {
            let cell = self.read(&mut head, column);
            assert_eq!(Some(&cell), event.next(), "column {}", column.name);
        }
        if let Some(session) = &self.config.session {
            self.check_session(&mut session_part, session);
        }
        for column in self
            .columns
            .iter()
            .filter(|column| PROVENANCE.contains(&column.name.as_str()))
        {
            let expected = match column.name.as_str() {
                "_topic" => Cell::Bytes(super::record::TOPIC.into()),
                "_partition" => Cell::integer(super::record::PARTITION),
                _ => Cell::integer(offset),
            };
            assert_eq!(
                self.read(&mut head, column),
                expected,
                "column {}",
                column.name
            );
        }
        for part in [head, session_part] {
            let left = part.0.len();
            assert!(
                part.is_at_end(),
                "{left} bytes behind the part's last column"
            );
        }
        self.check_profile(
            profile,
            expected
                .lookup_key
                .as_ref()
                .map_or(&Found::Nothing, |_| found),
        );
    }

    fn check_session(&self, head: &mut Reader<'_>, session: &Session) {
        let [count, seconds, distinct] = session_columns(session);
        let mut values = [Cell::Null, Cell::Null, Cell::Null];
        for column in &self.columns {
            let name = Some(column.name.as_str());
            if let Some(index) = [count, seconds, distinct]
                .iter()
                .position(|known| *known == name)
            {
                values[index] = self.read(head, column);
            }
        }
        let [
            Cell::Integer(count),
            Cell::Integer(seconds),
            Cell::Integer(distinct),
        ] = values
        else {
            panic!("session columns without a number: {values:?}");
        };
        let seconds_max = session.duration_max.as_secs();
        assert!(count >= 1, "a row counts itself");
        assert!(
            distinct >= 0 && distinct <= count,
            "{distinct} distinct values of {count} events"
        );
        assert!(
            seconds >= 0 && seconds <= i128::from(seconds_max),
            "{seconds} s are too long for a session"
        );
    }

    fn check_profile(&self, profile: &[u8], found: &Found) {
        let mut reader = Reader(profile);
        let columns = self
            .columns
            .iter()
            .filter(|column| self.is_profile_column(&column.name));
        for (index, column) in columns.enumerate() {
            let mapping = &self
                .config
                .lookup
                .as_ref()
                .expect("it fills columns")
                .columns[&column.name];
            let path: Vec<&str> = mapping.path.trim_start_matches("$.").split('.').collect();
            let value = match found {
                Found::Nothing => None,
                Found::Json(text) => json::record(Some(text))
                    .ok()
                    .and_then(|object| object.find(&path).map(str::to_owned)),
                Found::Fields(fields) => fields[index].as_deref().and_then(as_json_string),
            };
            let cell = value.and_then(|value| reading::cell(&column.column_type, &value).ok());
            let expected =
                cell.unwrap_or_else(|| stand_in(&column.column_type, mapping.default.as_deref()));
            assert_eq!(
                self.read(&mut reader, column),
                expected,
                "column {}",
                column.name
            );
        }
        assert!(
            reader.is_at_end(),
            "{} bytes behind the profile",
            reader.0.len()
        );
    }

    fn read(&self, reader: &mut Reader<'_>, column: &TableColumn) -> Cell {
        let cell = if self.has_flags() {
            reader.flagged(&column.column_type)
        } else {
            reader.cell(&column.column_type)
        };
        cell.unwrap_or_else(|| panic!("column {}: the row ends too early", column.name))
    }
}

fn session_columns(session: &Session) -> [Option<&str>; 3] {
    [
        session.count_column.as_deref(),
        session.duration_column.as_deref(),
        session.distinct_column.as_deref(),
    ]
}

fn missing(column: &TableColumn, mapping: Option<&ColumnMapping>) -> Result<Cell, Reason> {
    let default = mapping.and_then(|mapping| mapping.default.as_deref());
    if mapping.is_some_and(|mapping| mapping.required) {
        Err(Reason::MissingField)
    } else if column.has_server_default && default.is_none() {
        Ok(Cell::ServerDefault)
    } else {
        Ok(stand_in(&column.column_type, default))
    }
}

fn stand_in(column_type: &ColumnType, default: Option<&str>) -> Cell {
    match default.and_then(|default| as_json_string(default.as_bytes())) {
        Some(default) => {
            reading::cell(column_type, &default).expect("defaults here are texts that convert")
        }
        None => reading::zero(column_type),
    }
}

/// The text of a hash's field or of a default, written as JSON; `None` when it is no text.
fn as_json_string(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    Some(serde_json::Value::from(text).to_string())
}
