//! Somebody else has the address of `service.http_listen`.

use super::prelude::*;
use crate::inspect::doctor::facts::Listener;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    let address = facts.service.http_listen;
    let why = match &facts.machine.listener {
        Listener::Free => return,
        // Our own may run: doctor works beside it.
        Listener::Daemon(_) if facts.own_daemon_runs() => return,
        Listener::Daemon(names) => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!(
                "a daemon of another configuration listens there ({})",
                names.join(", ")
            )
        }
        Listener::Other(error) | Listener::Unusable(error) => error.clone(),
    };
    found.add_of_process(
        Error,
        "service.http_listen",
        format!("{address} cannot be listened at: {why}"),
        "end the other program, or give this one another address (service.http_listen)",
    );
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn an_address_that_somebody_else_has_is_an_error_and_our_own_daemon_is_none() {
        let mut facts = enrichment();
        assert_silent("port_taken", &facts);
        let daemon = |name: &str| Listener::Daemon([name.to_owned()].into());
        facts.machine.listener = daemon("clickstream");
        assert_silent("port_taken", &facts);
        facts.machine.listener = daemon("other");
        facts.names.insert("other".to_owned());
        assert_silent("port_taken", &facts);
        facts.names.remove("other");
        assert!(one("port_taken", &facts).message.contains("(other)"));
        facts.names.clear();
        one("port_taken", &facts);
        facts.machine.listener = Listener::Daemon([].into());
        assert_silent("port_taken", &facts);
        facts.machine.listener = Listener::Other("address in use".to_owned());
        let finding = one("port_taken", &facts);
        assert_eq!(
            (finding.level, &*finding.place),
            (Error, "service.http_listen")
        );
    }
}
