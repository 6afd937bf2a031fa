//! The life of a pipeline: its states, which moves are possible in which state, and whether a process
//! has anything left to do.
//!
//! A move is exclusive: while a pipeline starts or drains, another move is refused. Only what ends a
//! pipeline also interrupts its start, which may wait long for a server.

use serde::Serialize;

/// Where a pipeline is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Reaching its dependencies, joining its group.
    Starting,
    /// Reading and writing.
    Running,
    /// Keeps its partitions and reads nothing, on an operator's wish.
    Paused,
    /// Not reading any more; writing and committing what it has read.
    Draining,
    /// Ended on an operator's wish or because its work is done.
    Stopped,
    /// Ended to protect data; the reason says what to do.
    Halted,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] = [
        State::Starting,
        State::Running,
        State::Paused,
        State::Draining,
        State::Stopped,
        State::Halted,
    ];

    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Halted => "halted",
        }
    }

    /// Whether threads of the pipeline are at work.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::Stopped | Self::Halted)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operator can ask of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Start,
    /// Keep the partitions, stop reading.
    Pause,
    /// Read on.
    Resume,
    /// Write and commit what was read, then stop.
    Drain,
    /// Stop without writing what was read; the next start reads it again.
    Stop,
    /// Drain, then start.
    Restart,
    /// Drain, then start under another configuration, or stay stopped.
    Replace {
        starts: bool,
    },
    /// Drain, then forget the pipeline.
    Remove,
}

impl Move {
    /// The word of the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Drain => "drain",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Replace { .. } => "replace",
            Self::Remove => "remove",
        }
    }

    /// The state that the move leads to first.
    pub fn leads_to(self) -> State {
        match self {
            Self::Start | Self::Restart => State::Starting,
            Self::Pause => State::Paused,
            Self::Resume => State::Running,
            Self::Drain | Self::Replace { .. } | Self::Remove => State::Draining,
            Self::Stop => State::Stopped,
        }
    }
}

/// What has to be done for a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The pipeline is where it is wanted.
    Nothing,
    /// Start its threads, under the newest configuration.
    Begin,
    /// Tell its lanes to stop reading.
    Pause,
    /// Tell its lanes to read on.
    Resume,
    /// Tell its lanes to end; `at_once`: without writing what was read.
    End { at_once: bool },
    /// Take the newest configuration and stay stopped.
    Adopt,
    /// Forget it: nothing of it is at work.
    Forget,
}

/// Why a move is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another move has not ended.
    #[error("is {state}: wait until that has ended")]
    UnderWay { state: State },
    /// The move makes no sense from here.
    #[error("is {state}: {advice}")]
    NotFrom { state: State, advice: &'static str },
}

/// How the threads of a pipeline ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// They were told to, or reached the end of their work.
    Done,
    /// To protect data.
    Halted,
}

/// One pipeline's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    state: State,
    /// The move that is under way; of one that rests, the move that ended it.
    last: Option<Move>,
}

