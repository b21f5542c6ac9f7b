//! The part of `vector_index_check` that knows `hnsw`: all pages one by one, then what leads from
//! one to another.
//!
//! Inserts and VACUUM may be at work. They change one page at a time, in an order that README.md of
//! `hnsw` gives, so two copies may contradict each other where the index never did. What does is
//! looked at three times more, with the page that it began from read before and after.

mod chains;
mod codes;
mod directory;
mod links;
mod map;
mod reach;

use super::storage::{META_BLOCK, other_version};
use crate::am::check::claims::{self, CLAIM, Claims};
use crate::am::check::free::FreePages;
use crate::am::column::Column;
use crate::am::filter::keys::FilterColumns;
use crate::check::Findings;
use crate::hnsw::blocks::map::MapLayout;
use crate::hnsw::check::{self as structure, Expected};
use crate::hnsw::format::{Meta, Node, NodeId, Opaque, PageKind, Shape};
use crate::page::PageView;
use crate::pg::attempt::PageCopy;
use crate::pg::buffer::{Access, Strategy};
use crate::pg::relation::Index;
use crate::pg::table::Table;
use codes::Codes;
use directory::Directory;
use pgrx::pg_sys;
use rustc_hash::FxHashSet;

/// Looks at what seems wrong.
const LOOKS: usize = 3;

/// Checks an index, and against its table where that is given.
pub fn check(index: Index, table: Option<&Table>, found: &mut Findings<'_>) {
    let access = Access::Sequential(Strategy::bulk_read());
    let blocks = index.blocks();
    let mut page = PageCopy::new();
    if blocks == 0 {
        return found.error(META_BLOCK, None, "the index has no metapage");
    }
    if let Err(message) = page.read(index, META_BLOCK, access) {
        return found.error(META_BLOCK, None, message);
    }
    if let Some(version) = other_version(page.page()) {
        return found.error(META_BLOCK, None, format!("the index {version}"));
    }
    let meta = match Meta::of(page.page()) {
        Ok(meta) => *meta,
        Err(damage) => return found.error(META_BLOCK, None, damage),
    };
    let Ok(column) = Column::built(index, meta.space, meta.dims) else {
        let message = "the metapage is of another column or operator class";
        return found.error(META_BLOCK, None, message);
    };
    let shape = match meta.shape() {
        Ok(shape) => shape,
        Err(damage) => return found.error(META_BLOCK, None, damage),
    };
    let map = match MapLayout::of_meta(&meta) {
        Ok(map) => map,
        Err(damage) => return found.error(META_BLOCK, None, damage),
    };
    let expected = Expected::new(column.space, meta.dims, shape).with_map(map);
    let Ok(codes) = Codes::new(index, access, &meta, column, &expected, found) else {
        return;
    };
    let mut check = Check {
        index,
        access,
        blocks,
        meta,
        shape,
        expected,
        directory: Directory::default(),
        lists: FxHashSet::default(),
        chunks: FxHashSet::default(),
        used_pages: FxHashSet::default(),
        map_pages: Vec::new(),
        free: FreePages::default(),
        listed: 0,
        codes,
        filters: FilterColumns::of(index),
        row: (0, 0),
        page,
        other: PageCopy::new(),
    };
    check.pages(found);
    check.entry_point(found);
    check.entry_table(found);
    check.code_map(found);
    check.nodes(table, found);
    check.leftovers(found);
    check.reach(found);
    check.free_pages(found);
}

struct Check {
    index: Index,
    access: Access,
    /// blocks when the check began
    blocks: u32,
    meta: Meta,
    shape: Shape,
    expected: Expected,
    directory: Directory,
    /// TID lists that no node was seen to lead to
    lists: FxHashSet<NodeId>,
    /// pages of chunks that no node was seen to lead to
    chunks: FxHashSet<u32>,
    /// pages of chains: centroid, entry table
    used_pages: FxHashSet<u32>,
    /// pages of the code map
    map_pages: Vec<u32>,
    /// pages in no use
    free: FreePages,
    /// heap TIDs of all nodes
    listed: u64,
    codes: Codes,
    filters: FilterColumns,
    /// what stands for the value and the keys of the row looked at last
    row: (u64, u64),
    page: PageCopy,
    other: PageCopy,
}

