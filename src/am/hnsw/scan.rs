//! Index scans: `ORDER BY column <operator> query`, nearest first.
//!
//! A scan is one walk over the graph ([`Walk`], [`BlockScan`]) from which rows are handed out in batches. With
//! `hnsw.iterative_scan = auto` it never ends before every row was handed out: when the walk has
//! no more, or has cost as much as reading the whole index, a sweep over all pages in exact order
//! takes over.
//!
//! No pin is kept between rows. VACUUM may meanwhile free a node (its generation tells) or a heap
//! tuple whose place is taken by a newer one (an MVCC snapshot does not see it).

use super::blocks::{index::Blocks, scan::BlockScan};
use super::cost;
use super::last_scan::{self, LastScan};
use super::options::{self, IterativeScan};
use super::storage::Hnsw;
use super::sweep::Sweep;
use super::tids::tids_of;
use super::walk::Walk;
use crate::allow_list::AllowList;
use crate::am::filter::Filter;
use crate::am::ordered::{self, Asked, Request, state_of};
use crate::distance::Value;
use crate::hnsw::format::{Meta, RawTid};
use crate::pg::conditions::Conditions;
use crate::pg::heap::HeapReader;
use crate::pg::relation::Index;
use pgrx::pg_sys;
use std::rc::Rc;

