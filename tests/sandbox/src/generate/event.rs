//! One clickstream event after the other, about 450 bytes of JSON each.

use std::io::Write;

use super::Random;

/// Events of one user and session come from one place with one agent; a session lasts this many
/// events of the whole stream.
const SESSION_EVENTS: u64 = 500_000;

const TYPES: [&str; 16] = [
    "page_view",
    "page_view",
    "page_view",
    "page_view",
    "page_view",
    "page_view",
    "click",
    "click",
    "click",
    "click",
    "click",
    "scroll",
    "search",
    "add_to_cart",
    "purchase",
    "form_submit",
];
const REFERRERS: [&str; 6] = [
    "",
    "https://www.google.com/",
    "https://www.bing.com/search",
    "https://t.co/Ab3dEfGh",
    "https://shop.example.com/",
    "https://news.example.org/today",
];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
];
const PLACES: [(&str, &str); 10] = [
    ("US", "New York"),
    ("US", "Chicago"),
    ("DE", "Berlin"),
    ("FR", "Paris"),
    ("BR", "São Paulo"),
    ("IN", "Mumbai"),
    ("JP", "Tokyo"),
    ("GB", "London"),
    ("CA", "Toronto"),
    ("PL", "Kraków"),
];

/// Events that can never be written: each kind has another reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    /// The JSON text ends early.
    CutJson,
    /// No `event_id`.
    MissingField,
    /// `user_id` is a word.
    WrongType,
    /// 30 February.
    ImpossibleDay,
    /// An array.
    NotAnObject,
}

impl Poison {
    /// All kinds in turn.
    pub fn nth(number: u64) -> Self {
        const ALL: [Poison; 5] = [
            Poison::CutJson,
            Poison::MissingField,
            Poison::WrongType,
            Poison::ImpossibleDay,
            Poison::NotAnObject,
        ];
        ALL[(number % ALL.len() as u64) as usize]
    }

    /// The reason that its dead letter carries.
    pub fn reason(self) -> &'static str {
        match self {
            Poison::CutJson => "invalid_json",
            Poison::MissingField => "missing_field",
            Poison::WrongType | Poison::ImpossibleDay => "invalid_value",
            Poison::NotAnObject => "not_an_object",
        }
    }
}

/// An endless stream of events, the same for the same seed and users.
#[derive(Debug)]
pub struct Events {
    random: Random,
    users: u64,
    number: u64,
    paths: Vec<String>,
    clock: Clock,
    text: Vec<u8>,
}

impl Events {
    /// `users` is the number of different users, from 1 on.
    pub fn new(seed: u64, users: u64) -> Self {
        Self {
            random: Random(seed),
            users: users.max(1),
            number: 0,
            paths: paths(),
            clock: Clock::default(),
            text: Vec::with_capacity(1024),
        }
    }

    /// The next event, of this time (milliseconds since 1970): the user and the JSON text.
    pub fn next(&mut self, time_ms: i64) -> (u64, &[u8]) {
        let user = 1 + self.random.next() % self.users;
        let choice = self.random.next();
        let (id_high, id_low) = (self.random.next(), self.random.next());
        let event_type = pick(&TYPES, choice);
        let path = &self.paths[((choice >> 8) % self.paths.len() as u64) as usize];
        let referrer = pick(&REFERRERS, choice >> 24);
        let agent = pick(&AGENTS, user);
        let (country, city) = pick(&PLACES, user);
        let session = self.number / SESSION_EVENTS;

        self.text.clear();
        let out = &mut self.text;
        out.extend_from_slice(b"{\"event_id\":\"");
        push_uuid(out, id_high, id_low);
        let written = write!(
            out,
            "\",\"event_type\":\"{event_type}\",\"user_id\":{user},\
             \"session_id\":\"s-{user:07}-{session}\",\"timestamp\":\""
        );
        written.expect("writing to memory does not fail");
        self.clock.push(out, time_ms);
        let written = write!(
            out,
            "\",\"page_url\":\"https://shop.example.com{path}\",\"referrer\":\"{referrer}\",\
             \"user_agent\":\"{agent}\",\"ip_address\":\"{}.{}.{}.{}\",\"country\":\"{country}\",\
             \"city\":\"{city}\",\"properties\":{{\"button_id\":\"btn-{}\",\"position\":{},\
             \"ab\":\"{}\"}}}}",
            11 + user % 200,
            (user >> 8) & 255,
            user & 255,
            user % 250 + 1,
            (choice >> 32) % 100,
            (choice >> 40) % 50,
            if (choice >> 50) & 1 == 0 { 'A' } else { 'B' },
        );
        written.expect("writing to memory does not fail");
        self.number += 1;
        (user, &self.text)
    }

