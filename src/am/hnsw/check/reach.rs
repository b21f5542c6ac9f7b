//! Whether links lead from the entry points to every live node.

use super::{Check, node_on};
use crate::check::Findings;
use crate::hnsw::format::NodeId;

impl Check {
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
        let mut lost: Vec<NodeId> = Vec::new();
        let mut count = 0u64;
        for block in 1..self.blocks {
            for id in self.directory.unreached(block) {
                if self.is_unreached(id) {
                    count += 1;
                    lost.push(id);
                    lost.truncate(1);
                }
            }
        }
        if let Some(first) = lost.first() {
            let message = format!(
                "{count} live nodes, this one the first, that no links lead to: only scans that go through all pages find them"
            );
            found.warning(first.block, first.offset, message);
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

    /// Whether a node that was not reached is still the one it was, and live.
    fn is_unreached(&mut self, id: NodeId) -> bool {
        pgrx::check_for_interrupts!();
        let generation = self.directory.generation(id);
        self.read(id).is_some_and(|item| {
            let node = self.node(&item);
            !node.is_deleted() && Some(node.header.generation) == generation
        })
    }
}
