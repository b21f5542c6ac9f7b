//! Index scans: `ORDER BY column <operator> query`, nearest first.
//!
//! A scan is one walk over the graph ([`Stream`]) from which rows are handed out in batches. With
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
use super::place;
use super::storage::{Hnsw, PageNode, PageStore};
use crate::am::filter::{Filter, keys_of};
use crate::am::sphere::{self, Target};
use crate::distance::Value;
use crate::hnsw::format::{Meta, Node, NodeId, Opaque, PageKind, RawTid};
use crate::hnsw::{Candidate, Distance, Searcher, Stream};
use crate::pg::allow_list::AllowList;
use crate::pg::buffer::{Access, Shared, Strategy};
use crate::pg::conditions::Conditions;
use crate::pg::heap::HeapReader;
use crate::pg::relation::Index;
use crate::planner::limit::Limit;
use crate::planner::running::{self, Node as PlanNode};
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys;
use rustc_hash::FxHashSet;
use std::collections::BinaryHeap;
use std::rc::Rc;

/// A walk goes on at least this long before a sweep takes over.
const LEAST_WALK: u64 = 10_000;
/// Share of the index's rows after which a sweep is cheaper than walking on.
const WALK_SHARE: f64 = 0.25;

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
    // SAFETY: the descriptor is ours, with room for as many keys of both kinds as it was begun with.
    unsafe {
        if !orderbys.is_null() && (*scan).numberOfOrderBys > 0 {
            std::ptr::copy(
                orderbys,
                (*scan).orderByData,
                (*scan).numberOfOrderBys as usize,
            );
        }
        if !keys.is_null() && (*scan).numberOfKeys > 0 {
            std::ptr::copy(keys, (*scan).keyData, (*scan).numberOfKeys as usize);
        }
        let state = state_of(scan);
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
        let state = state_of(scan);
        state.note(Index::new((*scan).indexRelation));
        if let Phase::Blocks(blocks) = &mut state.phase {
            blocks.end();
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
        crate::pg::heap::check_tid(scan, tid);
        (*scan).xs_heaptid = pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData {
                bi_hi: tid.block_hi,
                bi_lo: tid.block_lo,
            },
            ip_posid: tid.offset,
        };
        state.returned += 1;
        (*scan).xs_recheck = state.recheck;
        (*scan).xs_recheckorderby = false;
        true
    }
}

/// What a search is asked for.
pub struct Request {
    /// from where, and how far
    pub target: Target,
    /// the plan node that it is for
    pub node: Option<PlanNode>,
    /// which rows are wanted; `None` where all are
    pub filter: Option<Rc<Filter>>,
    /// how it goes on
    pub mode: IterativeScan,
}

impl Request {
    /// The LIMIT above it.
    pub fn limit(&self) -> Option<Limit> {
        self.node.and_then(|node| node.limit)
    }
}

