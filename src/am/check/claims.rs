//! What the items of an index claim about rows of the table, against each other and the table.

use crate::check::Findings;
use crate::hnsw::format::{NodeId, RawTid};
use crate::pg::buffer::Strategy;
use crate::pg::rows::Values;
use crate::pg::table::{Table, Target};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// An item of the index is of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// the row's block and offset, as one number
    tid: u64,
    /// the item's
    item: u64,
    /// stands for the item's value
    fingerprint: u64,
}

/// Bytes that a claim takes.
pub const CLAIM: usize = size_of::<Claim>();

fn packed(id: NodeId) -> u64 {
    (id.block as u64) << 16 | id.offset as u64
}

fn unpacked(packed: u64) -> NodeId {
    NodeId {
        block: (packed >> 16) as u32,
        offset: packed as u16,
    }
}

impl Claim {
    /// `item` of the index says that the row at `tid` has its value.
    pub fn new(tid: NodeId, item: NodeId, fingerprint: u64) -> Claim {
        Claim {
            tid: packed(tid),
            item: packed(item),
            fingerprint,
        }
    }

    /// The row.
    pub fn row(&self) -> NodeId {
        unpacked(self.tid)
    }

    /// What stands for the item's value.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// Number that stands for a value.
pub fn fingerprint(value: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(value);
    let mixed = hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// What an access method says of its items.
pub trait Items {
    /// Whether an item is there as the index is now, live and of that row.
    fn has(&mut self, item: NodeId, tid: RawTid) -> bool;

    /// What stands for a row's values; `None` where the index is not to have it.
    fn fingerprint_of(&mut self, row: Values<'_>) -> Option<u64>;

    /// Takes out of `missing` the rows that are in the index as it is now: where items move from page
    /// to page, one may have been passed by.
    fn look_again(&mut self, _missing: &mut FxHashMap<NodeId, ()>) {}
}

/// Checks the claims on a range of the table's blocks: those that are all of the index's.
pub fn check(
    items: &mut dyn Items,
    table: Option<&Table>,
    blocks: Range<u32>,
    mut claims: Vec<Claim>,
    found: &mut Findings<'_>,
) {
    claims.sort_unstable();
    for two in claims.windows(2) {
        if two[0].tid == two[1].tid {
            twice(items, two[0], two[1], found);
        }
    }
    let Some(table) = table else {
        return;
    };
    if table.is_heap() {
        targets(items, table, &claims, found);
    }
    let mut missing: FxHashMap<NodeId, ()> = FxHashMap::default();
    table.each(blocks, |row, raw| {
        let tid = raw.id().map_or(0, packed);
        let at = claims.partition_point(|claim| claim.tid < tid);
        let claim = claims.get(at).filter(|claim| claim.tid == tid);
        let expected = items.fingerprint_of(row);
        match (claim, expected) {
            (None, Some(_)) => drop(missing.insert(unpacked(tid), ())),
            (Some(claim), Some(expected)) if claim.fingerprint != expected => {
                let item = unpacked(claim.item);
                let message = format!("value is not that of its row {}", shown(tid));
                found.error(item.block, item.offset, message);
            }
            (Some(claim), None) => {
                let item = unpacked(claim.item);
                if items.has(item, raw) {
                    let message = format!("row {} is NULL, or not to be indexed", shown(tid));
                    found.error(item.block, item.offset, message);
                }
            }
            _ => {}
        }
    });
    items.look_again(&mut missing);
    let mut missing: Vec<u64> = missing.into_keys().map(packed).collect();
    missing.sort_unstable();
    for tid in missing {
        let message = format!("row {} of the table is not in the index", shown(tid));
        found.error(0, None, message);
    }
}

/// A heap TID as SQL writes it.
fn shown(tid: u64) -> String {
    let tid = unpacked(tid);
    format!("({},{})", tid.block, tid.offset)
}

/// A row that two items claim, or one item twice. Between reading the one and the other VACUUM may
/// have freed the TID, and another row taken it.
fn twice(items: &mut dyn Items, a: Claim, b: Claim, found: &mut Findings<'_>) {
    let tid = unpacked(a.tid).into();
    let (first, second) = (unpacked(a.item), unpacked(b.item));
    if items.has(first, tid) && items.has(second, tid) && items.has(first, tid) {
        let message = format!(
            "row {} is also of item {} of block {}",
            shown(a.tid),
            first.offset,
            first.block
        );
        found.error(second.block, second.offset, message);
    }
}

/// Every claim leads to a row, or what is left of one: VACUUM takes TIDs out of indexes before it
/// frees line pointers.
fn targets(items: &mut dyn Items, table: &Table, claims: &[Claim], found: &mut Findings<'_>) {
    let strategy = Strategy::bulk_read();
    for of_block in claims.chunk_by(|a, b| a.tid >> 16 == b.tid >> 16) {
        pgrx::check_for_interrupts!();
        let offsets: Vec<u16> = of_block.iter().map(|claim| claim.tid as u16).collect();
        let block = unpacked(of_block[0].tid).block;
        let targets = table.targets(block, strategy, &offsets);
        for (claim, target) in of_block.iter().zip(targets) {
            let what = match target {
                Target::Row => continue,
                Target::Unused => "no row",
                Target::HeapOnly => "a version that only others lead to",
            };
            let item = unpacked(claim.item);
            if items.has(item, unpacked(claim.tid).into()) {
                let message = format!("heap TID {} leads to {what}", shown(claim.tid));
                found.error(item.block, item.offset, message);
            }
        }
    }
}
