//! Patterns of topics are read twice: by Kafka's client, which subscribes to them as POSIX regular
//! expressions, and here, where it is to be known which topics these are. So they are written in what both
//! read alike.

/// What of a pattern, which is a valid regular expression here, the client reads otherwise or may, and what
/// to write.
pub(super) fn difference(pattern: &str) -> Option<String> {
    let mut rest = pattern.as_bytes();
    // Whether a repetition here would have something to repeat.
    let mut repeats = None;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match byte {
            b'\\' => {
                let escaped = *rest.first()?;
                if let Some(why) = escape(escaped) {
                    return Some(why);
                }
                rest = &rest[1..];
                repeats = Some(Repeats::Once);
            }
            b'[' => match bracket(rest) {
                Ok(length) => {
                    rest = &rest[length..];
                    repeats = Some(Repeats::Once);
                }
                Err(why) => return Some(why),
            },
            b'(' if rest.starts_with(b"?") => {
                return Some("`(?`: write a group as `(…)`, and no flags".to_owned());
            }
            b'(' | b'|' | b'^' => repeats = None,
            b'*' | b'+' | b'?' | b'{' => {
                match repeats {
                    None => return Some(format!("`{}` repeats nothing", char::from(*byte))),
                    Some(Repeats::Already) => {
                        return Some("a repetition is followed by another: write one".to_owned());
                    }
                    Some(Repeats::Once) => {}
                }
                if *byte == b'{' {
                    let end = rest.iter().position(|&byte| byte == b'}')?;
                    if rest.starts_with(b",") || rest[..end].contains(&b' ') {
                        return Some("write `{0,n}`".to_owned());
                    }
                    rest = &rest[end + 1..];
                }
                repeats = Some(Repeats::Already);
            }
            _ => repeats = Some(Repeats::Once),
        }
    }
    None
}

/// What stands before a place in a pattern.
#[derive(Debug, Clone, Copy)]
enum Repeats {
    Once,
    Already,
}

fn escape(escaped: u8) -> Option<String> {
    let instead = match escaped {
        b'd' => "write `[0-9]`",
        b'D' => "write `[^0-9]`",
        b'w' => "write `[0-9A-Za-z_]`",
        b'W' => "write `[^0-9A-Za-z_]`",
        b's' | b'S' | b'b' | b'B' => "topics have no spaces: leave it out",
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'<' | b'>' => {
            "`\\` may stand before a sign alone, as in `\\.`"
        }
        _ => return None,
    };
    Some(format!("`\\{}`: {instead}", char::from(escaped)))
}

