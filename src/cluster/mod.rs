//! Here are many vectors, give me lists: k-means, nearest centroids, splitting a list in two.
//!
//! Everything works on [`Rows`], points of the rotated space in signed bytes with a scale, as compact
//! codes have them ([`quantize`](crate::quantize)): distances are squared Euclidean ones between
//! what the codes stand for, from products of bytes in blocks of a matrix product
//! (`tile`), exact integers and the same bits on every processor.
//!
//! * [`train`] finds centroids for a sample: Lloyd's k-means (1957/1982) from random rows, empty lists
//!   filled from the largest, spherical where centroids are to have length one. Once all rows have a list they are
//!   compared with those around it. Tens of thousands of lists are found and looked for in groups: rows
//!   are compared with the lists of the nearest groups only.
//! * [`Lists`] finds each row's nearest centroid, and a second one as SOAR chooses it (Sun, Simcha,
//!   Dopson, Guo and Kumar, NeurIPS 2023).
//! * [`split`] divides one list's rows by 2-means.
//!
//! Work is divided among the threads of a [`Crew`] so that results never depend on their number.

mod again;
mod choose;
mod crew;
mod flat;
mod lists;
mod one;
mod queries;
mod rows;
mod split;
mod tile;
mod train;

pub use crew::{Alone, Crew, Threads};
pub use lists::{Lists, Near, Pair};
pub use one::{nearest_to, two_nearest_to};
pub use queries::Queries;
pub use rows::Rows;
pub use split::{Halves, split};
pub use train::{Training, add_row, onto_sphere, train};

#[cfg(test)]
mod tests;
