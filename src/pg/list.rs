//! The server's lists of pointers.

use pgrx::pg_sys;

/// The members of a list of pointers, none of an empty one (NULL).
///
/// # Safety
/// `list` is a valid list of pointers to `T`, and stays so as long as the iterator is used.
pub unsafe fn of<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    let length = if list.is_null() {
        0
    } else {
        // SAFETY: as promised by the caller.
        unsafe { (*list).length as usize }
    };
    // SAFETY: as promised by the caller.
    (0..length).map(move |n| unsafe { (*(*list).elements.add(n)).ptr_value.cast() })
}
