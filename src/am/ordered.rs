//! What every ordered scan of an index of ours does on its way in and out: `ORDER BY column <operator> query`,
//! and `WHERE column <operator> sphere`.

use super::column::Column;
use super::filter::{Filter, keys_of};
use super::sphere::{self, Sphere, Target};
use crate::hnsw::format::RawTid;
use crate::pg::heap::HeapReader;
use crate::pg::relation::Index;
use crate::pg::rows::item_pointer;
use crate::planner::limit::Limit;
use crate::planner::running::{self, Node};
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::{self, Datum};
use std::rc::Rc;

/// A new scan, with a state of its own that is dropped with the memory context of the query, also after an
/// error. `state` gets what reads the scan's table.
///
/// # Safety
/// The arguments are what the server passes to `ambeginscan`.
pub unsafe fn new_scan<S>(
    index: pg_sys::Relation,
    keys: i32,
    orderbys: i32,
    state: impl FnOnce(HeapReader) -> S,
) -> pg_sys::IndexScanDesc {
    // SAFETY: the server passes an open index and frees the descriptor itself.
    unsafe {
        let scan = pg_sys::RelationGetIndexScan(index, keys, orderbys);
        let state = state(HeapReader::new(scan));
        let state = pgrx::PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(state);
        (*scan).opaque = state.cast();
        scan
    }
}

/// The state of a scan.
///
/// # Safety
/// [`new_scan`] made the scan, with a state of that type, which nobody else uses meanwhile.
pub unsafe fn state_of<'a, S>(scan: pg_sys::IndexScanDesc) -> &'a mut S {
    // SAFETY: as promised by the caller.
    unsafe { &mut *(*scan).opaque.cast::<S>() }
}

/// Takes the keys of a scan that begins anew.
///
/// # Safety
/// The arguments are what the server passes to `amrescan`.
pub unsafe fn take_keys(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    orderbys: pg_sys::ScanKey,
) {
    // SAFETY: the descriptor has room for as many keys of both kinds as it was begun with.
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
    }
}

/// A scan at its first row.
pub struct Begun {
    scan: pg_sys::IndexScanDesc,
    /// its index
    pub index: Index,
    /// what is searched for: the order's right side, or else a sphere's centre; `None` where that is NULL
    center: Option<Datum>,
    has_order: bool,
    spheres: Vec<Sphere>,
}

/// What a scan is to find.
pub enum Asked {
    /// no row can be in its spheres
    Nothing,
    /// all that pass the filter, in any order: no row is at any distance from NULL, or from a zero vector
    /// under cosine
    All(Option<Rc<Filter>>),
    /// what is near
    Near(Request),
}

/// A search for what is near.
pub struct Request {
    /// from where, and how far
    pub target: Target,
    /// the plan node that it is for
    pub node: Option<Node>,
    /// which rows are wanted; `None` where all are
    pub filter: Option<Rc<Filter>>,
    /// it is, or has to be, in spheres
    pub has_spheres: bool,
    /// who asks for all rows within a distance gets them, whatever the settings: these are for searches
    /// that are ordered
    pub asks_for_all: bool,
}

impl Request {
    /// The LIMIT above the plan node.
    pub fn limit(&self) -> Option<Limit> {
        self.node.and_then(|node| node.limit)
    }

    /// Whether the executor has to look at conditions again, where keys were looked at.
    pub fn needs_recheck(&self) -> bool {
        // a sphere's edge is drawn by the operator
        self.has_spheres
            || self
                .filter
                .as_ref()
                .is_some_and(|filter| filter.needs_recheck())
    }
}

