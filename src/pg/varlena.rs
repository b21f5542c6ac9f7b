//! Variable-length values: detoasting without needless copies, and building results.

use pgrx::pg_sys::{self, Datum};

/// A detoasted varlena argument. A plain value with a four-byte header is read in place; anything
/// else (compressed, external, short header) is copied once, and freed on drop.
pub struct Detoasted {
    plain: *mut pg_sys::varlena,
    original: *mut pg_sys::varlena,
}

impl Detoasted {
    /// # Safety
    /// `datum` is a non-NULL varlena that stays valid while the result is used.
    #[inline(always)]
    pub unsafe fn new(datum: Datum) -> Self {
        let original = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a varlena has at least one byte. On little-endian machines the two low bits of
        // the first byte are 0 for a plain four-byte header; other machines take the slow path.
        let plain = if cfg!(target_endian = "little") && unsafe { *original.cast::<u8>() } & 3 == 0
        {
            original
        } else {
            // SAFETY: as promised by the caller.
            unsafe { pg_sys::pg_detoast_datum(original) }
        };
        Detoasted { plain, original }
    }

    /// The value's bytes after the four-byte length header. Aligned to 4 at least.
    #[inline(always)]
    pub fn body(&self) -> &[u8] {
        // SAFETY: `plain` has a four-byte header that counts itself and the bytes behind it.
        unsafe {
            let size = pgrx::varsize_4b(self.plain);
            std::slice::from_raw_parts(
                self.plain.cast::<u8>().add(pg_sys::VARHDRSZ),
                size - pg_sys::VARHDRSZ,
            )
        }
    }

    /// As [`body`](Detoasted::body), for writing.
    ///
    /// # Safety
    /// The value is a private copy, or the state of the aggregate that is running.
    #[inline(always)]
    pub unsafe fn body_mut(&mut self) -> &mut [u8] {
        let len = self.body().len();
        // SAFETY: the same bytes, that nobody else reads or writes as the caller promises.
        unsafe {
            std::slice::from_raw_parts_mut(self.plain.cast::<u8>().add(pg_sys::VARHDRSZ), len)
        }
    }

    /// Whether the value is read where the server has it, and not copied.
    #[inline(always)]
    pub fn is_in_place(&self) -> bool {
        self.plain == self.original
    }

    /// The detoasted value, for server functions that want it; valid as long as `self`.
    #[inline(always)]
    pub fn as_ptr(&self) -> *mut pg_sys::varlena {
        self.plain
    }

    /// The detoasted value as a result; a copy is not freed.
    #[inline(always)]
    pub fn into_datum(self) -> Datum {
        Datum::from(std::mem::ManuallyDrop::new(self).plain)
    }
}

impl Drop for Detoasted {
    #[inline(always)]
    fn drop(&mut self) {
        if self.plain != self.original {
            // SAFETY: detoasting made a palloc'd copy that nobody else holds.
            unsafe { pg_sys::pfree(self.plain.cast()) }
        }
    }
}

/// The bytes of a varlena after its four-byte length header, where it has one and is aligned to 4;
/// None where it has to be detoasted. Neither panics nor calls the server.
///
/// # Safety
/// `datum` is a non-NULL varlena that stays valid while the result is used.
#[inline(always)]
pub unsafe fn plain_body<'a>(datum: Datum) -> Option<&'a [u8]> {
    let value = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: as in `Detoasted::new` and `Detoasted::body`.
    unsafe {
        let tag = *value.cast::<u8>() as usize | value.addr();
        if cfg!(target_endian = "big") || tag & 3 != 0 {
            return None;
        }
        let size = pgrx::varsize_4b(value);
        Some(std::slice::from_raw_parts(
            value.cast::<u8>().add(pg_sys::VARHDRSZ),
            size - pg_sys::VARHDRSZ,
        ))
    }
}

/// Builds a varlena of `4 + body_len` bytes in the current memory context; `fill` writes the
/// zeroed body.
#[inline]
pub fn build(body_len: usize, fill: impl FnOnce(&mut [u8])) -> Datum {
    // SAFETY: palloc0 returns MAXALIGNed zeroed memory of the size asked for, or raises.
    unsafe {
        let size = body_len + pg_sys::VARHDRSZ;
        let value = pg_sys::palloc0(size).cast::<pg_sys::varlena>();
        pgrx::set_varsize_4b(value, size as i32);
        fill(std::slice::from_raw_parts_mut(
            value.cast::<u8>().add(pg_sys::VARHDRSZ),
            body_len,
        ));
        Datum::from(value)
    }
}

/// Builds a `text` in the current memory context.
pub fn text(value: &str) -> Datum {
    build(value.len(), |body| body.copy_from_slice(value.as_bytes()))
}

/// Builds a `cstring` in the current memory context.
pub fn cstring(text: &[u8]) -> Datum {
    // SAFETY: palloc returns memory of the size asked for, or raises.
    unsafe {
        let result = pg_sys::palloc(text.len() + 1).cast::<u8>();
        result.copy_from_nonoverlapping(text.as_ptr(), text.len());
        result.add(text.len()).write(0);
        Datum::from(result)
    }
}
