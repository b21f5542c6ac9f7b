//! Links: each leads to a node of its layer, and keeps of it what the node says.

use super::{Check, Item, Wrong};
use crate::check::Findings;
use crate::hnsw::Level;
use crate::hnsw::blocks::format::Block;
use crate::hnsw::format::{NodeId, RawTid};

/// One link: its layer and its place there.
#[derive(Debug, Clone, Copy)]
struct Place {
    level: Level,
    slot: usize,
}

impl Check {
    /// Checks the links of a node. Where they lead is looked at in the first pass alone.
    pub fn links(&mut self, id: NodeId, item: &Item, is_first: bool, found: &mut Findings<'_>) {
        let mut suspicious: Vec<(Place, RawTid)> = Vec::new();
        {
            let node = self.node(item);
            let block = self.as_block(item);
            for level in 0..=node.header.level {
                let used = node.links(level).iter().take_while(|link| link.offset != 0);
                for (slot, &link) in used.enumerate() {
                    let target = link.id().filter(|target| *target != id);
                    let Some(target) = target else {
                        continue; // told with the page
                    };
                    let leads = self
                        .directory
                        .level(target)
                        .is_some_and(|there| there >= level);
                    let agrees = match (&block, self.directory.number(target)) {
                        (Some(block), Some(number)) => self.codes.agrees(block, slot, number),
                        _ => true,
                    };
                    if (is_first && !leads) || !agrees {
                        suspicious.push((Place { level, slot }, link));
                    }
                }
            }
        }
        for (place, link) in suspicious {
            self.settle(id, found, |check, item| check.link(id, item, place, link));
        }
    }

    /// Looks at a link that seemed wrong, with the node it leads to as it is now.
    fn link(&mut self, id: NodeId, item: &Item, place: Place, link: RawTid) -> Result<(), Wrong> {
        let there = self.node(item).links(place.level).get(place.slot).copied();
        let Some(target) = link.id().filter(|_| there == Some(link)) else {
            return Ok(()); // replaced meanwhile
        };
        let shown = format!("link to item {} of block {}", target.offset, target.block);
        let Some(other) = self.read(target) else {
            return Err(Wrong::new(id, format!("{shown}, where no node is")));
        };
        let level = self.node(&other).header.level;
        if level < place.level {
            let message = format!("{shown} in layer {}, where that is not", place.level);
            return Err(Wrong::new(id, message));
        }
        let blocks = self.as_block(item).zip(self.as_block(&other));
        let judge =
            |(from, to): (Block<'_>, Block<'_>)| self.codes.judge(&from, place.slot, to.value());
        match blocks.and_then(judge) {
            Some(wrong) => Err(Wrong::new(id, format!("{shown} {wrong}"))),
            None => Ok(()),
        }
    }
}
