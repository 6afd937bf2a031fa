//! Another process is in the group under our `service.instance_id`.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    let Some(instance_id) = &facts.service.instance_id else {
        return;
    };
    if facts.own_daemon_runs() {
        return;
    }
    for (own, kafka) in with_kafka(facts) {
        let names: Vec<String> = (0..own.pipeline.consumers)
            .map(|lane| format!("{instance_id}-{lane}"))
            .collect();
        let members = kafka.group.iter().flat_map(|group| &group.members);
        let mut members = members.filter(|member| {
            let id = member.instance_id.as_ref();
            id.is_some_and(|id| names.contains(id))
        });
        if let Some(member) = members.next() {
            found.add(
                Error,
                own.name(),
                "service.instance_id",
                format!(
                    "a member of group {} at {} has the instance id {} already: two processes of one id take \
                     each other's place, and both halt or stand still",
                    own.pipeline.group_id,
                    member.host,
                    member.instance_id.as_deref().unwrap_or_default()
                ),
                "give each process its own service.instance_id; after a crash the old member leaves with its \
                 session timeout",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use streamweir_kafka::GroupMemberDescription;

    use super::super::testing::*;

    fn with_member(instance_id: &str) -> Facts {
        let change = ("# instance_id = \"a\"", "instance_id = \"a\"");
        let mut facts = shipped("clickstream", &[change]);
        let group = kafka_of(&mut facts).group.as_mut().expect("a group");
        group.members = vec![GroupMemberDescription {
            client_id: "streamweir-clickstream".to_owned(),
            host: "/10.0.0.7".to_owned(),
            instance_id: Some(instance_id.to_owned()),
        }];
        facts
    }

    #[test]
    fn a_member_of_our_id_is_an_error_unless_it_is_our_own_daemon() {
        assert_silent("instance_id_shared", &with_member("b-0"));
        let mut facts = with_member("a-0");
        let finding = one("instance_id_shared", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("/10.0.0.7"));
        facts.machine.listener = Listener::Daemon(["clickstream".to_owned()].into());
        assert_silent("instance_id_shared", &facts);
    }
}
