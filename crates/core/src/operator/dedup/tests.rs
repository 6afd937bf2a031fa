use proptest::prelude::*;

use super::*;

const RULES: DedupRules = DedupRules {
    within_ms: 100,
    delay_ms: 20,
};

fn key(number: u8) -> DedupKey {
    DedupKey::of([(1, &[number][..])])
}

/// Whether a record is a duplicate; then it was seen.
fn judge(seen: &mut SeenKeys, number: u8, time_ms: i64) -> bool {
    let is_duplicate = seen.is_duplicate(key(number), time_ms);
    seen.note(key(number), time_ms);
    seen.note_time(time_ms);
    is_duplicate
}

#[test]
fn a_record_less_than_within_away_from_an_earlier_one_of_its_key_is_a_duplicate() {
    let mut seen = SeenKeys::new(RULES);
    assert!(!judge(&mut seen, 1, 1_000));
    assert!(!judge(&mut seen, 2, 1_000));
    assert!(judge(&mut seen, 1, 1_099));
    assert!(judge(&mut seen, 2, 901));
    assert!(!judge(&mut seen, 3, 1_100));
    assert!(judge(&mut seen, 1, 1_198), "near the duplicate");
    assert!(!judge(&mut seen, 2, 1_100), "as far from 1,000 as it takes");
}

#[test]
fn the_types_of_a_key_count_and_where_its_parts_end() {
    let texts = |parts: &[&str]| DedupKey::of(parts.iter().map(|part| (1, part.as_bytes())));
    assert_ne!(
        DedupKey::of([(1, &b"1"[..])]),
        DedupKey::of([(2, &b"1"[..])])
    );
    assert_ne!(texts(&["ab", "c"]), texts(&["a", "bc"]));
    assert_ne!(texts(&["a"]), texts(&["a", ""]));
    assert_eq!(texts(&["a", "b"]), texts(&["a", "b"]));
}

#[test]
fn a_key_is_forgotten_by_the_largest_time_and_its_memory_given_back() {
    let mut seen = SeenKeys::new(RULES);
    judge(&mut seen, 1, 1_000);
    judge(&mut seen, 9, 1_119);
    assert!(seen.is_duplicate(key(1), 1_000));
    judge(&mut seen, 9, 1_120);
    assert!(!seen.is_duplicate(key(1), 1_000), "whenever it is swept");
    for _ in 0..SHARDS {
        seen.sweep();
    }
    assert_eq!(seen.len(), 1);
    for number in 0..200 {
        judge(&mut seen, number, 10_000);
    }
    assert!(seen.memory_bytes() >= 200 * 32);
}

/// Every record, kept.
struct Naive {
    records: Vec<(u8, i64)>,
}

impl Naive {
    /// As the rule is written down. A key is forgotten by its newest record.
    fn is_duplicate(&self, number: u8, time_ms: i64) -> bool {
        let own = |of: &&(u8, i64)| of.0 == number;
        let near = |of: &(u8, i64)| (of.1 - time_ms).abs() < RULES.within_ms;
        self.records.iter().filter(own).any(near)
    }
}

proptest! {
    #[test]
    fn the_answers_are_those_of_a_model_that_keeps_everything(
        steps in prop::collection::vec((0u8..4, -60i64..80), 1..300),
    ) {
        let mut seen = SeenKeys::new(DedupRules { delay_ms: i64::MAX / 4, ..RULES });
        let mut naive = Naive { records: vec![] };
        let mut now_ms = 0;
        for (number, step) in steps {
            now_ms += step;
            prop_assert_eq!(judge(&mut seen, number, now_ms), naive.is_duplicate(number, now_ms));
            naive.records.push((number, now_ms));
        }
    }

    #[test]
    fn what_is_saved_answers_as_before_however_often_it_is_swept(
        steps in prop::collection::vec((0u8..4, -150i64..200), 1..200), more in prop::collection::vec((0u8..4, -150i64..200), 1..50),
    ) {
        let mut seen = SeenKeys::new(RULES);
        let mut swept = SeenKeys::new(RULES);
        let mut now_ms = 0;
        for (number, step) in steps {
            now_ms += step;
            let expected = judge(&mut seen, number, now_ms);
            prop_assert_eq!(judge(&mut swept, number, now_ms), expected);
            swept.sweep();
        }
        let saved = seen.save(b"before".to_vec());
        let saved = [&saved[6..], b"behind"].concat();
        let (mut restored, rest) = SeenKeys::restore(RULES, &saved).unwrap();
        prop_assert_eq!(rest, b"behind");
        for (number, step) in more {
            now_ms += step;
            let expected = judge(&mut seen, number, now_ms);
            prop_assert_eq!(judge(&mut restored, number, now_ms), expected);
            prop_assert_eq!(judge(&mut swept, number, now_ms), expected);
            swept.sweep();
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = SeenKeys::restore(RULES, &bytes);
    }
}

#[test]
fn ten_million_keys_and_a_snapshot_of_them_fit_into_a_gibibyte() {
    // The tables grow by doubling: a thirty-second of the keys fills them as much.
    const SHARE: usize = 32;
    let mut seen = SeenKeys::new(DedupRules {
        within_ms: i64::MAX / 4,
        delay_ms: 0,
    });
    for number in 0..10_000_000 / SHARE as u64 {
        let text = number.to_string();
        seen.note(DedupKey::of([(1, text.as_bytes())]), number as i64);
        seen.note_time(number as i64);
    }
    assert_eq!(seen.len(), 10_000_000 / SHARE);
    let held = seen.memory_bytes() * SHARE;
    let saved = seen.save(vec![]).capacity() * SHARE;
    println!("{held} bytes in memory, {saved} in a snapshot of ten million keys");
    assert!(held + saved < 1 << 30, "{held} and {saved} bytes");
}
