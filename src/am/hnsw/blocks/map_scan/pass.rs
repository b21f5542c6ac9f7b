//! A pass over pages of the code map: the rows wanted with their estimated distances, the nearest of them.

use crate::am::filter::Filter;
use crate::am::hnsw::blocks::index::Blocks;
use crate::am::hnsw::blocks::search::{PageBlocks, ScanRow};
use crate::hnsw::blocks::map::{MapLayout, MapPage, MapRow};
use crate::hnsw::format::{NodeId, RawTid};
use crate::keys::Verdict;
use crate::pg::buffer::PAGE_SIZE;
use crate::quantize::Query;
use rustc_hash::FxHashSet;
use std::cmp::Ordering;

/// Codes gathered before they are estimated together.
const GATHERED: usize = 256;
/// Part of a page's rows from which on all of them are estimated where they lie.
const MOST_OF_A_PAGE: usize = 2;
/// Of the rows left out the estimate of one in so many is kept.
pub const SAMPLED: usize = 16;

/// An entry of the map with its estimated distance.
#[derive(Debug, Clone, Copy)]
pub struct Estimated {
    pub estimate: f32,
    pub row: MapRow,
}

impl Estimated {
    /// Where the row is in the table.
    pub fn place(&self) -> (u16, u16, u16) {
        let RawTid {
            block_hi,
            block_lo,
            offset,
        } = self.row.tid;
        (block_hi, block_lo, offset)
    }
}

impl PartialEq for Estimated {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Estimated {}

impl PartialOrd for Estimated {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Estimated {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_estimate = self.estimate.total_cmp(&other.estimate);
        by_estimate.then_with(|| self.place().cmp(&other.place()))
    }
}

/// Codes with their factors, gathered from all over the map.
#[derive(Default)]
struct Batch {
    rows: Vec<MapRow>,
    adds: Vec<f32>,
    scales: Vec<f32>,
    codes: Vec<u8>,
}

impl Batch {
    fn push(&mut self, page: &MapPage<'_>, code_len: usize, slot: usize) {
        self.rows.push(page.rows()[slot]);
        self.adds.push(page.adds()[slot]);
        self.scales.push(page.scales()[slot]);
        self.codes
            .extend_from_slice(&page.codes()[slot * code_len..][..code_len]);
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.adds.clear();
        self.scales.clear();
        self.codes.clear();
    }
}

/// Working space of passes.
#[derive(Default)]
pub struct Space {
    batch: Batch,
    estimates: Vec<f32>,
    verdicts: Vec<Verdict>,
}

/// A pass that is under way.
pub struct Pass<'a> {
    store: &'a PageBlocks<ScanRow>,
    blocks: &'a Blocks,
    filter: Option<&'a Filter>,
    /// nodes to be passed over
    seen: &'a FxHashSet<NodeId>,
    layout: MapLayout,
    space: &'a mut Space,
    /// what it has come to
    pub kept: Kept,
    /// distances estimated
    pub estimated: u64,
}

