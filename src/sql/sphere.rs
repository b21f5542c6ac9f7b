//! Spheres: their constructor, and whether a value is in one.

use crate::am::column::Column;
use crate::am::sphere::Sphere;
use crate::distance::{Element, Metric, Space};
use crate::pg::fmgr::{Call, boolean};
use crate::pg_fn;
use pgrx::pg_sys::Datum;

pg_fn! {
    /// `sphere(vector, double precision) -> sphere_vector`, and of the other types
    fn sphere(call) {
        call.row(&[Some(call.arg(0)), Some(call.arg(1))])
    }
}

/// `value <<operator>> sphere`: exactly what `value <operator> center < radius` says.
fn is_in(call: Call, space: Space) -> Datum {
    // SAFETY: SQL declares the arguments so.
    let Some(sphere) = (unsafe { Sphere::of(call.arg(1)) }) else {
        return call.null();
    };
    // SAFETY: as above.
    let (value, center) = unsafe {
        let (column, value) = Column::of_value(space, call.arg(0));
        (value, column.value(sphere.center))
    };
    let distance = space.operator(space.distance(value.operand(), center.operand()));
    // NaN is the greatest number, and what has no distance is infinitely far
    let is_in = match sphere.radius.is_nan() {
        true => distance < f64::INFINITY,
        false => distance < sphere.radius,
    };
    boolean(is_in)
}

/// One function for each element type and metric.
macro_rules! membership {
    ($($name:ident => $element:ident, $metric:ident;)*) => {$(
        pg_fn! {
            fn $name(call) {
                is_in(call, Space { element: Element::$element, metric: Metric::$metric })
            }
        }
    )*};
}

membership! {
    vector_in_l2_sphere => F32, L2;
    vector_in_ip_sphere => F32, InnerProduct;
    vector_in_cosine_sphere => F32, Cosine;
    vector_in_l1_sphere => F32, L1;
    halfvec_in_l2_sphere => F16, L2;
    halfvec_in_ip_sphere => F16, InnerProduct;
    halfvec_in_cosine_sphere => F16, Cosine;
    halfvec_in_l1_sphere => F16, L1;
    bf16vec_in_l2_sphere => Bf16, L2;
    bf16vec_in_ip_sphere => Bf16, InnerProduct;
    bf16vec_in_cosine_sphere => Bf16, Cosine;
    bf16vec_in_l1_sphere => Bf16, L1;
    bytevec_in_l2_sphere => I8, L2;
    bytevec_in_ip_sphere => I8, InnerProduct;
    bytevec_in_cosine_sphere => I8, Cosine;
    bytevec_in_l1_sphere => I8, L1;
    bit_in_hamming_sphere => Bit, Hamming;
    bit_in_jaccard_sphere => Bit, Jaccard;
    sparsevec_in_l2_sphere => Sparse, L2;
    sparsevec_in_ip_sphere => Sparse, InnerProduct;
    sparsevec_in_cosine_sphere => Sparse, Cosine;
    sparsevec_in_l1_sphere => Sparse, L1;
}
