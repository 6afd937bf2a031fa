//! Where the rows of ranges become durable: the seam, and what exactly-once needs of it.
//!
//! A range is a run of offsets of one partition, `[from, to)`. The lane fills an open batch with its rows,
//! seals it, names the range in a commit of the consumer group, and hands it over as a [`WriteJob`]. A
//! [`Destination`] sends it; [`deliver`] decides, by what it answers, what comes next, and the order of
//! attempts itself is the pure [`Attempts`](crate::progress::insert::Attempts), which the model explores.
//!
//! # The contract
//!
//! **Naming.** A range has one name, the same for whoever writes it: epoch, table, topic, partition and
//! offsets. The name is committed before anything of the range is sent, so that a successor seals the same
//! offsets again. Rows of a range depend on its records alone.
//!
//! **Tokens.** What is sent under a name a second time must be stored once. A table remembers the name as the
//! token of the insert. A round has a token of its own (`:2`, `:3`) where only the rows that a look has
//! missed are sent again. A destination that remembers no names is sent to at least once, and its readers
//! keep one row of a key: the fullest (windows in a table), or the last (a compacted topic).
//!
//! **Leases.** Nothing may be sent under a name after its lease is over: another member may own the partition
//! and send under the same name, or have gone on. A destination looks at the lease after everything that it
//! waits for, right before it sends, and answers [`Answer::LeaseOver`]; the lane repeats the commit first. For
//! a topic the lane's membership in its group takes the place of the lease.
//!
//! **Durable.** [`Answer::Durable`] says that every row of the sending is stored where it survives what the
//! destination promises to survive, and that nothing is left to do for it. An acknowledgement proves that
//! for a first attempt alone. After a lost answer or a takeover the name may be known without its rows, so
//! [`deliver`] looks before the range settles. Dead letters of a range are durable before its rows are sent.
//!
//! **Looks.** A look names the rows of the range that are not there. It may miss rows that are (a replica
//! behind the others) and must never find rows that are not. It proves nothing while a sending may still
//! be running: [`Destination::running_until`] says until when one may, and [`deliver`] waits for that before
//! it sends missing rows, or splits a range.
//!
//! **Refusals.** [`Answer::Refused`] says that the destination takes no such rows, and that rows alone are at
//! fault: not its columns, nor a server that is away. Nothing of a refused sending may arrive later, or
//! `running_until` says until when. The lane splits the range until the row stands alone.
//!
//! **Transactions.** A destination that stores offsets beside rows needs no names and no looks: messages and
//! the group's offsets become visible together or not at all. So it is with the joined records of a join
//! (`transaction`): committed is durable; after anything else what the group has committed is the truth, and
//! the lane reads on from there.
//!
//! # The implementations
//!
//! | destination | durable | refused | look |
//! |---|---|---|---|
//! | [`Table`](super::table::Table) | an empty answer with status 200 from ClickHouse | a code of the table of errors | the offsets in the table |
//! | [`Topic`](super::topic::Topic) | acknowledged by all replicas in sync | never: the pipeline halts | none: all is sent again |
//! | [`Transactions`](super::transaction::Transactions) | the transaction is committed | never: the pipeline halts | the offsets of the group |

use super::errors::InsertError;
use super::insert::not_written;
use super::job::{Outcome, WriteJob};
use super::shared::Sink;
use crate::clock::BootTime;
use crate::progress::insert::{Missing, Round, Step};

/// What became of one sending.
#[derive(Debug)]
pub(super) enum Answer {
    /// All its rows are stored.
    Durable,
    /// Its rows are not taken, and are at fault themselves.
    Refused(InsertError),
    /// What is there of it is not known: it may be all, some of it, or nothing.
    LookNeeded(InsertError),
    /// Nothing was sent, and nothing new is known.
    NotSent(InsertError),
    /// Nothing was sent: the naming commit must be repeated first.
    LeaseOver,
    /// The job has ended: halted, or its rows must be made again.
    Ended(Outcome),
}