/// A copy of a node's item.
#[derive(PartialEq)]
struct Item {
    words: Vec<u64>,
    len: usize,
}

impl Item {
    fn of(item: &[u8]) -> Item {
        let mut words = vec![0u64; item.len().div_ceil(8)];
        bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..item.len()].copy_from_slice(item);
        Item {
            words,
            len: item.len(),
        }
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }
}

/// Something wrong that may be a matter of the moment.
struct Wrong {
    block: u32,
    offset: Option<u16>,
    message: String,
}

impl Wrong {
    fn new(id: NodeId, message: impl ToString) -> Wrong {
        Wrong {
            block: id.block,
            offset: Some(id.offset),
            message: message.to_string(),
        }
    }
}

/// The node at an address of a page; `None` where there is none, or none that can be read.
fn node_on<'p>(page: PageView<'p>, id: NodeId, shape: Shape) -> Option<Node<'p>> {
    match Opaque::of(page) {
        Ok((PageKind::Nodes, _)) if !page.is_new() => {}
        _ => return None,
    }
    Node::of(page.item(id.offset).ok()??, shape).ok()
}

/// Bytes that may be held at once.
fn memory() -> usize {
    // SAFETY: reads a setting.
    let kilobytes = unsafe { pg_sys::maintenance_work_mem } as usize;
    kilobytes.saturating_mul(1024)
}

impl Check {
    /// Reads every page once: what holds of it alone, and what there is.
    fn pages(&mut self, found: &mut Findings<'_>) {
        let mut deleted = 0u64;
        for block in 0..self.blocks {
            pgrx::check_for_interrupts!();
            self.directory.begin_page();
            if let Err(message) = self.page.read(self.index, block, self.access) {
                found.error(block, None, message);
                continue;
            }
            let page = self.page.page();
            let Some(kind) = structure::page(&self.expected, page, block, found) else {
                continue;
            };
            match kind {
                PageKind::Nodes => {
                    for offset in 1..=page.item_count() {
                        let id = NodeId { block, offset };
                        let node = node_on(page, id, self.shape);
                        if let Some(node) = node {
                            self.listed += node.header.tid_count as u64;
                            deleted += node.is_deleted() as u64;
                        }
                        self.directory.push(node.as_ref());
                    }
                }
                PageKind::Chunk if page.item_count() > 0 => {
                    self.chunks.insert(block);
                }
                PageKind::Tids => {
                    for offset in 1..=page.item_count() {
                        if let Ok(Some(item)) = page.item(offset)
                            && let Ok(list) = crate::hnsw::format::TidList::of(item)
                        {
                            self.listed += list.tids.len() as u64;
                            self.lists.insert(NodeId { block, offset });
                        }
                    }
                }
                PageKind::Centroid | PageKind::Codebook | PageKind::Entries => {
                    self.used_pages.insert(block);
                }
                PageKind::Map => self.map_pages.push(block),
                PageKind::Free => self.free.note(block),
                _ => {}
            }
        }
        self.directory.begin_page();
        if deleted > 0 {
            let message =
                format!("{deleted} nodes are marked deleted: the next VACUUM removes them");
            found.warning(META_BLOCK, None, message);
        }
    }

    fn free_pages(&mut self, found: &mut Findings<'_>) {
        let (index, page) = (self.index, &mut self.page);
        let is_in_no_use = |block| {
            let read = page.read(index, block, Access::Random);
            read.is_ok() && matches!(Opaque::of(page.page()), Ok((PageKind::Free, _)))
        };
        self.free.check(index, is_in_no_use, found);
    }

