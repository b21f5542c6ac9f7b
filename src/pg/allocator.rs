//! Where the extension's own memory comes from: the system, as everywhere in Rust, except for what becomes of
//! a request that the system refuses (`vm.overcommit_memory = 2`, `ulimit -v`).
//!
//! Rust would abort the process, which the postmaster takes for a crash: it ends all sessions. Instead the
//! session that wanted the memory ends, in good order, with FATAL 53200; the server and all others go on.
//! An allocator can neither raise an ERROR nor unwind: the frames above it do not expect that.

use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::panic::ErrorReport;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

struct Memory;

#[global_allocator]
static MEMORY: Memory = Memory;

/// What is kept to say that there is no more, and to end.
const RESERVE: Layout = match Layout::from_size_align(512 << 10, 16) {
    Ok(layout) => layout,
    Err(_) => panic!("a size and an alignment"),
};
static RESERVED: AtomicPtr<u8> = AtomicPtr::new(null_mut());
/// bytes that a compute thread was refused, or 0
static REFUSED: AtomicUsize = AtomicUsize::new(0);
static ENDING: AtomicBool = AtomicBool::new(false);

/// Called when the library is loaded.
pub fn init() {
    // SAFETY: a layout of some bytes.
    RESERVED.store(unsafe { System.alloc(RESERVE) }, Ordering::Relaxed);
}

/// Ends the session where one of its threads was refused memory. Called by the backend's thread while it
/// waits for others, and not from destructors.
pub fn end_if_refused() {
    match REFUSED.load(Ordering::Relaxed) {
        0 => {}
        bytes => end(bytes),
    }
}

// SAFETY: the system's allocator; where it returns null nobody sees that but in a session that ends.
unsafe impl GlobalAlloc for Memory {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as promised by the caller.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() {
            refused(layout.size());
        }
        memory
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as promised by the caller.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if memory.is_null() {
            refused(layout.size());
        }
        memory
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as promised by the caller.
        let memory = unsafe { System.realloc(memory, layout, size) };
        if memory.is_null() {
            refused(size);
        }
        memory
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// The system has no memory of that size: does not return but where even the end needs more.
#[cold]
#[inline(never)]
fn refused(bytes: usize) {
    // SAFETY: these two only answer.
    let is_backend = unsafe { libc::gettid() == libc::getpid() };
    if !is_backend {
        // a compute thread must not touch the server; the backend's thread looks for this
        REFUSED.store(bytes.max(1), Ordering::Relaxed);
        loop {
            // SAFETY: waits for a signal, all of which are blocked: until the process ends.
            unsafe { libc::pause() };
        }
    }
    if !ENDING.load(Ordering::Relaxed) {
        end(bytes);
    }
}

fn end(bytes: usize) -> ! {
    ENDING.store(true, Ordering::Relaxed);
    let reserve = RESERVED.swap(null_mut(), Ordering::Relaxed);
    if !reserve.is_null() {
        // SAFETY: allocated in `init` with that layout, and nobody else's.
        unsafe { System.dealloc(reserve, RESERVE) };
    }
    ErrorReport::new(Code::ERRCODE_OUT_OF_MEMORY, "out of memory", "vectorext")
        .set_detail(format!("The system refused a request for {bytes} bytes."))
        .set_hint("Lower work_mem or maintenance_work_mem, or give the server more memory.")
        .report(pgrx::PgLogLevel::FATAL);
    unreachable!("ereport(FATAL) returned")
}
