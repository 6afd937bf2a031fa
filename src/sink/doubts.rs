//! Whether a refusal is believed where several servers hold one table: one of them may lack what the others
//! have, or know of an ALTER later than they do.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Target;
use super::errors::{InsertError, Remedy};
use crate::target::TableColumns;

/// A refusal for the table's columns is believed after so many attempts, and this long at least.
const ATTEMPTS_MIN: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a server may be behind. After that the table is taken to be another one under the same name.
pub(super) const PATIENCE_BEHIND: Duration = Duration::from_secs(300);

/// What one insert has met so far. A success ends it.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    refusing: BTreeSet<u32>,
    since: Option<Instant>,
    attempts: u32,
}

impl Doubts {
    /// Notes that a server gave an answer that halts; whether all of `count` servers have given one.
    pub(super) fn is_unanimous(&mut self, server: u32, count: u32) -> bool {
        self.refusing.insert(server % count);
        self.refusing.len() >= usize::try_from(count).expect("a handful of servers")
    }

    /// Whether to ask once more, since the server that refused may be behind the others. `standing`: what
    /// a look at the columns found since.
    pub(super) fn asks_again(
        &mut self,
        error: &InsertError,
        standing: Standing,
        now: Instant,
    ) -> bool {
        let patience = match standing {
            // A server that knows the columns judges values as the others do.
            Standing::Same if !error.is_about_columns() => return false,
            Standing::Behind => PATIENCE_BEHIND,
            Standing::Same | Standing::Doubtful => PATIENCE,
            Standing::Altered => return false,
        };
        self.attempts += 1;
        let since = *self.since.get_or_insert(now);
        self.attempts < ATTEMPTS_MIN || now.duration_since(since) < patience
    }
}

/// How a table's columns, as one server has them, stand to those that rows were made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Same,
    /// The server does not know yet of an ALTER that rows were made for.
    Behind,
    /// Others, and nothing says which are the later ones.
    Doubtful,
    Altered,
}

impl Standing {
    /// `has_several`: there are several addresses of servers.
    pub(super) fn of(target: &Target, now: &TableColumns, has_several: bool) -> Standing {
        // That there is no table is said by the insert.
        if now.columns.is_empty() {
            return Standing::Same;
        }
        let is_same = now.columns == target.columns;
        match (target.replicated, now.version.cmp(&target.metadata_version)) {
            (true, Ordering::Greater) if !is_same => Standing::Altered,
            (true, _) if now.is_behind => Standing::Behind,
            _ if is_same => Standing::Same,
            (true, Ordering::Less) => Standing::Behind,
            (false, _) if !has_several => Standing::Altered,
            _ => Standing::Doubtful,
        }
    }

    /// The same for rows that were refused: what the table has besides their columns is no reason.
    pub(super) fn of_refused(
        error: &InsertError,
        target: &Target,
        now: &TableColumns,
        has_several: bool,
    ) -> Standing {
        let may_be_behind = now.is_behind && error.is_about_columns();
        let mut columns = target.columns.iter();
        if !may_be_behind && columns.all(|column| now.columns.contains(column)) {
            return Standing::Same;
        }
        Standing::of(target, now, has_several)
    }
}

