//! What a session does next: random transactions.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::table::{self, Column, Table};

/// What a statement does to the rows that it says it has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Insert,
    Update,
    Delete,
    Move,
}

#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) effect: Effect,
}

/// Statements that belong together.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) statements: Vec<Statement>,
    /// `None`: each statement by itself.
    pub(super) end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    Rollback,
}

/// Draws transactions over some tables.
#[derive(Debug)]
pub(super) struct Plan<'r> {
    pub(super) tables: &'static [Table],
    /// Keys are `1..=keys`.
    pub(super) keys: i64,
    /// A key that no other session uses.
    pub(super) own_key: i64,
    /// The columns of [`Table::Products`] at this moment.
    pub(super) products: Vec<Column>,
    /// Keys of `documents` that are used once; `None`: they change like all others.
    pub(super) once: Option<&'r mut UsedOnce>,
    pub(super) random: &'r mut StdRng,
}

/// Keys of one session, each of which is taken by one row and left once.
#[derive(Debug)]
pub(super) struct UsedOnce {
    first: i64,
    next: i64,
}

impl UsedOnce {
    pub(super) fn of_session(number: u64) -> Self {
        let first = 1_000_000 * i64::try_from(number).expect("few sessions");
        Self { first, next: first }
    }

    fn take(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }

    /// One that was taken not long ago.
    fn taken(&self, random: &mut StdRng) -> Option<i64> {
        let recent = (self.next - 40).max(self.first)..self.next;
        (!recent.is_empty()).then(|| random.random_range(recent))
    }
}

impl Plan<'_> {
    pub(super) fn transaction(&mut self) -> Transaction {
        let table = *self.tables.choose(self.random).expect("there are tables");
        let (key, other) = (self.any_key(), self.any_key());
        let statements = match self.random.random_range(0..100) {
            0..35 => vec![self.any_statement()],
            35..55 => {
                let count = self.random.random_range(2..=8);
                (0..count).map(|_| self.any_statement()).collect()
            }
            55..65 => {
                let count = self.random.random_range(5..=25);
                (0..count).map(|_| self.update(table, key)).collect()
            }
            // Gone and back, with other values.
            65..73 => vec![self.delete(table, key), self.insert(table, key)],
            // In one transaction nothing remains of it; else it is seen for a moment.
            73..77 => vec![
                self.insert(table, key),
                self.update(table, key),
                self.delete(table, key),
            ],
            77..93 if table == Table::Documents && self.once.is_some() => self.move_once(),
            77..83 => vec![self.move_key(table, key, other)],
            // There and back, changed on the way or not.
            83..87 => {
                let mut statements = vec![self.move_key(table, key, other)];
                if self.random.random_bool(0.5) {
                    statements.push(self.update(table, other));
                }
                statements.push(self.move_key(table, other, key));
                statements
            }
            // Onto a key that was just given up.
            87..90 => vec![self.delete(table, other), self.move_key(table, key, other)],
            // Two rows change places.
            90..93 => vec![
                self.move_key(table, key, self.own_key),
                self.move_key(table, other, key),
                self.move_key(table, self.own_key, other),
            ],
            93..97 => vec![self.update_range(table, key)],
            _ => {
                let first = self.update_range(table, key);
                vec![first, self.delete_range(table, other)]
            }
        };
        Transaction {
            end: self.end(&statements),
            statements,
        }
    }

    /// A row comes, changes or goes under keys that nobody else uses, mostly to another of them.
    fn move_once(&mut self) -> Vec<Statement> {
        let table = Table::Documents;
        let once = self.once.as_deref_mut().expect("asked before");
        let (from, to) = (once.taken(self.random), once.take());
        let Some(from) = from else {
            return vec![self.insert(table, to)];
        };
        match self.random.random_range(0..10) {
            0..3 => vec![self.insert(table, to)],
            3..7 => vec![self.move_key(table, from, to)],
            7 => vec![self.move_key(table, from, to), self.update(table, to)],
            8 => vec![self.update(table, from), self.move_key(table, from, to)],
            _ => vec![self.update(table, from), self.delete(table, from)],
        }
    }

    /// A key of this session's must not stay in use: what leaves one is never taken apart.
    fn end(&mut self, statements: &[Statement]) -> Option<End> {
        let uses_own_key = statements.len() == 3
            && statements[0].effect == Effect::Move
            && statements[2].effect == Effect::Move;
        match self.random.random_range(0..100) {
            0..45 if !uses_own_key => None,
            0..90 => Some(End::Commit),
            _ => Some(End::Rollback),
        }
    }

    fn any_key(&mut self) -> i64 {
        // A tenth of the keys gets half of the changes.
        let hot = self.random.random_bool(0.5);
        let keys = if hot { self.keys / 10 } else { self.keys };
        self.random.random_range(1..=keys.max(2))
    }

    fn any_statement(&mut self) -> Statement {
        let table = *self.tables.choose(self.random).expect("there are tables");
        let key = self.any_key();
        match self.random.random_range(0..10) {
            0..4 => self.insert(table, key),
            4..9 => self.update(table, key),
            _ => self.delete(table, key),
        }
    }

    fn columns(&self, table: Table) -> Vec<Column> {
        match table {
            Table::Products => self.products.clone(),
            _ => table.columns().to_vec(),
        }
    }

    /// Does nothing where the key is taken: a refusal would end the transaction.
    fn insert(&mut self, table: Table, key: i64) -> Statement {
        let columns = self.columns(table);
        let (names, literals) = table::row(table, key, &columns, self.random);
        let (name, free) = (table.name(), is_free(table, key));
        let sql = format!(
            "INSERT INTO {name} ({names}) SELECT {literals} FROM (SELECT 1) AS one WHERE {free}"
        );
        statement(Effect::Insert, sql)
    }

    fn update(&mut self, table: Table, key: i64) -> Statement {
        let columns = self.columns(table);
        let assignments = table::assign_some(&columns, self.random);
        let (name, is_key) = (table.name(), table.is_key(key));
        statement(
            Effect::Update,
            format!("UPDATE {name} SET {assignments} WHERE {is_key}"),
        )
    }

    fn delete(&mut self, table: Table, key: i64) -> Statement {
        let (name, is_key) = (table.name(), table.is_key(key));
        statement(Effect::Delete, format!("DELETE FROM {name} WHERE {is_key}"))
    }

    /// Does nothing where the new key is taken, as it is for a key moved to itself.
    fn move_key(&mut self, table: Table, from: i64, to: i64) -> Statement {
        let mut assignments = table::assign_key(table, to);
        if self.random.random_bool(0.3) {
            let columns = self.columns(table);
            assignments = assignments + ", " + &table::assign_some(&columns, self.random);
        }
        let (name, is_key, free) = (table.name(), table.is_key(from), is_free(table, to));
        statement(
            Effect::Move,
            format!("UPDATE {name} SET {assignments} WHERE {is_key} AND {free}"),
        )
    }

    /// Rows of neighbouring keys in one statement.
    fn update_range(&mut self, table: Table, from: i64) -> Statement {
        let columns = self.columns(table);
        let assignments = table::assign_some(&columns, self.random);
        let (name, range) = (table.name(), self.range(table, from, 12));
        statement(
            Effect::Update,
            format!("UPDATE {name} SET {assignments} WHERE {range}"),
        )
    }

    fn delete_range(&mut self, table: Table, from: i64) -> Statement {
        let (name, range) = (table.name(), self.range(table, from, 4));
        statement(Effect::Delete, format!("DELETE FROM {name} WHERE {range}"))
    }

    fn range(&mut self, table: Table, from: i64, length_max: i64) -> String {
        let to = from + self.random.random_range(1..=length_max);
        let number = match table {
            Table::Accounts => "account",
            _ => table.key(0)[0].0,
        };
        format!("{number} BETWEEN {from} AND {to}")
    }
}

