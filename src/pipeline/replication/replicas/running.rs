//! Statements about tables are run until the server has run them.

use super::Replicas;
use crate::halt::Halt;
use crate::sink::{Backoff, InsertError, Remedy};

impl Replicas {
    /// Runs a statement until it has been run. What the server refuses outright, an operator must do.
    pub(super) async fn execute(&self, label: &str, statement: &str) -> Result<(), Halt> {
        let run = || self.parts.client.execute_anywhere(statement);
        self.until_run(label, statement, run).await
    }

    /// The same for a statement that reads all rows of a replicated table.
    pub(super) async fn execute_in_sync(
        &self,
        label: &str,
        table: &str,
        statement: &str,
    ) -> Result<(), Halt> {
        let run = || self.parts.client.execute_in_sync(table, statement);
        self.until_run(label, statement, run).await
    }

    pub(super) async fn until_run<F>(
        &self,
        label: &str,
        statement: &str,
        run: impl Fn() -> F,
    ) -> Result<(), Halt>
    where
        F: Future<Output = Result<(), InsertError>>,
    {
        let mut backoff = Backoff::new();
        loop {
            let Err(error) = run().await else {
                return Ok(());
            };
            let is_refused = error.code.is_some() && !is_temporary(&error);
            if is_refused {
                let statement = statement.replace('\n', " ");
                let advice = format!(
                    "table {label}: the server refuses {statement}: {error}: grant the right, or run a \
                     statement that does the same yourself, then start again"
                );
                return Err(Halt::new("refused_statement", advice));
            }
            self.wait(label, &error, &mut backoff).await?;
        }
    }

    pub(super) async fn wait(
        &self,
        label: &str,
        error: &InsertError,
        backoff: &mut Backoff,
    ) -> Result<(), Halt> {
        if let Remedy::Halt(reason) = error.remedy {
            return Err(crate::sink::refused(reason, label, error));
        }
        let wait = backoff.next_wait();
        self.parts.metrics.retry("clickhouse", "table");
        self.parts.board.table_failed(label, &error.to_string());
        // The lane says for how long its partitions wait.
        if backoff.attempts() == 1 {
            tracing::warn!(table = label, %error, "a statement about the table failed, trying again");
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Of what a server that is ill may recover.
pub(super) fn is_temporary(error: &InsertError) -> bool {
    matches!(error.remedy, Remedy::Retry(_))
}
