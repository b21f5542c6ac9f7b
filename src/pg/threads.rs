//! Compute threads beside the backend's own thread.
//!
//! Threads never touch the server: they get plain memory, run with every signal blocked (so that
//! handlers run on the backend's thread alone), and stop when told to. The backend's thread waits
//! for them and answers interrupts meanwhile.

use crate::cluster::Crew;
use pgrx::pg_sys;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long the backend's thread sleeps before it looks again.
const PATIENCE: Duration = Duration::from_millis(5);
/// Bytes of a thread's stack.
const STACK: usize = 2 << 20;
/// Bytes that a thread takes beside as it starts. The C library ends the process where it is refused what it keeps for
/// each thread.
const BESIDE: usize = 1 << 20;

/// Runs `work` on `threads` threads and returns when all have. `work` gets a flag that asks it to
/// stop early. `watch` runs on the backend's thread every few milliseconds. Interrupts are
/// answered: a cancel stops the threads and raises. A panic in a thread is raised as an ERROR.
pub fn run(threads: usize, work: impl Fn(&AtomicBool) + Sync, mut watch: impl FnMut()) {
    let stop = AtomicBool::new(false);
    let running = AtomicUsize::new(0);
    // nobody allocates while a thread starts: what there was room for is still there
    let (started, is_open) = (AtomicUsize::new(0), AtomicBool::new(false));
    let backend = std::thread::current();
    let failure = std::sync::Mutex::new(None);
    let raised = std::thread::scope(|scope| {
        let raised = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut waiting = Vec::with_capacity(threads);
            let spawned = with_signals_blocked(|| {
                (0..threads).try_for_each(|n| {
                    let builder = std::thread::Builder::new()
                        .name(format!("vectorext {n}"))
                        .stack_size(STACK);
                    is_room_for(STACK + BESIDE)?;
                    running.fetch_add(1, Ordering::Relaxed);
                    let spawned = builder
                        .spawn_scoped(scope, || {
                            started.fetch_add(1, Ordering::Release);
                            backend.unpark();
                            while !is_open.load(Ordering::Acquire) {
                                std::thread::park_timeout(PATIENCE);
                            }
                            if let Err(panic) =
                                std::panic::catch_unwind(AssertUnwindSafe(|| work(&stop)))
                            {
                                stop.store(true, Ordering::Relaxed);
                                let mut failure =
                                    failure.lock().unwrap_or_else(|poison| poison.into_inner());
                                failure.get_or_insert_with(|| message_of(&*panic));
                            }
                            running.fetch_sub(1, Ordering::Release);
                            backend.unpark();
                        })
                        .inspect_err(|_| {
                            running.fetch_sub(1, Ordering::Relaxed);
                        })?;
                    waiting.push(spawned.thread().clone());
                    while started.load(Ordering::Acquire) <= n {
                        super::allocator::end_if_refused();
                        std::thread::park_timeout(PATIENCE);
                    }
                    Ok::<(), std::io::Error>(())
                })
            });
            is_open.store(true, Ordering::Release);
            waiting.iter().for_each(std::thread::Thread::unpark);
            if let Err(error) = spawned {
                pgrx::ereport!(
                    ERROR,
                    pgrx::PgSqlErrorCode::ERRCODE_INSUFFICIENT_RESOURCES,
                    format!("could not start a thread for the index build: {error}"),
                    "Lower max_parallel_maintenance_workers."
                );
            }
            while running.load(Ordering::Acquire) > 0 {
                super::allocator::end_if_refused();
                pgrx::check_for_interrupts!();
                watch();
                std::thread::park_timeout(PATIENCE);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        is_open.store(true, Ordering::Release);
        // a thread that was refused memory never ends: the session does, whatever else was to be raised
        while running.load(Ordering::Acquire) > 0 {
            super::allocator::end_if_refused();
            std::thread::park_timeout(PATIENCE);
        }
        raised
    });
    if let Err(raised) = raised {
        std::panic::resume_unwind(raised);
    }
    if let Some(message) = failure
        .into_inner()
        .unwrap_or_else(|poison| poison.into_inner())
    {
        pgrx::ereport!(
            ERROR,
            pgrx::PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            format!("a thread of the index build failed: {message}")
        );
    }
    pgrx::check_for_interrupts!();
    watch();
}

/// As many threads as the server allows a build, for so many tasks that are worth one each.
pub fn for_maintenance(tasks: usize) -> usize {
    // SAFETY: reads a setting.
    let workers = unsafe { pg_sys::max_parallel_maintenance_workers } as usize;
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    (workers + 1).min(available).min(tasks).max(1)
}

/// Threads for clustering.
pub struct Workers(pub usize);

impl Crew for Workers {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&mut self, work: &(dyn Fn(&AtomicBool) + Sync)) {
        run(self.0, work, || {});
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| {
            panic
                .downcast_ref::<&str>()
                .map(|message| message.to_string())
        })
        .unwrap_or_else(|| "unknown panic".into())
}

/// Whether the process may have so many bytes more.
fn is_room_for(bytes: usize) -> std::io::Result<()> {
    // SAFETY: maps memory nobody uses, and gives it back.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let room = libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0);
        if room == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        libc::munmap(room, bytes);
    }
    Ok(())
}

/// Blocks every signal while `f` runs; threads it starts inherit that for good.
fn with_signals_blocked<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: plain signal-mask calls on two local sets.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = f();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result
    }
}
