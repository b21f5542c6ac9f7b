//! Settings that remember whether they were set, and values of index options that are names.

use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

/// A check hook for a setting of whole numbers that is to know whether it was set: every value the server
/// keeps (current, to be restored, to be reset to) gets an `extra` beside it, which is null for the
/// default and memory of the server's otherwise. [`note_whether_set`] reads it in the assign hook.
///
/// # Safety
/// Called by the server as a check hook.
#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn check_whether_set(
    _value: *mut c_int,
    extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    if source == pg_sys::GucSource::PGC_S_DEFAULT {
        return true;
    }
    // The server frees it with the value: by free() up to 15, by guc_free() later.
    // SAFETY: allocates; null, or a message in the log and null, where there is no memory.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let set = libc::malloc(1);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let set = pg_sys::guc_malloc(pg_sys::LOG as c_int, 1);
        *extra = set;
        !set.is_null()
    }
}

/// What the assign hook of such a setting does with the `extra` it is given.
pub fn note_whether_set(is_set: &AtomicBool, extra: *mut c_void) {
    is_set.store(!extra.is_null(), Ordering::Relaxed);
}

/// Names and numbers of an index option's values, as the server wants them: a list that ends with [`END`].
pub struct Members<const N: usize>(pub [pg_sys::relopt_enum_elt_def; N]);

// SAFETY: never written, and all it points at is static.
unsafe impl<const N: usize> Sync for Members<N> {}

impl<const N: usize> Members<N> {
    /// The server takes a pointer to mutable members, but only reads them.
    pub fn as_ptr(&'static self) -> *mut pg_sys::relopt_enum_elt_def {
        self.0.as_ptr().cast_mut()
    }
}

/// A value's name and number.
pub const fn member(name: &'static CStr, number: i32) -> pg_sys::relopt_enum_elt_def {
    pg_sys::relopt_enum_elt_def {
        string_val: name.as_ptr(),
        symbol_val: number,
    }
}

/// Ends a list of values.
pub const END: pg_sys::relopt_enum_elt_def = pg_sys::relopt_enum_elt_def {
    string_val: std::ptr::null::<c_char>(),
    symbol_val: 0,
};
