//! Who does the work.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

/// Threads that run the same work beside each other.
pub trait Crew {
    /// How many.
    fn threads(&self) -> usize;

    /// Runs `work` once on each thread and returns when all are done. `work` gets a flag: when it is
    /// set, it returns soon, its result is of no use, and the crew does not return to its caller as
    /// if all were well.
    fn run(&mut self, work: &(dyn Fn(&AtomicBool) + Sync));
}

/// The calling thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Crew for Alone {
    fn threads(&self) -> usize {
        1
    }

    fn run(&mut self, work: &(dyn Fn(&AtomicBool) + Sync)) {
        work(&AtomicBool::new(false));
    }
}

/// So many threads of the standard library.
#[derive(Debug, Clone, Copy)]
pub struct Threads(pub usize);

impl Crew for Threads {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&mut self, work: &(dyn Fn(&AtomicBool) + Sync)) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..self.0 {
                scope.spawn(|| work(&stop));
            }
        });
    }
}

/// Tasks that threads take one after the other.
pub(super) struct Tasks<I>(Mutex<I>);

impl<I: Iterator> Tasks<I> {
    pub(super) fn new(tasks: impl IntoIterator<IntoIter = I>) -> Self {
        Tasks(Mutex::new(tasks.into_iter()))
    }

    /// The next task, or none when all are taken or the flag is set.
    pub(super) fn next(&self, stop: &AtomicBool) -> Option<I::Item> {
        if stop.load(std::sync::atomic::Ordering::Relaxed) {
            return None;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}
