//! Filter columns: the columns of an index after its vector. Their values become keys
//! ([`crate::keys`]), a scan's conditions on them tests of keys.
//!
//! Of each type the key is an image with the order of the values, or a hash where there is no such
//! image of eight bytes. What a key leaves open, and what is asked across types that have no common
//! image, is decided from the row itself ([`Check`]).

use crate::am::column::Column;
use crate::hnsw::format::RawTid;
use crate::keys::{
    Comparison, Condition, Conditions, Label, NULL, Test, Verdict, of_f64, of_hash, of_i64,
    of_labels,
};
use crate::pg::error::raise_index;
use crate::pg::heap::HeapReader;
use crate::pg::relation::Index;
use crate::pg::rows::Values;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::{self, Datum, Oid};

/// What the keys of a column are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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
struct FilterColumn {
    kind: Kind,
    type_id: Oid,
    collation: Oid,
    /// hashes values, or elements of arrays
    hash: *mut pg_sys::FmgrInfo,
    element: Oid,
}

/// The filter columns of an index.
pub struct FilterColumns {
    columns: Vec<FilterColumn>,
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

    /// What a scan's conditions ask of keys. Those on the vector column itself, which can only be
    /// IS NOT NULL of what is never NULL in an index, are left out.
    ///
    /// # Safety
    /// `keys` are the scan's, with arguments of their types.
    pub unsafe fn conditions(&self, keys: &[pg_sys::ScanKeyData]) -> Conditions {
        let on_filters = keys.iter().filter(|key| {
            let null = key.sk_flags & pg_sys::SK_SEARCHNULL as i32 != 0;
            if key.sk_attno == 1 && null {
                raise_index(
                    Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                    "an index of vectors does not hold rows whose vector is NULL".into(),
                    None,
                );
            }
            key.sk_attno > 1
        });
        Conditions::new(
            on_filters
                .map(|key| {
                    let column = key.sk_attno as usize - 2;
                    // SAFETY: as promised by the caller.
                    unsafe { self.columns[column].condition(column, key) }
                })
                .collect(),
        )
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
    unsafe fn key(&self, value: Datum) -> u64 {
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
    unsafe fn labels(&self, array: Datum) -> Vec<Option<Label>> {
        // SAFETY: as promised by the caller.
        unsafe {
            let elements = elements(array, self.element);
            let labels = elements.into_iter();
            labels
                .map(|element| element.map(|element| Label::of_hash(self.hash(element))))
                .collect()
        }
    }

    /// # Safety
    /// `key` is a condition on this column, which has the number `column`.
    unsafe fn condition(&self, column: usize, key: &pg_sys::ScanKeyData) -> Condition {
        let has = |flag: u32| key.sk_flags & flag as i32 != 0;
        let test = if has(pg_sys::SK_SEARCHNULL) {
            Test::Null
        } else if has(pg_sys::SK_SEARCHNOTNULL) {
            Test::NotNull
        } else if has(pg_sys::SK_ISNULL) {
            Test::Never
        } else if has(pg_sys::SK_SEARCHARRAY) {
            // SAFETY: as promised by the caller: the argument is an array of the operator's type.
            unsafe { self.any_of(key) }
        } else {
            // SAFETY: as promised by the caller.
            unsafe { self.test(key, key.sk_argument) }
        };
        Condition {
            column,
            is_certain: is_certain(&test, self.kind),
            test,
        }
    }

    /// `column <operator> ANY (array)`.
    ///
    /// # Safety
    /// As in [`FilterColumn::condition`]; the argument is an array.
    unsafe fn any_of(&self, key: &pg_sys::ScanKeyData) -> Test {
        // SAFETY: as promised by the caller.
        let elements = unsafe { elements(key.sk_argument, Oid::INVALID) };
        let mut tests: Vec<Test> = elements
            .into_iter()
            .flatten()
            // SAFETY: elements are of the operator's type.
            .map(|element| unsafe { self.test(key, element) })
            .filter(|test| *test != Test::Never)
            .collect();
        let equal = |test: &Test| match test {
            Test::Compare {
                comparison: Comparison::Equal,
                key,
                exact,
            } => Some((*key, *exact)),
            _ => None,
        };
        let is_exact = tests
            .iter()
            .all(|test| equal(test).is_some_and(|(_, exact)| exact));
        if is_exact || (self.kind == Kind::Hash && tests.iter().all(|test| equal(test).is_some())) {
            let mut keys: Vec<u64> = tests.iter().filter_map(equal).map(|(key, _)| key).collect();
            keys.sort_unstable();
            keys.dedup();
            return Test::AnyOf(keys);
        }
        match tests.len() {
            0 => Test::Never,
            1 => tests.remove(0),
            _ => Test::Any(tests),
        }
    }

    /// `column <operator> argument`.
    ///
    /// # Safety
    /// As in [`FilterColumn::condition`]; the argument is of the operator's type and not NULL.
    unsafe fn test(&self, key: &pg_sys::ScanKeyData, argument: Datum) -> Test {
        if self.kind == Kind::Labels {
            // SAFETY: as promised by the caller.
            let labels = unsafe { self.labels(argument) };
            return match key.sk_strategy {
                1 => Test::Overlaps(labels.into_iter().flatten().collect()),
                // an array never contains NULL
                2 if labels.contains(&None) => Test::Never,
                2 => Test::Contains(labels.into_iter().flatten().collect()),
                _ => Test::Untold,
            };
        }
        let comparison = match key.sk_strategy {
            1 => Comparison::Less,
            2 => Comparison::LessOrEqual,
            3 => Comparison::Equal,
            4 => Comparison::GreaterOrEqual,
            5 => Comparison::Greater,
            _ => return Test::Untold,
        };
        let type_id = match key.sk_subtype {
            Oid::INVALID => self.type_id,
            other => other,
        };
        let compare = |key: u64, exact: bool| Test::Compare {
            comparison,
            key,
            // values at the end of the range may share the greatest key
            exact: exact && key < crate::keys::GREATEST,
        };
        let is_equal = comparison == Comparison::Equal;
        match self.kind {
            Kind::Integer => compare(of_i64(integer(type_id, argument)), true),
            Kind::Float => {
                let key = of_f64(float(type_id, argument));
                Test::Compare {
                    comparison,
                    key,
                    exact: true,
                }
            }
            // SAFETY: as promised by the caller.
            Kind::Numeric => compare(of_f64(unsafe { numeric(argument) }), false),
            // SAFETY: as promised by the caller.
            Kind::Boolean => compare(unsafe { self.key(argument) }, true),
            // labels added later have oids out of order
            // SAFETY: as promised by the caller.
            Kind::Enum if is_equal => compare(unsafe { self.key(argument) }, true),
            // SAFETY: as promised by the caller.
            Kind::Hash if is_equal => compare(unsafe { self.key(argument) }, false),
            Kind::Date => match type_id {
                pg_sys::TIMESTAMPOID => match day_of(argument.value() as i64) {
                    (_, false) if is_equal => Test::Never,
                    (day, is_midnight) => compare(of_i64(day), is_midnight),
                },
                pg_sys::TIMESTAMPTZOID => Test::Untold,
                _ => compare(of_i64(argument.value() as i32 as i64), true),
            },
            Kind::Timestamp => match type_id {
                pg_sys::DATEOID => match midnight_of(argument.value() as i32) {
                    Some(midnight) => compare(of_i64(midnight), true),
                    None => Test::Untold,
                },
                pg_sys::TIMESTAMPTZOID => Test::Untold,
                _ => compare(of_i64(argument.value() as i64), true),
            },
            Kind::TimestampTz => {
                let mut overflow = 0;
                let value = argument.value();
                // SAFETY: plain arithmetic over the session's time zone.
                let instant = unsafe {
                    match type_id {
                        pg_sys::DATEOID => {
                            pg_sys::date2timestamptz_opt_overflow(value as i32, &raw mut overflow)
                        }
                        pg_sys::TIMESTAMPOID => pg_sys::timestamp2timestamptz_opt_overflow(
                            value as i64,
                            &raw mut overflow,
                        ),
                        _ => value as i64,
                    }
                };
                match overflow {
                    0 => compare(of_i64(instant), true),
                    _ => Test::Untold,
                }
            }
            Kind::Enum | Kind::Hash | Kind::Labels => Test::Untold,
        }
    }
}

/// Whether a test that says yes is right for certain.
fn is_certain(test: &Test, kind: Kind) -> bool {
    match test {
        Test::Compare {
            comparison, exact, ..
        } => *exact || *comparison != Comparison::Equal,
        Test::AnyOf(_) => kind != Kind::Hash,
        Test::Any(tests) => tests.iter().all(|test| is_certain(test, kind)),
        Test::Null | Test::NotNull | Test::Never | Test::Untold => true,
        Test::Overlaps(_) => false,
        Test::Contains(labels) => labels.is_empty(),
    }
}

fn integer(type_id: Oid, value: Datum) -> i64 {
    match type_id {
        pg_sys::INT2OID => value.value() as i16 as i64,
        pg_sys::INT4OID => value.value() as i32 as i64,
        _ => value.value() as i64,
    }
}

fn float(type_id: Oid, value: Datum) -> f64 {
    match type_id {
        pg_sys::FLOAT4OID => f32::from_bits(value.value() as u32) as f64,
        _ => f64::from_bits(value.value() as u64),
    }
}

/// The nearest double; numbers beyond its range become infinite.
///
/// # Safety
/// `value` is a numeric.
unsafe fn numeric(value: Datum) -> f64 {
    // SAFETY: as promised by the caller.
    let double = unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::numeric_float8_no_overflow, &[Some(value)])
    };
    f64::from_bits(double.expect("a number is not NULL").value() as u64)
}

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

