//! Texts of a known form.

use std::net::IpAddr;

/// Most bytes of a mail address (RFC 5321) and of its part before the @.
const EMAIL_BYTES_MAX: usize = 254;
const LOCAL_BYTES_MAX: usize = 64;

/// `local@domain`: letters, digits and ``.!#$%&'*+/=?^_`{|}~-`` before the @, no point first, last or twice
/// in a row; behind it names of a domain, at least two.
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let is_legal = |c: char| c.is_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    text.len() <= EMAIL_BYTES_MAX
        && (1..=LOCAL_BYTES_MAX).contains(&local.len())
        && local.chars().all(is_legal)
        && local.split('.').all(|part| !part.is_empty())
        && domain.contains('.')
        && is_domain(domain)
}

/// Names of letters, digits and hyphens with points between them; no name begins or ends with a hyphen.
fn is_domain(text: &str) -> bool {
    let is_name = |name: &str| {
        (1..=63).contains(&name.len())
            && name.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !name.starts_with('-')
            && !name.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_name)
}

/// An address of IPv4 or IPv6.
pub(super) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// `scheme://host…` without white space and control characters.
pub(super) fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    is_scheme && is_host(host) && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// A name or an address, and a port behind it.
fn is_host(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        let is_v6 = address.parse::<std::net::Ipv6Addr>().is_ok();
        return is_v6 && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_legal = |c: char| c.is_alphanumeric() || "-._~%".contains(c);
    !host.is_empty() && host.chars().all(is_legal) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_mail_have_a_local_part_and_a_domain_of_two_names() {
        for text in [
            "a@b.co",
            "a.b+c@d-e.example.org",
            "o'x@ex.com",
            "ü@bücher.de",
        ] {
            assert!(is_email(text), "{text}");
        }
        let long = format!("{}@b.co", "a".repeat(65));
        for text in [
            "",
            "@",
            "a@",
            "@b.co",
            "a@b",
            "a b@c.de",
            "a@b..co",
            ".a@b.co",
            "a.@b.co",
            "a..b@c.de",
            "a@-b.co",
            "a@b-.co",
            "a@b.co ",
            "a@b@c.de",
            &long,
        ] {
            assert!(!is_email(text), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_network_are_v4_or_v6() {
        for text in ["127.0.0.1", "::1", "2001:db8::7334"] {
            assert!(is_ip(text), "{text}");
        }
        for text in ["", "1.2.3", "256.1.1.1", "01.2.3.4", "::g", "127.0.0.1:80"] {
            assert!(!is_ip(text), "{text}");
        }
    }

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        for text in [
            "https://example.com",
            "http://localhost:8080/a?b=c#d",
            "ftp://u:p@h/x",
            "http://[::1]:80/",
            "https://bücher.de/ä",
            "http://1.2.3.4/",
        ] {
            assert!(is_url(text), "{text}");
        }
        for text in [
            "",
            "example.com",
            "//example.com",
            "http://",
            "http:///a",
            "http://a b",
            "1http://a",
            "http://a:port/",
            "http://a:99999",
            "mailto:a@b.co",
            "http://[::1",
            "https://a\n",
        ] {
            assert!(!is_url(text), "{text}");
        }
    }
}
