//! What is wrong with a configuration, and where.

use std::fmt;

/// One thing that is wrong (or, among the warnings, unwise) in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the text came from: the file as it was named, or an environment variable.
    pub origin: String,
    /// Line within the file, from 1; none for variables and for what belongs to no line.
    pub line: Option<usize>,
    /// The key: `service.memory_max`, `pipeline.clickstream.batch.rows_max`. A pipeline goes by its
    /// name, and by its number (`pipeline[1]`) when it has none or shares it with an earlier one.
    /// Empty when the file as a whole is meant.
    pub key_path: String,
    /// What is wrong and what is allowed, with range and unit. Never holds a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key_path.is_empty() {
            write!(f, ": {}", self.key_path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything that is wrong with a configuration, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The order of the file, each problem once: a wrong key of `[kafka]` is met by every pipeline.
pub(super) fn in_file_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    let mut unique = Vec::with_capacity(problems.len());
    for problem in problems.drain(..) {
        if !unique.contains(&problem) {
            unique.push(problem);
        }
    }
    unique.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    unique
}
