//! Where new items go: nodes, pieces of values, TID lists.
//!
//! Lock order: node page, then chunk or TID page, then metapage. Chunk and TID pages never hold
//! nodes, so nobody waits in the other direction. A change takes its pages in the same order: replay
//! on a standby locks them one after the other, among scans that do so, too. A page whose kind is not sure yet (from the free
//! space map or a hint) is only tried for, never waited for, while another is held.

use super::storage::{Hnsw, META_BLOCK, read_meta};
use crate::am::damaged::raise_damaged;
use crate::distance::Operand;
use crate::hnsw::Level;
use crate::hnsw::format::{
    self, CHUNK, INLINE_TIDS, Layout, Meta, NewNode, NodeId, Opaque, PageKind, RawTid, TidList,
    TidListMut,
};
use crate::page::{Damage, PageView};
use crate::pg::buffer::{self, Access, Exclusive, Shared, free_space_map};
use crate::pg::change::{Change, Logging, PageMut};
use pgrx::pg_sys;

/// A node to be put on a page.
pub struct Placement<'a> {
    /// its value
    pub value: Operand<'a>,
    /// its highest layer
    pub level: Level,
    /// its heap tuple
    pub tid: RawTid,
    /// its links by level, ground layer first
    pub links: &'a [Vec<NodeId>],
}

/// The line pointer the next item of a page takes.
fn next_offset(page: PageView<'_>) -> u16 {
    let count = page.item_count();
    (1..=count)
        .find(|&n| matches!(page.item(n), Ok(None)))
        .unwrap_or(count + 1)
}

/// Puts a node on a page with room, an empty page, or a new one.
pub fn place_node(hnsw: &Hnsw, logging: Logging, node: &Placement<'_>) -> NodeId {
    let shape = hnsw.shape;
    let layout = Layout::choose(node.value.payload.len(), node.level, shape);
    let mut page = find_node_page(hnsw, logging, layout.size);
    let (_, opaque) = hnsw.check(page.block(), || Opaque::of(page.page()));
    let generation = opaque.generation;
    let id = NodeId {
        block: page.block(),
        offset: next_offset(page.page()),
    };

    let pieces = node.value.payload.chunks(CHUNK).take(layout.chunks);
    let chunks: Vec<NodeId> = pieces
        .enumerate()
        .map(|(index, piece)| {
            let item = format::encode_chunk(id, generation, index as u16, piece);
            place_chunk(hnsw, logging, &item)
        })
        .collect();
    let mut item = NewNode {
        level: node.level,
        generation,
        value: node.value.payload,
        norm_squared: node.value.norm_squared,
        chunks: &chunks,
        tids: &[node.tid],
        keys: &[],
        more_tids: RawTid::NONE,
    }
    .encode(shape);
    let mut writer = hnsw.check(id.block, || format::NodeMut::of(&mut item, shape));
    for (level, links) in node.links.iter().enumerate() {
        writer.set_links(level as Level, links.iter().copied());
    }

    let mut change = Change::begin(hnsw.index, logging);
    let mut target = change.page(&mut page);
    if target.add_item(&item) != Some(id.offset) {
        raise_damaged(
            hnsw.index,
            id.block,
            Damage("no room where the header says there is"),
        );
    }
    let left = buffer::room(target.view());
    change.commit();
    drop(page);
    if left >= layout.size {
        free_space_map::record(hnsw.index, id.block, left);
    }
    id
}

/// Puts an item of `size` bytes on a page with room, an empty page, or a new one. `encode` makes it,
/// given the page's generation.
pub fn place_item(
    hnsw: &Hnsw,
    logging: Logging,
    size: usize,
    encode: impl FnOnce(u32) -> Vec<u8>,
) -> NodeId {
    let mut page = find_node_page(hnsw, logging, size);
    let (_, opaque) = hnsw.check(page.block(), || Opaque::of(page.page()));
    let item = encode(opaque.generation);
    let block = page.block();
    let mut change = Change::begin(hnsw.index, logging);
    let mut target = change.page(&mut page);
    let Some(offset) = target.add_item(&item) else {
        raise_damaged(
            hnsw.index,
            block,
            Damage("no room where the header says there is"),
        );
    };
    let left = buffer::room(target.view());
    change.commit();
    drop(page);
    if left >= size {
        free_space_map::record(hnsw.index, block, left);
    }
    NodeId { block, offset }
}

/// Raises XX002 for a page that has less room than its header says.
#[cold]
pub fn raise_no_room(hnsw: &Hnsw, block: u32) -> ! {
    raise_damaged(
        hnsw.index,
        block,
        Damage("no room where the header says there is"),
    )
}

/// A locked page of kind `Nodes` with room for an item of `size` bytes.
fn find_node_page(hnsw: &Hnsw, logging: Logging, size: usize) -> Exclusive {
    let index = hnsw.index;
    let hint = read_meta(index).node_page;
    if hint != 0
        && let Some(page) = try_node_page(hnsw, logging, hint, size)
    {
        return page;
    }
    let mut found = free_space_map::find(index, size);
    while let Some(block) = found {
        match try_node_page(hnsw, logging, block, size) {
            Some(page) => return page,
            None => {
                pgrx::check_for_interrupts!();
                found = free_space_map::correct_and_find(index, block, 0, size);
            }
        }
    }
    let page = new_page(hnsw, logging, PageKind::Nodes);
    set_hint(hnsw, logging, |meta| meta.node_page = page.block());
    page
}

