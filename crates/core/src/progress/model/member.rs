//! What a member does: every step the code's own [`Attempts`] allow, and those the group deals out.

use super::super::Range;
use super::super::insert::{Attempts, History, Missing, Round, Step};
use super::{
    Broken, CUTS, END, Insert, Job, Member, Model, NOBODY, Server, State, Token, bits, visible,
};

impl Model {
    /// Every state that can come next.
    pub(super) fn steps(&self, s: &State, out: &mut Vec<State>) {
        for i in 0..2 {
            self.takeover(s, i, out);
            if s.members[i].generation > 0 {
                self.member_steps(s, i, out);
            }
        }
        self.server_steps(s, out);
    }

    fn takeover(&self, s: &State, i: usize, out: &mut Vec<State>) {
        let is_first = s.generation == 0;
        let may = s.takeovers > 0 && s.members[i].generation != s.generation || is_first;
        if !may {
            return;
        }
        let mut next = s.clone();
        next.generation += 1;
        next.takeovers = s.takeovers.saturating_sub(1);
        let mut listed = s.listed.clone();
        if self.broken == Broken::Recut && !listed.is_empty() && s.position < END {
            listed = vec![Range {
                from: s.position,
                to: END,
            }];
        }
        let look_below = if s.position < s.look_below {
            listed.last().map_or(0, |r| r.to).max(s.look_below)
        } else {
            0
        };
        next.members[i] = Member {
            incarnation: s.members[i].incarnation,
            generation: next.generation,
            position: s.position,
            look_below: if self.broken == Broken::SetBackForgotten && !is_first {
                0
            } else {
                look_below
            },
            todo: listed.iter().map(|r| (*r, History::MaybeSent)).collect(),
            listed,
            ..Member::default()
        };
        out.push(next);
    }

    fn member_steps(&self, s: &State, i: usize, out: &mut Vec<State>) {
        let m = &s.members[i];
        let is_current = m.generation == s.generation;
        if s.crashes > 0 {
            let incarnation = m.incarnation + 1;
            let mut next = s.with(i, |m| {
                *m = Member {
                    incarnation,
                    ..Member::default()
                }
            });
            next.crashes -= 1;
            let is_of_another = |(sender, _): &(_, _)| *sender != (i, m.incarnation);
            next.answers.retain(is_of_another);
            next.refused.retain(is_of_another);
            out.push(next);
        }
        self.name(s, i, is_current, out);
        match &m.job {
            None => self.take_up(s, i, out),
            Some(job) => self.write(s, i, job, is_current, out),
        }
        self.commit(s, i, is_current, out);
    }

    /// A new range is listed by a commit, which a stale generation does not get through.
    fn name(&self, s: &State, i: usize, is_current: bool, out: &mut Vec<State>) {
        let m = &s.members[i];
        let high = m.listed.last().map_or(m.position, |r| r.to);
        for (from, to) in CUTS {
            if from != high || m.listed.len() >= 2 {
                continue;
            }
            let range = Range { from, to };
            let mut next = s.with(i, |m| {
                m.listed.push(range);
                m.todo.push_back((range, History::Unsent));
                if from < m.look_below {
                    m.look_below = m.look_below.max(to);
                }
            });
            if self.broken == Broken::NoNaming {
                out.push(next);
            } else if is_current {
                next.listed.push(range);
                next.look_below = next.look_below.max(next.members[i].look_below);
                out.push(next);
            }
        }
    }

    fn take_up(&self, s: &State, i: usize, out: &mut Vec<State>) {
        let Some((range, history)) = s.members[i].todo.front().copied() else {
            return;
        };
        let history = if range.from < s.members[i].look_below && history != History::PartlyWritten {
            History::MaybeWritten
        } else {
            history
        };
        out.push(s.with(i, |m| {
            m.todo.pop_front();
            m.job = Some(Job {
                range,
                attempts: Attempts::new(history),
                is_repeated: history != History::Unsent,
                sent: None,
            });
        }));
    }

