//! Traffic that is the same for the same seed: clickstream events into a topic and profiles into Redis,
//! change records of a table, events and what they are joined with, and what the shipped examples read.

mod change_json;
mod changes;
mod event;
mod examples;
mod join;
mod profile;
mod run;

pub use changes::{ChangeForm, Changes, ORDERS, Written, write_changes};
pub use event::{Events, Poison};
pub use examples::{device_readings, log_lines};
pub use join::{
    JOIN_EVENTS_MAX, JOIN_LATE_MAX_MS, JOIN_LATE_ONE_IN, JOIN_UPDATE_EVERY, JOIN_USERS, Joinable,
    join_event, join_event_json, join_update, join_update_json, joined_numbers,
};
pub use profile::{ProfileEncoding, load_profiles, profile_json};
pub use run::{Progress, Start, Traffic, Volume, run};

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast and the same everywhere.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
