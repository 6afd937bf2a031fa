//! The order in which a shadow takes the place of the live table, and how it is taken back: pure.
//!
//! Both directions are the same: while nobody may read for the live table, both tables are brought to one offset
//! in each partition, and their names are exchanged. What has been done is told by what is durable alone, so
//! that the next attempt finds the next step:
//!
//! - which table has which name: the plan of the rebuild is in the comment of the table that was the shadow, and
//!   a comment goes where its table goes;
//! - how far each table is: the committed offsets of the two groups;
//! - whether the live group is fenced: its commits carry a mark that no start gets past. Kafka takes the commit
//!   of somebody who is no member only while the group is empty.

/// What is known of both tables and both groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// `--swap`, and not `--undo`.
    pub(super) wants_rebuilt: bool,
    /// Whether every table is called as it is wanted.
    pub(super) is_exchanged: bool,
    /// Whether somebody reads for the live table.
    pub(super) has_members: bool,
    /// Whether a daemon reads on for the live table, as far as it shows.
    pub(super) is_live_reading: bool,
    /// Whether the live group is fenced.
    pub(super) is_fenced: bool,
    /// Whether some of its partitions are: Kafka may refuse a mark.
    pub(super) has_fence: bool,
    /// Whether the live group is behind the other somewhere.
    pub(super) is_live_behind: bool,
    /// Whether the other group is behind the live one somewhere.
    pub(super) is_shadow_behind: bool,
    /// Whether the table that is not live is there.
    pub(super) has_other: bool,
    /// Whether it stays for an `--undo`.
    pub(super) keeps_old: bool,
    /// Whether a running daemon can be told, and whether it was told to go on.
    pub(super) can_tell: bool,
    pub(super) has_resumed: bool,
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The live pipeline reads on, up to where the shadow is.
    CatchUpLive,
    /// The live pipeline writes what it has read, and leaves its group.
    Stop,
    /// Nobody can: the live pipeline runs and cannot be told.
    Refuse,
    /// No start gets past this.
    Fence,
    /// The shadow is filled up to where the live group is.
    CatchUp,
    Exchange,
    Unfence,
    /// The live pipeline goes on.
    Resume,
    /// The old table goes.
    Drop,
    Done,
}