/// Begins a scan at its first row.
unsafe fn start(scan: pg_sys::IndexScanDesc, state: &mut Scan) {
    // SAFETY: as promised by the caller; keys of both kinds were set by `amrescan`.
    let (index, keys, order, node) = unsafe {
        let snapshot = (*scan).xs_snapshot;
        let mvcc = !snapshot.is_null()
            && matches!(
                (*snapshot).snapshot_type,
                pg_sys::SnapshotType::SNAPSHOT_MVCC | pg_sys::SnapshotType::SNAPSHOT_HISTORIC_MVCC
            );
        if !mvcc {
            pgrx::ereport!(
                ERROR,
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "non-MVCC snapshots are not supported with hnsw"
            );
        }
        let index = Index::new((*scan).indexRelation);
        index.count_scan();
        // EXPLAIN ANALYZE's "Index Searches"
        #[cfg(feature = "pg18")]
        if let Some(counts) = (*scan).instrument.as_mut() {
            counts.nsearches += 1;
        }
        let order = ((*scan).numberOfOrderBys > 0).then(|| &*(*scan).orderByData);
        (index, keys_of(scan), order, running::node_of(scan))
    };
    // SAFETY: the scan's own keys.
    let Some(spheres) = (unsafe { sphere::of_scan(keys) }) else {
        state.phase = Phase::Done;
        return;
    };
    let center = match order {
        Some(key) => {
            let is_null = key.sk_flags & pg_sys::SK_ISNULL as i32 != 0;
            (!is_null).then_some(key.sk_argument)
        }
        None => spheres.first().map(|sphere| sphere.center),
    };
    if order.is_none() && center.is_none() {
        pgrx::ereport!(
            ERROR,
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot scan hnsw index without order"
        );
    }
    let (hnsw, meta) = Hnsw::open(index);
    // SAFETY: a non-NULL value of the column's type: the operator's right side.
    let query = center.map(|datum| unsafe { hnsw.column.value(datum) });
    // a NULL query, or a zero vector under cosine, is at no distance from anything
    let query = query.filter(|query| hnsw.column.is_indexable(query));
    if order.is_none() && query.is_none() {
        // nothing is in a sphere around it
        state.phase = Phase::Done;
        return;
    }
    let radius = node.and_then(|node| node.radius());
    // SAFETY: the spheres are of the operator class's type.
    let target = query.map(|query| unsafe { Target::new(hnsw.column, query, radius, &spheres) });
    let has_others = target.as_ref().is_none_or(|target| target.has_others);
    let allowed = node.and_then(|node| node.allowed());
    let asks_rows = has_others && !spheres.is_empty();
    // SAFETY: the scan is begun, with its keys set.
    let filter = unsafe { Filter::of(scan, index, allowed.clone(), asks_rows) }.map(Rc::new);
    if let (Some(target), Some(node), Some(list)) = (&target, &node, allowed) {
        let wanted = node.limit.and_then(|limit| limit.wanted());
        let wanted = wanted.map_or(usize::MAX, |rows| rows as usize);
        let rows = hnsw.estimated_nodes(target.query.payload().len());
        if let Some(listed) = list.count()
            && cost::is_few(listed as f64, wanted, rows)
        {
            // no keys are looked at: the executor decides
            state.recheck = true;
            state.read_listed(&hnsw, &target.query, &list, &node.conditions());
            return;
        }
    }
    state.filter = filter.clone();
    let Some(target) = target else {
        // no keys are looked at: the executor decides
        state.recheck = filter.is_some();
        state.phase = Phase::Sweep(Box::new(Sweep::new(hnsw, None)));
        return;
    };
    let limit = node.and_then(|node| node.limit);
    // Who asks for all rows within a distance gets them: other modes are for those that are ordered.
    let is_bounded = target.within < f64::INFINITY;
    let asks_no_order = order.is_none() || node.is_some_and(|node| node.asks_for_no_order());
    let asks_for_all = asks_no_order || (is_bounded && limit.is_none());
    let request = Request {
        target,
        node,
        mode: match asks_for_all {
            true => IterativeScan::Auto,
            false => options::ITERATIVE_SCAN.get(),
        },
        filter,
    };
    // a sphere's edge is drawn by the operator
    let has_spheres = !spheres.is_empty();
    if let Some(mut blocks) = state.blocks(hnsw, &meta) {
        let needs_recheck = request.filter.as_ref().is_some_and(|f| f.needs_recheck());
        state.recheck = needs_recheck || has_spheres;
        blocks.begin(&meta, request);
        state.phase = Phase::Blocks(blocks);
        return;
    }
    // no keys are kept of these nodes: the executor decides
    state.recheck = request.filter.is_some() || has_spheres;
    state.begin(hnsw, &meta, request);
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
    unsafe { state_of(scan) }.total()
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

    /// Reads the rows of a list from the table and puts them in order.
    fn read_listed(&mut self, hnsw: &Hnsw, query: &Value, list: &AllowList, where_: &Conditions) {
        let reader = match (&mut self.reader, &mut self.spare) {
            (Some(reader), _) => reader,
            (None, Some(spare)) => spare.reader(),
            (None, None) => unreachable!("a scan has its reader, or what took it"),
        };
        let column = hnsw.column;
        let mut nearest: Vec<(f64, RawTid)> = Vec::new();
        for tid in list.tids() {
            pgrx::check_for_interrupts!();
            let distance = reader.fetch_where(tid, where_, |datum| {
                // SAFETY: a non-NULL value of the indexed column.
                let value = unsafe { column.value(datum) };
                // what is in no index is no search's result
                column
                    .is_indexable(&value)
                    .then(|| column.space.distance(query.operand(), value.operand()))
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

    /// Begins a search of the plain layout.
    fn begin(&mut self, hnsw: Hnsw, meta: &Meta, request: Request) {
        let limit = request.limit();
        let mut store = PageStore::new(hnsw, request.target.query);
        let Some((entry, entry_level)) = store.entry(meta) else {
            self.phase = Phase::Done;
            return;
        };
        let mut searcher = Searcher::default();
        let entry = searcher.descend(&mut store, entry, entry_level, 0);
        let stream = Stream::new(&mut store, entry);
        let most_visits = hnsw.estimated_nodes(store.query.payload().len()) * WALK_SHARE;
        let ef_search = options::ef_search() as usize;
        let wanted = limit.and_then(|limit| limit.wanted());
        let ef = match (request.mode, wanted) {
            // room beyond the last row asked for, so that it, too, is the right one
            (IterativeScan::Auto, Some(rows)) => {
                ef_search.max((rows as usize).saturating_add(rows as usize / 2))
            }
            // what is missed then is missing
            (IterativeScan::Auto, None) if request.target.within < f64::INFINITY => 4 * ef_search,
            _ => ef_search,
        };
        self.phase = Phase::Walk(Box::new(Walk {
            store,
            stream,
            batch: Vec::new(),
            batches: 0,
            ef,
            mode: request.mode,
            order: Order::of(limit),
            within: Distance(request.target.within),
            is_limited: wanted.is_some(),
            late: Vec::new(),
            handed_out: FxHashSet::default(),
            most_visits: most_visits as u64,
            memory_limit: memory_limit(),
        }));
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
                        tids_of(
                            &walk.store.hnsw,
                            node.id,
                            node.generation,
                            &mut self.pending,
                        );
                    }
                    None if walk.mode == IterativeScan::Auto && !walk.is_at_edge() => {
                        self.walked = walk.done();
                        self.phase = Phase::Sweep(Box::new(Sweep::after(walk)));
                    }
                    None => {
                        self.walked = walk.done();
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

/// Keeps rows that reach the user in order: the last one among those handed out that no filter
/// above the scan has kept back, as far as can be told. No nearer row may come after it.
pub struct Order<T> {
    limit: Option<Limit>,
    /// rows that had passed when `accepted` was noted
    passed: i64,
    handed_out: Option<T>,
    /// the row that others may not come before
    pub accepted: Option<T>,
}

impl<T> Order<T> {
    /// The order of a scan that has handed out nothing.
    pub fn of(limit: Option<Limit>) -> Self {
        Order {
            passed: limit.and_then(|limit| limit.passed()).unwrap_or(0),
            limit,
            handed_out: None,
            accepted: None,
        }
    }

    /// Notes what became of the row handed out last. Called when the next one is asked for.
    pub fn catch_up(&mut self) {
        if let Some(passed) = self.limit.and_then(|limit| limit.passed()) {
            if passed == self.passed {
                return;
            }
            self.passed = passed;
        }
        if let Some(row) = self.handed_out.take() {
            self.accepted = Some(row);
        }
    }

    /// Notes a row that is handed out.
    pub fn hand_out(&mut self, row: T) {
        self.handed_out = Some(row);
    }
}

/// Bytes a scan may hold.
pub fn memory_limit() -> usize {
    // SAFETY: reads a setting.
    let kilobytes = unsafe { pg_sys::work_mem } as f64;
    (kilobytes * 1024.0 * options::SCAN_MEM_MULTIPLIER.get()) as usize
}

/// Reads the heap tuples of a node, unless it is gone.
fn tids_of(hnsw: &Hnsw, id: NodeId, generation: u32, tids: &mut Vec<RawTid>) {
    hnsw.with_node(id, Access::Random, |node| {
        if node.header.generation == generation && !node.is_deleted() {
            each_tid(hnsw, id, &node, |tid, _| tids.push(tid));
            tids.reverse();
        }
    });
}

/// Hands all heap tuples of a node whose page is locked to `f`, with their keys.
pub fn each_tid(hnsw: &Hnsw, id: NodeId, node: &Node<'_>, mut f: impl FnMut(RawTid, &[u64])) {
    let columns = hnsw.shape.keys();
    let mut each = |tids: &[RawTid], keys: &[u64]| {
        for (n, &tid) in tids.iter().enumerate() {
            f(tid, &keys[n * columns..][..columns]);
        }
    };
    each(node.tids(), node.keys());
    let mut next = node.header.more_tids;
    let mut walk = place::ChainWalk::new();
    while let Some(at) = next.id() {
        walk.step(hnsw, at);
        next = place::read_tid_list(hnsw, id, at, node.header.generation, |list| {
            each(list.tids, list.keys);
            list.header.next
        });
    }
}

/// The walk of a scan, batch by batch.
struct Walk {
    store: PageStore,
    stream: Stream<PageStore>,
    /// what is left of the current batch, farthest first
    batch: Vec<Candidate<PageNode>>,
    batches: u32,
    ef: usize,
    mode: IterativeScan,
    order: Order<Candidate<PageNode>>,
    /// rows beyond are of no use
    within: Distance,
    /// not all rows are wanted
    is_limited: bool,
    /// rows within, too late to be in order; they come last
    late: Vec<Candidate<PageNode>>,
    handed_out: FxHashSet<NodeId>,
    most_visits: u64,
    memory_limit: usize,
}

impl Walk {
    /// What the walk has done so far.
    fn done(&self) -> LastScan {
        LastScan {
            expanded: self.stream.expanded(),
            computed: self.stream.visited(),
            pages: self.store.pages(),
            ..LastScan::default()
        }
    }

    fn next(&mut self) -> Option<PageNode> {
        self.order.catch_up();
        loop {
            while let Some(&candidate) = self.batch.last() {
                if candidate.distance > self.within {
                    // left where it is: the walk is at the edge
                    return self.late.pop().map(|late| late.node);
                }
                self.batch.pop();
                let late = self
                    .order
                    .accepted
                    .is_some_and(|last| candidate.distance < last.distance);
                if late && self.mode != IterativeScan::RelaxedOrder {
                    if self.within < Distance(f64::INFINITY) {
                        self.late.push(candidate);
                    }
                    continue;
                }
                self.order.hand_out(candidate);
                if self.mode == IterativeScan::Auto {
                    self.handed_out.insert(candidate.node.id);
                }
                return Some(candidate.node);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Whether what is left is too far.
    fn is_at_edge(&self) -> bool {
        let next = self.batch.last();
        next.is_some_and(|candidate| candidate.distance > self.within)
    }

    /// Whether rows within may be missing from the batch: its last ones are those that a walk knows
    /// least of.
    fn is_short(&self) -> bool {
        let inside = self.batch.iter().filter(|row| row.distance <= self.within);
        let inside = inside.count();
        let is_at_edge = inside < self.batch.len();
        self.within < Distance(f64::INFINITY)
            && 3 * inside > self.batch.len()
            && (is_at_edge || !self.is_limited)
    }

    /// Searches the next batch; false where the walk ends.
    fn fill(&mut self) -> bool {
        if self.batches > 0 {
            if self.mode == IterativeScan::Off || self.stream.is_exhausted() {
                return false;
            }
            if self.mode == IterativeScan::Auto {
                // each batch half as large again as the one before: the work grows with the rows
                // asked for, and the restarts only with its logarithm
                self.ef += self.ef / 2 + 1;
            }
        }
        let first = self.batches == 0;
        self.batches += 1;
        let (most_visits, memory_limit, mode) = (self.most_visits, self.memory_limit, self.mode);
        if !first && self.is_over_bound() {
            if mode == IterativeScan::Auto {
                return false;
            }
            // what was seen already is still handed out
            self.batch = self.stream.rest(&mut self.store);
            self.batch.reverse();
            return !self.batch.is_empty();
        }
        let max_tuples = options::MAX_SCAN_TUPLES.get() as u64;
        let proceed = |stream: &Stream<PageStore>| {
            pgrx::check_for_interrupts!();
            match mode {
                IterativeScan::Auto => {
                    stream.visited() < LEAST_WALK
                        || (stream.visited() < most_visits && stream.memory() < memory_limit)
                }
                _ => first || stream.visited() < max_tuples,
            }
        };
        self.batch = self.stream.next_batch(&mut self.store, self.ef, proceed);
        while mode == IterativeScan::Auto && self.is_short() && !self.is_over_bound() {
            let more = self.batch.len().max(self.ef);
            let more = self.stream.next_batch(&mut self.store, more, proceed);
            if more.is_empty() {
                break;
            }
            self.batch.extend(more);
            self.batch.sort_unstable();
        }
        let visited_all = first && self.batch.len() < self.ef;
        if mode == IterativeScan::Auto && visited_all && self.stream.visited() >= most_visits {
            // the walk came by every row it can reach; the sweep knows the place of the others, too
            self.batch.clear();
            return false;
        }
        if mode == IterativeScan::Auto && self.is_over_bound() {
            // the batch was cut short: its rows may not be the nearest, the sweep has them all
            self.batch.clear();
            return false;
        }
        self.batch.reverse();
        !self.batch.is_empty()
    }

    fn is_over_bound(&self) -> bool {
        let memory = self.stream.memory() + self.store.memory();
        match self.mode {
            IterativeScan::Auto => {
                self.stream.visited() >= LEAST_WALK
                    && (self.stream.visited() >= self.most_visits || memory >= self.memory_limit)
            }
            _ => {
                self.stream.visited() >= options::MAX_SCAN_TUPLES.get() as u64
                    || memory >= self.memory_limit
            }
        }
    }
}

/// A pass, or several, over all pages: every row in exact order.
struct Sweep {
    hnsw: Hnsw,
    store: Option<PageStore>,
    /// rows of the current pass, farthest first
    batch: Vec<Candidate<PageNode>>,
    /// where the next pass goes on
    last: Option<Candidate<PageNode>>,
    /// rows beyond are of no use
    within: Distance,
    /// handed out by the walk before
    handed_out: FxHashSet<NodeId>,
    /// nearer than what was accepted when the sweep found them, farthest first; they come last
    late: Vec<Candidate<PageNode>>,
    passes: u32,
    ended: bool,
    /// distances computed, in all passes
    computed: u64,
    /// pages read
    pages: u64,
}

impl Sweep {
    /// Every row; in any order where there is no query.
    fn new(hnsw: Hnsw, store: Option<PageStore>) -> Self {
        Sweep {
            hnsw,
            store,
            batch: Vec::new(),
            last: None,
            within: Distance(f64::INFINITY),
            handed_out: FxHashSet::default(),
            late: Vec::new(),
            passes: 0,
            ended: false,
            computed: 0,
            pages: 0,
        }
    }

    /// Every row that a walk did not hand out.
    fn after(walk: &mut Walk) -> Self {
        let hnsw = walk.store.hnsw;
        let query = std::mem::take(&mut walk.store.query);
        let mut sweep = Sweep::new(hnsw, Some(PageStore::new(hnsw, query)));
        sweep.within = walk.within;
        sweep.last = walk.order.accepted;
        sweep.handed_out = std::mem::take(&mut walk.handed_out);
        sweep
    }

    fn next(&mut self) -> Option<PageNode> {
        if self.batch.is_empty() && !self.ended {
            self.pass();
        }
        if let Some(candidate) = self.batch.pop() {
            self.last = Some(candidate);
            return Some(candidate.node);
        }
        self.late.pop().map(|candidate| candidate.node)
    }

    /// Collects the nearest rows beyond the last one, as many as memory allows.
    fn pass(&mut self) {
        let capacity = (memory_limit() / size_of::<Candidate<PageNode>>()).max(1000);
        let mut nearest: BinaryHeap<Candidate<PageNode>> = BinaryHeap::new();
        let mut left_out = false;
        let first = self.passes == 0;
        let access = Access::Sequential(Strategy::bulk_read());
        for block in 1..self.hnsw.index.blocks() {
            pgrx::check_for_interrupts!();
            let page = Shared::read(self.hnsw.index, block, access);
            self.pages += 1;
            let view = page.page();
            if view.is_new() || self.hnsw.check(block, || Opaque::of(view)).0 != PageKind::Nodes {
                continue;
            }
            for offset in 1..=view.item_count() {
                let id = NodeId { block, offset };
                let Some(node) = self.hnsw.node_on(view, id) else {
                    continue;
                };
                if node.is_deleted() || self.handed_out.contains(&id) {
                    continue;
                }
                let distance = match &mut self.store {
                    Some(store) => {
                        self.computed += 1;
                        store.distance_to(id, &node)
                    }
                    None => Some(Distance(0.0)),
                };
                let Some(distance) = distance.filter(|&distance| distance <= self.within) else {
                    continue;
                };
                let node = PageNode {
                    id,
                    generation: node.header.generation,
                    live: true,
                };
                let candidate = Candidate { distance, node };
                if self.last.is_some_and(|last| candidate <= last) {
                    if first {
                        self.late.push(candidate);
                    }
                    continue;
                }
                nearest.push(candidate);
                if nearest.len() > capacity {
                    nearest.pop();
                    left_out = true;
                }
            }
        }
        if first {
            self.late.sort_unstable();
            self.late.reverse();
        }
        self.passes += 1;
        self.ended = !left_out;
        self.batch = nearest.into_sorted_vec();
        self.batch.reverse();
    }
}
