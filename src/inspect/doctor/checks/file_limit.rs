//! This process may open too few files and connections.

use super::prelude::*;

const FILES_MIN: u64 = 4_096;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    if let Some(limit) = facts.machine.file_limit.filter(|limit| *limit < FILES_MIN) {
        found.add_of_process(
            Warning,
            "ulimit -n",
            format!(
                "this process may open {limit} files: every broker, server and snapshot takes some, and at the \
                 limit connections fail"
            ),
            format!("raise it to {FILES_MIN} or more: LimitNOFILE in the systemd unit, or ulimit -n"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn fewer_files_than_the_daemon_may_need_are_a_warning() {
        let mut facts = enrichment();
        facts.machine.file_limit = Some(4096);
        assert_silent("file_limit", &facts);
        facts.machine.file_limit = Some(1024);
        assert_eq!(one("file_limit", &facts).level, Warning);
        facts.machine.file_limit = None;
        assert_silent("file_limit", &facts);
    }
}
