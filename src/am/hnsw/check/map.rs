//! The code map: its directory leads to every page of it, pages to their places in the directory, and
//! entries have their nodes' codes.

use super::Check;
use crate::am::hnsw::storage::META_BLOCK;
use crate::check::Findings;
use crate::hnsw::blocks::map::{Directory, MapLayout, MapPage, Place};
use crate::hnsw::format::NodeId;
use crate::pg::attempt::PageCopy;
use crate::pg::buffer::Access;
use rustc_hash::FxHashSet;

/// Looks at a page whose entries and nodes do not go together.
const LOOKS: usize = 3;

impl Check {
    /// The directory of the code map, the pages that it has, and their entries.
    pub fn code_map(&mut self, found: &mut Findings<'_>) {
        let Some(layout) = self.expected.map() else {
            return;
        };
        let (mut next, mut seen) = (self.meta.map, FxHashSet::default());
        let mut page = PageCopy::new();
        while next != 0 {
            pgrx::check_for_interrupts!();
            let block = next;
            if block >= self.index.blocks() {
                let message = "the directory of the code map goes on past the end of the index";
                return found.error(META_BLOCK, None, message);
            }
            if !seen.insert(block) {
                return found.error(
                    block,
                    None,
                    "the directory of the code map leads back to itself",
                );
            }
            if let Err(message) = page.read(self.index, block, Access::Random) {
                return found.error(block, None, message);
            }
            let directory = match Directory::of(page.page(), layout) {
                Ok(directory) => directory,
                Err(damage) => return found.error(block, None, damage),
            };
            next = directory.next;
            for slot in 0..directory.count {
                pgrx::check_for_interrupts!();
                let (map_block, _) = directory.page(slot);
                let slot = slot as u32;
                if !seen.insert(map_block) {
                    found.error(
                        block,
                        None,
                        format!("block {map_block} is in the directory twice"),
                    );
                } else if let Err(message) = self.map_page(layout, map_block, Place { block, slot })
                {
                    found.error(map_block, None, message);
                }
            }
        }
    }

    /// A page of the map; looked at again where it and its nodes do not go together.
    fn map_page(&mut self, layout: MapLayout, block: u32, place: Place) -> Result<(), String> {
        if block >= self.index.blocks() {
            return Err("the directory of the code map has it, and it is past the end".into());
        }
        let mut page = PageCopy::new();
        let mut wrong = Ok(());
        for _ in 0..=LOOKS {
            page.read(self.index, block, Access::Random)?;
            let map = MapPage::of(page.page(), layout).map_err(|damage| damage.0)?;
            if map.place != place {
                return Err(
                    "page of the code map that names another place in the directory".into(),
                );
            }
            wrong = self.map_codes(layout, &map);
            if wrong.is_ok() {
                break;
            }
        }
        wrong
    }

    /// Entries of nodes that are there have the codes of these.
    fn map_codes(&mut self, layout: MapLayout, map: &MapPage<'_>) -> Result<(), String> {
        let mut code = vec![0; layout.code_len()];
        for (n, row) in map.rows().iter().enumerate() {
            let Some(id) = row.node.id() else {
                continue; // told with the page
            };
            let Some(item) = self.read(id) else {
                // of a tuple that VACUUM is at, or of an insert that a crash cut short
                continue;
            };
            let Some(node) = self.as_block(&item) else {
                continue; // told with its page
            };
            let Some((codec, _)) = &self.codes.codec else {
                continue;
            };
            if node.header.generation != row.generation {
                continue;
            }
            let (dims, compact) = (codec.dims(), node.compact());
            let factors = codec.quantize(compact, layout.quantizer, dims, &mut code);
            let kept = &map.codes()[n * layout.code_len()..][..layout.code_len()];
            let same = map.adds()[n].to_bits() == factors.add.to_bits()
                && map.scales()[n].to_bits() == factors.scale.to_bits()
                && kept == code;
            if !same {
                let NodeId { block, offset } = id;
                return Err(format!(
                    "entry {n} of the code map has another code than item {offset} of block {block}"
                ));
            }
        }
        Ok(())
    }
}