impl Life {
    /// A pipeline that has not been started.
    pub fn stopped() -> Self {
        Life {
            state: State::Stopped,
            last: None,
        }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it stopped because somebody asked for it, or was never started.
    pub fn rests_on_request(&self) -> bool {
        let was_ended = matches!(
            self.last,
            Some(Move::Drain | Move::Stop | Move::Replace { .. }) | None
        );
        self.state == State::Stopped && was_ended
    }

    /// Makes a move, or says why not. The step that is returned has to be taken.
    ///
    /// # Errors
    /// Another move is under way, or the state does not allow it; nothing has changed then.
    pub fn request(&mut self, wanted: Move) -> Result<Step, Refused> {
        let state = self.state;
        let step = match (state, wanted) {
            (State::Starting, Move::Start) => Step::Nothing,
            (State::Starting, Move::Pause | Move::Resume | Move::Restart) => {
                return Err(Refused::UnderWay { state });
            }
            // Asked for once more.
            (State::Draining, Move::Drain | Move::Stop) if self.last == Some(wanted) => {
                Step::Nothing
            }
            (State::Draining, _) => return Err(Refused::UnderWay { state }),
            (State::Running, Move::Start | Move::Resume) => Step::Nothing,
            (State::Running, Move::Pause) => Step::Pause,
            (State::Paused, Move::Pause) => Step::Nothing,
            (State::Paused, Move::Resume) => Step::Resume,
            (State::Paused, Move::Start) => {
                let advice = "resume it";
                return Err(Refused::NotFrom { state, advice });
            }
            (State::Starting | State::Running | State::Paused, Move::Stop) => {
                Step::End { at_once: true }
            }
            (State::Starting | State::Running | State::Paused, _) => Step::End { at_once: false },
            (State::Stopped, Move::Drain | Move::Stop) => Step::Nothing,
            (State::Halted, Move::Drain | Move::Stop) => {
                let advice = "it has stopped already: do what its halt advises, then start it";
                return Err(Refused::NotFrom { state, advice });
            }
            (State::Stopped | State::Halted, Move::Pause | Move::Resume) => {
                let advice = "start it";
                return Err(Refused::NotFrom { state, advice });
            }
            (State::Stopped | State::Halted, Move::Start | Move::Restart) => Step::Begin,
            (State::Stopped | State::Halted, Move::Replace { starts: true }) => Step::Begin,
            (State::Stopped | State::Halted, Move::Replace { starts: false }) => Step::Adopt,
            (State::Stopped | State::Halted, Move::Remove) => Step::Forget,
        };
        self.take(step, wanted);
        Ok(step)
    }

    fn take(&mut self, step: Step, wanted: Move) {
        self.state = match step {
            Step::Nothing => return,
            Step::Begin => State::Starting,
            Step::Pause => State::Paused,
            Step::Resume => State::Running,
            Step::End { .. } => State::Draining,
            Step::Adopt | Step::Forget => State::Stopped,
        };
        self.last = Some(wanted);
    }

    /// The process ends: whatever is at work is to end. False when nothing is.
    pub fn shut_down(&mut self) -> bool {
        if self.state.is_active() {
            (self.state, self.last) = (State::Draining, Some(Move::Drain));
        }
        self.state.is_active()
    }

    /// Its lanes are about to turn. False when it is to end, and nothing has changed then.
    pub fn began(&mut self) -> bool {
        let is_awaited = self.state == State::Starting;
        if is_awaited {
            self.state = State::Running;
        }
        is_awaited
    }

    /// Its threads have ended. The step that is returned has to be taken.
    pub fn ended(&mut self, end: End) -> Step {
        let was_asked = self.state == State::Draining;
        let (state, step) = match (self.last.filter(|_| was_asked), end) {
            (Some(Move::Remove), _) => (State::Stopped, Step::Forget),
            // What halted was the old configuration.
            (Some(Move::Replace { starts: true }), _) | (Some(Move::Restart), End::Done) => {
                (State::Starting, Step::Begin)
            }
            (Some(Move::Replace { starts: false }), _) => (State::Stopped, Step::Adopt),
            (_, End::Done) => (State::Stopped, Step::Nothing),
            (_, End::Halted) => (State::Halted, Step::Nothing),
        };
        if !was_asked && self.last.is_none_or(|last| last != Move::Start) {
            self.last = Some(Move::Start);
        }
        self.state = state;
        step
    }
}

/// What [`is_over`] wants to know of one pipeline.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub life: Life,
    /// Made over HTTP, not by the configuration file.
    pub is_created: bool,
}

