//! User profiles for the lookup.

use anyhow::Result;
use clap::ValueEnum;

use crate::redis::connect;

const SEGMENTS: [&str; 5] = ["free", "pro", "vip", "trial", "churned"];
const PIPELINE_KEYS: u64 = 5_000;

/// How a profile is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProfileEncoding {
    /// One string, a JSON object
    Json,
    /// One hash, a field for each value
    Hash,
}

/// Writes the profiles of the users 1 to `users` to `key_prefix` + user.
pub fn load_profiles(
    redis_url: &str,
    key_prefix: &str,
    users: u64,
    encoding: ProfileEncoding,
) -> Result<()> {
    let mut connection = connect(redis_url)?;
    for first in (1..=users).step_by(PIPELINE_KEYS as usize) {
        let mut pipe = redis::pipe();
        for user in first..=users.min(first + PIPELINE_KEYS - 1) {
            let key = format!("{key_prefix}{user}");
            match encoding {
                ProfileEncoding::Json => pipe.set(key, profile_json(user)).ignore(),
                ProfileEncoding::Hash => {
                    let [email, segment, date] = profile(user);
                    let fields = [
                        ("email", email),
                        ("segment", segment),
                        ("signup_date", date),
                    ];
                    pipe.hset_multiple(key, &fields).ignore()
                }
            };
        }
        pipe.query::<()>(&mut connection)?;
    }
    Ok(())
}

/// The profile of a user as a JSON object.
pub fn profile_json(user: u64) -> String {
    let [email, segment, date] = profile(user);
    format!("{{\"email\":\"{email}\",\"segment\":\"{segment}\",\"signup_date\":\"{date}\"}}")
}

/// Email, segment and signup date, a function of the user.
fn profile(user: u64) -> [String; 3] {
    let hash = user.wrapping_mul(2_654_435_761) & 0xffff_ffff;
    [
        format!("user{user}@example.com"),
        SEGMENTS[(hash % SEGMENTS.len() as u64) as usize].to_owned(),
        format!(
            "20{:02}-{:02}-{:02}",
            15 + hash % 10,
            1 + (hash >> 8) % 12,
            1 + (hash >> 16) % 28
        ),
    ]
}
