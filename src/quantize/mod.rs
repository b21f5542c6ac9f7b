//! Quantized vectors: a few bits or one byte for each dimension, and distances estimated from them.
//!
//! RaBitQ (Gao and Long, SIGMOD 2024; extended: SIGMOD 2025): a vector is taken relative to a
//! centroid and rotated at random, so that its error against any query is small and of known size.
//!
//! # From a vector to its codes
//!
//! A vector x (under cosine first normalised to length 1) becomes a residual r = R(x - c), where c is
//! the index's centroid and R the seeded rotation of [`rotation`]. What is kept of r:
//!
//! * the **compact code** ([`Compact`] and D signed bytes), nearly exact: distances of nodes to each
//!   other and to queries;
//! * the **inline code** ([`Quantizer`], [`Factors`]), made from the compact code alone and rougher:
//!   estimates for the neighbours of a node.
//!
//! Codes are exact small integers, so a dot product of two codes is the same on every processor.
//!
//! # Bytes of a code
//!
//! Of D dimensions, an inline code has the first D' <= D rotated ones (`code_dims`).
//!
//! | code | bytes | grid value g of a dimension |
//! |---|---|---|
//! | compact | D signed bytes i from -127 to 127 | i |
//! | `rabitq1` | one bit plane | u - 1/2 |
//! | `rabitqB`, B from 2 to 7 | B bit planes, that of 2^0 first | u - (2^B - 1) / 2 |
//! | `rabitq8` | D' signed bytes i = u - 128, zeros up to a multiple of 8 | u - 255/2 = i + 1/2 |
//! | `sq4` | four bit planes, that of 2^0 first | u - 15/2 |
//! | `sq8` | D' signed bytes, zeros up to a multiple of 8 | i |
//! | `binary` | one bit plane: the signs | none: compared with the query's signs |
//! | `pq` | numbers of segments as below, zeros up to a multiple of 8 | the entries they name |
//!
//! `rabitq` grids are scaled to stand at the smallest angle to the residual; `sq4` and `sq8` reach as
//! far as its largest coordinate.
//!
//! Distances are estimated as those of compact codes, with scale = |r|^2 / <g, r> in the place of theirs; for
//! `binary` <r_q, r_x> is |r_q| |r_x| cos(pi h / D'), h the signs that differ, and scale = |r|. The entries of `pq`
//! are of a [`Codebook`] that belongs to the index and is trained on residuals r.
//!
//! A bit plane is ceil(D' / 64) words of 8 bytes, little-endian; dimension j is bit j % 64 of word
//! j / 64; bits past D' are zero. u is the unsigned number of a dimension's bits, one in each plane.
//!
//! # Internal distance
//!
//! d(q, x) = base_q + add_x - 2 <r_q, r_x>, smaller is nearer:
//!
//! | metric | add_x | d |
//! |---|---|---|
//! | L2 | &#124;r_x&#124;^2 | squared distance |
//! | cosine | &#124;r_x&#124;^2 | squared distance of the normalised vectors, 2 (1 - cos) |
//! | inner product | -2 <r_x, Rc> | 2 reach^2 - 2 <q^, x>, q^ the query scaled to length `reach` |
//!
//! # Relative to a list
//!
//! An index of lists codes a row relative to the centroid of its list. That centroid *is* what its
//! [`Centre`] and bytes give, C = scale i in the rotated space, so whoever has the list's page and the
//! row can make the code again. Of the residual r = R(x - c) - C a **list code** is kept, with
//! [`ListFactors`]: the grid vector g, scale = |r|^2 / <g, r>, and
//!
//! d(q, x) = base_C(q) + add_x - 2 scale_x <r_q, g_x>
//!
//! | metric | base_C(q) | add_x |
//! |---|---|---|
//! | L2, cosine | &#124;r_q - C&#124;^2 | &#124;r&#124;^2 + 2 scale_x <C, g_x> |
//! | inner product | internal distance of q and C | -2 <r, Rc + C> + 2 scale_x <C, g_x> |
//!
//! so the query is coded once for all lists, and what an estimate is off by is 2 <r_q - C, r - scale_x g_x>
//! (the two vectors are independent by the rotation, and the second is orthogonal to r): its deviation
//! is |r_q - C| times `error` = 2 |r - scale_x g_x| / sqrt(D - 1). What the query's own code
//! is off by comes on top, and is the smaller part up to 6 bits.
//!
//! # Other codes of lists
//!
//! | code | bytes | estimate |
//! |---|---|---|
//! | `pq` | `pq_segments` numbers of `pq_bits` (4 or 8) bits, of a pair of 4 the first is the low one | as above, g the entries that the numbers name, of a [`Codebook`] trained on residuals; products with the query from tables |
//! | `binary` | the signs of r, as one bit plane | base_C(q) + add_x - 2 &#124;r_q - C&#124; scale_x cos(pi h / D), h the signs in which r and r_q - C differ; scale_x = &#124;r&#124;, add_x as above without what has g in it |
//!
//! Sixteen codes of `rabitq1` may stand as a group, byte by byte: [`fast_scan`].
//!
//! Segment s of m has the dimensions from s D / m to (s + 1) D / m, rounded down. [`Coding`] is one of all
//! quantizers.
//!
//! Nothing here is NaN or infinite: what overflows f32 becomes the largest f32, "far".

mod binary;
mod codec;
mod coding;
mod compact;
pub mod fast_scan;
mod grid;
mod inline;
mod kernels;
mod list;
mod pq;
mod query;
pub mod rotation;
mod sums;

pub use codec::Codec;
pub use coding::{Coding, Lookup, Lookups};
pub use compact::{Compact, CompactRef};
pub use inline::{Factors, Quantizer};
pub use list::{Base, Centre, CentreRef, DEVIATIONS, ListEncoder, ListFactors, Rotated};
pub(crate) use list::{nearest_bytes, product_of_bytes, products_of_bytes};
pub use pq::{BadPq, Codebook, PqShape};
pub use query::Query;

#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod tests;

/// A distance that f32 can hold: what overflowed or is no number is as far as can be.
#[inline(always)]
fn finite(distance: f32) -> f32 {
    // `clamp` would keep a NaN, `min` gives its argument for it
    #[allow(clippy::manual_clamp)]
    distance.min(f32::MAX).max(-f32::MAX)
}

/// The nearest f32 that is finite.
#[inline(always)]
fn narrow(x: f64) -> f32 {
    finite(x as f32)
}
