//! Index scans: `ORDER BY column <operator> query`, nearest first.
//!
//! A scan has no pin or lock on an index page between rows. What it remembers of lists may be outdated:
//! a page that is not its list's any more says so, and the batch begins anew with the directory as it
//! is then ([`super::search`]).

use super::all::All;
use super::index::Ivf;
use super::last_scan::{self, LastScan};
use super::search::{Request, Search};
use crate::am::filter::{Filter, keys_of};
use crate::am::ordered::{self, Order};
use crate::am::sphere::{self, Target};
use crate::hnsw::format::RawTid;
use crate::ivf::format::Meta;
use crate::pg::heap::HeapReader;
use crate::pg::relation::Index;
use crate::planner::running;
use pgrx::pg_sys;
use std::rc::Rc;

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambeginscan(
    index: pg_sys::Relation,
    keys: i32,
    orderbys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the server passes an open index and frees the descriptor itself; the scan's state is
    // dropped with the memory context of the query, also after an error.
    unsafe {
        let scan = pg_sys::RelationGetIndexScan(index, keys, orderbys);
        let state = pgrx::PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(Scan {
            reader: Some(HeapReader::new(scan)),
            ..Scan::default()
        });
        (*scan).opaque = state.cast();
        scan
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
        let state = state_of(scan);
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
        let state = state_of(scan);
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

unsafe fn state_of<'a>(scan: pg_sys::IndexScanDesc) -> &'a mut Scan {
    // SAFETY: set in `ambeginscan`; one callback runs at a time.
    unsafe { &mut *(*scan).opaque.cast::<Scan>() }
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    _direction: pg_sys::ScanDirection::Type,
) -> bool {
    // SAFETY: the descriptor is ours and its scan is being executed.
    unsafe {
        let state = state_of(scan);
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
    let ((index, order), node, keys) =
        unsafe { (ordered::begin(scan), running::node_of(scan), keys_of(scan)) };
    // SAFETY: the scan's own keys.
    let Some(spheres) = (unsafe { sphere::of_scan(keys) }) else {
        state.phase = Phase::Done;
        return;
    };
    let center = match (order, spheres.first()) {
        (Order::By(query), _) => Some(query),
        (Order::Null, _) => None,
        (Order::None, Some(sphere)) => Some(sphere.center),
        (Order::None, None) => ordered::refuse(index),
    };
    let has_order = !matches!(order, Order::None);
    let (ivf, meta) = Ivf::open(index);
    // SAFETY: a non-NULL value of the column's type: the operator's right side, or a sphere's centre.
    let query = center.map(|datum| unsafe { ivf.column.value(datum) });
    // a NULL query, or a zero vector under cosine, is at no distance from anything
    let query = query.filter(|query| ivf.column.is_indexable(query));
    if !has_order && query.is_none() {
        // nothing is in a sphere around it
        state.phase = Phase::Done;
        return;
    }
    let radius = node.and_then(|node| node.radius());
    // SAFETY: the spheres are of the operator class's type.
    let target = query.map(|query| unsafe { Target::new(ivf.column, query, radius, &spheres) });
    let has_spheres = !spheres.is_empty();
    let asks_rows = has_spheres && target.as_ref().is_none_or(|target| target.has_others);
    let allowed = node.and_then(|node| node.allowed());
    // SAFETY: the scan is begun, with its keys set.
    state.filter = unsafe { Filter::of(scan, index, allowed, asks_rows) }.map(Rc::new);
    let filter = state.filter.clone();
    let Some(target) = target else {
        // no keys are looked at: the executor decides
        state.recheck = filter.is_some();
        state.phase = Phase::All(Box::new(All::new(ivf)));
        return;
    };
    let needs_recheck = filter.as_ref().is_some_and(|filter| filter.needs_recheck());
    // a sphere's edge is drawn by the operator
    state.recheck = needs_recheck || has_spheres;
    let has_limit = node.is_some_and(|node| node.limit.is_some());
    let is_bounded = target.within < f64::INFINITY;
    let asks_no_order = !has_order || node.is_some_and(|node| node.asks_for_no_order());
    let request = Request {
        query: target.query,
        within: target.within,
        // who asks for all rows within a distance gets them
        asks_for_all: asks_no_order || (is_bounded && !has_limit),
        node,
        filter,
    };
    let mut search = state.search(ivf, &meta);
    search.begin(&meta, request);
    state.phase = Phase::Search(search);
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
