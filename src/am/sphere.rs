//! Spheres: values of `sphere_vector` and its sisters, a centre and a radius, and index scans for the
//! rows in them.
//!
//! `WHERE embedding <<=>> sphere($1, 0.3)` is what VectorChord calls it. The operator is strategy
//! [`STRATEGY`] of an operator class, a condition as any other, so that the server plans scans for it
//! with and without an order, and inside of joins.

use crate::distance::{Space, Value};
use pgrx::pg_sys::{self, Datum};

use super::column::Column;

/// Strategy number of the operators that say whether a value is in a sphere.
pub const STRATEGY: u16 = 2;

/// A sphere: what is nearer to its centre than its radius.
#[derive(Clone, Copy)]
pub struct Sphere {
    /// a value of the column's type
    pub center: Datum,
    /// in the operator's units
    pub radius: f64,
}

impl Sphere {
    /// `None` where centre or radius are NULL: whether anything is in it is then unknown.
    ///
    /// # Safety
    /// `datum` is a non-NULL value of one of the types. The centre lives as long as it, or as the
    /// current memory context.
    pub unsafe fn of(datum: Datum) -> Option<Sphere> {
        // SAFETY: a composite value has a tuple header, which names its type.
        unsafe {
            let header = pg_sys::pg_detoast_datum(datum.cast_mut_ptr())
                .cast::<pg_sys::HeapTupleHeaderData>();
            let of_type = (*header).t_choice.t_datum;
            let columns =
                pg_sys::lookup_rowtype_tupdesc(of_type.datum_typeid, of_type.datum_typmod);
            assert_eq!((*columns).natts, 2, "a sphere has a centre and a radius");
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varsize_4b(header.cast()) as u32,
                t_data: header,
                ..Default::default()
            };
            let mut values = [Datum::null(); 2];
            let mut nulls = [true; 2];
            pg_sys::heap_deform_tuple(
                &raw mut tuple,
                columns,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            if (*columns).tdrefcount >= 0 {
                pg_sys::DecrTupleDescRefCount(columns);
            }
            (nulls == [false; 2]).then(|| Sphere {
                center: values[0],
                radius: f64::from_bits(values[1].value() as u64),
            })
        }
    }
}

/// The spheres in which a scan's rows have to be; `None` where there is none that can be in them.
///
/// # Safety
/// `keys` are the scan's, with arguments of their types.
pub unsafe fn of_scan(keys: &[pg_sys::ScanKeyData]) -> Option<Vec<Sphere>> {
    let is_null = |key: &&pg_sys::ScanKeyData| key.sk_flags & pg_sys::SK_ISNULL as i32 != 0;
    keys.iter()
        .filter(|key| key.sk_attno == 1 && key.sk_strategy == STRATEGY)
        .map(|key| {
            let argument = (!is_null(&key)).then_some(key.sk_argument)?;
            // SAFETY: as promised by the caller.
            unsafe { Sphere::of(argument) }
        })
        .collect()
}

/// A search for what is in spheres, or for what is near a value.
pub struct Target {
    /// what distances are from
    pub query: Value,
    /// rows beyond this [`Space::distance`](crate::distance::Space::distance) are of no use; infinite
    /// where all are
    pub within: f64,
    /// there are spheres around other centres, which only the rows themselves can be put to
    pub has_others: bool,
}

impl Target {
    /// A search from `query` for what is no farther than `radius`, in the operator's units, and in all
    /// spheres.
    ///
    /// # Safety
    /// The spheres are of values of the column's type.
    pub unsafe fn new(
        column: Column,
        query: Value,
        radius: Option<f64>,
        spheres: &[Sphere],
    ) -> Target {
        let mut target = Target {
            within: radius.map_or(f64::INFINITY, |radius| bound(column.space, radius)),
            query,
            has_others: false,
        };
        for sphere in spheres {
            // SAFETY: as promised by the caller.
            let center = unsafe { column.value(sphere.center) };
            if center.payload() == target.query.payload() {
                target.within = target.within.min(bound(column.space, sphere.radius));
            } else {
                target.has_others = true;
            }
        }
        target
    }
}

/// What no row within a radius is farther than, rounding of roots and squares included.
fn bound(space: Space, radius: f64) -> f64 {
    if radius.is_nan() {
        // every distance is less than NaN
        return f64::INFINITY;
    }
    let bound = space.of_operator(radius);
    match bound.is_finite() {
        true => bound + bound.abs() * 1e-12,
        false => bound,
    }
}
