//! The code map on pages ([`crate::hnsw::blocks::map`] has the format).
//!
//! A build writes it in the order of the rows' keys, so that rows with equal keys in the first
//! filter column are near each other and a scan passes over the other pages; without filter columns
//! in the order of the table. Inserts add entries where there is room, VACUUM removes them.
//!
//! Locks: a page of the map, then its page of the directory. Who makes a new page of the map locks
//! the metapage, then the first page of the directory, then the new page; nobody waits for the
//! metapage who holds one of the others.

use super::index::Blocks;
use crate::am::damaged::raise_damaged;
use crate::am::hnsw::place;
use crate::am::hnsw::storage::{Hnsw, META_BLOCK, read_meta};
use crate::hnsw::blocks::format::Kept;
use crate::hnsw::blocks::map::{
    Directory, DirectoryMut, MapLayout, MapPage, MapPageMut, MapRow, Place, widen,
};
use crate::hnsw::format::{Meta, Opaque, PageKind, RawTid};
use crate::keys::Conditions;
use crate::page::{Damage, PageView};
use crate::pg::buffer::{Access, Exclusive, Shared};
use crate::pg::change::{Change, Logging};
use crate::quantize::CompactRef;
use pgrx::pg_sys;

/// Share of a page's entries that must be free for inserts to look there.
const ROOM_SHARE: usize = 8;

/// The layout of an index's map; `None` where it has none.
pub fn layout(hnsw: &Hnsw, meta: &Meta) -> Option<MapLayout> {
    hnsw.check(META_BLOCK, || MapLayout::of_meta(meta))
}

fn page_of<'a>(hnsw: &Hnsw, layout: MapLayout, block: u32, page: PageView<'a>) -> MapPage<'a> {
    hnsw.check(block, || MapPage::of(page, layout))
}

fn directory_of<'a>(
    hnsw: &Hnsw,
    layout: MapLayout,
    block: u32,
    page: PageView<'a>,
) -> Directory<'a> {
    hnsw.check(block, || Directory::of(page, layout))
}

/// Locks the page of the directory that a page of the map names.
fn lock_directory(hnsw: &Hnsw, layout: MapLayout, place: Place, map_block: u32) -> Exclusive {
    if place.block == map_block {
        raise_damaged(hnsw.index, map_block, Damage("page in its own directory"));
    }
    let page = Exclusive::lock(hnsw.index, place.block, Access::Random);
    let directory = directory_of(hnsw, layout, place.block, page.page());
    let slot = place.slot as usize;
    if slot >= directory.count || directory.page(slot).0 != map_block {
        raise_damaged(
            hnsw.index,
            map_block,
            Damage("page of the code map that its directory does not have"),
        );
    }
    page
}

/// Reads the directory: the pages that may have rows that meet all conditions. Returns how many
/// pages the directory has, and how many the map.
pub fn candidates(
    hnsw: &Hnsw,
    layout: MapLayout,
    meta: &Meta,
    conditions: &Conditions,
    blocks: &mut Vec<u32>,
) -> (u32, u32) {
    blocks.clear();
    let (mut next, mut steps, mut pages) = (meta.map, 0, 0);
    let most = hnsw.index.blocks();
    while next != 0 {
        steps += 1;
        if steps > most {
            raise_damaged(
                hnsw.index,
                next,
                Damage("the directory leads back to itself"),
            );
        }
        let page = Shared::read(hnsw.index, next, Access::Random);
        let directory = directory_of(hnsw, layout, next, page.page());
        directory.candidates(conditions, blocks);
        pages += directory.count as u32;
        next = directory.next;
    }
    (steps, pages)
}

/// What a new entry is made of.
pub struct NewEntry<'a> {
    /// the row
    pub row: MapRow,
    /// its keys
    pub keys: &'a [u64],
    /// its value
    pub compact: CompactRef<'a>,
}

impl NewEntry<'_> {
    fn kept<'c>(&self, blocks: &Blocks, layout: MapLayout, code: &'c mut Vec<u8>) -> Kept<'c> {
        code.clear();
        code.resize(layout.code_len(), 0);
        let (quantizer, dims) = (layout.quantizer, blocks.codec.dims());
        let factors = blocks.codec.quantize(self.compact, quantizer, dims, code);
        Kept { factors, code }
    }
}

