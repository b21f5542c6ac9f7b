//! The version-1 calling convention without generated wrappers.
//!
//! A raw V1 function costs 30 ns a call where `#[pg_extern]` costs 35 (128 dimensions), and its
//! C symbol can be named as the SQL script needs it.

use super::varlena::{self, Detoasted};
use pgrx::pg_sys::{self, Datum, FunctionCallInfo};
use std::ffi::CStr;

/// Exports a PostgreSQL version-1 function: `pg_fn!(fn name(call) { .. })` makes the symbols `name`
/// and `pg_finfo_name`. `call` is a [`Call`], the body gives a `Datum`. Panics in the body become
/// ERRORs.
///
/// The guard that does so costs a few nanoseconds. `pg_fn!(fn name(call) try { .. } else { .. })`
/// first tries code without guard, which must neither panic nor call the server, and gives an
/// `Option<Datum>`; the guarded body runs where that is None.
#[macro_export]
macro_rules! pg_fn {
    ($(#[$meta:meta])* fn $name:ident($call:ident) $body:block) => {
        $crate::pg_fn!($(#[$meta])* fn $name($call) try { None } else $body);
    };
    ($(#[$meta:meta])* fn $name:ident($call:ident) try $fast:block else $body:block) => {
        $(#[$meta])*
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(
            fcinfo: ::pgrx::pg_sys::FunctionCallInfo,
        ) -> ::pgrx::pg_sys::Datum {
            fn guarded($call: $crate::pg::fmgr::Call) -> ::pgrx::pg_sys::Datum {
                // a closure of its own, so that the body is not inside an unsafe block
                let body = move || $body;
                // what #[pg_guard] expands to (the attribute itself breaks macro hygiene)
                // SAFETY: the guard turns panics into ERRORs at this C boundary.
                unsafe { ::pgrx::pg_sys::panic::pgrx_extern_c_guard(body) }
            }
            // SAFETY: fmgr passes a valid call frame that outlives the call.
            let $call = unsafe { $crate::pg::fmgr::Call::new(fcinfo) };
            let fast: Option<::pgrx::pg_sys::Datum> = $fast;
            match fast {
                Some(result) => result,
                None => guarded($call),
            }
        }
        const _: () = {
            #[unsafe(export_name = concat!("pg_finfo_", stringify!($name)))]
            extern "C" fn finfo() -> &'static ::pgrx::pg_sys::Pg_finfo_record {
                const V1: ::pgrx::pg_sys::Pg_finfo_record =
                    ::pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
                &V1
            }
        };
    };
}

/// The call frame of a version-1 function.
#[derive(Clone, Copy)]
pub struct Call(FunctionCallInfo);

impl Call {
    /// # Safety
    /// `fcinfo` is the frame fmgr passed to the function that is running.
    #[inline(always)]
    pub unsafe fn new(fcinfo: FunctionCallInfo) -> Self {
        Call(fcinfo)
    }

    /// Argument `n` (from 0) as passed; meaningless where it is NULL.
    #[inline(always)]
    pub fn arg(self, n: usize) -> Datum {
        // SAFETY: SQL declares every function with at least the arguments its body reads.
        unsafe { (*(*self.0).args.as_ptr().add(n)).value }
    }

    /// Argument `n` as int4.
    #[inline(always)]
    pub fn arg_i32(self, n: usize) -> i32 {
        self.arg(n).value() as i32
    }

    /// Argument `n` as float8.
    #[inline(always)]
    pub fn arg_f64(self, n: usize) -> f64 {
        f64::from_bits(self.arg(n).value() as u64)
    }

    /// Argument `n`, of a variable-length type and not NULL.
    #[inline(always)]
    pub fn arg_varlena(self, n: usize) -> Detoasted {
        // SAFETY: SQL declares the argument so, and it stays valid during the call.
        unsafe { Detoasted::new(self.arg(n)) }
    }

    /// The body of argument `n`, of a variable-length type and not NULL, where it can be read in
    /// place. Neither panics nor calls the server.
    #[inline(always)]
    pub fn arg_plain<'a>(self, n: usize) -> Option<&'a [u8]> {
        // SAFETY: SQL declares the argument so, and it stays valid during the call.
        unsafe { varlena::plain_body(self.arg(n)) }
    }

    /// Argument `n`, a `cstring`, without the NUL.
    #[inline(always)]
    pub fn arg_cstring<'a>(self, n: usize) -> &'a [u8] {
        // SAFETY: SQL declares the argument so, and it stays valid during the call.
        unsafe { CStr::from_ptr(self.arg(n).cast_mut_ptr()) }.to_bytes()
    }

    /// Whether the server calls the function as the transition function of an aggregate; then the
    /// first argument is the aggregate's own state, to be changed in place.
    #[inline]
    pub fn is_aggregate(self) -> bool {
        // SAFETY: the frame is valid.
        unsafe { pg_sys::AggCheckCallContext(self.0, std::ptr::null_mut()) != 0 }
    }

    /// Returns a row: a value or NULL for each of the columns that SQL declares.
    pub fn row(self, columns: &[Option<Datum>]) -> Datum {
        let mut values: Vec<Datum> = columns
            .iter()
            .map(|column| column.unwrap_or(Datum::null()))
            .collect();
        let mut nulls: Vec<bool> = columns.iter().map(Option::is_none).collect();
        let descriptor = self.row_type();
        // SAFETY: the frame is valid; the assertion makes the arrays as long as the row type says.
        unsafe {
            assert_eq!((*descriptor).natts as usize, columns.len());
            let tuple =
                pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
        }
    }

    /// The row type that SQL declares, in the current memory context.
    pub fn row_type(self) -> pg_sys::TupleDesc {
        let mut descriptor: pg_sys::TupleDesc = std::ptr::null_mut();
        // SAFETY: the frame is valid.
        unsafe {
            let class = pg_sys::get_call_result_type(self.0, std::ptr::null_mut(), &mut descriptor);
            assert_eq!(class, pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE);
            pg_sys::BlessTupleDesc(descriptor)
        }
    }

    /// What the caller says of the result it wants; null where it says nothing.
    pub fn result_info(self) -> *mut pg_sys::Node {
        // SAFETY: the frame is valid.
        unsafe { (*self.0).resultinfo }
    }

    /// Argument `n` as boolean.
    pub fn arg_bool(self, n: usize) -> bool {
        self.arg(n).value() & 0xff != 0
    }

    /// Returns SQL NULL.
    #[inline(always)]
    pub fn null(self) -> Datum {
        // SAFETY: the frame is valid and ours to write.
        unsafe { (*self.0).isnull = true };
        Datum::from(0usize)
    }
}

/// A float8 result.
#[inline(always)]
pub fn float8(value: f64) -> Datum {
    Datum::from(value.to_bits())
}

/// A float4 result.
#[inline(always)]
pub fn float4(value: f32) -> Datum {
    Datum::from(value.to_bits() as i32)
}

/// An int8 result.
#[inline(always)]
pub fn int8(value: u64) -> Datum {
    Datum::from(value as i64)
}

/// An int4 result.
#[inline(always)]
pub fn int4(value: i32) -> Datum {
    Datum::from(value)
}

/// A boolean result.
#[inline(always)]
pub fn boolean(value: bool) -> Datum {
    Datum::from(value)
}
