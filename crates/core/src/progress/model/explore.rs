//! Breadth-first through every state that can be reached.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashSet;

use super::{Bounds, Broken, END, Model, Server, State};

/// What a search came to.
#[derive(Debug)]
pub(super) struct Found {
    /// Different states that were reached.
    pub(super) states: usize,
    /// Of these, those in which everything is committed and nothing is on its way.
    pub(super) ends: usize,
    /// The shortest way to a state in which an offset is lost or doubled, if there is one.
    pub(super) trail: Option<Vec<State>>,
}

/// A state that was reached: the one before it, and which of that one's steps led here.
struct Reached {
    before: u32,
    step: u16,
}

/// Tells states apart by 128 bits of hash instead of keeping them: of ten million states two would
/// look alike once in 10^24 searches.
struct Seen {
    hashes: HashSet<u128, foldhash::fast::FixedState>,
    halves: [FixedState; 2],
}

impl Seen {
    fn new() -> Self {
        Seen {
            hashes: HashSet::default(),
            halves: [FixedState::with_seed(1), FixedState::with_seed(2)],
        }
    }

    /// Whether the state is new.
    fn insert(&mut self, state: &State) -> bool {
        let [high, low] = [0, 1].map(|half: usize| u128::from(self.halves[half].hash_one(state)));
        self.hashes.insert(high << 64 | low)
    }
}

pub(super) fn explore(server: Server, broken: Broken, bounds: Bounds) -> Found {
    let model = Model {
        server,
        broken,
        splits: bounds.refusals > 0,
    };
    let first = start(bounds);
    let mut seen = Seen::new();
    seen.insert(&first);
    let mut reached = vec![Reached { before: 0, step: 0 }];
    let mut queue = VecDeque::from([first.clone()]);
    let mut ends = 0;
    let mut steps = vec![];
    for at in 0.. {
        let Some(state) = queue.pop_front() else {
            break;
        };
        if model.is_broken(&state) {
            let trail = Some(trail(&model, first, &reached, at));
            return Found {
                states: reached.len(),
                ends,
                trail,
            };
        }
        ends += usize::from(state.position == END && state.flying.is_empty());
        model.steps(&state, &mut steps);
        for (step, next) in (0..).zip(steps.drain(..)) {
            if seen.insert(&next) {
                reached.push(Reached { before: at, step });
                queue.push_back(next);
            }
        }
    }
    Found {
        states: reached.len(),
        ends,
        trail: None,
    }
}

fn start(bounds: Bounds) -> State {
    let Bounds {
        crashes,
        takeovers,
        kills,
        failures,
        refusals,
        losses,
        is_set_back,
    } = bounds;
    let written = u8::from(is_set_back);
    State {
        crashes,
        takeovers,
        kills,
        failures,
        refusals,
        losses,
        table: [written, 0],
        look_below: i64::from(written),
        ..State::default()
    }
}

/// Walks the steps that led to the state reached as number `at`.
fn trail(model: &Model, first: State, reached: &[Reached], at: u32) -> Vec<State> {
    let mut numbers = vec![];
    let mut at = at;
    while at > 0 {
        let Reached { before, step } = reached[at as usize];
        numbers.push(usize::from(step));
        at = before;
    }
    let mut states = vec![first];
    for number in numbers.into_iter().rev() {
        let mut steps = vec![];
        model.steps(&states[states.len() - 1], &mut steps);
        states.push(steps.swap_remove(number));
    }
    states
}
