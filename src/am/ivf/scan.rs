//! Index scans: `ORDER BY column <operator> query`, nearest first.
//!
//! A scan has no pin or lock on an index page between rows. What it remembers of lists may be outdated:
//! a page that is not its list's any more says so, and the batch begins anew with the directory as it
//! is then ([`super::search`]).

use super::all::All;
use super::index::Ivf;
use super::last_scan::{self, LastScan};
use super::search::Search;
use crate::am::filter::Filter;
use crate::am::ordered::{self, Asked, state_of};
use crate::hnsw::format::RawTid;
use crate::ivf::format::Meta;
use crate::pg::heap::HeapReader;
use crate::pg::relation::Index;
use pgrx::pg_sys;
use std::rc::Rc;

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambeginscan(
    index: pg_sys::Relation,
    keys: i32,
    orderbys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the server's arguments.
    unsafe {
        ordered::new_scan(index, keys, orderbys, |reader| Scan {
            reader: Some(reader),
            ..Scan::default()
        })
    }
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amrescan(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    _nkeys: i32,
    orderbys: pg_sys::ScanKey,
    _norderbys: i32,
) {
    // SAFETY: the descriptor is ours, the keys are what the server passes.
    unsafe {
        ordered::take_keys(scan, keys, orderbys);
        let state = state_of::<Scan>(scan);
        state.note(Index::new((*scan).indexRelation));
        if let Some(filter) = &state.filter {
            // rows that are looked at for the last search keep their page pinned
            filter.end();
        }
        let spare = match std::mem::take(&mut state.phase) {
            Phase::Search(mut search) => {
                search.pause();
                Some(search)
            }
            _ => state.spare.take(),
        };
        *state = Scan {
            spare,
            reader: state.reader.take(),
            ..Scan::default()
        };
    }
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amendscan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: the descriptor is ours. Its memory goes with the context; what it holds goes now.
    unsafe {
        let state = state_of::<Scan>(scan);
        state.note(Index::new((*scan).indexRelation));
        if let Phase::Search(search) = &mut state.phase {
            search.end();
        }
        if let Some(spare) = &mut state.spare {
            spare.end();
        }
        if let Some(filter) = &state.filter {
            filter.end();
        }
        *state = Scan::default();
    }
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    _direction: pg_sys::ScanDirection::Type,
) -> bool {
    // SAFETY: the descriptor is ours and its scan is being executed.
    unsafe {
        let state = state_of::<Scan>(scan);
        if matches!(state.phase, Phase::Start) {
            start(scan, state);
        }
        let Some(tid) = state.next() else {
            return false;
        };
        ordered::hand_out(scan, tid, state.recheck);
        state.returned += 1;
        true
    }
}

/// Begins a scan at its first row.
unsafe fn start(scan: pg_sys::IndexScanDesc, state: &mut Scan) {
    // SAFETY: as promised by the caller; the keys were set by `amrescan`.
    let Some(begun) = (unsafe { ordered::begin(scan) }) else {
        state.phase = Phase::Done;
        return;
    };
    let (ivf, meta) = Ivf::open(begun.index);
    // SAFETY: as before.
    match unsafe { begun.asked(ivf.column) } {
        Asked::Nothing => state.phase = Phase::Done,
        Asked::All(filter) => {
            // no keys are looked at: the executor decides
            state.recheck = filter.is_some();
            state.filter = filter;
            state.phase = Phase::All(Box::new(All::new(ivf)));
        }
        Asked::Near(request) => {
            state.filter = request.filter.clone();
            state.recheck = request.needs_recheck();
            let mut search = state.search(ivf, &meta);
            search.begin(&meta, request);
            state.phase = Phase::Search(search);
        }
    }
}

/// State of a scan.
#[derive(Default)]
struct Scan {
    phase: Phase,
    /// an earlier search, whose memory the next one uses
    spare: Option<Box<Search>>,
    /// reads the table; a search takes it
    reader: Option<HeapReader>,
    /// which rows are wanted; `None` where all are
    filter: Option<Rc<Filter>>,
    /// the executor has to look at conditions again
    recheck: bool,
    /// heap tuples handed out
    returned: u64,
}

#[derive(Default)]
enum Phase {
    #[default]
    Start,
    Search(Box<Search>),
    All(Box<All>),
    Done,
}

impl Scan {
    fn search(&mut self, ivf: Ivf, meta: &Meta) -> Box<Search> {
        self.spare.take().unwrap_or_else(|| {
            let reader = self.reader.take().expect("a scan opens its index once");
            Box::new(Search::new(ivf, meta, reader))
        })
    }

    fn next(&mut self) -> Option<RawTid> {
        match &mut self.phase {
            Phase::Start | Phase::Done => None,
            Phase::Search(search) => search.next(),
            Phase::All(all) => all.next(),
        }
    }

    /// Notes what the scan did, for `ivf_last_scan()`.
    fn note(&self, index: Index) {
        let done = match &self.phase {
            Phase::Start | Phase::Done => return,
            Phase::Search(search) => search.done(),
            Phase::All(all) => all.done(),
        };
        let returned = self.returned;
        last_scan::note(index, LastScan { returned, ..done });
    }
}