/// Adds an entry.
pub fn add(blocks: &Blocks, layout: MapLayout, logging: Logging, entry: &NewEntry<'_>) {
    let hnsw = &blocks.hnsw;
    let mut code = Vec::new();
    let kept = entry.kept(blocks, layout, &mut code);
    let mut block = read_meta(hnsw.index).map_page;
    loop {
        if block == 0 {
            match add_page(hnsw, layout, logging, entry, kept, block) {
                Some(changed) => block = changed,
                None => return,
            }
            continue;
        }
        let mut page = Exclusive::lock(hnsw.index, block, Access::Random);
        let there = page_of(hnsw, layout, block, page.page());
        if there.count == layout.capacity {
            let (full, next) = (block, there.next);
            drop(page);
            if next == 0 {
                match add_page(hnsw, layout, logging, entry, kept, full) {
                    Some(changed) => block = changed,
                    None => return,
                }
                continue;
            }
            place::change_meta(hnsw, logging, |meta| {
                if meta.map_page == full {
                    meta.map_page = next;
                }
            });
            block = next;
            continue;
        }
        let place = there.place;
        let mut zone = there.zone().to_vec();
        let mut directory = match widen(&mut zone, entry.keys) {
            true => Some(lock_directory(hnsw, layout, place, block)),
            false => None,
        };
        let mut change = Change::begin(hnsw.index, logging);
        let mut target = change.page(&mut page);
        MapPageMut::of(target.contents_bytes_mut(layout.size), layout)
            .push(entry.row, entry.keys, kept);
        if let Some(directory) = &mut directory {
            let mut target = change.page(directory);
            DirectoryMut::of(target.contents_bytes_mut(layout.directory_size), layout)
                .set_zone(place.slot as usize, &zone);
        }
        return change.commit();
    }
}

/// Makes a page of the map with a first entry, unless inserts look for room elsewhere than at
/// `full` by now: then this is where.
fn add_page(
    hnsw: &Hnsw,
    layout: MapLayout,
    logging: Logging,
    entry: &NewEntry<'_>,
    kept: Kept<'_>,
    full: u32,
) -> Option<u32> {
    let mut meta_page = Exclusive::lock(hnsw.index, META_BLOCK, Access::Random);
    let meta = hnsw.check(META_BLOCK, || Meta::of(meta_page.page()).copied());
    if meta.map_page != full {
        return Some(meta.map_page);
    }
    // the first page of the directory, and whether it is a new one
    let mut first = None;
    if meta.map != 0 {
        let page = Exclusive::lock(hnsw.index, meta.map, Access::Random);
        let count = directory_of(hnsw, layout, meta.map, page.page()).count;
        if count < layout.directory_capacity {
            first = Some((page, count));
        }
    }
    let (mut directory, count, is_new) = match first {
        Some((page, count)) => (page, count, false),
        None => (place::empty_page(hnsw, logging, PageKind::Free), 0, true),
    };
    let mut page = place::empty_page(hnsw, logging, PageKind::Free);
    let (block, directory_block) = (page.block(), directory.block());
    let opaque = |kind, page: &Exclusive, next| Opaque {
        next,
        ..Opaque::new(
            kind,
            hnsw.check(page.block(), || Opaque::of(page.page()))
                .1
                .generation,
        )
    };
    let map_opaque = opaque(PageKind::Map, &page, 0);
    let directory_opaque = opaque(PageKind::Directory, &directory, meta.map);
    let mut zone = [vec![u64::MAX; layout.keys], vec![0; layout.keys]].concat();
    widen(&mut zone, entry.keys);

    let mut change = Change::begin(hnsw.index, logging);
    let mut target = change.new_page(&mut page, &map_opaque);
    let mut map = MapPageMut::of(target.contents_bytes_mut(layout.size), layout);
    map.init(Place {
        block: directory_block,
        slot: count as u32,
    });
    map.push(entry.row, entry.keys, kept);
    let mut target = match is_new {
        true => change.new_page(&mut directory, &directory_opaque),
        false => change.page(&mut directory),
    };
    let contents = target.contents_bytes_mut(layout.directory_size);
    if is_new {
        contents.fill(0);
    }
    DirectoryMut::of(contents, layout).push(block, &zone);
    let mut target = change.page(&mut meta_page);
    let meta = target.contents_mut::<Meta>();
    meta.map_page = block;
    meta.map = directory_block;
    change.commit();
    None
}

