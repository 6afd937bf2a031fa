//! Many keys of the sample have no profile.

use super::prelude::*;

/// In percent. Some users have none.
const PERCENT_MAX: usize = 20;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, sample) in with_sample(facts) {
        let Some((asked, missing)) = sample.profiles.filter(|(asked, _)| *asked > 0) else {
            continue;
        };
        let percent = missing * 100 / asked;
        let Some(lookup) = lookup(own).filter(|_| percent > PERCENT_MAX) else {
            continue;
        };
        found.add(
            Warning,
            own.name(),
            "pipeline.lookup",
            format!(
                "{missing} of {asked} keys of the sample ({percent} %) have no profile under {}<{}>: their rows take \
                 the defaults",
                lookup.key_prefix, lookup.key_field
            ),
            "look whether pipeline.lookup.key_prefix, key_field and encoding are those of who writes the profiles, \
             and whether redis.url names the right database",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn the_share_of_keys_without_a_profile_is_told() {
        for (asked, missing, is_found) in
            [(0, 0, false), (10, 2, false), (10, 3, true), (1, 1, true)]
        {
            let mut facts = enrichment();
            sample(&mut facts).profiles = Some((asked, missing));
            let found = found("profiles_missing", &facts);
            assert_eq!(!found.is_empty(), is_found, "{asked} {missing}");
            assert!(
                found
                    .iter()
                    .all(|f| f.message.contains("user:profile:<user_id>"))
            );
        }
    }
}
