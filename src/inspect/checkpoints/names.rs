//! Which names are whole. A name is one thing over the stores of several pipelines: it counts once each of them
//! says that all of it is there.

use std::collections::BTreeMap;

use super::Store;
use crate::inspect::Failure;
use crate::state::CompleteNames;

/// What each store says, by pipeline.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, CompleteNames>);

impl Names {
    /// `stores`: of all pipelines.
    ///
    /// # Errors
    /// A store does not answer.
    pub(super) fn read(
        runtime: &tokio::runtime::Runtime,
        stores: &[Store],
    ) -> Result<Self, Failure> {
        let mut names = Names::default();
        for Store {
            pipeline, store, ..
        } in stores
        {
            let complete = runtime.block_on(store.complete_names())?;
            names.0.insert(pipeline.name.clone(), complete);
        }
        Ok(names)
    }

    /// Whether all of a name is there. Pipelines that the configuration does not have any more do not count.
    pub(super) fn is_whole(&self, name: &str) -> bool {
        let mut saying = self
            .0
            .values()
            .filter_map(|names| names.get(name))
            .peekable();
        let is_there = |pipeline: &String| {
            let own = self.0.get(pipeline);
            own.is_none_or(|names| names.contains_key(name))
        };
        saying.peek().is_some() && saying.flatten().all(is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_whole_once_every_pipeline_says_so() {
        let both = vec!["a".to_owned(), "b".to_owned()];
        let says = |names: &[&str]| -> CompleteNames {
            let names = names.iter();
            names
                .map(|name| ((*name).to_owned(), both.clone()))
                .collect()
        };
        let mut names = Names::default();
        names.0.insert("a".to_owned(), says(&["one", "two"]));
        names.0.insert("b".to_owned(), says(&["one"]));
        let whole = ["one", "two", "three"].map(|name| names.is_whole(name));
        assert_eq!(whole, [true, false, false]);
        // Its pipeline was taken out of the configuration.
        names.0.remove("b");
        assert!(names.is_whole("two"));
    }
}