    /// Every node: links, pieces of its value, lists of TIDs, and what it claims about rows. In as
    /// many passes as memory takes for codes, and for claims.
    fn nodes(&mut self, table: Option<&Table>, found: &mut Findings<'_>) {
        let mut from = 0;
        let mut is_first = true;
        while is_first || from < self.blocks {
            from = self.load_codes(from);
            for block in 1..self.blocks {
                self.each_node(block, |check, id, item| {
                    check.links(id, item, is_first, found);
                });
            }
            is_first = false;
            if self.codes.codec.is_none() {
                break;
            }
        }
        self.codes.forget();
        let of_row = 1 + self.expected.map().is_some() as usize;
        let claims = self.listed as usize * of_row * CLAIM;
        let passes = claims.div_ceil(memory()).max(1) as u64;
        let heap_blocks = table.map_or(u32::MAX as u64, |table| table.blocks() as u64);
        for pass in 0..passes {
            let edge = |pass: u64| (pass * heap_blocks / passes) as u32;
            let last = pass + 1 == passes;
            // TIDs past the end of the table are wrong; the last pass takes them
            let end = if last { u32::MAX } else { edge(pass + 1) };
            let range = edge(pass)..end;
            let mut all = Claims::default();
            self.map_claims(&range, &mut all);
            for block in 1..self.blocks {
                self.each_node(block, |check, id, item| {
                    check.claims(id, item, &range, pass == 0, &mut all, found);
                });
            }
            let table_range = edge(pass)..edge(pass + 1);
            claims::check(self, table, table_range, all, found);
        }
    }

    /// Runs `f` on a copy of every live node of a block.
    fn each_node(&mut self, block: u32, mut f: impl FnMut(&mut Self, NodeId, &Item)) {
        pgrx::check_for_interrupts!();
        if self.directory.count(block) == 0
            || self.page.read(self.index, block, self.access).is_err()
        {
            return;
        }
        let items: Vec<(NodeId, Item)> = {
            let page = self.page.page();
            let ids = (1..=page.item_count()).map(|offset| NodeId { block, offset });
            ids.filter_map(|id| {
                let node = node_on(page, id, self.shape)?;
                (!node.is_deleted()).then(|| (id, Item::of(node.item())))
            })
            .collect()
        };
        for (id, item) in items {
            f(self, id, &item);
        }
    }

    /// A copy of a node as it is now; `None` where there is none.
    fn read(&mut self, id: NodeId) -> Option<Item> {
        if id.block == META_BLOCK || id.block >= self.index.blocks() {
            return None;
        }
        self.other.read(self.index, id.block, Access::Random).ok()?;
        let node = node_on(self.other.page(), id, self.shape)?;
        Some(Item::of(node.item()))
    }

    fn node<'i>(&self, item: &'i Item) -> Node<'i> {
        match Node::of(item.bytes(), self.shape) {
            Ok(node) => node,
            Err(_) => unreachable!("it was one when it was copied"),
        }
    }

    /// Looks at a node as `judge` does until nothing is wrong, the node is gone or deleted, or the
    /// same has been wrong three times while the node stayed as it was.
    fn settle(
        &mut self,
        id: NodeId,
        found: &mut Findings<'_>,
        mut judge: impl FnMut(&mut Self, &Item) -> Result<(), Wrong>,
    ) {
        let mut looks = 0;
        let mut before: Option<Item> = None;
        loop {
            pgrx::check_for_interrupts!();
            let Some(item) = self.read(id).filter(|item| !self.node(item).is_deleted()) else {
                return;
            };
            let Err(wrong) = judge(self, &item) else {
                return;
            };
            looks = match before {
                Some(before) if before == item => looks + 1,
                _ => 0,
            };
            if looks == LOOKS {
                return found.error(wrong.block, wrong.offset, wrong.message);
            }
            before = Some(item);
        }
    }
}
