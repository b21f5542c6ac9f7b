//! A scan for what is at no distance from anything: every row, in any order.

use super::directory::{Directory, Listed};
use super::index::Ivf;
use super::last_scan::LastScan;
use super::looks::key;
use super::storage::{Steps, Visit};
use crate::hnsw::format::RawTid;
use crate::pg::buffer::Hints;
use rustc_hash::FxHashSet;
use std::rc::Rc;

/// Every row, in any order: what a query that is at no distance from anything finds.
pub struct All {
    ivf: Ivf,
    directory: Rc<Directory>,
    /// the list to read next, by its position
    at: usize,
    rows: Vec<RawTid>,
    handed_out: FxHashSet<u64>,
    pages: u64,
}

impl All {
    /// All rows of an index.
    pub fn new(ivf: Ivf) -> All {
        All {
            directory: Directory::now(&ivf),
            ivf,
            at: 0,
            rows: Vec::new(),
            handed_out: FxHashSet::default(),
            pages: 0,
        }
    }

    /// The next row; `None` where there is none.
    pub fn next(&mut self) -> Option<RawTid> {
        loop {
            while let Some(tid) = self.rows.pop() {
                if self.handed_out.insert(key(tid)) {
                    return Some(tid);
                }
            }
            pgrx::check_for_interrupts!();
            let listed = *self.directory.lists().get(self.at)?;
            self.at += 1;
            if !self.read(&listed) {
                // a list that is gone: its rows are in others now
                self.directory = Directory::now(&self.ivf);
                self.at = 0;
            }
        }
    }

    fn read(&mut self, listed: &Listed) -> bool {
        let mut block = listed.first;
        let hints = Hints::of(self.ivf.index);
        let mut steps = Steps::new();
        while block != 0 {
            self.pages += 1;
            steps.step(&self.ivf, block);
            let locked = hints.pin(self.ivf.index, block).lock();
            let Visit::Page(page) = self.ivf.list_page(block, locked.page(), listed.id) else {
                drop(locked);
                self.ivf.check_gone(listed.id, block);
                return false;
            };
            self.rows.extend_from_slice(page.tids());
            block = page.next;
        }
        true
    }

    /// What the scan has done so far.
    pub fn done(&self) -> LastScan {
        LastScan {
            lists: self.directory.lists().len() as u64,
            probes: self.at as u64,
            pages: self.pages,
            ..LastScan::default()
        }
    }
}
