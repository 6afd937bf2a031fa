//! What schemas import and registries do not list among their references: registries know it by themselves.

/// What Connect's converter imports.
const OF_CONNECT: [(&str, &str); 2] = [
    (
        "confluent/meta.proto",
        r#"syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto";
        message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
        extend google.protobuf.FileOptions { Meta file_meta = 1088; }
        extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
        extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
        extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
        extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }"#,
    ),
    (
        "confluent/type/decimal.proto",
        r#"syntax = "proto3"; package confluent.type;
        message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }"#,
    ),
];

/// Files of `google/type`, each with what it imports of `google/protobuf` and what it defines.
const OF_GOOGLE: [(&str, &[&str], &str); 17] = [
    (
        "calendar_period",
        &[],
        "enum CalendarPeriod { CALENDAR_PERIOD_UNSPECIFIED = 0; DAY = 1; WEEK = 2; FORTNIGHT = 3; MONTH = 4; \
         QUARTER = 5; HALF = 6; YEAR = 7; }",
    ),
    (
        "color",
        &["wrappers"],
        "message Color { float red = 1; float green = 2; float blue = 3; google.protobuf.FloatValue alpha = 4; }",
    ),
    (
        "date",
        &[],
        "message Date { int32 year = 1; int32 month = 2; int32 day = 3; }",
    ),
    (
        "datetime",
        &["duration"],
        "message DateTime { int32 year = 1; int32 month = 2; int32 day = 3; int32 hours = 4; \
         int32 minutes = 5; int32 seconds = 6; int32 nanos = 7; oneof time_offset { \
         google.protobuf.Duration utc_offset = 8; TimeZone time_zone = 9; } } \
         message TimeZone { string id = 1; string version = 2; }",
    ),
    (
        "dayofweek",
        &[],
        "enum DayOfWeek { DAY_OF_WEEK_UNSPECIFIED = 0; MONDAY = 1; TUESDAY = 2; WEDNESDAY = 3; THURSDAY = 4; \
         FRIDAY = 5; SATURDAY = 6; SUNDAY = 7; }",
    ),
    ("decimal", &[], "message Decimal { string value = 1; }"),
    (
        "expr",
        &[],
        "message Expr { string expression = 1; string title = 2; string description = 3; string location = 4; }",
    ),
    (
        "fraction",
        &[],
        "message Fraction { int64 numerator = 1; int64 denominator = 2; }",
    ),
    (
        "interval",
        &["timestamp"],
        "message Interval { google.protobuf.Timestamp start_time = 1; google.protobuf.Timestamp end_time = 2; }",
    ),
    (
        "latlng",
        &[],
        "message LatLng { double latitude = 1; double longitude = 2; }",
    ),
    (
        "localized_text",
        &[],
        "message LocalizedText { string text = 1; string language_code = 2; }",
    ),
    (
        "money",
        &[],
        "message Money { string currency_code = 1; int64 units = 2; int32 nanos = 3; }",
    ),
    (
        "month",
        &[],
        "enum Month { MONTH_UNSPECIFIED = 0; JANUARY = 1; FEBRUARY = 2; MARCH = 3; APRIL = 4; MAY = 5; \
         JUNE = 6; JULY = 7; AUGUST = 8; SEPTEMBER = 9; OCTOBER = 10; NOVEMBER = 11; DECEMBER = 12; }",
    ),
    (
        "phone_number",
        &[],
        "message PhoneNumber { message ShortCode { string region_code = 1; string number = 2; } \
         oneof kind { string e164_number = 1; ShortCode short_code = 2; } string extension = 3; }",
    ),
    (
        "postal_address",
        &[],
        "message PostalAddress { int32 revision = 1; string region_code = 2; string language_code = 3; \
         string postal_code = 4; string sorting_code = 5; string administrative_area = 6; \
         string locality = 7; string sublocality = 8; repeated string address_lines = 9; \
         repeated string recipients = 10; string organization = 11; }",
    ),
    (
        "quaternion",
        &[],
        "message Quaternion { double x = 1; double y = 2; double z = 3; double w = 4; }",
    ),
    (
        "timeofday",
        &[],
        "message TimeOfDay { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4; }",
    ),
];

/// The source of this name.
pub(super) fn built_in(name: &str) -> Option<String> {
    if let Some((_, text)) = OF_CONNECT.iter().find(|(known, _)| *known == name) {
        return Some((*text).to_owned());
    }
    let file = name.strip_prefix("google/type/")?.strip_suffix(".proto")?;
    let (_, imports, text) = OF_GOOGLE.iter().find(|(known, ..)| *known == file)?;
    let imports = imports.iter();
    let imports: String = imports
        .map(|import| format!("import \"google/protobuf/{import}.proto\"; "))
        .collect();
    Some(format!(
        "syntax = \"proto3\"; package google.type; {imports}{text}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::ProtobufSchema;

    #[test]
    fn every_source_compiles_and_may_be_imported_without_a_reference() {
        let of_google = OF_GOOGLE.map(|(name, ..)| format!("google/type/{name}.proto"));
        let of_connect = OF_CONNECT.map(|(name, _)| name.to_owned());
        let all = of_google.iter().chain(&of_connect);
        let imports: String = all.map(|name| format!("import \"{name}\";\n")).collect();
        let source = format!(
            "syntax = \"proto3\";\n{imports}message M {{ google.type.Money price = 1; \
             google.type.DayOfWeek day = 2; google.type.Interval open = 3; }}"
        );
        let schema = ProtobufSchema::from_source(&source, &[]).unwrap();
        let columns = schema.columns(&[0]).unwrap();
        let names: Vec<String> = columns.iter().map(|column| column.path.join(".")).collect();
        let expected = [
            "price.currency_code",
            "price.units",
            "price.nanos",
            "day",
            "open.start_time",
            "open.end_time",
        ];
        assert_eq!(names, expected);
        assert!(ProtobufSchema::from_source("import \"google/type/none.proto\";", &[]).is_err());
    }
}
