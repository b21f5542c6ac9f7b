//! Closer looks at rows that lists name: by their compact codes, then by the table's own values.

use super::index::Ivf;
use super::probe::{FoundRow, Seen, Target};
use crate::am::filter::Filter;
use crate::hnsw::format::RawTid;
use crate::ivf::format::Rerank;
use crate::ivf::order::{Coming, Look};
use crate::keys::Verdict;
use crate::pg::buffer::Hints;
use crate::pg::conditions::Conditions;
use crate::pg::heap::HeapReader;
use rustc_hash::FxHashSet;
use std::rc::Rc;

/// A heap TID as a number.
pub fn key(tid: RawTid) -> u64 {
    (tid.block_hi as u64) << 32 | (tid.block_lo as u64) << 16 | tid.offset as u64
}

/// Rows before it in the order whose turn it is when the processor is asked for a row's value.
pub const VALUES_AHEAD: usize = 4;
/// The same for where on its page the value is.
const POINTERS_AHEAD: usize = 12;

/// What takes a closer look at rows.
pub struct Looks {
    /// the index
    pub ivf: Rc<Ivf>,
    /// reads the table
    pub reader: HeapReader,
    hints: Hints,
    /// rows looked at in this batch
    pub seen: FxHashSet<u64>,
    /// rows compared by compact codes
    pub compared: u64,
    /// rows compared by their values
    pub reranked: u64,
    /// pages of compact codes read
    pub pages: u64,
    /// rows looked at that the snapshot does not see, in this batch
    pub unseen: usize,
    /// the same rows, not to be looked at again
    pub gone: Vec<u64>,
}

/// What has to hold of a row for it to count.
#[derive(Clone, Copy)]
pub struct Sieve<'a> {
    /// which rows the scan wants
    pub filter: Option<&'a Filter>,
    /// what the plan node asks of rows beside
    pub conditions: Conditions,
    /// internal distance beyond which no row is wanted
    pub within: f32,
}

/// What came of putting a row to a sieve.
pub enum Sifted {
    /// it fell through, or was looked at before
    Out,
    /// it is farther than the bound: this is a lower bound
    Beyond(f32),
    /// it is to be kept; its internal distance
    Kept(f32),
}

impl Looks {
    /// Nothing looked at yet; `seen` is empty.
    pub fn new(ivf: Rc<Ivf>, reader: HeapReader, seen: FxHashSet<u64>) -> Looks {
        Looks {
            hints: Hints::of(ivf.index),
            ivf,
            reader,
            seen,
            compared: 0,
            reranked: 0,
            pages: 0,
            unseen: 0,
            gone: Vec::new(),
        }
    }

    /// Begins to look for another value.
    pub fn begin(&mut self, ivf: &Rc<Ivf>) {
        self.ivf = ivf.clone();
        (self.compared, self.reranked, self.pages, self.unseen) = (0, 0, 0, 0);
        self.gone.clear();
    }

    /// Whether lists know distances as exactly as they are told.
    fn is_exact(&self) -> bool {
        self.ivf.keeps_values() || self.ivf.shape.rerank == Rerank::None
    }

    /// The internal distance of a row whose distance is known.
    fn internal(&self, target: &Target, distance: f64) -> f32 {
        match self.is_exact() {
            true => distance as f32,
            false => target.query.internal(distance),
        }
    }

    /// A distance that no row is to be beyond, as lists have distances.
    pub fn within(&self, target: &Target, distance: f64) -> f32 {
        let internal = match self.ivf.keeps_values() {
            true => distance as f32,
            false => target.query.internal(distance),
        };
        // what rounding could make of it; rows are put to the condition all the same
        internal + internal.abs() * 1e-5 + f32::MIN_POSITIVE
    }

    /// Asks the processor for what the table has of rows that are looked at soon.
    #[inline]
    pub fn ask_for(&self, coming: Coming<'_, FoundRow>) {
        if let Some(row) = coming.after(POINTERS_AHEAD) {
            self.reader.ask_for_pointer(row.tid);
        }
        if let Some(row) = coming.after(VALUES_AHEAD - 1) {
            self.reader.ask_for_value(row.tid);
        }
    }

