//! A graph of blocks: one layer over quantized vectors, with an entry table in place of upper
//! layers, and neighbours' codes beside links.

pub mod build;
pub mod calibrate;
mod exact;
pub mod format;
mod link;
pub mod map;
pub mod memory;
mod order;
mod preview;
mod reach;
mod untested;
mod walk;

pub use link::{SLACK, Worker};
pub use preview::{Codes, Preview, measure};
pub use reach::Attached;
pub use untested::Untested;
pub use walk::{
    BlockStore, Effort, Exact, KeySet, Near, Nearest, Ranking, SEEDS, Tested, Walk, Work,
};

#[cfg(test)]
mod build_tests;
#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod walk_tests;
