//! The `ivf` and `ivfflat` index access methods: one file for each verb the server asks for.

pub mod directory;
pub mod index;
pub mod storage;
