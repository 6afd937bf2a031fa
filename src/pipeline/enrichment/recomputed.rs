//! The columns that come from a record alone, computed again to compare them with the table's.

use super::EnrichmentOperator;

/// In rows with defaults: no value follows.
const OWN_DEFAULT: u8 = 1;

impl EnrichmentOperator {
    /// The names of the columns that fields of the record fill.
    pub(crate) fn event_column_names(&self) -> Vec<String> {
        let columns = self.plan.field_columns();
        columns.map(|source| source.column().name.clone()).collect()
    }

    /// The same columns of the record that was accepted last, in RowBinary; `None`: the table's own default
    /// takes the place of the value.
    pub(crate) fn event_values(&self) -> Vec<Option<&[u8]>> {
        let flag = usize::from(self.plan.with_default_flag);
        let spans = self.starts.windows(2);
        let value = |span: &[usize]| {
            let bytes = self.heads.get(span[0]..span[1])?;
            let is_default = flag == 1 && bytes.first() == Some(&OWN_DEFAULT);
            if is_default { None } else { bytes.get(flag..) }
        };
        spans.map(value).collect()
    }
}