    /// Looks closer at a row.
    pub fn look(&mut self, target: &Target, row: &mut FoundRow) -> Look {
        if row.seen == Seen::Whole {
            return Look::Exact {
                operator: row.distance,
                internal: self.internal(target, row.distance),
            };
        }
        if row.seen == Seen::InList && !self.seen.insert(key(row.tid)) {
            return Look::Gone;
        }
        if self.is_exact() {
            return Look::Exact {
                operator: row.distance,
                internal: row.distance as f32,
            };
        }
        if self.ivf.shape.rerank == Rerank::Index && row.seen == Seen::InList {
            row.seen = Seen::ByCompactCode;
            if let Some(low) = self.by_compact_code(target, row) {
                return Look::Closer(low);
            }
        }
        match self.read_table(target, row.tid, &Conditions::default()) {
            Some(operator) => Look::Exact {
                operator,
                internal: target.query.internal(operator),
            },
            None => {
                self.unseen += 1;
                self.gone.push(key(row.tid));
                Look::Gone
            }
        }
    }

    /// Puts a row to a sieve: whether it is seen, passes, and is no farther than `bound`. What it costs
    /// least to know comes first.
    pub fn sift(
        &mut self,
        target: &Target,
        row: &mut FoundRow,
        sieve: Sieve<'_>,
        bound: f32,
    ) -> Sifted {
        if !self.seen.insert(key(row.tid)) {
            return Sifted::Out;
        }
        if self.ivf.shape.rerank == Rerank::Index
            && let Some(low) = self.by_compact_code(target, row)
            && low > bound
        {
            return Sifted::Beyond(low);
        }
        if row.is_open && !sieve.settles(row.tid) {
            return Sifted::Out;
        }
        if self.is_exact() {
            if !self.reader.passes(row.tid, &sieve.conditions) {
                return Sifted::Out;
            }
        } else {
            match self.read_table(target, row.tid, &sieve.conditions) {
                Some(distance) => row.distance = distance,
                None => return Sifted::Out,
            }
        }
        self.keep(target, row, sieve)
    }

    /// Puts a row to a sieve of which nothing is known but where it is: its internal distance, where it is
    /// to be kept.
    pub fn sift_listed(
        &mut self,
        target: &Target,
        tid: RawTid,
        sieve: Sieve<'_>,
    ) -> Option<(f32, FoundRow)> {
        if !self.seen.insert(key(tid)) || (sieve.has_keys() && !sieve.settles(tid)) {
            return None;
        }
        let distance = self.read_table(target, tid, &sieve.conditions)?;
        // lists that keep no values hand out rows by estimates, which this is one of, too
        let distance = match self.ivf.shape.rerank {
            Rerank::None if !self.ivf.keeps_values() => target.query.internal(distance) as f64,
            _ => distance,
        };
        let mut row = FoundRow {
            tid,
            address: Default::default(),
            place: 0,
            seen: Seen::InList,
            is_open: false,
            distance,
        };
        match self.keep(target, &mut row, sieve) {
            Sifted::Kept(internal) => Some((internal, row)),
            _ => None,
        }
    }

    fn keep(&self, target: &Target, row: &mut FoundRow, sieve: Sieve<'_>) -> Sifted {
        row.seen = Seen::Whole;
        let internal = self.internal(target, row.distance);
        match internal <= sieve.within {
            true => Sifted::Kept(internal),
            false => Sifted::Out,
        }
    }

    /// Distance of a row that conditions hold for, by the value in the table.
    fn read_table(&mut self, target: &Target, tid: RawTid, conditions: &Conditions) -> Option<f64> {
        let column = self.ivf.column;
        let distance = self.reader.fetch_where(tid, conditions, |datum| {
            // SAFETY: a non-NULL value of the indexed column. What is in no index is no search's result.
            unsafe { column.distance(datum, target.value.operand()) }
        });
        let distance = distance.flatten();
        self.reranked += distance.is_some() as u64;
        distance
    }

    /// Lower bound of a row by its compact code; `None` where that is gone.
    fn by_compact_code(&mut self, target: &Target, row: &FoundRow) -> Option<f32> {
        let (block, slot) = row.address.place()?;
        self.compared += 1;
        self.pages += 1;
        let page = self.hints.pin(self.ivf.index, block).lock();
        let (tid, compact) = self.ivf.vector_page(block, page.page())?.get(slot)?;
        let query = &target.query;
        (tid == row.tid).then(|| query.distance(compact) - query.error_bound(compact))
    }
}

impl Sieve<'_> {
    fn has_keys(&self) -> bool {
        self.filter
            .is_some_and(|filter| !filter.conditions.is_empty())
    }

    /// Decides from the row itself what its keys leave open.
    fn settles(&self, tid: RawTid) -> bool {
        self.filter
            .is_none_or(|filter| filter.settle(tid) == Verdict::Yes)
    }
}