/// Writes the map of an index being built: `count` entries, which `entry` gives with their codes.
pub fn write<'a>(
    blocks: &Blocks,
    layout: MapLayout,
    count: usize,
    mut entry: impl FnMut(usize, &mut Vec<u8>, &mut dyn FnMut(MapRow, &[u64], Kept<'_>)) + 'a,
) {
    if count == 0 {
        return;
    }
    let hnsw = &blocks.hnsw;
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    let pages = count.div_ceil(layout.capacity);
    let directories = pages.div_ceil(layout.directory_capacity);
    let first_directory = hnsw.index.blocks();
    let extend = |expected: u32| {
        let page = Exclusive::extend(hnsw.index, fork);
        assert_eq!(
            page.block(),
            expected,
            "nobody else extends an index being built"
        );
        page
    };
    for n in 0..directories as u32 {
        // written below, when the zones of their pages are known
        let block = first_directory + n;
        let mut page = extend(block);
        let mut change = Change::begin(hnsw.index, Logging::AtEndOfBuild);
        let opaque = Opaque {
            // the last one has room, and is the first of the chain
            next: if n == 0 { 0 } else { block - 1 },
            ..Opaque::new(PageKind::Directory, 0)
        };
        let mut target = change.new_page(&mut page, &opaque);
        target.contents_bytes_mut(layout.directory_size).fill(0);
        change.commit();
    }
    let first = first_directory + directories as u32;
    let mut code = Vec::new();
    for n in 0..pages {
        pgrx::check_for_interrupts!();
        let block = first + n as u32;
        let place = Place {
            block: first_directory + (n / layout.directory_capacity) as u32,
            slot: (n % layout.directory_capacity) as u32,
        };
        let mut page = extend(block);
        let mut change = Change::begin(hnsw.index, Logging::AtEndOfBuild);
        let mut target = change.new_page(&mut page, &Opaque::new(PageKind::Map, 0));
        let mut map = MapPageMut::of(target.contents_bytes_mut(layout.size), layout);
        map.init(place);
        for at in (n * layout.capacity)..((n + 1) * layout.capacity).min(count) {
            entry(at, &mut code, &mut |row, keys, kept| {
                map.push(row, keys, kept);
            });
        }
        change.commit();
        let zone = page_of(hnsw, layout, block, page.page()).zone().to_vec();
        let mut directory = Exclusive::lock(hnsw.index, place.block, Access::Random);
        let mut change = Change::begin(hnsw.index, Logging::AtEndOfBuild);
        let mut target = change.page(&mut directory);
        DirectoryMut::of(target.contents_bytes_mut(layout.directory_size), layout)
            .push(block, &zone);
        change.commit();
    }
    place::change_meta(hnsw, Logging::AtEndOfBuild, |meta| {
        meta.map = first - 1;
        meta.map_page = first + pages as u32 - 1;
    });
}

/// Where VACUUM finds room for new entries.
#[derive(Default)]
pub struct Room {
    /// the page found last, which leads to the others
    last: u32,
}

impl Room {
    /// Removes the entries of dead heap tuples from a page, if it is one of the map. Pages with
    /// room come to lead to each other, each to one of a lower block.
    pub fn remove(
        &mut self,
        hnsw: &Hnsw,
        layout: MapLayout,
        page: &mut Exclusive,
        is_dead: &mut dyn FnMut(RawTid) -> bool,
    ) {
        let block = page.block();
        let is_map = !page.page().is_new()
            && hnsw.check(block, || Opaque::of(page.page())).0 == PageKind::Map;
        if !is_map {
            return;
        }
        let there = page_of(hnsw, layout, block, page.page());
        let rows = there.rows().iter().enumerate();
        let dead: Vec<usize> = rows
            .filter(|(_, row)| is_dead(row.tid))
            .map(|(slot, _)| slot)
            .collect();
        let has_room =
            (there.count - dead.len()) * ROOM_SHARE <= layout.capacity * (ROOM_SHARE - 1);
        let next = if has_room { self.last } else { 0 };
        if has_room {
            self.last = block;
        }
        if dead.is_empty() && there.next == next {
            return;
        }
        let (place, before) = (there.place, there.zone().to_vec());
        // a zone that shrinks is written to both pages at once
        let mut directory = (!dead.is_empty() && layout.keys > 0)
            .then(|| lock_directory(hnsw, layout, place, block));
        let mut change = Change::begin(hnsw.index, Logging::EachChange);
        let mut target = change.page(page);
        target.special_mut::<Opaque>().next = next;
        MapPageMut::of(target.contents_bytes_mut(layout.size), layout).remove(&dead);
        let after = hnsw
            .check(block, || MapPage::of(target.view(), layout))
            .zone()
            .to_vec();
        if let Some(directory) = &mut directory
            && after != before
        {
            let mut target = change.page(directory);
            DirectoryMut::of(target.contents_bytes_mut(layout.directory_size), layout)
                .set_zone(place.slot as usize, &after);
        }
        change.commit();
    }

    /// Tells inserts where there is room.
    pub fn publish(&self, hnsw: &Hnsw) {
        if self.last != 0 && read_meta(hnsw.index).map_page != self.last {
            let last = self.last;
            place::change_meta(hnsw, Logging::EachChange, |meta| meta.map_page = last);
        }
    }
}