    fn write(&self, s: &State, i: usize, job: &Job, is_current: bool, out: &mut Vec<State>) {
        let incarnation = s.members[i].incarnation;
        let update = |change: &dyn Fn(&mut Job)| {
            s.with(i, |m| change(m.job.as_mut().expect("a job is under way")))
        };
        let unanswered = |j: &mut Job| {
            j.attempts.unknown(true);
            j.is_repeated = true;
            j.sent = None;
        };
        if let Some(token) = job.sent {
            let answer = ((i, incarnation), token);
            if s.answers.contains(&answer) {
                let mut next = update(&|j| {
                    j.attempts.acknowledged();
                    j.sent = None;
                });
                next.answers.remove(&answer);
                out.push(next);
            } else if s.refused.contains(&answer) {
                let mut next = update(&|j| {
                    j.attempts.refused(false);
                    if self.broken == Broken::SplitAtOnce {
                        j.attempts.waited();
                    }
                    j.sent = None;
                });
                next.refused.remove(&answer);
                out.push(next);
            } else if !s.is_running(job.range)
                && !s.flying.iter().any(|f| f.sender == (i, incarnation))
            {
                out.push(update(&unanswered));
            }
            let is_ours = |f: &&Insert| f.sender == (i, incarnation) && f.token == token;
            if s.losses > 0
                && let Some(insert) = s.flying.iter().find(is_ours)
            {
                let mut next = update(&unanswered);
                next.losses -= 1;
                next.flying.remove(insert);
                next.flying.insert(Insert {
                    sender: NOBODY,
                    ..*insert
                });
                out.push(next);
            }
            return;
        }
        match job.attempts.next() {
            Step::Settled => out.push(s.with(i, |m| {
                m.job = None;
                m.settled.insert(job.range);
            })),
            Step::Look => {
                let missing = if self.broken == Broken::NoLook {
                    0
                } else {
                    bits(job.range) & !visible(s)
                };
                let missing = Missing::of((0..END).filter(|o| missing >> o & 1 == 1));
                out.push(update(&|j| j.attempts.looked(missing.clone())));
            }
            Step::Wait => {
                if self.broken == Broken::NoWait || !s.is_running(job.range) {
                    out.push(update(&|j| j.attempts.waited()));
                }
            }
            Step::Count => {
                let chosen = bits_of(|o| job.attempts.sends(o)) & bits(job.range);
                let there = (chosen & visible(s)).count_ones() as usize;
                let sent = chosen.count_ones() as usize;
                out.push(update(&|j| j.attempts.counted(there, sent)));
            }
            // The commit that names the parts, which a stale generation does not get through.
            Step::Split(history) if is_current => out.push(self.split(s, i, job.range, history)),
            Step::Split(_) => {}
            Step::Send(_) if self.looks_settled(s, job) => out.push(s.with(i, |m| {
                m.job = None;
                m.settled.insert(job.range);
            })),
            Step::Send(round) => {
                if self.may_send(is_current) {
                    out.push(self.send(s, i, job, round));
                }
            }
        }
    }

    /// What the code did once: a look that found every row was taken for proof.
    fn looks_settled(&self, s: &State, job: &Job) -> bool {
        let is_there = bits(job.range) & !visible(s) == 0;
        self.broken == Broken::LookSettles && job.is_repeated && is_there
    }

    /// The lease: a zombie does not send. Only tokens that are forgotten and ranges that are split need it.
    fn may_send(&self, is_current: bool) -> bool {
        let needs_lease = self.server == Server::Forgetful || self.splits;
        is_current || self.broken == Broken::LateZombie || !needs_lease
    }

    /// Two ranges take the place of one.
    fn split(&self, s: &State, i: usize, whole: Range, history: History) -> State {
        let parts = [whole.from, whole.from + 1].map(|from| Range { from, to: from + 1 });
        let mut next = s.with(i, |m| {
            m.job = None;
            let index = m.listed.iter().position(|range| *range == whole);
            let index = index.expect("a range under way is listed");
            m.listed.splice(index..=index, parts);
            for part in parts.into_iter().rev() {
                m.todo.push_front((part, history));
            }
            if history == History::PartlyWritten && self.broken != Broken::SplitForgotten {
                m.look_below = m.look_below.max(whole.to);
            }
        });
        next.listed = next.members[i].listed.clone();
        next.look_below = next.look_below.max(next.members[i].look_below);
        next
    }

    /// A job may have been to the lane and back for a new lease before; nothing about it changes there.
    fn send(&self, s: &State, i: usize, job: &Job, round: Round) -> State {
        let m = &s.members[i];
        let drawn =
            (self.broken == Broken::RandomToken).then_some((i, m.incarnation, m.generation));
        let token = (self.broken != Broken::NoToken).then_some(Token {
            range: job.range,
            round,
            drawn,
        });
        let chosen = bits_of(|o| job.attempts.sends(o));
        let rows = match self.broken {
            Broken::LookForgotten => bits(job.range),
            Broken::OnlyMissing if job.is_repeated => bits(job.range) & chosen & !visible(s),
            _ => bits(job.range) & chosen,
        };
        let sender = (i, m.incarnation);
        let mut next = s.with(i, |m| {
            m.job.as_mut().expect("a job is under way").sent = Some(token);
        });
        next.flying.insert(Insert {
            token,
            range: job.range,
            rows,
            done: 0,
            sender,
            is_stored: false,
        });
        next
    }

    fn commit(&self, s: &State, i: usize, is_current: bool, out: &mut Vec<State>) {
        let m = &s.members[i];
        let Some(range) = m.listed.first().copied().filter(|_| is_current) else {
            return;
        };
        let is_sent = m
            .job
            .as_ref()
            .is_some_and(|j| j.range == range && j.sent.is_some());
        let is_early = self.broken == Broken::CommitEarly && is_sent;
        if m.settled.contains(&range) || is_early {
            let mut next = s.with(i, |m| {
                m.position = range.to;
                m.listed.remove(0);
                m.settled.remove(&range);
            });
            next.position = range.to;
            next.listed = next.members[i].listed.clone();
            out.push(next);
        }
    }
}

fn bits_of(holds: impl Fn(i64) -> bool) -> u8 {
    (0..END).filter(|o| holds(*o)).map(|o| 1 << o).sum()
}