/// How long the rest of a set of characters is.
fn bracket(set: &[u8]) -> Result<usize, String> {
    const CLASSES: [&[u8]; 8] = [
        b"[:alnum:]",
        b"[:alpha:]",
        b"[:digit:]",
        b"[:lower:]",
        b"[:upper:]",
        b"[:xdigit:]",
        b"[:punct:]",
        b"[:space:]",
    ];
    let refused = |what: &str| Err(format!("{what} within `[…]`: write the characters alone"));
    let mut at = usize::from(set.starts_with(b"^"));
    let first = at;
    // Whether a `-` here would begin a range.
    let mut begins_range = false;
    while let Some(byte) = set.get(at) {
        let is_last = set.get(at + 1) == Some(&b']');
        match byte {
            b']' if at > first => return Ok(at + 1),
            b']' => return refused("`]`"),
            b'[' => {
                let class = CLASSES
                    .into_iter()
                    .find(|class| set[at..].starts_with(class));
                let Some(class) = class else {
                    return refused("`[`");
                };
                at += class.len();
                begins_range = false;
                continue;
            }
            b'\\' => return refused("`\\`"),
            b'&' | b'~' if set.get(at + 1) == Some(byte) => return refused("`&&` or `~~`"),
            b'-' if begins_range && !is_last => {
                if matches!(set.get(at + 1), Some(b'[' | b'\\' | b'-')) {
                    return refused("`-`");
                }
                at += 2;
                begins_range = false;
                continue;
            }
            b'-' if at > first && !is_last => return refused("`-`"),
            128.. => return refused("a letter that no topic has"),
            _ => begins_range = *byte != b'-',
        }
        at += 1;
    }
    refused("no end")
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    /// What the client subscribes by.
    fn posix_matches(pattern: &str, topic: &str) -> Option<bool> {
        let (pattern, topic) = (CString::new(pattern).ok()?, CString::new(topic).ok()?);
        // SAFETY: the expression is compiled before it is used, and freed; the texts are C strings.
        unsafe {
            let mut compiled = std::mem::zeroed();
            let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
            if libc::regcomp(&raw mut compiled, pattern.as_ptr(), flags) != 0 {
                return None;
            }
            let found = libc::regexec(
                &raw const compiled,
                topic.as_ptr(),
                0,
                std::ptr::null_mut(),
                0,
            );
            libc::regfree(&raw mut compiled);
            Some(found != libc::REG_NOMATCH)
        }
    }

    const TOPICS: [&str; 14] = [
        "orders",
        "orders-1",
        "orders-12",
        "orders-d",
        "orders-dd",
        "orders-w",
        "orders.eu",
        "ordersXeu",
        "x",
        "a-b",
        "a_b",
        "Orders",
        "orders-0",
        "d",
    ];

    #[test]
    fn patterns_that_pass_are_read_alike_by_both() {
        let pass = [
            "^orders-[0-9]+$",
            "^orders-[[:digit:]]{1,2}$",
            r"^orders\.eu",
            "^orders.eu",
            "^(orders|x)$",
            "^orders-(1|12)?$",
            "^o|d$",
            "^[^o]",
            "^[a-z_-]+$",
            "^[-a-z]+$",
            "^orders-[a-z0-9]{2}$",
            "^.*-[0-9]*$",
            r"^a\-b$",
            r"^a\_b$",
            "^[A-Z]",
            "^(a|)-",
        ];
        for pattern in pass {
            assert_eq!(difference(pattern), None, "{pattern}");
            let ours = regex::Regex::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            for topic in TOPICS {
                let theirs = posix_matches(pattern, topic);
                assert_eq!(theirs, Some(ours.is_match(topic)), "{pattern} {topic}");
            }
        }
    }

    #[test]
    fn patterns_that_are_read_otherwise_are_refused() {
        let refused = [
            (r"^orders-\d+$", "[0-9]"),
            (r"^orders-\w$", "[0-9A-Za-z_]"),
            (r"^orders-[\d]$", "within"),
            (r"^orders-[\w-]$", "within"),
            ("^(?:orders|x)$", "(…)"),
            ("^(?i)orders$", "flags"),
            ("^orders-1+?$", "repetition"),
            ("^orders-1{2}?$", "repetition"),
            ("^*orders", "repeats nothing"),
            (r"^\p{Lu}", "sign"),
            (r"^\borders\b", "leave it out"),
            (r"^\x6frders", "sign"),
            ("^[a-z&&[^o]]", "within"),
            ("^[[:word:]]", "within"),
            ("^[a-c-x]", "within"),
            ("^x{,3}$", "{0,n}"),
        ];
        for (pattern, words) in refused {
            let why = difference(pattern).unwrap_or_else(|| panic!("{pattern} passes"));
            assert!(why.contains(words), "{pattern}: {why}");
        }
        // Why that is so.
        let both = |pattern: &str, topic: &str| {
            let ours = regex::Regex::new(pattern).unwrap().is_match(topic);
            (posix_matches(pattern, topic), ours)
        };
        assert_eq!(both(r"^orders-\d+$", "orders-12"), (Some(false), true));
        assert_eq!(both("^orders-1+?$", "orders-"), (Some(true), false));
    }
}
