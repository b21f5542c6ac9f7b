//! What the items of an index claim about rows of the table, against each other and the table.

use crate::check::{Findings, Severity};
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
    /// stands for what the item keeps of the row's vector
    pub value: u64,
    /// stands for the keys of the row's filter columns
    pub keys: u64,
}

/// Bytes that a claim takes.
pub const CLAIM: usize = size_of::<Claim>();

/// Block and offset as one number.
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
    /// `item` of the index says that the row at `tid` has its value, and these keys.
    pub fn new(tid: NodeId, item: NodeId, value: u64, keys: u64) -> Claim {
        Claim {
            tid: packed(tid),
            item: packed(item),
            value,
            keys,
        }
    }

    /// The row.
    pub fn row(&self) -> NodeId {
        unpacked(self.tid)
    }

    /// The item.
    pub fn item(&self) -> NodeId {
        unpacked(self.item)
    }
}

/// All claims on the rows of some blocks of the table.
#[derive(Default)]
pub struct Claims {
    /// each row has one of these
    pub items: Vec<Claim>,
    /// what the index keeps of some rows, or of all, beside their items
    pub copies: Vec<Claim>,
}

/// Number that stands for a value.
pub fn fingerprint(value: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(value);
    let mixed = hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// Number that stands for the keys of filter columns; 0 where there are none.
pub fn fingerprint_of_keys(keys: &[u64]) -> u64 {
    match keys {
        [] => 0,
        _ => fingerprint(bytemuck::cast_slice(keys)),
    }
}

/// What an access method says of its items.
pub trait Items {
    /// Whether an item is there as the index is now, live and of that row.
    fn has(&mut self, item: NodeId, tid: RawTid) -> bool;

    /// The same of a copy.
    fn has_copy(&mut self, copy: NodeId, tid: RawTid) -> bool;

    /// Looks at a row; false where the index is not to have it.
    fn look_at(&mut self, row: Values<'_>) -> bool;

    /// What an item says otherwise of the row looked at last.
    fn difference(&mut self, item: &Claim) -> Option<&'static str>;

    /// What a copy says otherwise of that row, or of its item, where that was found.
    fn difference_of_copy(&mut self, copy: &Claim, item: Option<&Claim>) -> Option<&'static str>;

    /// Where each row of the index has a copy: what these make up together.
    fn copies_are(&self) -> Option<&'static str> {
        None
    }

    /// How bad it is that two items are of one row.
    fn severity_of_two(&self, _one: NodeId, _other: NodeId) -> Severity {
        Severity::Error
    }

    /// Takes out of `missing` the rows that are in the index as it is now: where items move from page
    /// to page, one may have been passed by.
    fn look_again(&mut self, _missing: &mut FxHashMap<NodeId, ()>) {}
}

/// Whether an item, or a copy, is of a row.
type Has = fn(&mut dyn Items, NodeId, RawTid) -> bool;

fn has_item(items: &mut dyn Items, item: NodeId, tid: RawTid) -> bool {
    items.has(item, tid)
}

fn has_copy(items: &mut dyn Items, copy: NodeId, tid: RawTid) -> bool {
    items.has_copy(copy, tid)
}

/// Those of claims in the order of rows that are about one row.
fn of_row(claims: &[Claim], tid: u64) -> &[Claim] {
    let from = claims.partition_point(|claim| claim.tid < tid);
    let rest = &claims[from..];
    &rest[..rest.partition_point(|claim| claim.tid == tid)]
}

/// Checks the claims on a range of the table's blocks: those that are all of the index's.
pub fn check(
    items: &mut dyn Items,
    table: Option<&Table>,
    blocks: Range<u32>,
    mut claims: Claims,
    found: &mut Findings<'_>,
) {
    claims.items.sort_unstable();
    claims.copies.sort_unstable();
    for two in claims.items.windows(2) {
        if two[0].tid == two[1].tid {
            twice(items, two[0], two[1], found);
        }
    }
    if let Some(name) = items.copies_are() {
        for two in claims.copies.windows(2) {
            if two[0].tid == two[1].tid {
                copied_twice(items, name, two[0], two[1], found);
            }
        }
    }
    let Some(table) = table else {
        return;
    };
    if table.is_heap() {
        targets(items, table, &claims.items, has_item, found);
        targets(items, table, &claims.copies, has_copy, found);
    }
    let mut missing: FxHashMap<NodeId, ()> = FxHashMap::default();
    table.each(blocks, |row, raw| {
        let tid = raw.id().map_or(0, packed);
        let ours = of_row(&claims.items, tid);
        let copies = of_row(&claims.copies, tid);
        if !items.look_at(row) {
            not_to_be_there(items, ours, has_item, raw, found);
            not_to_be_there(items, copies, has_copy, raw, found);
            return;
        }
        if ours.is_empty() {
            missing.insert(unpacked(tid), ());
        }
        let differs = |claim: &Claim, what: &str, found: &mut Findings<'_>| {
            let item = claim.item();
            let message = format!("{what} is not that of its row {}", shown(tid));
            found.error(item.block, item.offset, message);
        };
        for claim in ours {
            if let Some(what) = items.difference(claim) {
                differs(claim, what, found);
            }
        }
        for copy in copies {
            if let Some(what) = items.difference_of_copy(copy, ours.first()) {
                differs(copy, what, found);
            }
        }
        if let (Some(name), true, false) = (items.copies_are(), copies.is_empty(), ours.is_empty())
        {
            let item = ours[0].item();
            let message = format!("row {} is not in {name}", shown(tid));
            found.error(item.block, item.offset, message);
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

/// Items of a row that the index is not to have.
fn not_to_be_there(
    items: &mut dyn Items,
    claims: &[Claim],
    has: Has,
    tid: RawTid,
    found: &mut Findings<'_>,
) {
    for claim in claims {
        let item = claim.item();
        if has(items, item, tid) {
            let message = format!("row {} is NULL, or not to be indexed", shown(claim.tid));
            found.error(item.block, item.offset, message);
        }
    }
}

/// A row that two items claim, or one item twice. Between reading the one and the other VACUUM may
/// have freed the TID, and another row taken it.
fn twice(items: &mut dyn Items, a: Claim, b: Claim, found: &mut Findings<'_>) {
    let tid = unpacked(a.tid).into();
    let (first, second) = (a.item(), b.item());
    if items.has(first, tid) && items.has(second, tid) && items.has(first, tid) {
        let message = format!(
            "row {} is also of item {} of block {}",
            shown(a.tid),
            first.offset,
            first.block
        );
        match items.severity_of_two(first, second) {
            Severity::Error => found.error(second.block, second.offset, message),
            Severity::Warning => found.warning(second.block, second.offset, message),
        }
    }
}

/// The same of copies, where each row has one.
fn copied_twice(items: &mut dyn Items, name: &str, a: Claim, b: Claim, found: &mut Findings<'_>) {
    let tid = unpacked(a.tid).into();
    let (first, second) = (a.item(), b.item());
    let both = items.has_copy(first, tid) && items.has_copy(second, tid);
    if both && items.has_copy(first, tid) {
        let message = format!("row {} is in {name} twice", shown(a.tid));
        found.error(second.block, second.offset, message);
    }
}

/// Every claim leads to a row, or what is left of one: VACUUM takes TIDs out of indexes before it
/// frees line pointers.
fn targets(
    items: &mut dyn Items,
    table: &Table,
    claims: &[Claim],
    has: Has,
    found: &mut Findings<'_>,
) {
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
            let item = claim.item();
            if has(items, item, unpacked(claim.tid).into()) {
                let message = format!("heap TID {} leads to {what}", shown(claim.tid));
                found.error(item.block, item.offset, message);
            }
        }
    }
}
