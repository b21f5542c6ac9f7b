//! The indexed column: which space its operator class means, and its values as the index keeps them.

use crate::distance::{Element, Metric, Operand, Space, Value};
use crate::page::Damage;
use crate::pg::error::raise_index;
use crate::pg::relation::Index;
use crate::pg::varlena::Detoasted;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::{self, Datum};

/// Number of the support function that names an operator class's space.
pub const SPACE_PROC: u16 = 1;

/// What an access method says of the columns it takes.
#[derive(Clone, Copy)]
pub struct Method {
    /// its name in SQL
    pub name: &'static str,
    /// most dimensions of an element type's values
    pub max_dims: fn(Element) -> u32,
}

/// The indexed column of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// element type and metric
    pub space: Space,
    /// dimensions (bits for `bit`) of every value
    pub dims: u32,
}

impl Column {
    /// The column of an index that is being created. Raises 0A000 for `bit varying`, 22023 where
    /// the column has no dimensions, 54000 where it has too many.
    pub fn declared(index: Index, method: Method) -> Column {
        let space = space_of(index);
        let (type_id, typmod) = index.attribute(0);
        if type_id == pg_sys::VARBITOID {
            // its length says how long a value may be, not how long each is
            raise_index(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("type not supported for {} index", method.name),
                None,
            )
        }
        let Ok(dims @ 1..) = u32::try_from(typmod) else {
            raise_index(
                Code::ERRCODE_INVALID_PARAMETER_VALUE,
                "column does not have dimensions".into(),
                Some(format!(
                    "Declare the column as {0}(n), or index an expression: ((column::{0}(n))).",
                    space.element.type_name()
                )),
            )
        };
        let most = (method.max_dims)(space.element);
        if dims > most {
            raise_index(
                Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!(
                    "column cannot have more than {most} dimensions for {} index",
                    method.name
                ),
                None,
            )
        }
        Column { space, dims }
    }

    /// The column of an index that was built; `space` is the code of the space that its metapage names.
    pub fn built(index: Index, space: i32, dims: u32) -> Result<Column, Damage> {
        let declared = space_of(index);
        if space != declared.code() {
            return Err(Damage("the metapage is of another operator class"));
        }
        let declared_dims = index.attribute(0).1;
        // `ALTER TABLE ... TYPE vector` takes the dimensions away and leaves the index, which goes on with its own
        if declared_dims >= 0 && i64::from(declared_dims) != i64::from(dims) {
            return Err(Damage("the metapage is of another column"));
        }
        Ok(Column {
            space: declared,
            dims,
        })
    }

    /// Whether column `n` (from 0) of an index has an operator class of vectors.
    pub fn is_vector(index: Index, n: usize) -> bool {
        // SAFETY: an open index has an operator class for each column.
        let support = unsafe { pg_sys::index_getprocid(index.raw(), n as i16 + 1, SPACE_PROC) };
        support != pg_sys::InvalidOid
    }

    /// Length of every value's payload; `None` where it varies.
    pub fn payload_len(self) -> Option<usize> {
        self.space.element.payload_len(self.dims)
    }

    /// A value as the index keeps it.
    ///
    /// Raises 22000 where its dimensions are not the column's.
    ///
    /// # Safety
    /// `datum` is a non-NULL value of the column's type.
    pub unsafe fn value(self, datum: Datum) -> Value {
        // SAFETY: as promised by the caller.
        let (column, value) = unsafe { Column::of_value(self.space, datum) };
        if column.dims != self.dims {
            self.raise_different(column.dims);
        }
        value
    }

    /// A value, and the column of such values.
    ///
    /// # Safety
    /// `datum` is a non-NULL value of the space's type.
    #[inline]
    pub unsafe fn of_value(space: Space, datum: Datum) -> (Column, Value) {
        // SAFETY: as promised by the caller.
        let detoasted = unsafe { Detoasted::new(datum) };
        let (dims, payload) = parts(space.element, detoasted.body());
        (Column { space, dims }, Value::new(space, payload))
    }

    /// Distance of a value from another, read where the server has it; `None` where no index holds it.
    ///
    /// Raises 22000 where its dimensions are not the column's.
    ///
    /// # Safety
    /// `datum` is a non-NULL value of the column's type.
    #[inline]
    pub unsafe fn distance(self, datum: Datum, to: Operand<'_>) -> Option<f64> {
        // SAFETY: as promised by the caller.
        let detoasted = unsafe { Detoasted::new(datum) };
        let (dims, payload) = parts(self.space.element, detoasted.body());
        if dims != self.dims {
            self.raise_different(dims);
        }
        let value = Operand {
            payload,
            norm_squared: self.space.norm_squared(payload),
        };
        self.has_distance(value)
            .then(|| self.space.distance(to, value))
    }