/// Whether a process whose pipelines stand like this has nothing left to do.
///
/// `has_targets`: it was told where to end. `takes_orders`: somebody can still start or create a pipeline.
pub fn is_over(
    pipelines: impl IntoIterator<Item = Standing>,
    has_targets: bool,
    takes_orders: bool,
) -> bool {
    let pipelines: Vec<Standing> = pipelines.into_iter().collect();
    if pipelines.iter().any(|p| p.life.state().is_active()) {
        return false;
    }
    if has_targets || !takes_orders {
        return true;
    }
    // A created pipeline that halts ends no process: its creator is there to mend it.
    let is_of_file = |p: &Standing| !p.is_created;
    pipelines.iter().any(is_of_file) && !pipelines.iter().any(|p| p.life.rests_on_request())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVES: [Move; 9] = [
        Move::Start,
        Move::Pause,
        Move::Resume,
        Move::Drain,
        Move::Stop,
        Move::Restart,
        Move::Replace { starts: true },
        Move::Replace { starts: false },
        Move::Remove,
    ];

    fn in_state(state: State) -> Life {
        let mut life = Life::stopped();
        if state == State::Stopped {
            return life;
        }
        life.request(Move::Start).unwrap();
        match state {
            State::Starting | State::Stopped => {}
            State::Running => assert!(life.began()),
            State::Paused => {
                life.began();
                life.request(Move::Pause).unwrap();
            }
            State::Draining => {
                life.began();
                life.request(Move::Drain).unwrap();
            }
            State::Halted => {
                life.ended(End::Halted);
            }
        }
        assert_eq!(life.state(), state);
        life
    }

    /// One line a state: `=` no change, `!` another move is under way, `x` not from here, else the state after.
    #[test]
    fn every_move_from_every_state_leads_where_the_contract_says() {
        let table = [
            (
                State::Starting,
                "= ! ! draining draining ! draining draining draining",
            ),
            (
                State::Running,
                "= paused = draining draining draining draining draining draining",
            ),
            (
                State::Paused,
                "x = running draining draining draining draining draining draining",
            ),
            (State::Draining, "! ! ! = ! ! ! ! !"),
            (
                State::Stopped,
                "starting x x = = starting starting stopped stopped",
            ),
            (
                State::Halted,
                "starting x x x x starting starting stopped stopped",
            ),
        ];
        for (state, row) in table {
            for (wanted, expected) in MOVES.into_iter().zip(row.split(' ')) {
                let mut life = in_state(state);
                let before = life;
                let found = match life.request(wanted) {
                    Ok(Step::Nothing) => "=",
                    Ok(_) => life.state().as_str(),
                    Err(Refused::UnderWay { .. }) => "!",
                    Err(Refused::NotFrom { .. }) => "x",
                };
                assert_eq!(found, expected, "{wanted:?} of {state}");
                if ["=", "!", "x"].contains(&expected) {
                    assert_eq!(life, before, "{wanted:?} of {state} changes nothing");
                }
            }
        }
    }

    #[test]
    fn a_second_move_is_refused_until_the_first_has_ended() {
        let mut life = in_state(State::Running);
        assert_eq!(
            life.request(Move::Restart),
            Ok(Step::End { at_once: false })
        );
        for wanted in MOVES {
            let refused = life.request(wanted);
            assert!(refused.is_err(), "{wanted:?}: {refused:?}");
        }
        assert!(!life.began(), "lanes that come too late do not make it run");
        assert_eq!(life.ended(End::Done), Step::Begin);
        assert_eq!(life.request(Move::Start), Ok(Step::Nothing));
        assert!(life.began());
        assert_eq!(life.request(Move::Pause), Ok(Step::Pause));
    }

    #[test]
    fn what_ends_a_pipeline_decides_what_comes_after() {
        let cases = [
            (Move::Drain, End::Done, State::Stopped, Step::Nothing),
            (Move::Stop, End::Done, State::Stopped, Step::Nothing),
            (Move::Drain, End::Halted, State::Halted, Step::Nothing),
            (Move::Restart, End::Done, State::Starting, Step::Begin),
            (Move::Restart, End::Halted, State::Halted, Step::Nothing),
            (
                Move::Replace { starts: true },
                End::Done,
                State::Starting,
                Step::Begin,
            ),
            (
                Move::Replace { starts: true },
                End::Halted,
                State::Starting,
                Step::Begin,
            ),
            (
                Move::Replace { starts: false },
                End::Done,
                State::Stopped,
                Step::Adopt,
            ),
            (Move::Remove, End::Done, State::Stopped, Step::Forget),
            (Move::Remove, End::Halted, State::Stopped, Step::Forget),
        ];
        for (wanted, end, state, step) in cases {
            for from in [State::Starting, State::Running, State::Paused] {
                let mut life = in_state(from);
                if life.request(wanted).is_err() {
                    continue;
                }
                assert_eq!(life.ended(end), step, "{wanted:?} from {from}, {end:?}");
                assert_eq!(life.state(), state, "{wanted:?} from {from}, {end:?}");
            }
        }
        // By itself.
        let mut life = in_state(State::Running);
        assert_eq!(life.ended(End::Halted), Step::Nothing);
        assert_eq!(life.state(), State::Halted);
        assert_eq!(life.request(Move::Start), Ok(Step::Begin));
    }

    #[test]
    fn a_shutdown_ends_whatever_is_at_work_and_starts_nothing_again() {
        for state in State::ALL {
            let mut life = in_state(state);
            assert_eq!(life.shut_down(), state.is_active(), "{state}");
            if state.is_active() {
                assert_eq!(life.ended(End::Done), Step::Nothing);
            }
        }
        let mut life = in_state(State::Running);
        life.request(Move::Restart).unwrap();
        assert!(life.shut_down());
        assert_eq!(life.ended(End::Done), Step::Nothing);
        assert_eq!(life.state(), State::Stopped);
    }

    #[test]
    fn a_process_ends_when_nothing_is_left_that_may_go_on() {
        let of = |life: Life, is_created| Standing { life, is_created };
        let at = |state, is_created| of(in_state(state), is_created);
        let mut done = in_state(State::Running);
        done.ended(End::Done);
        let mut drained = in_state(State::Draining);
        drained.ended(End::Done);
        let (file, created) = (false, true);
        let cases: [(&[Standing], bool, bool, bool); 13] = [
            // No pipeline: nothing to do, unless one can be created.
            (&[], false, false, true),
            (&[], false, true, false),
            (&[], true, true, true),
            (&[at(State::Halted, file)], false, true, true),
            (
                &[at(State::Halted, file), at(State::Running, file)],
                false,
                true,
                false,
            ),
            (
                &[at(State::Halted, file), at(State::Halted, created)],
                false,
                true,
                true,
            ),
            (&[at(State::Halted, created)], false, true, false),
            (&[of(done, file)], true, true, true),
            (&[of(drained, file)], false, true, false),
            (&[of(drained, file)], true, true, true),
            (
                &[of(drained, file), at(State::Halted, file)],
                false,
                true,
                false,
            ),
            (&[at(State::Paused, file)], true, true, false),
            // Never started, and nobody can start it.
            (&[at(State::Stopped, created)], false, false, true),
        ];
        for (number, (pipelines, has_targets, takes_orders, expected)) in
            cases.into_iter().enumerate()
        {
            let found = is_over(pipelines.iter().copied(), has_targets, takes_orders);
            assert_eq!(found, expected, "case {number}");
        }
    }
}
