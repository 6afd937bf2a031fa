//! Carries the steps of an exchange out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;

use super::filling::Filler;
use super::plan::Plan;
use super::positions::{Positions, is_of_tables, plain};
use super::shadow::Part;
use super::signals::Signals;
use super::steps::{Facts, Step, next};
use super::tables::Tables;
use super::{Exchange, RebuildError};
use crate::config::{Config, Kind, Pipeline};
use crate::crash::crash_point;
use crate::inspect::cluster::Cluster;
use crate::inspect::{Failure, status};
use crate::progress::SwapFence;
use crate::source::PartitionCommit;

/// How long a daemon may take to leave the group, or a killed one to be missed.
const LEAVE_MAX: Duration = Duration::from_secs(90);
/// How long a running daemon may take to come to where the shadow is.
const CATCH_UP_MAX: Duration = Duration::from_hours(12);
const BETWEEN: Duration = Duration::from_millis(300);
/// More than any exchange needs; records that come all the while add a few.
const STEPS_MAX: usize = 200;

type Group<'a> = (&'a Config, &'a Arc<Pipeline>, &'a Cluster);

/// Both tables, both groups, and who may be told.
pub(super) struct Switch<'a> {
    pub(super) runtime: &'a tokio::runtime::Runtime,
    pub(super) signals: &'a Signals,
    pub(super) tables: &'a Tables,
    pub(super) parts: &'a [Part],
    pub(super) plan: &'a Plan,
    pub(super) live: Group<'a>,
    pub(super) shadow: Group<'a>,
    /// The daemons that run the pipeline.
    pub(super) urls: &'a [String],
    /// Whether the old table stays.
    pub(super) keeps_old: bool,
}