    #[cold]
    fn raise_different(self, dims: u32) -> ! {
        let type_name = match self.space.element {
            Element::F32 => "vector dimensions",
            Element::F16 => "halfvec dimensions",
            Element::Bit => "bit lengths",
            Element::Sparse => "sparsevec dimensions",
            Element::I8 => "bytevec dimensions",
            Element::Bf16 => "bf16vec dimensions",
        };
        raise_index(
            Code::ERRCODE_DATA_EXCEPTION,
            format!("different {type_name} {} and {dims}", self.dims),
            None,
        )
    }

    /// Whether a value can be found by distance. Under cosine a zero vector has none, and is not
    /// indexed.
    pub fn is_indexable(self, value: &Value) -> bool {
        self.has_distance(value.operand())
    }

    fn has_distance(self, value: Operand<'_>) -> bool {
        self.space.metric != Metric::Cosine || value.norm_squared > 0.0
    }
}

/// Dimensions and payload of a value's bytes, which are aligned to 4.
#[inline]
fn parts(element: Element, body: &[u8]) -> (u32, &[u8]) {
    let first = i32::from_ne_bytes([body[0], body[1], body[2], body[3]]);
    let (dims, payload) = match element {
        Element::F32 | Element::F16 | Element::Bf16 | Element::I8 => (first & 0xffff, &body[4..]),
        Element::Bit => (first, &body[4..]),
        Element::Sparse => (first, body),
    };
    (dims as u32, payload)
}

/// What the operator class of an index's first column says it is.
///
/// Raises 0A000 where it is one for filter columns, 42P17 where it is not ours.
pub fn space_of(index: Index) -> Space {
    // SAFETY: an open index has an operator class for its first column; our support functions
    // take no arguments.
    let code = unsafe {
        let oid = pg_sys::index_getprocid(index.raw(), 1, SPACE_PROC);
        if oid == pg_sys::InvalidOid {
            -1
        } else {
            pg_sys::OidFunctionCall0Coll(oid, pg_sys::InvalidOid).value() as i32
        }
    };
    Space::from_code(code).unwrap_or_else(|| {
        if code < 0 {
            raise_index(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "the first column of index \"{}\" is not a vector",
                    index.name()
                ),
                Some("Name the vector first, then the columns to filter by.".into()),
            );
        }
        raise_index(
            Code::ERRCODE_INVALID_OBJECT_DEFINITION,
            format!(
                "operator class of index \"{}\" is not of vectorext",
                index.name()
            ),
            Some("Its support function 1 must be one of the extension's own.".into()),
        )
    })
}

/// Support functions: each names the space of one operator class.
macro_rules! space_functions {
    ($($name:ident => $element:ident, $metric:ident;)*) => {$(
        crate::pg_fn! {
            fn $name(_call) {
                let space = Space { element: Element::$element, metric: Metric::$metric };
                Datum::from(space.code())
            }
        }
    )*};
}

space_functions! {
    vector_l2_space => F32, L2;
    vector_ip_space => F32, InnerProduct;
    vector_cosine_space => F32, Cosine;
    vector_l1_space => F32, L1;
    halfvec_l2_space => F16, L2;
    halfvec_ip_space => F16, InnerProduct;
    halfvec_cosine_space => F16, Cosine;
    halfvec_l1_space => F16, L1;
    bf16vec_l2_space => Bf16, L2;
    bf16vec_ip_space => Bf16, InnerProduct;
    bf16vec_cosine_space => Bf16, Cosine;
    bf16vec_l1_space => Bf16, L1;
    bytevec_l2_space => I8, L2;
    bytevec_ip_space => I8, InnerProduct;
    bytevec_cosine_space => I8, Cosine;
    bytevec_l1_space => I8, L1;
    bit_hamming_space => Bit, Hamming;
    bit_jaccard_space => Bit, Jaccard;
    sparsevec_l2_space => Sparse, L2;
    sparsevec_ip_space => Sparse, InnerProduct;
    sparsevec_cosine_space => Sparse, Cosine;
    sparsevec_l1_space => Sparse, L1;
}
