//! Messages of the wire protocol, as receive functions get them.

use super::fmgr::Call;
use pgrx::pg_sys;

/// The rest of a message, read front to back.
pub struct Message(pg_sys::StringInfo);

impl Message {
    /// Argument `n` of a receive function, declared `internal`.
    pub fn arg(call: Call, n: usize) -> Self {
        Message(call.arg(n).cast_mut_ptr())
    }

    /// The next `len` bytes; raises an ERROR where the message ends before.
    pub fn bytes(&mut self, len: usize) -> &[u8] {
        // SAFETY: the server passes a valid message; what it returns is as long as asked for, and
        // stays where it is while the message is borrowed.
        unsafe {
            let bytes = pg_sys::pq_getmsgbytes(self.0, len as i32);
            std::slice::from_raw_parts(bytes.cast(), len)
        }
    }
}
