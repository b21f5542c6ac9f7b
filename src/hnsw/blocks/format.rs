//! The bytes of an index of blocks: what its nodes, its entry table and its centroid look like.
//!
//! A block is a node item ([`crate::hnsw::format`]) without levels above the ground and without chunks.
//! Its value is
//!
//! | bytes | what |
//! |---|---|
//! | 0..16 | factors of the compact code ([`Compact`]) |
//! | 16..24 | hash of the indexed value: equal values have equal hashes |
//! | 24.. | compact code: a signed byte for each dimension |
//!
//! and beside its links it keeps, link by link and each part padded to 8,
//!
//! | part | bytes of a link | what |
//! |---|---|---|
//! | spans | 2 | distance between the two ends and the heuristic's verdict ([`Span`]) |
//! | adds | 4 | layout inline: `add` of the neighbour's [`Factors`] |
//! | scales | 4 | layout inline: `scale` of them |
//! | codes | [`Quantizer::code_len`] | layout inline: the neighbour's code |
//!
//! Where the index has filter columns, the keys of the block's heap TIDs come last.
//!
//! Links in use come first. What belongs to an unused one is zero.

use crate::hnsw::format::Opaque;
use bytemuck::{Pod, Zeroable};

mod block;
mod entries;
mod shape;

pub use block::{Block, BlockMut, Kept, Span, compact_of, encode_value, hash_of_value};
pub use entries::{ENTRY_QUANTIZER, Entries, EntriesHeader, EntriesMut, EntryLayout};
pub use shape::{BlockLayout, BlockShape, MOST_KEYS};

/// Most points of a calibration curve.
pub const MOST_CURVE_POINTS: usize = 16;

/// A measured point: which recall a stopping multiple reached.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | multiple |
/// | 4 | 4 | recall |
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct CurvePoint {
    /// a search ends when the nearest unexpanded node is farther than this multiple of the k-th
    /// nearest found, on plain distance
    pub multiple: f32,
    /// share of the ten nearest that searches then found
    pub recall: f32,
}

/// Floats of the centroid on one page.
pub const CENTROID_FLOATS: usize = (8192 - crate::page::HEADER - size_of::<Opaque>()) / 4;

const _: () = assert!(size_of::<CurvePoint>() == 8);
