//! Pipelines that are created, replaced and removed while the process runs.
//!
//! The file is written before the pipeline starts, and removed before it ends: after a crash at any
//! moment the pipeline is there as a whole, or not at all.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::member::Member;
use super::order::{Fault, Order};
use super::outcome::shown;
use super::{Declined, Fleet, Moved, Supervisor};
use crate::config::{Pipeline, Problem};
use crate::life::{Move, State};
use crate::observe::board::PipelineState;
use crate::schema::{self, ApplyError};

/// How long ClickHouse may take to answer while a table is made for a request.
const TABLE_TIMEOUT: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Takes the created pipelines in that are kept. One whose name the file has taken is set aside.
    pub(super) fn take_kept(
        &self,
        fleet: &mut Fleet,
        of_file: &[String],
        named: &[String],
    ) -> std::io::Result<()> {
        for kept in self.keep.load()? {
            let name = kept.name;
            if of_file.contains(&name) {
                let aside = self.keep.set_aside(&name)?;
                tracing::warn!(
                    pipeline = name,
                    file = %aside.display(),
                    "the configuration file has a pipeline of this name, which wins: the created one is set \
                     aside"
                );
                continue;
            }
            if !named.is_empty() && !named.contains(&name) {
                continue;
            }
            let usable = kept.order.and_then(|order| {
                let pipeline = self.read(fleet, &order, &name);
                let pipeline = pipeline.map_err(|faults| shown(&faults))?;
                Ok((pipeline, order))
            });
            match usable {
                Ok((pipeline, order)) => {
                    let board = &self.ground.board;
                    let member = Member::created(Arc::new(pipeline), order, board);
                    fleet.members.push(member);
                }
                Err(why) => self.take_unusable(fleet, name, why),
            }
        }
        Ok(())
    }

    /// A created pipeline that the configuration does not allow any more: shown, not started, not lost.
    fn take_unusable(&self, fleet: &mut Fleet, name: String, why: String) {
        let file = self.keep.path(&name);
        tracing::error!(
            pipeline = name,
            file = %file.display(),
            error = why,
            "a created pipeline cannot be used: correct its file and start again, or DELETE it"
        );
        let board = self.ground.board.add_pipeline(&name, "unknown");
        board.set_created(true);
        board.set_state(PipelineState::Halted, Some(&why));
        fleet.unusable.push((name, why));
    }

    /// Reads an order beside the pipelines that are there, but for the one that it replaces.
    fn read(&self, fleet: &Fleet, order: &Order, replaces: &str) -> Result<Pipeline, Vec<Fault>> {
        let newest = |member: &Member| {
            let newest = member.next.as_ref().unwrap_or(&member.pipeline);
            Pipeline::clone(newest)
        };
        let others: Vec<Pipeline> = fleet.members.iter().map(newest).collect();
        let others: Vec<Pipeline> = others.into_iter().filter(|p| p.name != replaces).collect();
        let base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let read = base.read_pipeline(&order.pipeline, &others);
        read.map_err(|problems| problems.into_iter().map(fault).collect())
    }

    /// Has created pipelines read again under the newest base: only secrets may differ. How many take them
    /// with their next start.
    pub(super) fn renew_created(&self, fleet: &mut Fleet) -> usize {
        let mut renewed = 0;
        for index in 0..fleet.members.len() {
            let member = &fleet.members[index];
            let Some(order) = member.order.as_ref() else {
                continue;
            };
            let name = member.pipeline.name.clone();
            let newest = member.next.as_ref().unwrap_or(&member.pipeline).clone();
            match self.read(fleet, order, &name) {
                Ok(read) if read.effective == newest.effective => {
                    fleet.members[index].next = Some(Arc::new(read));
                    renewed += 1;
                }
                Ok(_) => tracing::warn!(
                    pipeline = name,
                    "SIGHUP: the created pipeline keeps its secrets: more than secrets would change"
                ),
                Err(faults) => tracing::error!(
                    pipeline = name,
                    error = shown(&faults),
                    "SIGHUP: the created pipeline keeps its secrets"
                ),
            }
        }
        renewed
    }

    /// What is wrong with an order, whatever its name is.
    ///
    /// # Errors
    /// Every problem.
    pub(crate) fn validate(&self, order: &Order) -> Result<Pipeline, Declined> {
        let fleet = self.lock();
        let name = order.pipeline["name"].as_str().unwrap_or_default();
        self.read(&fleet, order, name).map_err(Declined::Invalid)
    }

    /// Creates a pipeline: its tables where the order brings them, its file, and its threads.
    pub(crate) fn create(self: &Arc<Self>, order: Order) -> Result<Moved, Declined> {
        // Before the lock, since ClickHouse may take its time, and under it.
        let pipeline = self.may_create(&order)?;
        self.make_tables(&pipeline, &order)?;
        let _orders = self.lock_orders();
        let pipeline = self.may_create(&order)?;
        let name = pipeline.name.clone();
        let put = self.keep.put(&name, &order);
        put.map_err(|error| self.disk(&name, &error))?;
        tracing::info!(pipeline = name, "created on an operator's wish");
        let mut fleet = self.lock();
        let starts = order.starts && !fleet.is_ending;
        let board = &self.ground.board;
        let member = Member::created(Arc::new(pipeline), order, board);
        fleet.members.push(member);
        let index = fleet.members.len() - 1;
        if starts {
            return self.move_member(&mut fleet, index, Move::Start);
        }
        Ok(Moved {
            state: State::Stopped,
            has_changed: true,
        })
    }

    fn may_create(&self, order: &Order) -> Result<Pipeline, Declined> {
        let fleet = self.lock();
        if fleet.is_ending {
            return Err(Declined::ShuttingDown);
        }
        let name = order.pipeline["name"].as_str().unwrap_or_default();
        let pipeline = self.read(&fleet, order, name).map_err(Declined::Invalid)?;
        // Those that this process was not told to run too: at the next start the file would win.
        if fleet.of_file.iter().any(|of_file| of_file == name) {
            return Err(match fleet.index_of(name) {
                Ok(_) => Declined::Exists(name.to_owned()),
                Err(_) => Declined::OfFile(name.to_owned()),
            });
        }
        // Two paths of the API that are no pipeline's.
        let is_taken = matches!(name, "create" | "validate")
            || fleet.index_of(name).is_ok()
            || self.keep.path(name).exists();
        if is_taken {
            return Err(Declined::Exists(name.to_owned()));
        }
        Ok(pipeline)
    }

    fn make_tables(&self, pipeline: &Pipeline, order: &Order) -> Result<(), Declined> {
        if order.tables.is_empty() {
            return Ok(());
        }
        let deadline = Some(Instant::now() + TABLE_TIMEOUT);
        let report = |line: &str| tracing::info!(pipeline = pipeline.name, "made {line}");
        let make = schema::make(pipeline, &order.tables, deadline, report);
        match self.ground.runtime.block_on(make) {
            Ok(()) => Ok(()),
            Err(ApplyError::Refused { error, .. }) => Err(Declined::TableRefused(error)),
            Err(error) => Err(Declined::Unavailable(error.to_string())),
        }
    }

    /// Replaces a created pipeline: drains it, and starts it under the new order.
    pub(crate) fn replace(self: &Arc<Self>, name: &str, order: Order) -> Result<Moved, Declined> {
        let wanted = Move::Replace {
            starts: order.starts,
        };
        let (pipeline, old) = self.may_replace(name, &order, wanted)?;
        if old.is_same(&order) {
            return self.replace_unchanged(name);
        }
        self.make_tables(&pipeline, &order)?;
        let _orders = self.lock_orders();
        let (pipeline, old) = self.may_replace(name, &order, wanted)?;
        if old.is_same(&order) {
            return self.replace_unchanged(name);
        }
        let put = self.keep.put(name, &order);
        put.map_err(|error| self.disk(name, &error))?;
        let mut fleet = self.lock();
        let moved = fleet.may_move(name).and_then(|index| {
            let member = &mut fleet.members[index];
            may(member, wanted)?;
            member.next = Some(Arc::new(pipeline));
            member.order = Some(order);
            self.move_member(&mut fleet, index, wanted)
        });
        if moved.is_err() {
            // Something else has moved it meanwhile.
            let put = self.keep.put(name, &old);
            put.map_err(|error| self.disk(name, &error))?;
        }
        moved
    }

    /// The same order once more.
    fn replace_unchanged(&self, name: &str) -> Result<Moved, Declined> {
        let fleet = self.lock();
        let index = fleet.may_move(name)?;
        Ok(Moved {
            state: fleet.members[index].life.state(),
            has_changed: false,
        })
    }

    /// What the order reads as, and the order that it replaces.
    fn may_replace(
        &self,
        name: &str,
        order: &Order,
        wanted: Move,
    ) -> Result<(Pipeline, Order), Declined> {
        let fleet = self.lock();
        let index = fleet.may_move(name)?;
        let member = &fleet.members[index];
        let old = created(member)?;
        let pipeline = self.read(&fleet, order, name).map_err(Declined::Invalid)?;
        if !old.is_same(order) {
            may(member, wanted)?;
        }
        Ok((pipeline, old.clone()))
    }

    /// Removes a created pipeline once it has drained. Offsets and tables stay.
    pub(crate) fn remove(self: &Arc<Self>, name: &str) -> Result<Moved, Declined> {
        let _orders = self.lock_orders();
        if let Some(moved) = self.remove_unusable(name)? {
            return Ok(moved);
        }
        let old = {
            let fleet = self.lock();
            let index = fleet.may_move(name)?;
            let member = &fleet.members[index];
            let old = created(member)?.clone();
            may(member, Move::Remove)?;
            old
        };
        let removed = self.keep.remove(name);
        removed.map_err(|error| self.disk(name, &error))?;
        let mut fleet = self.lock();
        let moved = fleet
            .may_move(name)
            .and_then(|index| self.move_member(&mut fleet, index, Move::Remove));
        if moved.is_err() {
            let put = self.keep.put(name, &old);
            put.map_err(|error| self.disk(name, &error))?;
        }
        moved
    }

    fn remove_unusable(&self, name: &str) -> Result<Option<Moved>, Declined> {
        let mut fleet = self.lock();
        if !fleet.unusable.iter().any(|(unusable, _)| unusable == name) {
            return Ok(None);
        }
        let removed = self.keep.remove(name);
        removed.map_err(|error| self.disk(name, &error))?;
        fleet.unusable.retain(|(unusable, _)| unusable != name);
        self.ground.board.remove_pipeline(name);
        Ok(Some(Moved {
            state: State::Stopped,
            has_changed: true,
        }))
    }

    fn disk(&self, name: &str, error: &std::io::Error) -> Declined {
        let path = self.keep.path(name);
        Declined::Disk(format!("{}: {error}", path.display()))
    }

    fn lock_orders(&self) -> MutexGuard<'_, ()> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn created(member: &Member) -> Result<&Order, Declined> {
    let name = &member.pipeline.name;
    let order = member.order.as_ref();
    order.ok_or_else(|| Declined::OfFile(name.clone()))
}

/// Whether the move would be made now.
fn may(member: &Member, wanted: Move) -> Result<(), Declined> {
    let mut trial = member.life;
    let name = member.pipeline.name.clone();
    let refused = trial.request(wanted);
    refused.map_or_else(
        |refused| Err(Declined::Refused { name, refused }),
        |_| Ok(()),
    )
}

fn fault(problem: Problem) -> Fault {
    Fault::new(&problem.key_path, problem.message)
}
