//! The code map: its directory leads to every page of it and knows between which keys their entries are,
//! pages to their places in the directory, and entries have their nodes' codes. That each row has an entry
//! with its keys is found with the table ([`crate::am::check::claims`]).

use super::chains::stands_for;
use super::{Check, Claims};
use crate::am::check::claims::{Claim, fingerprint_of_keys};
use crate::am::hnsw::storage::META_BLOCK;
use crate::check::Findings;
use crate::hnsw::blocks::map::{Directory, MapLayout, MapPage, MapRow, Place, widen};
use crate::hnsw::format::{NodeId, RawTid};
use crate::pg::attempt::PageCopy;
use crate::pg::buffer::Access;
use rustc_hash::FxHashSet;
use std::ops::Range;

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
        let room = self.meta.map_page;
        if room != 0 && !seen.contains(&room) {
            let message = "room in the code map on a page that is none of it";
            found.error(META_BLOCK, None, message);
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
            if map.next != 0 && map.next >= self.index.blocks() {
                wrong = Err("page of the code map that names one past the end".into());
            }
            if wrong.is_ok() && !self.is_within(layout, &map)? {
                wrong = Err("the directory of the code map does not know of all its keys".into());
            }
            if wrong.is_ok() {
                break;
            }
        }
        wrong
    }

    /// Whether the directory's zone of a page, as it is now, includes the page's. Keys are entered there
    /// before they are on the page, or together with them.
    fn is_within(&mut self, layout: MapLayout, map: &MapPage<'_>) -> Result<bool, String> {
        let Place { block, slot } = map.place;
        let mut page = PageCopy::new();
        page.read(self.index, block, Access::Random)?;
        let directory = Directory::of(page.page(), layout).map_err(|damage| damage.0)?;
        if slot as usize >= directory.count {
            return Ok(false);
        }
        let mut zone = directory.page(slot as usize).1.to_vec();
        let (lows, highs) = map.zone().split_at(layout.keys);
        // the zone of an empty page has the greatest number below zero
        let is_empty = map.count == 0;
        Ok(is_empty || (!widen(&mut zone, lows) && !widen(&mut zone, highs)))
    }

    /// Adds what the map's entries say of rows in a range of the table's blocks.
    pub fn map_claims(&mut self, range: &Range<u32>, all: &mut Claims) {
        for block in self.map_pages.clone() {
            pgrx::check_for_interrupts!();
            for (n, row) in self.map_rows(block).into_iter().enumerate() {
                let (Some(tid), Some(node)) = (row.tid.id(), row.node.id()) else {
                    continue; // told with the page
                };
                if range.contains(&tid.block) {
                    let offset = n as u16 + 1;
                    let entry = NodeId { block, offset };
                    let claim = Claim::new(tid, entry, stands_for(node, row.generation), row.keys);
                    all.copies.push(claim);
                }
            }
        }
    }

    /// The entries of a page of the map, without codes; none where that is not what the page is.
    pub fn map_rows(&mut self, block: u32) -> Vec<Entry> {
        let Some(layout) = self.expected.map() else {
            return Vec::new();
        };
        if self.other.read(self.index, block, Access::Random).is_err() {
            return Vec::new();
        }
        let Ok(map) = MapPage::of(self.other.page(), layout) else {
            return Vec::new();
        };
        let keys_of = |n: usize| -> Vec<u64> {
            let columns = 0..layout.keys;
            columns.map(|column| map.keys(column)[n]).collect()
        };
        let entry = |(n, row): (usize, &MapRow)| Entry {
            tid: row.tid,
            node: row.node,
            generation: row.generation,
            keys: fingerprint_of_keys(&keys_of(n)),
        };
        map.rows().iter().enumerate().map(entry).collect()
    }

    /// What entries of a node's rows say of it; `None` where it is gone.
    pub fn stands_for_now(&mut self, id: NodeId) -> Option<u64> {
        let item = self.read(id)?;
        let node = self.as_block(&item)?;
        Some(stands_for(id, node.header.generation))
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

/// An entry of the map.
pub struct Entry {
    /// the row
    pub tid: RawTid,
    /// its node
    node: RawTid,
    /// of the node
    generation: u32,
    /// stands for its keys
    keys: u64,
}