/// The day of a timestamp, and whether the timestamp is its first moment.
fn day_of(timestamp: i64) -> (i64, bool) {
    match timestamp {
        i64::MIN => (i32::MIN as i64, true),
        i64::MAX => (i32::MAX as i64, true),
        _ => (
            timestamp.div_euclid(MICROSECONDS_A_DAY),
            timestamp.rem_euclid(MICROSECONDS_A_DAY) == 0,
        ),
    }
}

/// The first moment of a day; `None` where no timestamp is so late.
fn midnight_of(day: i32) -> Option<i64> {
    match day {
        i32::MIN => Some(i64::MIN),
        i32::MAX => Some(i64::MAX),
        _ => (day as i64).checked_mul(MICROSECONDS_A_DAY),
    }
}

/// The elements of an array; of that type, or of the one the array names.
///
/// # Safety
/// `array` is a non-NULL array.
unsafe fn elements(array: Datum, element: Oid) -> Vec<Option<Datum>> {
    // SAFETY: as promised by the caller. The detoasted array and what is made of it live in the
    // current memory context.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let element = match element {
            Oid::INVALID => (*array).elemtype,
            element => element,
        };
        let (mut len, mut by_value, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(element, &raw mut len, &raw mut by_value, &raw mut align);
        let mut values: *mut Datum = std::ptr::null_mut();
        let mut nulls: *mut bool = std::ptr::null_mut();
        let mut count = 0;
        pg_sys::deconstruct_array(
            array,
            element,
            len as i32,
            by_value,
            align,
            &raw mut values,
            &raw mut nulls,
            &raw mut count,
        );
        (0..count as usize)
            .map(|n| (!*nulls.add(n)).then(|| *values.add(n)))
            .collect()
    }
}

