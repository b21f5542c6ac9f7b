//! Filter columns: the columns of an index after its vector. Their values become keys
//! ([`crate::keys`]).
//!
//! Of each type the key is an image with the order of the values, or a hash where there is no such
//! image of eight bytes.

use super::values::{elements, float, integer, numeric};
use crate::am::column::Column;
use crate::keys::{Label, NULL, of_f64, of_hash, of_i64, of_labels};
use crate::pg::error::raise_index;
use crate::pg::relation::Index;
use crate::pg::rows::Values;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::{self, Datum, Oid};

/// What the keys of a column are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// smallint, integer, bigint
    Integer,
    /// real, double precision
    Float,
    /// numeric, by its nearest double
    Numeric,
    /// boolean
    Boolean,
    /// the oid of the label
    Enum,
    /// days
    Date,
    /// microseconds
    Timestamp,
    /// microseconds
    TimestampTz,
    /// anything else that has a hash
    Hash,
    /// arrays of what has a hash
    Labels,
}

/// A filter column.
#[derive(Clone, Copy)]
pub(super) struct FilterColumn {
    pub(super) kind: Kind,
    pub(super) type_id: Oid,
    collation: Oid,
    /// hashes values, or elements of arrays
    hash: *mut pg_sys::FmgrInfo,
    element: Oid,
}

/// The filter columns of an index.
pub struct FilterColumns {
    pub(super) columns: Vec<FilterColumn>,
    /// what the server allocates while keys are made, reset after every row
    scratch: pg_sys::MemoryContext,
    keys: Vec<u64>,
}

impl FilterColumns {
    /// The filter columns of an index. They live as long as the memory context that is current.
    ///
    /// Raises 0A000 for a column whose type has no keys.
    pub fn of(index: Index) -> FilterColumns {
        let columns: Vec<FilterColumn> = (1..index.columns())
            .map(|n| FilterColumn::of(index, n))
            .collect();
        FilterColumns {
            keys: Vec::with_capacity(columns.len()),
            scratch: match columns.len() {
                0 => std::ptr::null_mut(),
                // SAFETY: the name is static, as the server demands.
                _ => unsafe {
                    pg_sys::AllocSetContextCreateInternal(
                        pg_sys::CurrentMemoryContext,
                        c"vectorext filter keys".as_ptr(),
                        pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                        pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                        pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
                    )
                },
            },
            columns,
        }
    }

    /// The keys of a row.
    ///
    /// # Safety
    /// `row` has values of the index's columns.
    pub unsafe fn keys(&mut self, row: Values<'_>) -> &[u64] {
        self.keys.clear();
        if self.columns.is_empty() {
            return &self.keys;
        }
        // SAFETY: on the backend's thread; the context lives as long as we are used. After an
        // ERROR the server chooses a context itself.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(self.scratch);
            for (n, column) in self.columns.iter().enumerate() {
                let key = match row.nulls[n + 1] {
                    true => NULL,
                    false => column.key(row.values[n + 1]),
                };
                self.keys.push(key);
            }
            pg_sys::MemoryContextSwitchTo(caller);
            pg_sys::MemoryContextReset(self.scratch);
        }
        &self.keys
    }
}

/// Raises what a multi-column index cannot be: with a vector in another column than the first, or
/// with filter columns whose type has no keys.
pub fn check_declared(index: Index) {
    FilterColumns::of(index);
}

impl FilterColumn {
    fn of(index: Index, n: usize) -> FilterColumn {
        let (type_id, collation) = index.operand(n);
        let mut column = FilterColumn {
            kind: Kind::Hash,
            type_id,
            collation,
            hash: std::ptr::null_mut(),
            element: Oid::INVALID,
        };
        column.kind = match type_id {
            pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => Kind::Integer,
            pg_sys::FLOAT4OID | pg_sys::FLOAT8OID => Kind::Float,
            pg_sys::NUMERICOID => Kind::Numeric,
            pg_sys::BOOLOID => Kind::Boolean,
            pg_sys::ANYENUMOID => Kind::Enum,
            pg_sys::DATEOID => Kind::Date,
            pg_sys::TIMESTAMPOID => Kind::Timestamp,
            pg_sys::TIMESTAMPTZOID => Kind::TimestampTz,
            pg_sys::ANYARRAYOID => Kind::Labels,
            _ => Kind::Hash,
        };
        let hashed = match column.kind {
            Kind::Labels => {
                // SAFETY: reads the catalog.
                column.element = unsafe { pg_sys::get_base_element_type(index.attribute(n).0) };
                column.element
            }
            Kind::Hash => type_id,
            _ => return column,
        };
        if Column::is_vector(index, n) {
            raise_index(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "an {} index can have one vector column only, its first",
                    index.method_name()
                ),
                Some("Create an index for each vector column.".into()),
            );
        }
        // SAFETY: reads the catalog; entries of the type cache are never freed.
        unsafe {
            let flags = pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO as i32;
            let entry = pg_sys::lookup_type_cache(hashed, flags);
            if (*entry).hash_extended_proc_finfo.fn_oid == Oid::INVALID {
                raise_index(
                    Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                    format!(
                        "column {} of index \"{}\" cannot be a filter column: its type has no hash function",
                        n + 1,
                        index.name()
                    ),
                    None,
                );
            }
            column.hash = &raw mut (*entry).hash_extended_proc_finfo;
        }
        column
    }

    /// # Safety
    /// `value` is a non-NULL value that [`FilterColumn::hash`] takes.
    unsafe fn hash(&self, value: Datum) -> u64 {
        // SAFETY: as promised by the caller.
        unsafe {
            pg_sys::FunctionCall2Coll(self.hash, self.collation, value, Datum::from(0i64)).value()
                as u64
        }
    }

    /// The key of a value.
    ///
    /// # Safety
    /// `value` is a non-NULL value of the column's type.
    pub(super) unsafe fn key(&self, value: Datum) -> u64 {
        match self.kind {
            Kind::Integer => of_i64(integer(self.type_id, value)),
            Kind::Float => of_f64(float(self.type_id, value)),
            // SAFETY: as promised by the caller.
            Kind::Numeric => of_f64(unsafe { numeric(value) }),
            Kind::Boolean => of_i64((value.value() & 0xff != 0) as i64),
            Kind::Enum => of_i64(value.value() as u32 as i64),
            Kind::Date => of_i64(value.value() as i32 as i64),
            Kind::Timestamp | Kind::TimestampTz => of_i64(value.value() as i64),
            // SAFETY: as promised by the caller.
            Kind::Hash => of_hash(unsafe { self.hash(value) }),
            // SAFETY: as promised by the caller.
            Kind::Labels => of_labels(unsafe { self.labels(value) }.into_iter().flatten()),
        }
    }

    /// The elements of an array, `None` for NULLs.
    ///
    /// # Safety
    /// `array` is a non-NULL array of the column's element type.
    pub(super) unsafe fn labels(&self, array: Datum) -> Vec<Option<Label>> {
        // SAFETY: as promised by the caller.
        unsafe {
            let elements = elements(array, self.element);
            let labels = elements.into_iter();
            labels
                .map(|element| element.map(|element| Label::of_hash(self.hash(element))))
                .collect()
        }
    }
}
