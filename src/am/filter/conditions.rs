//! A scan's conditions on filter columns as tests of keys.
//!
//! What a key leaves open, and what is asked across types that have no common image, is decided from
//! the row itself ([`super::rows`]).

use super::keys::{FilterColumn, FilterColumns, Kind};
use super::values::{day_of, elements, float, integer, midnight_of, numeric};
use crate::keys::{Comparison, Condition, Conditions, Test, of_f64, of_i64};
use crate::pg::error::raise_index;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::{self, Datum, Oid};

impl FilterColumns {
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

impl FilterColumn {
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