fn is_free(table: Table, key: i64) -> String {
    let (name, is_key) = (table.name(), table.is_key(key));
    format!("NOT EXISTS (SELECT 1 FROM {name} AS taken WHERE {is_key})")
}

fn statement(effect: Effect, sql: String) -> Statement {
    Statement { sql, effect }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn statements(seed: u64) -> Vec<String> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut plan = Plan {
            tables: &Table::ALL,
            keys: 60,
            own_key: -1,
            products: table::PRODUCTS.to_vec(),
            once: None,
            random: &mut random,
        };
        let transactions = (0..500).flat_map(|_| plan.transaction().statements);
        transactions.map(|statement| statement.sql).collect()
    }

    #[test]
    fn a_seed_gives_the_same_statements_again_and_another_one_others() {
        assert_eq!(statements(1), statements(1));
        assert_ne!(statements(1), statements(2));
    }

    #[test]
    fn a_key_that_is_used_once_is_taken_by_one_statement() {
        let mut random = StdRng::seed_from_u64(1);
        let mut once = UsedOnce::of_session(1);
        let mut taken = std::collections::HashSet::new();
        for _ in 0..2_000 {
            let mut plan = Plan {
                tables: &[Table::Documents],
                keys: 60,
                own_key: -1,
                products: vec![],
                once: Some(&mut once),
                random: &mut random,
            };
            for statement in plan.transaction().statements {
                let is_move = statement.effect == Effect::Move;
                let free = statement.sql.split("AS taken WHERE document_id = ").nth(1);
                let Some(to) = free.and_then(|rest| rest.trim_end_matches(')').parse().ok()) else {
                    assert!(!is_move, "{}", statement.sql);
                    continue;
                };
                let to: i64 = to;
                assert!(!is_move || to >= 1_000_000, "{}", statement.sql);
                assert!(to <= 60 || taken.insert(to), "{}", statement.sql);
            }
        }
        assert!(taken.len() > 100);
    }
}