impl<'a> Pass<'a> {
    /// Nothing read yet.
    pub fn new(
        store: &'a PageBlocks<ScanRow>,
        layout: MapLayout,
        seen: &'a FxHashSet<NodeId>,
        space: &'a mut Space,
        kept: Kept,
    ) -> Pass<'a> {
        Pass {
            blocks: &store.blocks,
            filter: store.filter.as_deref(),
            store,
            seen,
            layout,
            space,
            kept,
            estimated: 0,
        }
    }

    /// Asks for a page that is taken in soon.
    pub fn prefetch(&self, block: u32) {
        let index = self.blocks.hnsw.index;
        self.store
            .hints()
            .prefetch(index, block, PAGE_SIZE, PAGE_SIZE);
    }

    /// Takes in what is wanted of a page.
    pub fn page(&mut self, block: u32) {
        let hnsw = &self.blocks.hnsw;
        let locked = self.store.hints().pin(hnsw.index, block).lock();
        let page = hnsw.check(block, || MapPage::of(locked.page(), self.layout));
        let wanted = self.judge(&page);
        if wanted * MOST_OF_A_PAGE >= page.count {
            self.estimate_page(&page);
            return;
        }
        let code_len = self.layout.code_len();
        for (slot, &verdict) in self.space.verdicts.iter().enumerate() {
            if verdict != Verdict::No {
                self.space.batch.push(&page, code_len, slot);
            }
        }
        drop(locked);
        if self.space.batch.rows.len() >= GATHERED {
            self.flush();
        }
    }

    /// Which rows of a page are wanted; how many.
    fn judge(&mut self, page: &MapPage<'_>) -> usize {
        let verdicts = &mut self.space.verdicts;
        verdicts.clear();
        verdicts.resize(page.count, Verdict::Yes);
        if let Some(filter) = self.filter {
            filter
                .conditions
                .narrow(|column| page.keys(column), verdicts);
        }
        let allowed = self.filter.and_then(|filter| filter.allowed());
        if allowed.is_none() && self.seen.is_empty() {
            return verdicts.iter().filter(|&&of| of != Verdict::No).count();
        }
        let mut wanted = 0;
        for (verdict, row) in verdicts.iter_mut().zip(page.rows()) {
            let is_wanted = *verdict != Verdict::No
                && allowed.is_none_or(|allowed| allowed.contains(row.tid))
                && row.node.id().is_some_and(|id| !self.seen.contains(&id));
            match is_wanted {
                true => wanted += 1,
                false => *verdict = Verdict::No,
            }
        }
        wanted
    }

    /// Estimates all rows of a page, and takes in those wanted.
    fn estimate_page(&mut self, page: &MapPage<'_>) {
        let Space {
            estimates,
            verdicts,
            ..
        } = &mut *self.space;
        estimates.clear();
        estimates.resize(page.count, 0.0);
        self.estimated += page.count as u64;
        estimate(
            &self.store.query,
            self.layout,
            self.blocks,
            (page.codes(), page.adds(), page.scales()),
            estimates,
        );
        let rows = page.rows().iter().zip(estimates).zip(verdicts);
        for ((&row, &mut estimate), &mut verdict) in rows {
            if verdict == Verdict::No {
                continue;
            }
            match estimate > self.kept.farthest {
                true => self.kept.leave_out(estimate),
                false => self.kept.push(Estimated { estimate, row }),
            }
        }
    }

    /// Takes in what was gathered.
    pub fn flush(&mut self) {
        let Space {
            batch, estimates, ..
        } = &mut *self.space;
        estimates.clear();
        estimates.resize(batch.rows.len(), 0.0);
        self.estimated += batch.rows.len() as u64;
        estimate(
            &self.store.query,
            self.layout,
            self.blocks,
            (&batch.codes, &batch.adds, &batch.scales),
            estimates,
        );
        for (&row, &mut estimate) in batch.rows.iter().zip(estimates) {
            self.kept.push(Estimated { estimate, row });
        }
        batch.clear();
    }
}

fn estimate(
    query: &Query,
    layout: MapLayout,
    blocks: &Blocks,
    (codes, adds, scales): (&[u8], &[f32], &[f32]),
    out: &mut [f32],
) {
    let dims = blocks.codec.dims();
    query.estimate(layout.quantizer, dims, codes, adds, scales, out);
}

/// The nearest rows of a pass: all up to some distance.
pub struct Kept {
    /// they, in no order
    pub nearest: Vec<Estimated>,
    /// about how many
    capacity: usize,
    /// what is no farther was in a pass before
    after: Option<Estimated>,
    /// what is farther was left out
    limit: Option<Estimated>,
    /// its estimate; infinite where there is none
    farthest: f32,
    /// rows that were left out
    pub left_out: usize,
    /// the estimates of one in [`SAMPLED`] of them
    pub sample: Vec<f32>,
}

impl Kept {
    /// None yet. About `capacity` of those beyond `after` are to be kept, no more than twice as many.
    pub fn new(capacity: usize, after: Option<Estimated>) -> Kept {
        Kept {
            nearest: Vec::new(),
            capacity,
            after,
            limit: None,
            farthest: f32::INFINITY,
            left_out: 0,
            sample: Vec::new(),
        }
    }

    #[inline]
    fn push(&mut self, new: Estimated) {
        if self.after.is_some_and(|after| new <= after) {
            return;
        }
        if self.limit.is_some_and(|limit| new > limit) {
            self.leave_out(new.estimate);
            return;
        }
        self.nearest.push(new);
        if self.nearest.len() >= 2 * self.capacity {
            self.cut();
        }
    }

    #[inline]
    fn leave_out(&mut self, estimate: f32) {
        if self.left_out.is_multiple_of(SAMPLED) {
            self.sample.push(estimate);
        }
        self.left_out += 1;
    }

    /// Leaves out what is beyond capacity.
    fn cut(&mut self) {
        let (_, &mut limit, _) = self.nearest.select_nth_unstable(self.capacity - 1);
        for n in self.capacity..self.nearest.len() {
            self.leave_out(self.nearest[n].estimate);
        }
        self.nearest.truncate(self.capacity);
        self.limit = Some(limit);
        self.farthest = limit.estimate;
    }
}