impl Switch<'_> {
    /// Exchanges both tables, and has the live pipeline go on.
    ///
    /// # Errors
    /// The live pipeline runs and cannot be told, a system does not answer, or a halt. Repeated it goes on where
    /// it was.
    pub(super) fn carry_out(&self, exchange: Exchange) -> Result<(), RebuildError> {
        self.check(exchange)?;
        let paused = self.paused();
        let mut has_resumed = false;
        for _ in 0..STEPS_MAX {
            let positions = self.positions()?;
            let facts = self.facts(exchange, &positions, has_resumed)?;
            let step = next(&facts);
            tracing::info!(
                ?step,
                "exchange of {} and {}",
                self.parts[0].live,
                self.parts[0].shadow
            );
            match step {
                Step::Done => return self.end(exchange),
                // One that is called off before it has exchanged anything may be behind.
                Step::Unfence if facts.is_exchanged && !facts.is_shadow_behind => {
                    self.carry_over(&positions)?;
                    self.mark(&positions, false)?;
                }
                step => self.one(step, exchange, &positions, &paused)?,
            }
            crash_point!("between_swap_steps");
            has_resumed |= step == Step::Resume;
        }
        Err(Failure::Refused(
            "the exchange does not come to an end: somebody commits to the group of the pipeline all the while; \
             look at its members, then repeat the command"
                .to_owned(),
        )
        .into())
    }

    fn one(
        &self,
        step: Step,
        exchange: Exchange,
        positions: &Positions,
        paused: &[&str],
    ) -> Result<(), RebuildError> {
        match step {
            Step::Refuse => return Err(self.refused().into()),
            Step::CatchUpLive => self.catch_up_live(positions)?,
            Step::Stop => self.stop()?,
            Step::Fence => self.mark(positions, true)?,
            Step::Unfence => self.mark(positions, false)?,
            Step::CatchUp => {
                let (config, pipeline, cluster) = self.shadow;
                let filler = Filler::of_shadow(config, pipeline);
                let filler = match positions.closed_through_ms() {
                    Some(closed_through_ms) => filler.closing(closed_through_ms),
                    None => filler,
                };
                filler.fill(self.runtime, self.signals, cluster, &positions.ends(false))?;
            }
            Step::Exchange => self.exchange(exchange)?,
            Step::Resume => self
                .resume(paused)
                .map_err(|failure| self.exchanged_but(exchange, failure))?,
            Step::Drop => {
                let is_replica = matches!(self.live.1.kind, Kind::Cdc(_));
                for part in self.parts {
                    self.runtime
                        .block_on(self.tables.drop_old(part, is_replica))?;
                }
            }
            Step::Done => {}
        }
        Ok(())
    }

    fn positions(&self) -> Result<Positions, Failure> {
        let (_, pipeline, cluster) = self.live;
        let mut all = cluster.partitions(None)?;
        all.retain(|partition| is_of_tables(&pipeline.kind, self.parts, &partition.topic));
        let logs = all.iter().map(|partition| cluster.log_range(partition));
        Ok(Positions {
            logs: logs.collect::<Result<_, Failure>>()?,
            live: cluster.committed(&all)?,
            shadow: self.shadow.2.committed(&all)?,
            partitions: all,
        })
    }

    fn facts(
        &self,
        exchange: Exchange,
        positions: &Positions,
        has_resumed: bool,
    ) -> Result<Facts, Failure> {
        let wants_rebuilt = exchange == Exchange::Swap;
        let exchanged = self
            .runtime
            .block_on(self.tables.are_exchanged(self.parts))?;
        let exchanged = exchanged.unwrap_or_else(|| vec![false; self.parts.len()]);
        let mut others = vec![];
        for part in self.parts {
            others.push(self.runtime.block_on(self.tables.has(&part.shadow))?);
        }
        if let Some(index) = missing(wants_rebuilt, &exchanged, &others) {
            return Err(Failure::Refused(format!(
                "both tables cannot be exchanged: table {} was dropped",
                self.parts[index].shadow
            )));
        }
        let (_, _, cluster) = self.live;
        Ok(Facts {
            wants_rebuilt,
            is_exchanged: exchanged.iter().all(|one| *one == wants_rebuilt),
            has_members: !cluster.members()?.is_empty(),
            is_live_reading: self.is_live_reading()?,
            is_fenced: positions.is_fenced(),
            has_fence: positions.has_fence(),
            is_live_behind: positions.pairs().any(|(live, shadow)| live < shadow),
            is_shadow_behind: positions.pairs().any(|(live, shadow)| live > shadow)
                || positions.has_closed_more(),
            has_other: others.contains(&true),
            keeps_old: self.keeps_old,
            can_tell: !self.urls.is_empty(),
            has_resumed,
        })
    }

    /// What cannot succeed is refused before anything is stopped.
    fn check(&self, exchange: Exchange) -> Result<(), Failure> {
        let wants_rebuilt = exchange == Exchange::Swap;
        let positions = self.positions()?;
        let exchanged = self
            .runtime
            .block_on(self.tables.are_exchanged(self.parts))?;
        if exchanged.is_none() && !wants_rebuilt && !positions.has_fence() {
            return Err(Failure::Refused(format!(
                "there is nothing to undo: table {} is not the rebuilt one; where an --undo has died after it had \
                 exchanged the tables, start the pipeline at its daemons",
                self.parts[0].live
            )));
        }
        let is_done = exchanged.is_some_and(|all| all.iter().all(|one| *one)) == wants_rebuilt;
        let (_, pipeline, _) = self.live;
        match positions.hindrance(self.plan, pipeline.start_offset) {
            Some(why) if !is_done => {
                let other = if wants_rebuilt {
                    "--undo"
                } else {
                    "--swap --keep-old"
                };
                Err(Failure::Refused(format!(
                    "both tables cannot come to one offset: {why}; an exchange that was begun before is called \
                     off by {other}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// The daemons whose pipeline an operator has paused: it is not started at the end.
    fn paused(&self) -> Vec<&str> {
        let is_paused = |url: &&String| matches!(self.state(url), Ok(state) if state == "paused");
        self.urls
            .iter()
            .filter(is_paused)
            .map(|url| &**url)
            .collect()
    }

    fn refused(&self) -> Failure {
        let (_, pipeline, _) = self.live;
        Failure::Refused(format!(
            "pipeline {} runs: both tables can be exchanged while nobody writes to them; name the addresses of all \
             its daemons (--url, may be repeated; their service.admin_token is read from this configuration), or \
             stop every process that runs it (a process that was killed leaves its group after \
             session.timeout.ms), then repeat the command",
            pipeline.name
        ))
    }

    /// Raises the fence, or takes it away. The offsets stay.
    fn mark(&self, positions: &Positions, is_up: bool) -> Result<(), Failure> {
        let (_, _, cluster) = self.live;
        let both = positions
            .partitions
            .iter()
            .zip(positions.live.iter().zip(&positions.logs));
        let commits = both.map(|(partition, (offsets, &(start, _)))| {
            let plain = plain(offsets);
            let fence = SwapFence {
                id: &self.plan.id,
                metadata: plain,
            };
            PartitionCommit {
                partition: partition.clone(),
                position: offsets.position.unwrap_or(start),
                leader_epoch: -1,
                metadata: if is_up {
                    fence.encode()
                } else {
                    plain.to_owned()
                },
            }
        });
        let commits: Vec<PartitionCommit> = commits.collect();
        let deadline = Instant::now() + LEAVE_MAX;
        loop {
            match cluster.commit(&commits) {
                // A process has begun meanwhile, or is about to halt at the fence.
                Err(Failure::Refused(_) | Failure::NoTopic(_))
                    if !is_up && Instant::now() < deadline =>
                {
                    std::thread::sleep(BETWEEN);
                }
                done => return done,
            }
        }
    }

    /// Windows are exchanged with what was open of them: the live group goes on where it is, with the rebuilt table, and
    /// the other group stands where the live one stood, because what it would fill now is the table that was live.
    fn carry_over(&self, positions: &Positions) -> Result<(), Failure> {
        if positions.closed_through_ms().is_none() {
            return Ok(());
        }
        let both = positions.partitions.iter().zip(&positions.live);
        let commits = both.filter_map(|(partition, offsets)| {
            Some(PartitionCommit {
                partition: partition.clone(),
                position: offsets.position?,
                leader_epoch: -1,
                metadata: plain(offsets).to_owned(),
            })
        });
        self.shadow.2.commit(&commits.collect::<Vec<_>>())
    }

    fn exchange(&self, exchange: Exchange) -> Result<(), Failure> {
        let (_, pipeline, cluster) = self.shadow;
        if !cluster.members()?.is_empty() {
            self.until(LEAVE_MAX, || Ok(cluster.members()?.is_empty()), || {
                format!(
                    "group {} has members: other processes fill the table still; wait for them, then repeat the \
                     command",
                    pipeline.group_id
                )
            })?;
        }
        let wanted = exchange == Exchange::Swap;
        let exchanged = self
            .runtime
            .block_on(self.tables.are_exchanged(self.parts))?;
        for (index, part) in self.parts.iter().enumerate() {
            if exchanged.as_ref().is_some_and(|all| all[index]) != wanted {
                self.runtime.block_on(self.tables.exchange(part))?;
                crash_point!("between_swap_steps");
            }
        }
        Ok(())
    }

    /// The live group comes to where the shadow is: by the daemon that runs, or else by this process.
    fn catch_up_live(&self, positions: &Positions) -> Result<(), RebuildError> {
        let (config, pipeline, cluster) = self.live;
        if cluster.members()?.is_empty() {
            let filler = Filler::new(config, pipeline);
            filler.fill(self.runtime, self.signals, cluster, &positions.ends(true))?;
            return Ok(());
        }
        let is_there = || {
            let now = self.positions()?;
            Ok(now.pairs().all(|(live, shadow)| live >= shadow)
                || cluster.members()?.is_empty()
                || !self.is_live_reading()?)
        };
        self.until(CATCH_UP_MAX, is_there, || {
            format!(
                "pipeline {} does not come to where the rebuilt table is: look at its state, then repeat the command",
                pipeline.name
            )
        })?;
        Ok(())
    }

    fn until(
        &self,
        patience: Duration,
        mut is_so: impl FnMut() -> Result<bool, Failure>,
        otherwise: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + patience;
        while !is_so()? {
            if Instant::now() >= deadline {
                return Err(Failure::Refused(otherwise()));
            }
            std::thread::sleep(BETWEEN);
        }
        Ok(())
    }

    fn tell(&self, url: &str, what: &str) -> Result<(), Failure> {
        let (config, pipeline, _) = self.live;
        let token = config.service.admin_token.as_ref();
        let token = token.map(|token| token.expose_secret().to_owned());
        let path = format!("/api/v1/streaming/{}/{what}", pipeline.name);
        self.runtime
            .block_on(status::post(url, &path, token.as_deref()))
    }

    /// The state that a daemon shows of the pipeline.
    fn state(&self, url: &str) -> Result<String, Failure> {
        let (_, pipeline, _) = self.live;
        let shown = self.runtime.block_on(status::fetch(url))?;
        let all = shown["pipelines"].as_array();
        let own = all
            .into_iter()
            .flatten()
            .find(|one| one["name"] == *pipeline.name);
        let state = own.and_then(|own| own["state"].as_str());
        state.map(str::to_owned).ok_or_else(|| {
            Failure::Refused(format!(
                "the daemon at {url} does not run pipeline {}",
                pipeline.name
            ))
        })
    }

    fn is_live_reading(&self) -> Result<bool, Failure> {
        for url in self.urls {
            let state = or_away(self.state(url))?;
            if matches!(state.as_deref(), Some("running" | "starting")) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn stop(&self) -> Result<(), Failure> {
        let (_, pipeline, cluster) = self.live;
        let mut told = vec![];
        let done = self.tell_to_drain(&mut told).and_then(|()| {
            self.until(LEAVE_MAX, || Ok(cluster.members()?.is_empty()), || {
                format!(
                    "group {} still has members: name the addresses of all daemons that run pipeline {} (--url), \
                     then repeat the command",
                    pipeline.group_id, pipeline.name
                )
            })
        });
        if done.is_err() {
            for url in told {
                if let Err(error) = self.start_again(url) {
                    tracing::warn!(
                        "pipeline {} was drained at {url}: start it: {error}",
                        pipeline.name
                    );
                }
            }
        }
        done
    }

    /// One that is away reads nothing; the members of the group say whether that is so.
    fn tell_to_drain<'s>(&'s self, told: &mut Vec<&'s str>) -> Result<(), Failure> {
        for url in self.urls {
            let state = or_away(self.state(url))?;
            if matches!(
                state.as_deref(),
                None | Some("stopped" | "halted" | "draining")
            ) {
                continue;
            }
            self.tell(url, "drain")?;
            // One that was paused stays stopped.
            if state.as_deref() != Some("paused") {
                told.push(url);
            }
        }
        Ok(())
    }

    fn start_again(&self, url: &str) -> Result<(), Failure> {
        self.until(
            LEAVE_MAX,
            || Ok(self.state(url)? != "draining"),
            || "it drains still".to_owned(),
        )?;
        match &*self.state(url)? {
            "running" | "starting" => Ok(()),
            _ => self.tell(url, "start"),
        }
    }

    /// Every daemon is told; the first failure is what the command ends with.
    fn resume(&self, paused: &[&str]) -> Result<(), Failure> {
        let mut failed = None;
        for url in self.urls {
            if paused.contains(&&**url) {
                tracing::warn!(
                    "pipeline {} was paused at {url}, and is stopped now: start it",
                    self.live.1.name
                );
                continue;
            }
            if let Err(failure) = self.resume_at(url) {
                tracing::warn!("{failure}");
                failed.get_or_insert(failure);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn resume_at(&self, url: &str) -> Result<(), Failure> {
        self.until(
            LEAVE_MAX,
            || match self.state(url) {
                // One that began at the fence has ended, and is started again by whoever looks after it.
                Err(Failure::Unreachable(_)) => Ok(false),
                state => Ok(state? != "draining"),
            },
            || format!("the daemon at {url} is away, or still writes what it has read"),
        )?;
        match &*self.state(url)? {
            "running" | "starting" => Ok(()),
            _ => self.tell(url, "start"),
        }
    }

    /// Both tables are exchanged, and a daemon was not told to go on.
    fn exchanged_but(&self, exchange: Exchange, failure: Failure) -> Failure {
        let tables: Vec<&str> = self.parts.iter().map(|part| &*part.live).collect();
        let drops_old = exchange == Exchange::Swap && !self.keeps_old;
        failure.behind(&exchanged(
            exchange,
            &tables.join(", "),
            &self.live.1.name,
            drops_old,
        ))
    }

    fn end(&self, exchange: Exchange) -> Result<(), RebuildError> {
        if exchange == Exchange::Swap && !self.keeps_old {
            for part in self.parts {
                self.runtime.block_on(self.tables.forget_plan(part))?;
            }
            // Best effort: only this process's own state of a rebuild that is over.
            let (config, _, _) = self.shadow;
            let _ = std::fs::remove_dir_all(&config.service.state_dir);
        }
        Ok(())
    }
}

/// What is done, and what is left, where a daemon was not told to go on.
fn exchanged(exchange: Exchange, tables: &str, pipeline: &str, drops_old: bool) -> String {
    let (done, left) = match (exchange, drops_old) {
        (Exchange::Undo, _) => ("the old one again", ""),
        (Exchange::Swap, false) => ("the rebuilt one now", ""),
        (Exchange::Swap, true) => (
            "the rebuilt one now",
            ", then repeat the command, which drops the old table",
        ),
    };
    format!(
        "the exchange is done, table {tables} is {done}; but pipeline {pipeline} was not told to go on everywhere: \
         start it there{left}"
    )
}

/// A daemon that does not answer shows no state.
fn or_away(state: Result<String, Failure>) -> Result<Option<String>, Failure> {
    match state {
        Err(Failure::Unreachable(_)) => Ok(None),
        state => state.map(Some),
    }
}

/// The table that is not called as it is wanted, and whose other table is gone.
fn missing(wants_rebuilt: bool, exchanged: &[bool], others: &[bool]) -> Option<usize> {
    let mut all = exchanged.iter().zip(others);
    all.position(|(is_rebuilt, has_other)| *is_rebuilt != wants_rebuilt && !has_other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_away_does_not_end_the_exchange() {
        let away = or_away(Err(Failure::Unreachable("away".to_owned())));
        assert!(matches!(away, Ok(None)));
        assert!(or_away(Err(Failure::Refused("no".to_owned()))).is_err());
        let state = or_away(Ok("halted".to_owned())).unwrap();
        assert_eq!(state.as_deref(), Some("halted"));
    }

    #[test]
    fn a_daemon_that_is_away_at_the_end_does_not_hide_that_the_exchange_is_done() {
        let failure = |drops_old| {
            let done = exchanged(Exchange::Swap, "db.t", "shop", drops_old);
            Failure::Unreachable("no answer at http://a:1".to_owned()).behind(&done)
        };
        let kept = failure(false);
        assert_eq!(kept.code(), 3);
        let text = kept.to_string();
        for words in [
            "is done",
            "db.t is the rebuilt one",
            "start it",
            "http://a:1",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("repeat"), "{text}");
        assert!(failure(true).to_string().contains("repeat the command"));
        let undone = exchanged(Exchange::Undo, "db.t", "shop", false);
        assert!(undone.contains("the old one again"), "{undone}");
    }

    #[test]
    fn each_table_that_is_exchanged_needs_its_other() {
        assert_eq!(missing(false, &[true, true], &[true, false]), Some(1));
        assert_eq!(missing(false, &[true, false], &[true, false]), None);
        assert_eq!(missing(true, &[false, true], &[false, false]), Some(0));
        assert_eq!(missing(true, &[true, true], &[false, true]), None);
    }
}