/// Locks a block if it is a page of nodes with room, or can become one.
fn try_node_page(hnsw: &Hnsw, logging: Logging, block: u32, size: usize) -> Option<Exclusive> {
    if block == META_BLOCK || block >= hnsw.index.blocks() {
        return None;
    }
    let mut page = Exclusive::lock(hnsw.index, block, Access::Random);
    if page.page().is_new() {
        return None;
    }
    match hnsw.check(block, || Opaque::of(page.page())).0 {
        PageKind::Nodes => (buffer::room(page.page()) >= size).then_some(page),
        PageKind::Free => {
            change_kind(hnsw, logging, &mut page, PageKind::Nodes);
            Some(page)
        }
        _ => None,
    }
}

/// Turns an empty page into one of another kind. Its generation goes on.
fn change_kind(hnsw: &Hnsw, logging: Logging, page: &mut Exclusive, kind: PageKind) {
    let generation = hnsw
        .check(page.block(), || Opaque::of(page.page()))
        .1
        .generation;
    let mut change = Change::begin(hnsw.index, logging);
    change.new_page(page, &Opaque::new(kind, generation));
    change.commit();
}

/// A locked empty page of `kind`: one that VACUUM freed, or a new block.
pub fn empty_page(hnsw: &Hnsw, logging: Logging, kind: PageKind) -> Exclusive {
    let index = hnsw.index;
    let mut found = free_space_map::find(index, free_space_map::EMPTY_PAGE);
    while let Some(block) = found {
        if block != META_BLOCK
            && block < index.blocks()
            && let Some(mut page) = Exclusive::try_lock(index, block)
        {
            let is_free = !page.page().is_new()
                && hnsw.check(block, || Opaque::of(page.page())).0 == PageKind::Free;
            if is_free {
                change_kind(hnsw, logging, &mut page, kind);
                free_space_map::record(index, block, 0);
                return page;
            }
        }
        found = free_space_map::correct_and_find(index, block, 0, free_space_map::EMPTY_PAGE);
    }
    new_page(hnsw, logging, kind)
}

fn new_page(hnsw: &Hnsw, logging: Logging, kind: PageKind) -> Exclusive {
    let mut page = Exclusive::extend(hnsw.index, pg_sys::ForkNumber::MAIN_FORKNUM);
    let mut change = Change::begin(hnsw.index, logging);
    change.new_page(&mut page, &Opaque::new(kind, 0));
    change.commit();
    page
}

/// Changes a placement hint on the metapage.
fn set_hint(hnsw: &Hnsw, logging: Logging, set: impl FnOnce(&mut Meta)) {
    change_meta(hnsw, logging, set);
}

/// Changes the metapage.
pub fn change_meta(hnsw: &Hnsw, logging: Logging, set: impl FnOnce(&mut Meta)) {
    let mut page = Exclusive::lock(hnsw.index, META_BLOCK, Access::Random);
    hnsw.check(META_BLOCK, || Meta::of(page.page()).map(drop));
    let mut change = Change::begin(hnsw.index, logging);
    set(change.page(&mut page).contents_mut::<Meta>());
    change.commit();
}

fn place_chunk(hnsw: &Hnsw, logging: Logging, item: &[u8]) -> NodeId {
    let mut page = empty_page(hnsw, logging, PageKind::Chunk);
    let block = page.block();
    let mut change = Change::begin(hnsw.index, logging);
    let Some(offset) = change.page(&mut page).add_item(item) else {
        raise_damaged(
            hnsw.index,
            block,
            Damage("an empty page has no room for a chunk"),
        );
    };
    change.commit();
    NodeId { block, offset }
}