    /// The next event, spoiled.
    pub fn next_poisoned(&mut self, time_ms: i64, poison: Poison) -> (u64, &[u8]) {
        let (user, text) = self.next(time_ms);
        let text = String::from_utf8_lossy(text).into_owned();
        let spoiled = match poison {
            Poison::CutJson => text[..text.len() / 3].to_owned(),
            Poison::MissingField => text.replacen("\"event_id\"", "\"id\"", 1),
            Poison::WrongType => text.replacen("\"user_id\":", "\"user_id\":\"nobody\",\"n\":", 1),
            Poison::ImpossibleDay => {
                let start = text.find("\"timestamp\":\"").map_or(0, |at| at + 13);
                format!("{}2026-02-30{}", &text[..start], &text[start + 10..])
            }
            Poison::NotAnObject => format!("[{text}]"),
        };
        self.text = spoiled.into_bytes();
        (user, &self.text)
    }
}

pub(super) fn pick<T: Copy>(choices: &[T], number: u64) -> T {
    choices[(number % choices.len() as u64) as usize]
}

fn paths() -> Vec<String> {
    let products = (0..2_000).map(|i| format!("/products/{}", i * 7_919 % 100_000));
    let categories = ["shoes", "books", "garden", "toys", "audio"];
    let lists = categories
        .iter()
        .flat_map(|name| (0..20).map(move |page| format!("/category/{name}?page={page}")));
    let single = [
        "/",
        "/cart",
        "/checkout",
        "/account",
        "/search?q=running+shoes",
    ];
    products
        .chain(lists)
        .chain(single.map(str::to_owned))
        .collect()
}

/// A random UUID of version 4.
fn push_uuid(out: &mut Vec<u8>, high: u64, low: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let high = high & !0xf000 | 0x4000;
    let low = low & !(3 << 62) | 2 << 62;
    for nibble in 0..32 {
        if matches!(nibble, 8 | 12 | 16 | 20) {
            out.push(b'-');
        }
        let (half, shift) = if nibble < 16 {
            (high, nibble)
        } else {
            (low, nibble - 16)
        };
        out.push(DIGITS[(half >> (60 - 4 * shift) & 15) as usize]);
    }
}

/// Writes times; the text of a second is made once.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Option<i64>,
    text: String,
}

impl Clock {
    /// `2026-11-21T00:00:00.000Z`
    pub(super) fn push(&mut self, out: &mut Vec<u8>, time_ms: i64) {
        let (second, milli) = (time_ms.div_euclid(1_000), time_ms.rem_euclid(1_000));
        if self.second != Some(second) {
            let time = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
            self.text = time.to_string().trim_end_matches('Z').to_owned();
            self.second = Some(second);
        }
        out.extend_from_slice(self.text.as_bytes());
        write!(out, ".{milli:03}Z").expect("writing to memory does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_763_683_200_000;

    fn first(seed: u64, count: i64) -> Vec<Vec<u8>> {
        let mut events = Events::new(seed, 1_000);
        (0..count)
            .map(|i| events.next(START_MS + i).1.to_vec())
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_events() {
        assert_eq!(first(7, 500), first(7, 500));
        assert_ne!(first(7, 500), first(8, 500));
    }

    #[test]
    fn events_are_json_of_about_450_bytes_with_an_id_of_their_own() {
        let events = first(1, 2_000);
        let bytes: usize = events.iter().map(Vec::len).sum();
        assert!(
            (430..480).contains(&(bytes / events.len())),
            "{}",
            bytes / events.len()
        );
        let ids: std::collections::HashSet<String> = events
            .iter()
            .map(|text| {
                let event: serde_json::Value = serde_json::from_slice(text).unwrap();
                event["event_id"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(ids.len(), events.len());
        let last: serde_json::Value = serde_json::from_slice(&events[1_999]).unwrap();
        assert_eq!(last["timestamp"], "2025-11-21T00:00:01.999Z");
    }

    #[test]
    fn poisoned_events_are_wrong_in_the_way_they_say() {
        let mut events = Events::new(1, 10);
        let mut spoiled = |poison| {
            let text = String::from_utf8(events.next_poisoned(START_MS, poison).1.to_vec());
            text.unwrap()
        };
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text);
        assert!(parse(&spoiled(Poison::CutJson)).is_err());
        assert!(
            parse(&spoiled(Poison::MissingField))
                .unwrap()
                .get("event_id")
                .is_none()
        );
        assert_eq!(
            parse(&spoiled(Poison::WrongType)).unwrap()["user_id"],
            "nobody"
        );
        let day = parse(&spoiled(Poison::ImpossibleDay)).unwrap()["timestamp"].clone();
        assert_eq!(day, "2026-02-30T00:00:00.000Z");
        assert!(parse(&spoiled(Poison::NotAnObject)).unwrap().is_array());
    }
}