/// The next step.
pub(super) fn next(facts: &Facts) -> Step {
    if facts.is_exchanged {
        return match facts {
            _ if facts.has_fence => Step::Unfence,
            _ if facts.can_tell && !facts.has_resumed => Step::Resume,
            _ if facts.wants_rebuilt && !facts.keeps_old && facts.has_other => Step::Drop,
            _ => Step::Done,
        };
    }
    if facts.is_fenced {
        return match facts {
            // It was ahead when the fence was raised, and somebody has read on for the shadow since.
            _ if facts.is_live_behind => Step::Unfence,
            _ if facts.is_shadow_behind => Step::CatchUp,
            _ => Step::Exchange,
        };
    }
    match facts {
        // This process may have to read for it, and gets past no mark.
        _ if facts.has_fence && facts.is_live_behind => Step::Unfence,
        _ if facts.has_members && !facts.can_tell => Step::Refuse,
        // One that is paused comes nowhere: this process reads for it once it has left.
        _ if facts.is_live_behind && (facts.is_live_reading || !facts.has_members) => {
            Step::CatchUpLive
        }
        _ if facts.has_members => Step::Stop,
        _ => Step::Fence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A table has the rows below this offset, and one that was rebuilt says so.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Table {
        rows_to: u32,
        is_rebuilt: bool,
    }

    #[derive(Debug, Clone)]
    struct World {
        live: Table,
        other: Option<Table>,
        log_end: u32,
        live_at: u32,
        other_at: u32,
        is_fenced: bool,
        /// A process has begun to read for the live table.
        daemon: bool,
        is_paused: bool,
        exchanges: u32,
    }

    impl World {
        fn facts(&self, wants_rebuilt: bool, keeps_old: bool, has_resumed: bool) -> Facts {
            Facts {
                wants_rebuilt,
                is_exchanged: self.live.is_rebuilt == wants_rebuilt,
                has_members: self.daemon,
                is_live_reading: self.daemon && !self.is_paused,
                is_fenced: self.is_fenced,
                has_fence: self.is_fenced,
                is_live_behind: self.live_at < self.other_at,
                is_shadow_behind: self.other_at < self.live_at,
                has_other: self.other.is_some(),
                keeps_old,
                can_tell: true,
                has_resumed,
            }
        }

        /// Everything that the live pipeline would do: rows are appended where the group is, each once.
        fn live_reads(&mut self) {
            if self.daemon && !self.is_paused && !self.is_fenced && self.live_at < self.log_end {
                assert_eq!(self.live.rows_to, self.live_at, "rows are lost or doubled");
                self.live_at += 1;
                self.live.rows_to += 1;
            }
        }

        fn shadow_reads(&mut self, to: u32) {
            let other = self.other.as_mut().expect("it is there");
            while self.other_at < to {
                assert_eq!(other.rows_to, self.other_at, "rows are lost or doubled");
                self.other_at += 1;
                other.rows_to += 1;
            }
        }

        fn carry_out(&mut self, step: Step) -> bool {
            match step {
                Step::CatchUpLive if self.daemon => self.live_reads(),
                Step::CatchUpLive => {
                    (self.daemon, self.is_paused) = (true, false);
                    while self.live_at < self.other_at {
                        self.live_reads();
                    }
                    self.daemon = false;
                }
                Step::Stop => self.daemon = false,
                // Kafka refuses the commit while the group has members.
                Step::Fence => self.is_fenced |= !self.daemon,
                Step::CatchUp => self.shadow_reads(self.live_at),
                Step::Exchange => {
                    assert!(self.is_fenced && !self.daemon);
                    assert_eq!(self.live_at, self.other_at);
                    let other = self.other.as_mut().expect("it is there");
                    std::mem::swap(&mut self.live, other);
                    self.exchanges += 1;
                }
                Step::Unfence => self.is_fenced = false,
                Step::Resume => (self.daemon, self.is_paused) = (true, false),
                Step::Drop => self.other = None,
                Step::Done => return true,
                Step::Refuse => unreachable!("the daemon can be told"),
            }
            false
        }
    }

    proptest! {
        #[test]
        fn each_row_is_there_once_whatever_dies_between_two_steps(
            events in prop::collection::vec((0u8..6, any::<bool>()), 1..80),
            live_at in 0u32..6, other_at in 0u32..6, daemon: bool, is_paused: bool, undoes: bool, keeps_old: bool,
        ) {
            let keeps_old = keeps_old || undoes;
            let table = |rows_to, is_rebuilt| Table { rows_to, is_rebuilt };
            let mut world = World {
                live: table(live_at, false),
                other: Some(table(other_at, true)),
                log_end: 6,
                live_at, other_at, daemon, is_paused,
                is_fenced: false,
                exchanges: 0,
            };
            let runs = if undoes { vec![true, false] } else { vec![true] };
            for wants_rebuilt in runs {
                let mut resumed = false;
                let mut is_done = false;
                for &(event, grows) in &events {
                    if is_done { break; }
                    world.log_end += u32::from(grows);
                    match event {
                        // The command dies and is repeated: it has told nobody to go on.
                        0 => resumed = false,
                        // A process comes and begins to read, unless the fence holds it.
                        1 => world.daemon |= !world.is_fenced,
                        // It is killed.
                        2 => world.daemon = false,
                        3 => world.live_reads(),
                        _ => {
                            let step = next(&world.facts(wants_rebuilt, keeps_old, resumed));
                            // What was known a moment ago need not be so still; the coordinator decides.
                            is_done = world.carry_out(step);
                            resumed |= step == Step::Resume;
                        }
                    }
                }
                for _ in 0..100 {
                    let step = next(&world.facts(wants_rebuilt, keeps_old, resumed));
                    resumed |= step == Step::Resume;
                    if world.carry_out(step) { is_done = true; break; }
                }
                prop_assert!(is_done, "{world:?}");
                prop_assert_eq!(world.live.is_rebuilt, wants_rebuilt);
                prop_assert!(!world.is_fenced);
                prop_assert_eq!(world.live.rows_to, world.live_at);
                prop_assert_eq!(world.other.is_some(), keeps_old);
                (world.daemon, world.is_paused) = (true, false);
                while world.live_at < world.log_end { world.live_reads(); }
            }
            prop_assert_eq!(world.exchanges, if undoes { 2 } else { 1 });
        }
    }

    #[test]
    fn a_pipeline_that_runs_and_cannot_be_told_is_left_alone() {
        let facts = Facts {
            wants_rebuilt: true,
            is_exchanged: false,
            has_members: true,
            is_live_reading: true,
            is_fenced: false,
            has_fence: false,
            is_live_behind: false,
            is_shadow_behind: true,
            has_other: true,
            keeps_old: false,
            can_tell: false,
            has_resumed: false,
        };
        assert_eq!(next(&facts), Step::Refuse);
        assert_eq!(
            next(&Facts {
                has_members: false,
                ..facts
            }),
            Step::Fence
        );
        // A fence of some partitions alone is raised again, or taken away, and nothing is exchanged.
        let partly = Facts {
            has_members: false,
            has_fence: true,
            is_shadow_behind: false,
            ..facts
        };
        assert_eq!(next(&partly), Step::Fence);
        let behind = Facts {
            is_live_behind: true,
            ..partly
        };
        assert_eq!(next(&behind), Step::Unfence);
        let exchanged = Facts {
            is_exchanged: true,
            ..facts
        };
        assert_eq!(next(&exchanged), Step::Drop);
        assert_eq!(
            next(&Facts {
                keeps_old: true,
                ..exchanged
            }),
            Step::Done
        );
    }
}