impl InsertError {
    /// Whether the answer is about the table and its columns, not about values.
    pub(super) fn is_about_columns(&self) -> bool {
        matches!(self.remedy, Remedy::Halt("schema" | "missing_table"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::ColumnInfo;

    fn columns(version: u64, names: &[&str]) -> TableColumns {
        let column = |name: &&str| ColumnInfo {
            name: (*name).to_owned(),
            type_name: "String".to_owned(),
            default_kind: String::new(),
        };
        TableColumns {
            version,
            is_behind: false,
            columns: names.iter().map(column).collect(),
        }
    }

    fn error(remedy: Remedy) -> InsertError {
        InsertError {
            code: Some(16),
            message: String::new(),
            remedy,
        }
    }

    fn target(replicated: bool, made_for: TableColumns) -> Target {
        Target {
            replicated,
            metadata_version: made_for.version,
            columns: made_for.columns,
            ..Target::nowhere()
        }
    }

    #[test]
    fn the_version_of_a_replicated_table_tells_a_replica_that_is_behind_from_an_alter() {
        let about_columns = error(Remedy::Halt("schema"));
        let of_two = target(true, columns(2, &["a", "b"]));
        for (now, standing, refused) in [
            (columns(2, &["a", "b"]), Standing::Same, Standing::Same),
            // Something else than columns was altered.
            (columns(3, &["a", "b"]), Standing::Same, Standing::Same),
            (columns(1, &["a"]), Standing::Behind, Standing::Behind),
            (columns(3, &["a"]), Standing::Altered, Standing::Altered),
            (columns(2, &["a"]), Standing::Doubtful, Standing::Doubtful),
            (
                columns(3, &["a", "b", "c"]),
                Standing::Altered,
                Standing::Same,
            ),
            (
                columns(1, &["a", "b", "c"]),
                Standing::Behind,
                Standing::Same,
            ),
            (columns(0, &[]), Standing::Same, Standing::Same),
        ] {
            for has_several in [false, true] {
                let found = Standing::of(&of_two, &now, has_several);
                assert_eq!(found, standing, "{now:?}");
            }
            let found = Standing::of_refused(&about_columns, &of_two, &now, false);
            assert_eq!(found, refused, "{now:?}");
        }
        // Whatever this server has, an ALTER is on its way to it.
        let names: [&[&str]; 3] = [&["a"], &["a", "b"], &["a", "b", "c"]];
        for now in names.map(|names| columns(2, names)) {
            let now = TableColumns {
                is_behind: true,
                ..now
            };
            assert_eq!(Standing::of(&of_two, &now, false), Standing::Behind);
            let refused = |error| Standing::of_refused(&error, &of_two, &now, false);
            let about_columns = error(Remedy::Halt("schema"));
            assert_eq!(refused(about_columns), Standing::Behind);
            let has_both = now.columns.len() > 1;
            let of_value = refused(error(Remedy::Split));
            assert_eq!(of_value == Standing::Same, has_both, "{now:?}");
        }
        let plain = target(false, columns(0, &["a", "b"]));
        let now = columns(0, &["a"]);
        assert_eq!(Standing::of(&plain, &now, false), Standing::Altered);
        assert_eq!(Standing::of(&plain, &now, true), Standing::Doubtful);
    }

    #[test]
    fn a_server_that_may_be_behind_is_asked_again_for_a_while() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let about_columns = error(Remedy::Halt("schema"));
        let mut doubts = Doubts::default();
        assert!(!doubts.asks_again(&about_columns, Standing::Altered, start));
        for s in [0, 1, 5, 9] {
            assert!(
                doubts.asks_again(&about_columns, Standing::Same, at(s)),
                "{s}"
            );
        }
        assert!(!doubts.asks_again(&about_columns, Standing::Same, at(10)));
        assert!(doubts.asks_again(&about_columns, Standing::Behind, at(10)));
        assert!(doubts.asks_again(&about_columns, Standing::Behind, at(299)));
        assert!(!doubts.asks_again(&about_columns, Standing::Behind, at(300)));
        // Two slow answers are not three.
        let mut doubts = Doubts::default();
        assert!(doubts.asks_again(&about_columns, Standing::Doubtful, start));
        assert!(doubts.asks_again(&about_columns, Standing::Doubtful, at(60)));
        assert!(!doubts.asks_again(&about_columns, Standing::Doubtful, at(61)));
        // A value is refused at once where the columns are known.
        let value = error(Remedy::Split);
        assert!(!Doubts::default().asks_again(&value, Standing::Same, start));
        assert!(Doubts::default().asks_again(&value, Standing::Behind, start));
    }

    #[test]
    fn one_server_alone_halts_nothing() {
        let mut doubts = Doubts::default();
        assert!(!doubts.is_unanimous(0, 2) && !doubts.is_unanimous(2, 2));
        assert!(doubts.is_unanimous(1, 2));
        assert!(Doubts::default().is_unanimous(0, 1));
    }
}
