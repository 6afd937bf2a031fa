//! What the server does with the inserts it has received, and what a kill leaves of them.

use super::{END, Insert, Model, Server, State};

impl Model {
    pub(super) fn server_steps(&self, s: &State, out: &mut Vec<State>) {
        for insert in &s.flying {
            match self.server {
                Server::Parts | Server::Unfinished => self.store_part(s, insert, out),
                Server::View => self.store_and_push(s, insert, out),
                _ => out.push(self.store(s, insert)),
            }
            if s.refusals > 0 && !insert.is_stored && insert.range.to - insert.range.from > 1 {
                out.push(refuse(s, insert));
            }
        }
        if s.kills > 0 && !s.flying.is_empty() {
            self.kill(s, out);
        }
        if self.server == Server::Forgetful {
            forget(s, out);
        }
        if s.unfinished != 0 {
            let mut next = s.clone();
            next.unfinished = 0;
            out.push(next);
        }
        for answer in &s.answers {
            let mut next = s.clone();
            next.answers.remove(answer);
            out.push(next);
        }
    }

    /// One insert is done, in any order; with [`Server::PartLater`] in two steps.
    fn store(&self, s: &State, insert: &Insert) -> State {
        let mut next = s.clone();
        next.flying.remove(insert);
        let is_new = insert.is_stored || next.is_new(insert, 0);
        if is_new && !insert.is_stored && self.server == Server::PartLater {
            let is_stored = true;
            next.flying.insert(Insert {
                is_stored,
                ..*insert
            });
            return next;
        }
        if is_new {
            add(&mut next.table, insert.rows);
        }
        next.answers.insert((insert.sender, insert.token));
        next
    }

    /// Every row is a part, stored after the one before it. With [`Server::Unfinished`] a part may be
    /// left in the table without its token, and the insert ends there with an error.
    fn store_part(&self, s: &State, insert: &Insert, out: &mut Vec<State>) {
        let mut next = s.clone();
        next.flying.remove(insert);
        let Some(offset) = insert.next_part() else {
            next.answers.insert((insert.sender, insert.token));
            out.push(next);
            return;
        };
        if self.server == Server::Unfinished && s.failures > 0 {
            let mut failed = next.clone();
            failed.failures -= 1;
            failed.unfinished |= 1 << offset;
            out.push(failed);
        }
        if next.is_new(insert, offset) {
            add(&mut next.table, 1 << offset);
        }
        let done = insert.done | 1 << offset;
        next.flying.insert(Insert { done, ..*insert });
        out.push(next);
    }

    /// The table first, then the view, which remembers tokens of its own and may fail.
    fn store_and_push(&self, s: &State, insert: &Insert, out: &mut Vec<State>) {
        let mut next = s.clone();
        next.flying.remove(insert);
        if !insert.is_stored {
            if next.is_new(insert, 0) {
                add(&mut next.table, insert.rows);
            }
            let is_stored = true;
            next.flying.insert(Insert {
                is_stored,
                ..*insert
            });
            out.push(next);
            return;
        }
        if s.failures > 0 {
            let mut failed = next.clone();
            failed.failures -= 1;
            out.push(failed);
        }
        if next.is_new(insert, 1) {
            add(&mut next.view, insert.rows);
        }
        next.answers.insert((insert.sender, insert.token));
        out.push(next);
    }

    /// What was received is gone, and so is every answer; one insert may be half written.
    fn kill(&self, s: &State, out: &mut Vec<State>) {
        let mut dead = s.clone();
        dead.kills -= 1;
        dead.answers.clear();
        dead.refused.clear();
        dead.flying.clear();
        for insert in &s.flying {
            let part = match self.server {
                Server::TokenFirst | Server::PartLater => 0,
                Server::Parts => insert.next_part().unwrap_or_default(),
                _ => continue,
            };
            let Some(token) = insert.token.filter(|t| !s.tokens.contains(&(*t, part))) else {
                continue;
            };
            let mut half = dead.clone();
            half.tokens.insert((token, part));
            out.push(half);
        }
        out.push(dead);
    }
}

/// A row is refused. What is stored of the others stays.
fn refuse(s: &State, insert: &Insert) -> State {
    let mut next = s.clone();
    next.flying.remove(insert);
    next.refusals -= 1;
    next.refused.insert((insert.sender, insert.token));
    next
}

impl State {
    /// Whether this part is stored; its token is remembered.
    fn is_new(&mut self, insert: &Insert, part: u8) -> bool {
        let token = insert.token;
        token.is_none_or(|token| self.tokens.insert((token, part)))
    }
}

impl Insert {
    fn next_part(&self) -> Option<u8> {
        let left = self.rows & !self.done;
        (left != 0).then(|| u8::try_from(left.trailing_zeros()).expect("eight bits"))
    }
}

/// A token is remembered longer than an insert under it may run, and as long as its range is open.
fn forget(s: &State, out: &mut Vec<State>) {
    for (token, part) in &s.tokens {
        if token.range.to <= s.position && !s.is_running(token.range) {
            let mut next = s.clone();
            next.tokens.remove(&(*token, *part));
            out.push(next);
        }
    }
}

fn add(table: &mut [u8; END as usize], rows: u8) {
    for (offset, count) in table.iter_mut().enumerate() {
        *count += rows >> offset & 1;
    }
}
