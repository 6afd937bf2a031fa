//! What the server does with the inserts it has received, and what a kill leaves of them.

use super::{END, Insert, Model, Server, State};

impl Model {
    pub(super) fn server_steps(&self, s: &State, out: &mut Vec<State>) {
        for insert in &s.flying {
            out.push(self.work(s, insert));
        }
        if s.kills > 0 && !s.flying.is_empty() {
            self.kill(s, out);
        }
        for answer in &s.answers {
            let mut next = s.clone();
            next.answers.remove(answer);
            out.push(next);
        }
    }

    /// One insert is done, in any order; with [`Server::PartLater`] in two steps.
    fn work(&self, s: &State, insert: &Insert) -> State {
        let mut next = s.clone();
        next.flying.remove(insert);
        let is_new = insert.has_token || insert.token.is_none_or(|token| next.tokens.insert(token));
        if is_new && !insert.has_token && self.server == Server::PartLater {
            let has_token = true;
            next.flying.insert(Insert {
                has_token,
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

    /// What was received is gone, and so is every answer; one insert may be half written.
    fn kill(&self, s: &State, out: &mut Vec<State>) {
        let mut dead = s.clone();
        dead.kills -= 1;
        dead.answers.clear();
        dead.flying.clear();
        for insert in &s.flying {
            let Some(token) = insert.token.filter(|t| !s.tokens.contains(t)) else {
                continue;
            };
            let mut half = dead.clone();
            match self.server {
                Server::Atomic => continue,
                Server::TokenFirst | Server::PartLater => {
                    half.tokens.insert(token);
                }
                Server::PartFirst => add(&mut half.table, insert.rows),
            }
            out.push(half);
        }
        out.push(dead);
    }
}

fn add(table: &mut [u8; END as usize], rows: u8) {
    for (offset, count) in table.iter_mut().enumerate() {
        *count += rows >> offset & 1;
    }
}
