//! The rows that another index says may match: addresses of heap tuples.

use crate::hnsw::format::RawTid;

/// Line pointers of a page that are told apart; beyond, and on pages of which the bitmap knows no
/// more than that they have matches, all rows count as allowed.
const OFFSETS: usize = 320;
type Offsets = [u64; OFFSETS / 64];
const ALL: Offsets = [u64::MAX; OFFSETS / 64];

/// Sixty-four blocks.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// those of them that are in the list
    present: u64,
    /// how many are before them
    before: u32,
}

const BLOCKS: u32 = u64::BITS;
/// Groups of blocks for each page of a list, and some more.
const MOST_GROUPS: usize = 8;
const GROUPS_ANYWAY: usize = 1 << 12;

/// Addresses of rows. It may have more than match, never fewer: whoever uses it puts the rows to
/// their conditions all the same.
#[derive(Debug)]
pub struct AllowList {
    /// by block number
    pages: Vec<(u32, Offsets)>,
    /// where in `pages` blocks are; none for lists so thin that these would take more than all else
    groups: Option<Vec<Group>>,
    rows: usize,
    lossy_pages: usize,
}

impl Default for AllowList {
    fn default() -> Self {
        AllowList {
            pages: Vec::new(),
            groups: Some(Vec::new()),
            rows: 0,
            lossy_pages: 0,
        }
    }
}

impl AllowList {
    /// Adds a page after all others; without offsets all rows of it are allowed.
    pub fn push(&mut self, block: u32, offsets: Option<&[u16]>) {
        let known = offsets.filter(|all| all.iter().all(|&at| (at as usize) < OFFSETS));
        let mut page = [0; OFFSETS / 64];
        match known {
            Some(offsets) => {
                self.rows += offsets.len();
                for &at in offsets {
                    page[at as usize / 64] |= 1 << (at % 64);
                }
            }
            None => {
                self.lossy_pages += 1;
                page = ALL;
            }
        }
        self.group(block);
        self.pages.push((block, page));
    }

    /// Notes where a block will be.
    fn group(&mut self, block: u32) {
        let before = self.pages.len();
        let group = (block / BLOCKS) as usize;
        self.groups
            .take_if(|_| group > before * MOST_GROUPS + GROUPS_ANYWAY);
        let Some(groups) = &mut self.groups else {
            return;
        };
        if group >= groups.len() {
            let empty = Group {
                present: 0,
                before: before as u32,
            };
            groups.resize(group + 1, empty);
        }
        groups[group].present |= 1 << (block % BLOCKS);
    }

    /// The rows of a block.
    #[inline]
    fn page(&self, block: u32) -> Option<&Offsets> {
        let Some(groups) = &self.groups else {
            let at = self.pages.binary_search_by_key(&block, |page| page.0);
            return Some(&self.pages[at.ok()?].1);
        };
        let group = groups.get((block / BLOCKS) as usize)?;
        let own = 1 << (block % BLOCKS);
        if group.present & own == 0 {
            return None;
        }
        let at = group.before + (group.present & (own - 1)).count_ones();
        Some(&self.pages[at as usize].1)
    }

    /// Whether a row may match.
    #[inline]
    pub fn contains(&self, tid: RawTid) -> bool {
        let block = (tid.block_hi as u32) << 16 | tid.block_lo as u32;
        let Some(offsets) = self.page(block) else {
            return false;
        };
        match offsets.get(tid.offset as usize / 64) {
            Some(word) => word >> (tid.offset % 64) & 1 == 1,
            None => *offsets == ALL,
        }
    }

    /// How many rows are allowed; `None` where whole pages are.
    pub fn count(&self) -> Option<usize> {
        (self.lossy_pages == 0).then_some(self.rows)
    }

    /// Rows on pages whose rows are told apart.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Pages all of whose rows are allowed.
    pub fn lossy_pages(&self) -> usize {
        self.lossy_pages
    }

    /// All rows, in the order of the table. Only of a list without lossy pages.
    pub fn tids(&self) -> Vec<RawTid> {
        let mut tids = Vec::with_capacity(self.rows);
        for &(block, offsets) in &self.pages {
            for (n, mut word) in offsets.into_iter().enumerate() {
                while word != 0 {
                    tids.push(RawTid {
                        block_hi: (block >> 16) as u16,
                        block_lo: block as u16,
                        offset: 64 * n as u16 + word.trailing_zeros() as u16,
                    });
                    word &= word - 1;
                }
            }
        }
        tids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tid(block: u32, offset: u16) -> RawTid {
        RawTid {
            block_hi: (block >> 16) as u16,
            block_lo: block as u16,
            offset,
        }
    }

    #[test]
    fn a_list_has_the_rows_that_it_was_given_wherever_they_are() {
        // close together, far apart, and at both ends
        let ends = [None, Some(u32::MAX - 1)];
        for (distance, end) in [1, 3, 64, 1_000, 100_000]
            .into_iter()
            .flat_map(|distance| ends.map(|end| (distance, end)))
        {
            let mut list = AllowList::default();
            let blocks: Vec<u32> = (0..3_000u32)
                .map(|n| n * distance)
                .filter(|block| block % 7 < 4)
                .chain(end)
                .collect();
            for &block in &blocks {
                match block % 5 {
                    0 => list.push(block, None),
                    _ => list.push(block, Some(&[1, 3, block as u16 % 300])),
                }
            }
            let is_thin = distance >= 1_000 || end.is_some();
            assert_eq!(list.groups.is_none(), is_thin, "{distance} {end:?}");
            for block in (0..3_000 * distance.min(100) + 70).chain(blocks.iter().copied()) {
                let is_listed = blocks.binary_search(&block).is_ok();
                for offset in [1, 2, 3, 250, 319, 400] {
                    let is_one = [1, 3, block as u16 % 300].contains(&offset);
                    let expected = is_listed && (block % 5 == 0 || is_one);
                    assert_eq!(
                        list.contains(tid(block, offset)),
                        expected,
                        "{block} {offset}"
                    );
                }
            }
        }
        assert!(!AllowList::default().contains(tid(0, 1)));
    }

    #[test]
    fn rows_come_in_the_order_of_the_table() {
        let mut list = AllowList::default();
        let mut expected = Vec::new();
        for block in [0, 1, 7, 70_000, u32::MAX - 1] {
            let offsets = [1, 2, 63, 64, 65, 127, 128, 255, 291, 319];
            let offsets = &offsets[..1 + block as usize % offsets.len()];
            list.push(block, Some(offsets));
            expected.extend(offsets.iter().map(|&offset| tid(block, offset)));
        }
        assert_eq!(list.tids(), expected);
        assert_eq!(list.count(), Some(expected.len()));
    }
}
