//! `service.state_dir` cannot be written.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    if let Some(problem) = &facts.machine.state_dir_problem {
        found.add_of_process(
            Error,
            "service.state_dir",
            format!(
                "{} cannot be written: {problem}",
                facts.service.state_dir.display()
            ),
            "name a directory that the daemon's user may write, on a disk with room, or create it with that owner",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error_of_the_process() {
        let mut facts = enrichment();
        assert_silent("state_dir", &facts);
        facts.machine.state_dir_problem = Some("permission denied".to_owned());
        let finding = one("state_dir", &facts);
        assert_eq!((finding.level, finding.pipeline), (Error, None));
        assert!(finding.message.contains("permission denied"));
    }
}
