//! An index of blocks: compact codes in nodes, neighbours' codes beside links
//! (`src/hnsw/blocks` has the algorithms and the format).

pub mod build;
pub mod calibration;
pub mod codebook;
pub mod entries;
pub mod index;
pub mod insert;
pub mod map;
pub mod map_scan;
pub mod measure;
pub mod scan;
pub mod search;
pub mod sweep;
pub mod vacuum;
pub mod write;
