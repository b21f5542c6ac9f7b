//! The HNSW graph (Malkov and Yashunin, 2016/2018), free of PostgreSQL: search, neighbour
//! selection, the in-memory build, and the bytes of the on-disk format. `README.md` beside this
//! file describes the format, the locking rules and the invariants.

pub mod blocks;
mod build;
pub mod check;
pub mod format;
mod search;
mod select;
mod stream;

pub use build::{Graph, Link, Pushed, Worker};
pub use search::{Candidate, Distance, Searcher, Store};
pub use select::select_neighbours;
pub use stream::Stream;

/// Layer of the graph; 0 is the ground layer that holds every node.
pub type Level = u8;

/// Shape of a graph: the paper's M and efConstruction and what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// links a node has per upper layer; twice as many on the ground layer
    pub m: u16,
    /// size of the candidate list while building
    pub ef_construction: u16,
}

impl Params {
    /// Greatest number of links a node has at a level.
    pub fn capacity(self, level: Level) -> usize {
        match level {
            0 => 2 * self.m as usize,
            _ => self.m as usize,
        }
    }

    /// Links of a node of `level` over all its layers.
    pub fn total_capacity(self, level: Level) -> usize {
        (level as usize + 2) * self.m as usize
    }

    /// Draws a node's level: floor(-ln(u) / ln(m)) as in the paper, at most `highest`.
    pub fn random_level(self, rng: &mut fastrand::Rng, highest: Level) -> Level {
        let u = 1.0 - rng.f64(); // (0, 1]
        let level = -u.ln() / (self.m as f64).ln();
        level.min(highest as f64) as Level
    }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
