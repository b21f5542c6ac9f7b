//! The last pass of VACUUM: nodes that nothing leads to any more are erased.

use super::Vacuum;
use super::room::{record_free, remove_item};
use crate::am::hnsw::storage::chunk_of_node;
use crate::hnsw::format::{NodeId, Opaque, PageKind};
use crate::pg::buffer::Exclusive;
use crate::pg::change::{Change, Logging};
use crate::pg::vacuum::delay_point;
use rustc_hash::FxHashMap;

impl Vacuum {
    /// Pass 3: erases deleted nodes. Returns the number of pages that became empty.
    pub fn erase(&mut self) -> u32 {
        let mut by_block: FxHashMap<u32, Vec<u16>> = FxHashMap::default();
        for id in &self.deleted {
            by_block.entry(id.block).or_default().push(id.offset);
        }
        let mut blocks: Vec<(u32, Vec<u16>)> = by_block.into_iter().collect();
        blocks.sort_unstable();
        let mut emptied = 0;
        for (block, offsets) in blocks {
            delay_point();
            let mut page = Exclusive::lock(self.hnsw.index, block, self.access);
            for &offset in &offsets {
                emptied += self.erase_chunks(&page, NodeId { block, offset });
            }
            let mut change = Change::begin(self.hnsw.index, Logging::EachChange);
            remove_item(&self.hnsw, &mut change, &mut page, &offsets);
            change.commit();
            let free = self.hnsw.check(block, || Opaque::of(page.page())).0 == PageKind::Free;
            emptied += free as u32;
            record_free(&self.hnsw, &page);
        }
        emptied
    }

    /// Frees the chunks of a deleted node. They go before it, so that a crash in between leaves
    /// nothing that nobody refers to.
    fn erase_chunks(&self, page: &Exclusive, id: NodeId) -> u32 {
        let hnsw = self.hnsw;
        let Some(node) = hnsw.node_on(page.page(), id) else {
            return 0;
        };
        let mut emptied = 0;
        for (index, chunk) in node.chunks().iter().enumerate() {
            let Some(at) = chunk.id().filter(|at| at.block != id.block) else {
                continue;
            };
            let mut page = Exclusive::lock(hnsw.index, at.block, self.access);
            let ours = hnsw.check(at.block, || {
                let generation = node.header.generation;
                chunk_of_node(page.page(), at, id, generation, index).map(|piece| piece.is_some())
            });
            if ours {
                let mut change = Change::begin(hnsw.index, Logging::EachChange);
                remove_item(&hnsw, &mut change, &mut page, &[at.offset]);
                change.commit();
                record_free(&hnsw, &page);
                emptied += 1;
            }
        }
        emptied
    }
}
