//! Whether links lead from the entry points to every live node.

use super::{Check, node_on};
use crate::check::Findings;
use crate::hnsw::format::NodeId;

impl Check<'_> {
    /// Follows all links: page by page, again and again while there are nodes that have been reached
    /// and whose links have not been followed. Then tells the nodes left over.
    pub fn reach(&mut self, found: &mut Findings<'_>) {
        if let Some(entry) = self.meta.entry.id() {
            self.directory.reach(entry);
        }
        let mut offsets = Vec::new();
        loop {
            let mut went_on = false;
            for block in 1..self.blocks {
                self.directory.take_reached(block, &mut offsets);
                if !offsets.is_empty() {
                    went_on = true;
                    self.follow(block, &offsets);
                }
            }
            if !went_on {
                break;
            }
        }
        for block in 1..self.blocks {
            for id in self.directory.unreached(block) {
                self.unreached(id, found);
            }
        }
    }

    fn follow(&mut self, block: u32, offsets: &[u16]) {
        pgrx::check_for_interrupts!();
        if self.page.read(self.index, block, self.access).is_err() {
            return;
        }
        for &offset in offsets {
            let id = NodeId { block, offset };
            let Some(node) = node_on(self.page.page(), id, self.shape) else {
                continue;
            };
            for level in 0..=node.header.level {
                for link in node.links(level).iter().map_while(|link| link.id()) {
                    self.directory.reach(link);
                }
            }
        }
    }

    fn unreached(&mut self, id: NodeId, found: &mut Findings<'_>) {
        pgrx::check_for_interrupts!();
        let generation = self.directory.generation(id);
        let is_there = self.read(id).is_some_and(|item| {
            let node = self.node(&item);
            !node.is_deleted() && Some(node.header.generation) == generation
        });
        if is_there {
            found.warning(
                id.block,
                id.offset,
                "no links lead here: only a scan that goes through all pages finds it; REINDEX links it",
            );
        }
    }
}
