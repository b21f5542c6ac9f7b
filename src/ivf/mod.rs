//! An index of lists (inverted file): rows are put into the list of the nearest of some centroids, and a
//! search reads the lists whose centroids are near the query. [README.md](README.md) is the design.

pub mod calibrate;
pub mod check;
pub mod format;
pub mod grow;
#[cfg(test)]
mod grow_tests;
pub mod order;
pub mod reach;
pub mod rough;
pub mod runs;
pub mod screen;
