//! What every ordered scan of an index of ours does on its way in and out: `ORDER BY column <operator> query`.

use crate::hnsw::format::RawTid;
use crate::pg::relation::Index;
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys::{self, Datum};

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

/// What a scan is ordered by the distance to.
#[derive(Clone, Copy)]
pub enum Order {
    /// it has no order
    None,
    /// NULL: nothing is at any distance from it
    Null,
    /// a value
    By(Datum),
}

/// Raises 0A000: a scan has nothing to search for.
pub fn refuse(index: Index) -> ! {
    pgrx::ereport!(
        ERROR,
        Code::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("cannot scan {} index without order", index.method_name())
    );
}

/// Begins a scan at its first row: its index, and what it is ordered by. Raises 0A000 where it has no MVCC
/// snapshot.
///
/// # Safety
/// The scan is being executed, and has its keys.
pub unsafe fn begin(scan: pg_sys::IndexScanDesc) -> (Index, Order) {
    // SAFETY: as promised by the caller.
    unsafe {
        let index = Index::new((*scan).indexRelation);
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
        if (*scan).numberOfOrderBys < 1 {
            return (index, Order::None);
        }
        let key = &*(*scan).orderByData;
        let order = match key.sk_flags & pg_sys::SK_ISNULL as i32 {
            0 => Order::By(key.sk_argument),
            _ => Order::Null,
        };
        (index, order)
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
        (*scan).xs_heaptid = pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData {
                bi_hi: tid.block_hi,
                bi_lo: tid.block_lo,
            },
            ip_posid: tid.offset,
        };
        (*scan).xs_recheck = recheck;
        (*scan).xs_recheckorderby = false;
    }
}