/// Decides from rows of the table what keys leave open.
pub struct Check {
    keys: Vec<pg_sys::ScanKeyData>,
    reader: HeapReader,
}

impl Check {
    /// # Safety
    /// `scan` is open as long as the result is used, `keys` are its conditions.
    pub unsafe fn new(scan: pg_sys::IndexScanDesc, keys: &[pg_sys::ScanKeyData]) -> Check {
        Check {
            keys: keys.to_vec(),
            // SAFETY: as promised by the caller.
            reader: unsafe { HeapReader::new(scan) },
        }
    }

    /// Whether the version of a row that the snapshot sees meets all conditions.
    pub fn holds(&mut self, tid: RawTid) -> Verdict {
        let keys = &mut self.keys;
        let holds = self.reader.fetch_all(tid, |values, nulls| {
            keys.iter_mut().all(|key| {
                let n = key.sk_attno as usize - 1;
                // SAFETY: a condition of the scan on that column.
                unsafe { holds(key, values[n], nulls[n]) }
            })
        });
        match holds {
            Some(true) => Verdict::Yes,
            _ => Verdict::No,
        }
    }

    /// Lets go of the table.
    pub fn end(&mut self) {
        self.reader.end();
    }
}

/// # Safety
/// `value` is of the type of the condition's column.
unsafe fn holds(key: &mut pg_sys::ScanKeyData, value: Datum, is_null: bool) -> bool {
    let has = |flag: u32| key.sk_flags & flag as i32 != 0;
    if has(pg_sys::SK_SEARCHNULL) {
        return is_null;
    }
    if is_null || has(pg_sys::SK_ISNULL) {
        return has(pg_sys::SK_SEARCHNOTNULL) && !is_null;
    }
    let mut call = |argument: Datum| {
        // SAFETY: the operator's function over values of its types.
        let result = unsafe {
            pg_sys::FunctionCall2Coll(&raw mut key.sk_func, key.sk_collation, value, argument)
        };
        result.value() & 0xff != 0
    };
    if key.sk_flags & pg_sys::SK_SEARCHARRAY as i32 == 0 {
        return call(key.sk_argument);
    }
    // SAFETY: the argument is an array.
    let arguments = unsafe { elements(key.sk_argument, Oid::INVALID) };
    arguments.into_iter().flatten().any(call)
}
