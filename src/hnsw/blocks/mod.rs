//! A graph of blocks: nodes with compact codes, and neighbours' codes beside their links.

pub mod calibrate;
pub mod format;
mod walk;

pub use walk::{BlockStore, Effort, Exact, KeySet, Near, Ranking, Walk, Work};
