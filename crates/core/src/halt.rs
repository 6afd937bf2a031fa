//! Why a pipeline stops to protect data, and what its operator can do.

/// A decision that only an operator can undo. The pipeline leaves its group; the others run on.
#[derive(Debug, Clone)]
pub struct Halt {
    /// Label of `streamweir_pipeline_halted`.
    pub reason: &'static str,
    /// What happened and what to do.
    pub advice: String,
}

impl Halt {
    pub fn new(reason: &'static str, advice: impl Into<String>) -> Self {
        Halt {
            reason,
            advice: advice.into(),
        }
    }

    pub fn dead_letter(advice: String) -> Self {
        Halt {
            reason: "dead_letter",
            advice,
        }
    }
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.advice)
    }
}