/// Begins a scan at its first row; `None` where no row can be in its spheres. Raises 0A000 where it has no
/// MVCC snapshot, or nothing to search for.
///
/// # Safety
/// The scan is being executed, and has its keys.
pub unsafe fn begin(scan: pg_sys::IndexScanDesc) -> Option<Begun> {
    // SAFETY: as promised by the caller.
    let (index, order, keys) = unsafe {
        let index = Index::new((*scan).indexRelation);
        if !has_mvcc_snapshot(scan) {
            pgrx::ereport!(
                ERROR,
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "non-MVCC snapshots are not supported with {}",
                    index.method_name()
                )
            );
        }
        index.count_scan();
        // EXPLAIN ANALYZE's "Index Searches"
        #[cfg(feature = "pg18")]
        if let Some(counts) = (*scan).instrument.as_mut() {
            counts.nsearches += 1;
        }
        let order = ((*scan).numberOfOrderBys > 0).then(|| &*(*scan).orderByData);
        (index, order, keys_of(scan))
    };
    // SAFETY: the scan's own keys.
    let spheres = unsafe { sphere::of_scan(keys) }?;
    let center = match (order, spheres.first()) {
        (Some(key), _) => {
            let is_null = key.sk_flags & pg_sys::SK_ISNULL as i32 != 0;
            (!is_null).then_some(key.sk_argument)
        }
        (None, Some(sphere)) => Some(sphere.center),
        (None, None) => refuse(index),
    };
    Some(Begun {
        scan,
        index,
        center,
        has_order: order.is_some(),
        spheres,
    })
}

/// Raises 0A000: a scan has nothing to search for.
fn refuse(index: Index) -> ! {
    pgrx::ereport!(
        ERROR,
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot scan {} index without order", index.method_name())
    );
}

/// # Safety
/// `scan` is being executed.
unsafe fn has_mvcc_snapshot(scan: pg_sys::IndexScanDesc) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        let snapshot = (*scan).xs_snapshot;
        !snapshot.is_null()
            && matches!(
                (*snapshot).snapshot_type,
                pg_sys::SnapshotType::SNAPSHOT_MVCC | pg_sys::SnapshotType::SNAPSHOT_HISTORIC_MVCC
            )
    }
}

impl Begun {
    /// What the scan is to find.
    ///
    /// # Safety
    /// The scan is being executed; `column` is its index's.
    pub unsafe fn asked(self, column: Column) -> Asked {
        let Begun {
            scan,
            index,
            center,
            has_order,
            spheres,
        } = self;
        // SAFETY: a non-NULL value of the column's type: the operator's right side, or a sphere's centre.
        let query = center.map(|datum| unsafe { column.value(datum) });
        // a NULL query, or a zero vector under cosine, is at no distance from anything
        let query = query.filter(|query| column.is_indexable(query));
        if !has_order && query.is_none() {
            // nothing is in a sphere around it
            return Asked::Nothing;
        }
        // SAFETY: as promised by the caller.
        let node = unsafe { running::node_of(scan) };
        let radius = node.and_then(|node| node.radius());
        // SAFETY: the spheres are of the operator class's type.
        let target = query.map(|query| unsafe { Target::new(column, query, radius, &spheres) });
        let has_spheres = !spheres.is_empty();
        let asks_rows = has_spheres && target.as_ref().is_none_or(|target| target.has_others);
        let allowed = node.and_then(|node| node.allowed());
        // SAFETY: the scan is begun, with its keys set.
        let filter = unsafe { Filter::of(scan, index, allowed, asks_rows) }.map(Rc::new);
        let Some(target) = target else {
            return Asked::All(filter);
        };
        let has_order = has_order && !node.is_some_and(|node| node.asks_for_no_order());
        let has_limit = node.is_some_and(|node| node.limit.is_some());
        let is_bounded = target.within < f64::INFINITY;
        Asked::Near(Request {
            target,
            node,
            filter,
            has_spheres,
            asks_for_all: !has_order || (is_bounded && !has_limit),
        })
    }
}

/// Hands a row to the executor, which looks at its conditions again if `recheck` says so.
///
/// # Safety
/// The scan is being executed.
pub unsafe fn hand_out(scan: pg_sys::IndexScanDesc, tid: RawTid, recheck: bool) {
    // SAFETY: as promised by the caller.
    unsafe {
        crate::pg::heap::check_tid(scan, tid);
        crate::pg::heap::hold_for_executor(scan, tid);
        (*scan).xs_heaptid = item_pointer(tid);
        (*scan).xs_recheck = recheck;
        (*scan).xs_recheckorderby = false;
    }
}
