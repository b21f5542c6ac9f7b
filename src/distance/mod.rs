//! Distance metrics and their kernels. Every kernel dispatches at run time to the best code the
//! processor has, and gives the same result for the same operands on the same machine wherever
//! it is called from: an index and the SQL operator must agree to the last bit.

pub mod bit;
pub mod f16;
pub mod f32;
pub mod sparse;
