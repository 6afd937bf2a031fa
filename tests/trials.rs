//! Faults: short runs of the programme that `make soak` runs at length.

mod crash;
mod faults;
mod four_pipelines;
mod join_faults;
mod programme;
mod replica_faults;
mod support;
mod window_faults;
