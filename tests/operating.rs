//! What people and other programs do with it: configuration, commands, documentation, rights, packages.

mod config_check;
mod docs;
mod doctor;
mod inspect;
mod operations;
mod packaging;
mod security;
mod support;
