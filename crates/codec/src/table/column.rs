//! One column of a table.

use super::ColumnType;

/// A column as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// What the server does when a row has no value for it.
    pub default_kind: DefaultKind,
}

/// `default_kind` of `system.columns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DefaultKind {
    /// The type's own default.
    #[default]
    None,
    /// An expression for rows without a value.
    Default,
    /// Always computed; cannot be inserted.
    Materialized,
    /// Computed when read; cannot be inserted.
    Alias,
    /// Inserted for other columns' expressions, not stored.
    Ephemeral,
}

/// A `default_kind` that no version of the server we know of has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown default_kind {0:?} in system.columns; this version of the server is not supported"
)]
pub struct UnknownDefaultKind(String);

impl DefaultKind {
    /// Reads the column `default_kind` of `system.columns`.
    ///
    /// # Errors
    /// Any other word than those of the documentation.
    pub fn parse(text: &str) -> Result<DefaultKind, UnknownDefaultKind> {
        match text {
            "" => Ok(DefaultKind::None),
            "DEFAULT" => Ok(DefaultKind::Default),
            "MATERIALIZED" => Ok(DefaultKind::Materialized),
            "ALIAS" => Ok(DefaultKind::Alias),
            "EPHEMERAL" => Ok(DefaultKind::Ephemeral),
            other => Err(UnknownDefaultKind(other.to_owned())),
        }
    }

    /// Whether an INSERT may name the column.
    #[must_use]
    pub fn is_insertable(self) -> bool {
        matches!(
            self,
            DefaultKind::None | DefaultKind::Default | DefaultKind::Ephemeral
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_kinds_are_the_words_of_the_server() {
        assert_eq!(DefaultKind::parse(""), Ok(DefaultKind::None));
        assert_eq!(DefaultKind::parse("DEFAULT"), Ok(DefaultKind::Default));
        assert!(!DefaultKind::parse("ALIAS").unwrap().is_insertable());
        assert!(DefaultKind::parse("default").is_err());
    }
}