/// Adds a heap tuple, with its keys, to a node with the same value. False where the node is gone or
/// deleted.
pub fn add_tid(
    hnsw: &Hnsw,
    logging: Logging,
    id: NodeId,
    generation: u32,
    tid: RawTid,
    keys: &[u64],
) -> bool {
    let mut page = Exclusive::lock(hnsw.index, id.block, Access::Random);
    let Some(node) = hnsw.node_on(page.page(), id) else {
        return false;
    };
    if node.header.generation != generation || node.is_deleted() {
        return false;
    }
    if node.tids().len() < INLINE_TIDS {
        let mut change = Change::begin(hnsw.index, logging);
        with_node_mut(hnsw, &mut change.page(&mut page), id, |node| {
            node.push_tid(tid, keys);
        });
        change.commit();
        return true;
    }
    let columns = hnsw.shape.keys();
    let mut capacity = 16.min(format::max_list_tids(columns));
    let newest = node.header.more_tids;
    if let Some(at) = newest.id() {
        if at.block == id.block {
            raise_damaged(hnsw.index, id.block, Damage("TID list on a page of nodes"));
        }
        let mut list = Exclusive::lock(hnsw.index, at.block, Access::Random);
        let (count, room) = with_tid_list(hnsw, list.page(), at, generation, |list| {
            (list.header.count as usize, list.header.capacity as usize)
        });
        if count < room {
            let mut change = Change::begin(hnsw.index, logging);
            with_tid_list_mut(hnsw, &mut change.page(&mut list), at, |list| {
                list.push(tid, keys);
            });
            change.commit();
            return true;
        }
        capacity = (room * 2).min(format::max_list_tids(columns));
    }
    let item = format::encode_tid_list(generation, newest, capacity, &[tid], keys, columns);
    let mut list = find_tid_page(hnsw, logging, item.len());
    let block = list.block();
    let mut change = Change::begin(hnsw.index, logging);
    let mut node_page = change.page(&mut page);
    let Some(offset) = change.page(&mut list).add_item(&item) else {
        raise_damaged(
            hnsw.index,
            block,
            Damage("no room where the header says there is"),
        );
    };
    with_node_mut(hnsw, &mut node_page, id, |node| {
        node.header().more_tids = NodeId { block, offset }.into();
    });
    change.commit();
    true
}

fn find_tid_page(hnsw: &Hnsw, logging: Logging, size: usize) -> Exclusive {
    let hint = read_meta(hnsw.index).tid_page;
    if hint != 0
        && hint < hnsw.index.blocks()
        && let Some(page) = Exclusive::try_lock(hnsw.index, hint)
    {
        let kind = hnsw.check(hint, || Opaque::of(page.page())).0;
        if kind == PageKind::Tids && buffer::room(page.page()) >= size {
            return page;
        }
    }
    let page = empty_page(hnsw, logging, PageKind::Tids);
    set_hint(hnsw, logging, |meta| meta.tid_page = page.block());
    page
}

/// Tells a chain of TID lists that leads back to itself (Brent's algorithm), which only damage
/// makes.
pub struct ChainWalk {
    mark: Option<NodeId>,
    steps: u64,
    next_mark: u64,
}

impl ChainWalk {
    /// A walk that has seen no list yet.
    pub fn new() -> Self {
        ChainWalk {
            mark: None,
            steps: 0,
            next_mark: 1,
        }
    }

    /// Goes on to a list.
    pub fn step(&mut self, hnsw: &Hnsw, to: NodeId) {
        if self.mark == Some(to) {
            raise_damaged(hnsw.index, to.block, Damage("TID lists in a circle"));
        }
        self.steps += 1;
        if self.steps == self.next_mark {
            self.mark = Some(to);
            self.next_mark *= 2;
        }
    }
}

/// Runs `f` on a node of a page inside a change. The node was there when the page was locked.
pub fn with_node_mut<R>(
    hnsw: &Hnsw,
    page: &mut PageMut<'_>,
    id: NodeId,
    f: impl FnOnce(&mut format::NodeMut<'_>) -> R,
) -> R {
    hnsw.check(id.block, || {
        let item = page.item_mut(id.offset)?.ok_or(Damage("node vanished"))?;
        Ok(f(&mut format::NodeMut::of(item, hnsw.shape)?))
    })
}

/// Runs `f` on a TID list that a node refers to.
pub fn with_tid_list<R>(
    hnsw: &Hnsw,
    page: PageView<'_>,
    at: NodeId,
    generation: u32,
    f: impl FnOnce(TidList<'_>) -> R,
) -> R {
    hnsw.check(at.block, || {
        if Opaque::of(page)?.0 != PageKind::Tids {
            return Err(Damage("TID list on a page of another kind"));
        }
        let item = page
            .item(at.offset)?
            .ok_or(Damage("no TID list where a node has one"))?;
        let list = TidList::of(item)?;
        if list.header.generation != generation || list.header.keys as usize != hnsw.shape.keys() {
            return Err(Damage("TID list of another node"));
        }
        Ok(f(list))
    })
}

/// Reads a TID list of `owner`, whose page is locked.
pub fn read_tid_list<R>(
    hnsw: &Hnsw,
    owner: NodeId,
    at: NodeId,
    generation: u32,
    f: impl FnOnce(TidList<'_>) -> R,
) -> R {
    if at.block == owner.block {
        raise_damaged(
            hnsw.index,
            owner.block,
            Damage("TID list on a page of nodes"),
        );
    }
    let page = Shared::read(hnsw.index, at.block, Access::Random);
    with_tid_list(hnsw, page.page(), at, generation, f)
}

/// Runs `f` on a TID list of a page inside a change.
pub fn with_tid_list_mut<R>(
    hnsw: &Hnsw,
    page: &mut PageMut<'_>,
    at: NodeId,
    f: impl FnOnce(&mut TidListMut<'_>) -> R,
) -> R {
    hnsw.check(at.block, || {
        let item = page
            .item_mut(at.offset)?
            .ok_or(Damage("TID list vanished"))?;
        Ok(f(&mut TidListMut::of(item)?))
    })
}
