//! The graph of blocks: one layer over quantized vectors, with an entry table in place of upper
//! layers.

pub mod build;
mod exact;
mod link;
pub mod memory;
mod order;
mod reach;

pub use link::Worker;
pub use reach::Attached;

#[cfg(test)]
mod build_tests;
