//! Sessions as bytes, for a snapshot.

use serde::{Deserialize, Serialize};

use super::{Distinct, FEW, Session, SessionRules, Sessions};

/// The bytes are not those of sessions.
#[derive(Debug, thiserror::Error)]
#[error("the sessions are not readable: {0}")]
pub struct Unreadable(#[from] postcard::Error);

#[derive(Serialize, Deserialize)]
struct Head {
    seed: u64,
    sessions: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedSession {
    key: [u8; 16],
    first_ms: i64,
    lasted_ms: u64,
    event_count: u64,
    distinct: Vec<[u8; 8]>,
}

impl Sessions {
    pub fn save(&self, mut out: Vec<u8>) -> Vec<u8> {
        let head = Head {
            seed: self.seed,
            sessions: self.known.len() as u64,
        };
        let append = "memory takes every value";
        out = postcard::to_extend(&head, out).expect(append);
        for (key, session) in &self.known {
            let saved = SavedSession {
                key: key.to_le_bytes(),
                first_ms: session.first_ms,
                lasted_ms: session.last_ms.abs_diff(session.first_ms),
                event_count: session.event_count,
                distinct: session.distinct.hashes().map(u64::to_le_bytes).collect(),
            };
            out = postcard::to_extend(&saved, out).expect(append);
        }
        out
    }

    /// The sessions that [`Sessions::save`] wrote under the same rules.
    pub fn restore(rules: SessionRules, saved: &[u8]) -> Result<Sessions, Unreadable> {
        let (head, mut rest) = postcard::take_from_bytes::<Head>(saved)?;
        let mut sessions = Sessions::new(rules, head.seed);
        for _ in 0..head.sessions {
            let (saved, behind) = postcard::take_from_bytes::<SavedSession>(rest)?;
            rest = behind;
            let mut session = Session {
                first_ms: saved.first_ms,
                last_ms: saved.first_ms.saturating_add_unsigned(saved.lasted_ms),
                event_count: saved.event_count,
                distinct: Distinct::Few {
                    count: 0,
                    hashes: [0; FEW],
                },
            };
            for hash in saved.distinct {
                sessions.distinct_bytes += session.distinct.insert(u64::from_le_bytes(hash));
            }
            sessions
                .known
                .insert(u128::from_le_bytes(saved.key), session);
        }
        if !rest.is_empty() {
            return Err(Unreadable(postcard::Error::DeserializeBadEncoding));
        }
        Ok(sessions)
    }
}

impl Distinct {
    fn hashes(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match self {
            Distinct::Few { count, hashes } => {
                Box::new(hashes[..usize::from(*count)].iter().copied())
            }
            Distinct::Some(hashes) => Box::new(hashes.iter().copied()),
            Distinct::Many(hashes) => Box::new(hashes.iter().copied()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: SessionRules = SessionRules {
        timeout_ms: 1_800_000,
        duration_max_ms: 7_200_000,
    };

    type Event = (u8, i64, Option<u16>);

    fn judge(sessions: &mut Sessions, (id, time_ms, page): Event) -> super::super::SessionRow {
        let page = page.map(u16::to_le_bytes);
        let (key, page) = (
            sessions.key(&[id]),
            page.map(|page| sessions.distinct(&page)),
        );
        sessions.judge(key, time_ms, None, page)
    }

    proptest! {
        #[test]
        fn restored_sessions_judge_as_the_saved_ones_would(
            before in prop::collection::vec((0u8..4, 0i64..9_000_000, prop::option::of(0u16..300)), 0..400),
            after in prop::collection::vec((0u8..5, 0i64..9_000_000, prop::option::of(0u16..300)), 1..100),
        ) {
            let mut sessions = Sessions::new(RULES, 7);
            for event in before {
                judge(&mut sessions, event);
            }
            let saved = sessions.save(vec![]);
            let mut restored = Sessions::restore(RULES, &saved).unwrap();
            prop_assert_eq!(restored.known.len(), sessions.known.len());
            for event in after {
                prop_assert_eq!(judge(&mut restored, event), judge(&mut sessions, event));
            }
        }

        #[test]
        fn bytes_that_are_no_sessions_are_an_error_and_never_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let _ = Sessions::restore(RULES, &bytes);
        }
    }

    #[test]
    fn sessions_cut_short_or_prolonged_are_refused() {
        let mut sessions = Sessions::new(RULES, 7);
        judge(&mut sessions, (1, 5, Some(3)));
        let saved = sessions.save(vec![]);
        for cut in 0..saved.len() {
            assert!(Sessions::restore(RULES, &saved[..cut]).is_err());
        }
        let prolonged = [&saved[..], &[0]].concat();
        assert!(Sessions::restore(RULES, &prolonged).is_err());
    }

    /// The figure of ADR 0008.
    #[test]
    fn sessions_take_little_more_than_their_hashes() {
        let mut sessions = Sessions::new(RULES, 7);
        for id in 0..100_000u32 {
            for page in 0..5u32 {
                let time_ms = i64::from(id % 1000 + page * 60_000);
                let page = page.to_le_bytes();
                let (key, page) = (sessions.key(&id.to_le_bytes()), sessions.distinct(&page));
                sessions.judge(key, time_ms, None, Some(page));
            }
        }
        let each = sessions.save(vec![]).len() / 100_000;
        println!("{each} bytes a session");
        assert!(each <= 70, "{each}");
    }
}
