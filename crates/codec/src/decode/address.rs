//! Network addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::json::{Kind, Raw};
use super::{Reject, text};

/// Reads four decimal numbers with dots.
///
/// # Errors
/// `invalid_value` for every other form.
pub fn ipv4(raw: Raw<'_>) -> Result<Ipv4Addr, Reject> {
    let not_an_address = || Reject::invalid_value("not an IPv4 address");
    if raw.kind() != Kind::String {
        return Err(not_an_address());
    }
    text::to_text(raw)?.parse().map_err(|_| not_an_address())
}

/// Reads an IPv6 address; an IPv4 address becomes `::ffff:a.b.c.d`.
///
/// # Errors
/// `invalid_value` for every other form.
pub fn ipv6(raw: Raw<'_>) -> Result<Ipv6Addr, Reject> {
    let not_an_address = || Reject::invalid_value("not an IPv6 or IPv4 address");
    if raw.kind() != Kind::String {
        return Err(not_an_address());
    }
    match text::to_text(raw)?.parse() {
        Ok(IpAddr::V6(address)) => Ok(address),
        Ok(IpAddr::V4(address)) => Ok(address.to_ipv6_mapped()),
        Err(_) => Err(not_an_address()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_their_usual_forms() {
        assert_eq!(
            ipv4(Raw::string("192.0.2.7")),
            Ok(Ipv4Addr::new(192, 0, 2, 7))
        );
        assert_eq!(ipv6(Raw::string("::1")), Ok(Ipv6Addr::LOCALHOST));
        let mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
        assert_eq!(ipv6(Raw::string("192.0.2.7")), Ok(mapped));
        for text in [
            "",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.07",
            "192.0.2.7 ",
            "192.0.2.7:80",
            "fe80::1%eth0",
            "[::1]",
        ] {
            assert!(ipv4(Raw::string(text)).is_err(), "{text}");
            assert!(ipv6(Raw::string(text)).is_err(), "{text}");
        }
        assert!(ipv4(Raw::string("::1")).is_err());
        assert!(ipv4(Raw::parse("3221225991").unwrap()).is_err());
    }
}
