//! Index access methods.
