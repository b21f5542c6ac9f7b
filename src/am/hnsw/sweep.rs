//! A scan's look at every page of an index of the plain layout, for what a walk does not lead to.

use super::options;
use super::storage::{Hnsw, PageNode, PageStore};
use super::walk::Walk;
use crate::hnsw::format::{NodeId, Opaque, PageKind};
use crate::hnsw::{Candidate, Distance};
use crate::pg::buffer::{Access, Shared, Strategy};
use rustc_hash::FxHashSet;
use std::collections::BinaryHeap;

/// A pass, or several, over all pages: every row in exact order.
pub struct Sweep {
    /// the index
    pub hnsw: Hnsw,
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
    pub computed: u64,
    /// pages read
    pub pages: u64,
}

impl Sweep {
    /// Every row; in any order where there is no query.
    pub fn new(hnsw: Hnsw, store: Option<PageStore>) -> Self {
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
    pub fn after(walk: &mut Walk) -> Self {
        let hnsw = walk.store.hnsw;
        let query = std::mem::take(&mut walk.store.query);
        let mut sweep = Sweep::new(hnsw, Some(PageStore::new(hnsw, query)));
        sweep.within = walk.within;
        sweep.last = walk.reached.last;
        sweep.handed_out = std::mem::take(&mut walk.handed_out);
        sweep
    }

    /// The next node; `None` where there is none.
    pub fn next(&mut self) -> Option<PageNode> {
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
        let capacity = (options::scan_memory() / size_of::<Candidate<PageNode>>()).max(1000);
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
