//! What is refused, by whom, and that the refusal costs nothing but what it names.

mod begin;
mod columns;
mod dead_letters;
mod duplicates;
mod exploding;
mod formats;
mod kinds;
mod offsets;
mod private;
mod repeated;
mod rows;
mod rules;
mod sampled;
mod servers;
mod start;
mod types;
mod usage;