/// Something that takes the rows of ranges. See the module for what it must keep to.
pub(super) trait Destination {
    /// Sends the rows that the round calls for, once.
    async fn send(&mut self, job: &mut WriteJob, round: Round) -> Answer;

    /// Which rows of the range are not there.
    ///
    /// # Errors
    /// It cannot be asked now.
    async fn look(&mut self, job: &WriteJob) -> Result<Missing, InsertError>;

    /// Until when a sending that ended with this error may be running on; `None` where it is not.
    fn running_until(&self, error: &InsertError) -> Option<BootTime>;

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// How the job ends where there is none.
    async fn wait_after(&mut self, job: &mut WriteJob, error: InsertError) -> Result<(), Outcome>;
}

/// Sends a range until it is there.
///
/// # Errors
/// How the job ends where it is not, or somebody else must decide.
pub(super) async fn deliver<D: Destination>(
    destination: &mut D,
    sink: &Sink,
    mut job: WriteJob,
) -> Result<WriteJob, Outcome> {
    loop {
        match job.step() {
            Step::Settled => return Ok(job),
            Step::Wait => wait(&mut job, sink, "acknowledged but not in the table").await,
            Step::Look => match destination.look(&job).await {
                Ok(missing) => job.attempts().looked(missing),
                Err(error) => destination.wait_after(&mut job, error).await?,
            },
            Step::Send(round) => match destination.send(&mut job, round).await {
                Answer::Durable if job.acknowledged() => {}
                Answer::Durable => return Ok(job),
                Answer::Refused(error) => job = refused(destination, sink, job, error).await?,
                Answer::LookNeeded(error) => {
                    job.unknown(destination.running_until(&error));
                    destination.wait_after(&mut job, error).await?;
                }
                Answer::NotSent(error) => destination.wait_after(&mut job, error).await?,
                Answer::LeaseOver => return Err(Outcome::Renew(Box::new(job))),
                Answer::Ended(outcome) => return Err(outcome),
            },
            Step::Count | Step::Split(_) => {
                unreachable!("a refused range is given back at once")
            }
        }
    }
}

/// Gives a refused job back to be split, once nothing of it can still arrive under its token; goes on with
/// one whose rows are all there: those are no fault of theirs, and must not be written under another token.
async fn refused<D: Destination>(
    destination: &mut D,
    sink: &Sink,
    mut job: WriteJob,
    error: InsertError,
) -> Result<WriteJob, Outcome> {
    if job.tokens().is_none() {
        return Err(Outcome::Refused(Box::new(job), error));
    }
    // The server has ended it, and may have handed rows on to others that have not.
    let over_time = error.is_over_time().then(|| sink.parts.running_until());
    job.refused(destination.running_until(&error).or(over_time));
    loop {
        match job.step() {
            Step::Wait => wait(&mut job, sink, "refused after a lost answer").await,
            Step::Count => match destination.look(&job).await {
                Ok(missing) => {
                    let (there, sent) = job.count(&missing);
                    job.attempts().counted(there, sent);
                    if there == sent {
                        // What is only slow behind the table is waited for.
                        let error = match error.is_over_time() {
                            true => error,
                            false => error.although_written(there),
                        };
                        destination.wait_after(&mut job, error).await?;
                        return Ok(job);
                    }
                }
                Err(failed) => destination.wait_after(&mut job, failed).await?,
            },
            _ => return Err(Outcome::Refused(Box::new(job), error)),
        }
    }
}

/// Until no sending of the range can be running any more.
async fn wait(job: &mut WriteJob, sink: &Sink, why: &str) {
    let until = job.trouble.running_until;
    let until = until.unwrap_or_else(|| sink.parts.running_until());
    let range = job.claim.range().to_string();
    let place = not_written(&job.partition, Some(&range));
    let why = format!("{why}: waiting until no earlier insert can be running");
    sink.parts.pipeline.stuck(&place, &why);
    tokio::time::sleep(until.since(BootTime::now())).await;
    job.attempts().waited();
}