/// Rows of an allow-list whose heap pages are asked for together.
const PREFETCHED: usize = 32;

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
        #[cfg(feature = "pg18")]
        let before = state.total();
        let spare = match std::mem::take(&mut state.phase) {
            Phase::Blocks(mut blocks) => {
                blocks.pause();
                Some(blocks)
            }
            Phase::Walk(mut walk) => {
                state.reader = walk.take_reader().or(state.reader.take());
                None
            }
            _ => state.spare.take(),
        };
        *state = Scan {
            spare,
            reader: state.reader.take(),
            #[cfg(feature = "pg18")]
            before,
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
        match &mut state.phase {
            Phase::Blocks(blocks) => blocks.end(),
            Phase::Walk(walk) => {
                if let Some(mut reader) = walk.take_reader() {
                    reader.end();
                }
            }
            _ => {}
        }
        if let Some(filter) = &state.filter {
            filter.end();
        }
        if let Some(spare) = &mut state.spare {
            spare.end();
        }
        if let Some(reader) = &mut state.reader {
            reader.end();
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
    // SAFETY: as promised by the caller; keys of both kinds were set by `amrescan`.
    let Some(begun) = (unsafe { ordered::begin(scan) }) else {
        state.phase = Phase::Done;
        return;
    };
    let (hnsw, meta) = Hnsw::open(begun.index);
    // SAFETY: as before.
    match unsafe { begun.asked(hnsw.column) } {
        Asked::Nothing => state.phase = Phase::Done,
        Asked::All(filter) => {
            // no keys are looked at: the executor decides
            state.recheck = filter.is_some();
            state.filter = filter;
            state.phase = Phase::Sweep(Box::new(Sweep::new(hnsw, None)));
        }
        Asked::Near(request) => state.search(hnsw, &meta, request),
    }
}

/// State of a scan.
#[derive(Default)]
struct Scan {
    phase: Phase,
    /// heap tuples of the node handed out last, in reverse
    pending: Vec<RawTid>,
    /// an earlier scan of an index of blocks, whose memory the next one uses
    spare: Option<Box<BlockScan>>,
    /// reads the table; a scan of an index of blocks takes it
    reader: Option<HeapReader>,
    /// which rows are wanted; `None` where all are
    filter: Option<Rc<Filter>>,
    /// the executor has to look at conditions again
    recheck: bool,
    /// heap tuples handed out
    returned: u64,
    /// what a walk of the plain layout did that has ended
    walked: LastScan,
    /// what the scans before this one of the same plan node did
    #[cfg(feature = "pg18")]
    before: LastScan,
}

#[derive(Default)]
enum Phase {
    #[default]
    Start,
    Blocks(Box<BlockScan>),
    Walk(Box<Walk>),
    Sweep(Box<Sweep>),
    Done,
}

/// Whether a scan is of an index of this access method.
///
/// # Safety
/// `scan` is an open index scan.
#[cfg(feature = "pg18")]
pub unsafe fn is_ours(scan: pg_sys::IndexScanDesc) -> bool {
    // SAFETY: an open scan has an open index, whose access method's callbacks are there.
    unsafe { super::is_ours(&*(*(*scan).indexRelation).rd_indam) }
}

/// What the scans of a plan node did so far, for EXPLAIN.
///
/// # Safety
/// `scan` is a scan of ours that has not ended.
#[cfg(feature = "pg18")]
pub unsafe fn total(scan: pg_sys::IndexScanDesc) -> LastScan {
    // SAFETY: as promised by the caller.
    unsafe { state_of::<Scan>(scan) }.total()
}

impl Scan {
    /// What the scan has done; `None` before its first row.
    fn done(&self) -> Option<LastScan> {
        let done = match &self.phase {
            Phase::Start => return None,
            Phase::Blocks(scan) => scan.done(),
            Phase::Walk(walk) => walk.done(),
            Phase::Sweep(sweep) => LastScan {
                computed: self.walked.computed + sweep.computed,
                pages: self.walked.pages + sweep.pages,
                swept: true,
                ..self.walked
            },
            Phase::Done => self.walked,
        };
        Some(LastScan {
            returned: self.returned,
            ..done
        })
    }

    /// Notes what the scan did, for `hnsw_last_scan()`.
    fn note(&self, index: Index) {
        if let Some(done) = self.done() {
            last_scan::note(index, done);
        }
    }

    #[cfg(feature = "pg18")]
    fn total(&self) -> LastScan {
        match self.done() {
            Some(done) => self.before.plus(&done),
            None => self.before,
        }
    }

    /// Begins to search.
    fn search(&mut self, hnsw: Hnsw, meta: &Meta, request: Request) {
        if let Some(list) = few_listed(&hnsw, &request) {
            // no keys are looked at: the executor decides
            self.recheck = true;
            let conditions = request.node.map(|node| node.conditions());
            let conditions = conditions.unwrap_or_default();
            self.read_listed(&hnsw, &request.target.query, &list, &conditions);
            return;
        }
        self.filter = request.filter.clone();
        let mode = match request.asks_for_all {
            true => IterativeScan::Auto,
            false => options::ITERATIVE_SCAN.get(),
        };
        if let Some(mut blocks) = self.blocks(hnsw, meta) {
            self.recheck = request.needs_recheck();
            blocks.begin(meta, request, mode);
            self.phase = Phase::Blocks(blocks);
            return;
        }
        // no keys are kept of these nodes: the executor decides
        self.recheck = request.filter.is_some() || request.has_spheres;
        self.phase = match Walk::new(hnsw, meta, request, mode, &mut self.reader) {
            Some(walk) => Phase::Walk(Box::new(walk)),
            None => Phase::Done,
        };
    }

    /// Reads the rows of a list from the table and puts them in order.
    fn read_listed(&mut self, hnsw: &Hnsw, query: &Value, list: &AllowList, where_: &Conditions) {
        let reader = match (&mut self.reader, &mut self.spare) {
            (Some(reader), _) => reader,
            (None, Some(spare)) => spare.reader(),
            (None, None) => unreachable!("a scan has its reader, or what took it"),
        };
        let column = hnsw.column;
        let mut nearest: Vec<(f64, RawTid)> = Vec::new();
        let tids = list.tids();
        for (n, &tid) in tids.iter().enumerate() {
            if n.is_multiple_of(PREFETCHED) {
                pgrx::check_for_interrupts!();
                reader.prefetch(&tids[n..tids.len().min(n + PREFETCHED)]);
            }
            let distance = reader.fetch_where(tid, where_, |datum| {
                // SAFETY: a non-NULL value of the indexed column. What is in no index is no search's result.
                unsafe { column.distance(datum, query.operand()) }
            });
            nearest.extend(distance.flatten().map(|distance| (distance, tid)));
        }
        reader.release();
        self.walked.reranked = nearest.len() as u64;
        nearest.sort_by(|a, b| b.0.total_cmp(&a.0));
        self.pending = nearest.into_iter().map(|(_, tid)| tid).collect();
        self.phase = Phase::Done;
    }

    /// A scan of an index of blocks; `None` for one of the plain layout.
    fn blocks(&mut self, hnsw: Hnsw, meta: &Meta) -> Option<Box<BlockScan>> {
        if let Some(spare) = self.spare.take() {
            return Some(spare);
        }
        let blocks = Blocks::open(hnsw, meta)?;
        let reader = self.reader.take().expect("a scan opens its index once");
        Some(Box::new(BlockScan::new(Rc::new(blocks), meta, reader)))
    }

    fn next(&mut self) -> Option<RawTid> {
        loop {
            while let Some(tid) = self.pending.pop() {
                let allowed = self.filter.as_ref().and_then(|filter| filter.allowed());
                if allowed.is_none_or(|allowed| allowed.contains(tid)) {
                    return Some(tid);
                }
            }
            pgrx::check_for_interrupts!();
            match &mut self.phase {
                Phase::Start | Phase::Done => return None,
                Phase::Blocks(scan) => {
                    if !scan.next(&mut self.pending) {
                        return None;
                    }
                }
                Phase::Walk(walk) => match walk.next() {
                    Some(node) => {
                        let hnsw = &walk.store.hnsw;
                        tids_of(hnsw, node.id, node.generation, &mut self.pending);
                    }
                    None if walk.leaves_rows() => {
                        self.walked = walk.done();
                        self.reader = walk.take_reader().or(self.reader.take());
                        self.phase = Phase::Sweep(Box::new(Sweep::after(walk)));
                    }
                    None => {
                        self.walked = walk.done();
                        self.reader = walk.take_reader().or(self.reader.take());
                        self.phase = Phase::Done;
                    }
                },
                Phase::Sweep(sweep) => match sweep.next() {
                    Some(node) => {
                        tids_of(&sweep.hnsw, node.id, node.generation, &mut self.pending);
                    }
                    None => {
                        self.walked.computed += sweep.computed;
                        self.walked.pages += sweep.pages;
                        self.walked.swept = true;
                        self.phase = Phase::Done;
                    }
                },
            }
        }
    }
}

/// The list of rows that may match, where reading them all is cheaper than a walk.
fn few_listed(hnsw: &Hnsw, request: &Request) -> Option<Rc<AllowList>> {
    let list = request.node?.allowed()?;
    let wanted = request.limit().and_then(|limit| limit.wanted());
    let wanted = wanted.map_or(usize::MAX, |rows| rows as usize);
    let rows = hnsw.estimated_nodes(request.target.query.payload().len());
    let listed = list.count()? as f64;
    cost::is_few(listed, wanted, rows).then_some(list)
}
