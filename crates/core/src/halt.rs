//! Why a pipeline stops to protect data, and what its operator can do.

/// A decision that only an operator can undo. The pipeline leaves its group; the others run on.
#[derive(Debug, Clone)]
pub struct Halt {
    /// Label of `streamweir_pipeline_halted`.
    pub reason: &'static str,
    /// What happened and what to do.
    pub advice: String,
    /// Where: `topic:partition:offset`, a partition or a table, as far as it is known.
    pub address: Option<String>,
}

impl Halt {
    pub fn new(reason: &'static str, advice: impl Into<String>) -> Self {
        Halt {
            reason,
            advice: advice.into(),
            address: None,
        }
    }

    /// The same at an address; a nearer one that is known stands.
    #[must_use]
    pub fn at(self, address: impl std::fmt::Display) -> Self {
        Halt {
            address: Some(self.address.unwrap_or_else(|| address.to_string())),
            ..self
        }
    }

    pub fn dead_letter(advice: String) -> Self {
        Halt::new("dead_letter", advice)
    }
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.advice)
    }
}
