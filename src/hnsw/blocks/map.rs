//! The code map: one entry for each heap tuple of an index of blocks, side by side, so that a scan
//! can look at all of them, or at those that meet its conditions, without following links.
//!
//! An entry is a [`MapRow`], the keys of the row's filter columns ([`crate::keys`]), and the
//! value's code with its factors, as beside a link but of all dimensions.
//!
//! A `Map` page's contents, each part padded to 8:
//!
//! | part | bytes | what |
//! |---|---|---|
//! | header | 16 | [`MapHeader`] |
//! | zone | 8 for each filter column, twice | least keys of the page's entries, then greatest; of an empty page, the greatest number and zero |
//! | rows | 16 for each entry | [`MapRow`] |
//! | keys | 8 for each entry, column by column | |
//! | adds, scales | 4 for each entry | [`Factors`](crate::quantize::Factors) |
//! | codes | [`Quantizer::code_len`] for each entry | |
//!
//! Each part has room for as many entries as fit; those in use come first. A page's special area
//! names in `next` another page of the map that may have room, or 0.
//!
//! The **directory** tells which pages the map has, and between which keys their entries are. A
//! `Directory` page's contents are [`EntriesHeader`] and, for each page of the map, its block (4
//! bytes), 4 zero bytes, and its zone as above. Directory pages form a chain; `map` on the metapage
//! is the first, and the first alone takes new pages. A page of the map stays one.

use super::format::{EntriesHeader, Kept};
use crate::hnsw::format::{Meta, Opaque, PageKind, RawTid};
use crate::keys::Conditions;
use crate::page::{Damage, PageView};
use crate::quantize::Quantizer;
use bytemuck::{Pod, Zeroable};

/// Start of a `Map` page's contents.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | entries in use |
/// | 4 | 4 | block of the directory page that has the page |
/// | 8 | 4 | its position there, from 0 |
/// | 12 | 4 | zero |
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct MapHeader {
    /// entries in use
    pub count: u32,
    /// where the page is in the directory
    pub place: Place,
    /// zero
    pub reserved: u32,
}

/// Where in the directory a page of the map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Place {
    /// block of the directory page
    pub block: u32,
    /// position there
    pub slot: u32,
}

/// What the map keeps of a heap tuple beside keys and code.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 6 | heap TID |
/// | 6 | 6 | address of the node that has the value |
/// | 12 | 4 | the node's generation |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MapRow {
    /// the heap tuple
    pub tid: RawTid,
    /// its node
    pub node: RawTid,
    /// tells it from a later node at the same address
    pub generation: u32,
}

const _: () = {
    assert!(size_of::<MapHeader>() == 16);
    assert!(size_of::<MapRow>() == 16);
};

/// Bytes of a page's contents.
const ROOM: usize = 8192 - crate::page::HEADER - size_of::<Opaque>();

/// Where everything on pages of the map and of its directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapLayout {
    /// quantizer of the codes
    pub quantizer: Quantizer,
    /// filter columns
    pub keys: usize,
    /// entries a page has room for
    pub capacity: usize,
    /// pages of the map that a page of the directory has room for
    pub directory_capacity: usize,
    rows_at: usize,
    keys_at: usize,
    adds_at: usize,
    scales_at: usize,
    codes_at: usize,
    code_len: usize,
    /// bytes of a `Map` page's contents
    pub size: usize,
    /// bytes of a `Directory` page's contents
    pub directory_size: usize,
}

impl MapLayout {
    /// The layout for values of `dims` dimensions and a number of filter columns; `None` where not
    /// even a few entries fit on a page.
    pub fn of(dims: u32, quantizer: Quantizer, keys: usize) -> Option<MapLayout> {
        let code_len = quantizer.code_len(dims as usize);
        let rows_at = size_of::<MapHeader>() + 16 * keys;
        let entry = size_of::<MapRow>() + 8 * keys + 8 + code_len;
        // two parts may take up to 4 bytes of padding
        let capacity = ROOM.checked_sub(rows_at + 8)? / entry;
        if capacity < 2 {
            return None;
        }
        let keys_at = rows_at + capacity * size_of::<MapRow>();
        let adds_at = keys_at + 8 * keys * capacity;
        let scales_at = adds_at + (4 * capacity).next_multiple_of(8);
        let codes_at = scales_at + (4 * capacity).next_multiple_of(8);
        let directory_capacity = (ROOM - size_of::<EntriesHeader>()) / (8 + 16 * keys);
        Some(MapLayout {
            quantizer,
            keys,
            capacity,
            directory_capacity,
            rows_at,
            keys_at,
            adds_at,
            scales_at,
            codes_at,
            code_len,
            size: codes_at + capacity * code_len,
            directory_size: size_of::<EntriesHeader>() + directory_capacity * (8 + 16 * keys),
        })
    }

    /// The layout that a metapage declares; `None` where the index has no map.
    pub fn of_meta(meta: &Meta) -> Result<Option<MapLayout>, Damage> {
        if meta.map_quantizer == 0 {
            return Ok(None);
        }
        let quantizer = Quantizer::grid_from_code(meta.map_quantizer)
            .ok_or(Damage("unknown quantizer on the metapage"))?;
        MapLayout::of(meta.dims, quantizer, meta.keys as usize)
            .map(Some)
            .ok_or(Damage("no room for entries of the code map"))
    }

    /// Bytes of an entry's code.
    pub fn code_len(&self) -> usize {
        self.code_len
    }

    fn column_at(&self, column: usize) -> usize {
        self.keys_at + 8 * self.capacity * column
    }

    /// Where each part begins, and how many bytes an entry takes of it.
    fn parts(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let layout = *self;
        let columns = (0..layout.keys).map(move |column| (layout.column_at(column), 8));
        [
            (layout.rows_at, size_of::<MapRow>()),
            (layout.adds_at, 4),
            (layout.scales_at, 4),
            (layout.codes_at, layout.code_len),
        ]
        .into_iter()
        .chain(columns)
    }
}

/// A checked page of the map.
#[derive(Clone, Copy)]
pub struct MapPage<'a> {
    contents: &'a [u8],
    layout: MapLayout,
    /// entries in use
    pub count: usize,
    /// where the page is in the directory
    pub place: Place,
    /// another page that may have room, or 0
    pub next: u32,
}

impl<'a> MapPage<'a> {
    /// Reads and checks a page.
    pub fn of(page: PageView<'a>, layout: MapLayout) -> Result<MapPage<'a>, Damage> {
        let (kind, opaque) = Opaque::of(page)?;
        if kind != PageKind::Map {
            return Err(Damage("not a page of the code map"));
        }
        let contents = page
            .contents()?
            .get(..layout.size)
            .ok_or(Damage("page of the code map too short"))?;
        let header: &MapHeader = bytemuck::from_bytes(&contents[..size_of::<MapHeader>()]);
        if header.count as usize > layout.capacity {
            return Err(Damage("too many entries on a page of the code map"));
        }
        Ok(MapPage {
            contents,
            layout,
            count: header.count as usize,
            place: header.place,
            next: opaque.next,
        })
    }

    /// Whether there is nothing where no entry is.
    pub fn unused_is_zero(&self) -> bool {
        let mut parts: Vec<(usize, usize)> = self.layout.parts().collect();
        parts.sort_unstable();
        let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        let mut end = self.layout.rows_at;
        for (at, len) in parts {
            if !is_zero(&self.contents[end..at]) {
                return false;
            }
            end = at + len * self.count;
        }
        let header: &MapHeader = bytemuck::from_bytes(&self.contents[..size_of::<MapHeader>()]);
        header.reserved == 0 && is_zero(&self.contents[end..self.layout.size])
    }

    /// Least keys, then greatest.
    pub fn zone(&self) -> &'a [u64] {
        bytemuck::cast_slice(&self.contents[size_of::<MapHeader>()..self.layout.rows_at])
    }

    /// Heap tuples and nodes of the entries.
    #[inline]
    pub fn rows(&self) -> &'a [MapRow] {
        bytemuck::cast_slice(&self.contents[self.layout.rows_at..][..16 * self.count])
    }

    /// The entries' keys of a column.
    #[inline]
    pub fn keys(&self, column: usize) -> &'a [u64] {
        bytemuck::cast_slice(&self.contents[self.layout.column_at(column)..][..8 * self.count])
    }

    /// `add` factors of the entries.
    #[inline]
    pub fn adds(&self) -> &'a [f32] {
        bytemuck::cast_slice(&self.contents[self.layout.adds_at..][..4 * self.count])
    }

    /// `scale` factors of the entries.
    #[inline]
    pub fn scales(&self) -> &'a [f32] {
        bytemuck::cast_slice(&self.contents[self.layout.scales_at..][..4 * self.count])
    }

    /// Codes of the entries.
    #[inline]
    pub fn codes(&self) -> &'a [u8] {
        &self.contents[self.layout.codes_at..][..self.layout.code_len * self.count]
    }
}

/// Contents of a page of the map, for writing.
pub struct MapPageMut<'a> {
    contents: &'a mut [u8],
    layout: MapLayout,
}

impl<'a> MapPageMut<'a> {
    /// Contents of `layout.size` bytes of a page that was checked.
    pub fn of(contents: &'a mut [u8], layout: MapLayout) -> MapPageMut<'a> {
        MapPageMut { contents, layout }
    }

    /// Makes it an empty page with that place in the directory.
    pub fn init(&mut self, place: Place) {
        self.contents.fill(0);
        self.header().place = place;
        let keys = self.layout.keys;
        self.zone()[..keys].fill(u64::MAX);
    }

    fn header(&mut self) -> &mut MapHeader {
        bytemuck::from_bytes_mut(&mut self.contents[..size_of::<MapHeader>()])
    }

    fn zone(&mut self) -> &mut [u64] {
        bytemuck::cast_slice_mut(&mut self.contents[size_of::<MapHeader>()..self.layout.rows_at])
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.contents[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Adds an entry; false where the page is full.
    pub fn push(&mut self, row: MapRow, keys: &[u64], kept: Kept<'_>) -> bool {
        let layout = self.layout;
        let slot = self.header().count as usize;
        if slot >= layout.capacity {
            return false;
        }
        self.write(layout.rows_at + 16 * slot, bytemuck::bytes_of(&row));
        for (column, &key) in keys.iter().enumerate() {
            self.write(layout.column_at(column) + 8 * slot, &key.to_ne_bytes());
        }
        self.write(layout.adds_at + 4 * slot, &kept.factors.add.to_ne_bytes());
        let scale = kept.factors.scale.to_ne_bytes();
        self.write(layout.scales_at + 4 * slot, &scale);
        self.write(layout.codes_at + layout.code_len * slot, kept.code);
        self.header().count += 1;
        widen(self.zone(), keys);
        true
    }

    /// Removes the entries at these positions, in ascending order; the last ones take their places.
    pub fn remove(&mut self, slots: &[usize]) {
        let layout = self.layout;
        for &slot in slots.iter().rev() {
            let last = self.header().count as usize - 1;
            for (at, len) in layout.parts() {
                let from = at + last * len;
                self.contents.copy_within(from..from + len, at + slot * len);
                self.contents[from..from + len].fill(0);
            }
            self.header().count -= 1;
        }
        let count = self.header().count as usize;
        for column in 0..layout.keys {
            let at = layout.column_at(column);
            let keys: &[u64] = bytemuck::cast_slice(&self.contents[at..][..8 * count]);
            let low = keys.iter().copied().min().unwrap_or(u64::MAX);
            let high = keys.iter().copied().max().unwrap_or(0);
            let zone = self.zone();
            (zone[column], zone[layout.keys + column]) = (low, high);
        }
    }
}

/// Makes a zone include an entry's keys; says whether it did not before.
pub fn widen(zone: &mut [u64], keys: &[u64]) -> bool {
    let (lows, highs) = zone.split_at_mut(keys.len());
    let mut is_wider = false;
    for ((low, high), &key) in lows.iter_mut().zip(highs).zip(keys) {
        is_wider |= key < *low || key > *high;
        (*low, *high) = ((*low).min(key), (*high).max(key));
    }
    is_wider
}

/// A checked page of the directory.
#[derive(Clone, Copy)]
pub struct Directory<'a> {
    contents: &'a [u8],
    layout: MapLayout,
    /// pages of the map that it has
    pub count: usize,
    /// next page of the directory, or 0
    pub next: u32,
}

impl<'a> Directory<'a> {
    /// Reads and checks a page.
    pub fn of(page: PageView<'a>, layout: MapLayout) -> Result<Directory<'a>, Damage> {
        let (kind, opaque) = Opaque::of(page)?;
        if kind != PageKind::Directory {
            return Err(Damage("not a page of the code map's directory"));
        }
        let contents = page
            .contents()?
            .get(..layout.directory_size)
            .ok_or(Damage("page of the code map's directory too short"))?;
        let header: &EntriesHeader = bytemuck::from_bytes(&contents[..size_of::<EntriesHeader>()]);
        if header.count as usize > layout.directory_capacity {
            return Err(Damage("too many pages in the code map's directory"));
        }
        Ok(Directory {
            contents,
            layout,
            count: header.count as usize,
            next: opaque.next,
        })
    }

    fn entry(&self, slot: usize) -> &'a [u64] {
        let len = 8 + 16 * self.layout.keys;
        bytemuck::cast_slice(&self.contents[size_of::<EntriesHeader>() + slot * len..][..len])
    }

    /// Whether there is nothing where no page of the map is named.
    pub fn unused_is_zero(&self) -> bool {
        let start = size_of::<EntriesHeader>();
        let len = 8 + 16 * self.layout.keys;
        let (header, unused) = (
            &self.contents[..start],
            &self.contents[start + self.count * len..],
        );
        let header: &EntriesHeader = bytemuck::from_bytes(header);
        let halves = (0..self.count)
            .flat_map(|slot| bytemuck::cast_slice::<u64, u32>(&self.entry(slot)[..1])[1..].iter());
        header.reserved == 0
            && halves.copied().all(|half| half == 0)
            && unused.iter().all(|&byte| byte == 0)
    }

    /// Block and zone of a page of the map.
    pub fn page(&self, slot: usize) -> (u32, &'a [u64]) {
        let (block, zone) = self.entry(slot).split_at(1);
        let bytes: &[u32] = bytemuck::cast_slice(block);
        (bytes[0], zone)
    }

    /// Appends the blocks of pages that may have rows that meet all conditions.
    pub fn candidates(&self, conditions: &Conditions, blocks: &mut Vec<u32>) {
        for slot in 0..self.count {
            let (block, zone) = self.page(slot);
            let (lows, highs) = zone.split_at(self.layout.keys);
            if conditions.meet(lows, highs) {
                blocks.push(block);
            }
        }
    }
}

/// Contents of a page of the directory, for writing.
pub struct DirectoryMut<'a> {
    contents: &'a mut [u8],
    layout: MapLayout,
}

impl<'a> DirectoryMut<'a> {
    /// Contents of `layout.directory_size` bytes of a page that was checked.
    pub fn of(contents: &'a mut [u8], layout: MapLayout) -> DirectoryMut<'a> {
        DirectoryMut { contents, layout }
    }

    fn header(&mut self) -> &mut EntriesHeader {
        bytemuck::from_bytes_mut(&mut self.contents[..size_of::<EntriesHeader>()])
    }

    fn entry(&mut self, slot: usize) -> &mut [u64] {
        let len = 8 + 16 * self.layout.keys;
        let at = size_of::<EntriesHeader>() + slot * len;
        bytemuck::cast_slice_mut(&mut self.contents[at..at + len])
    }

    /// Adds a page of the map.
    pub fn push(&mut self, block: u32, zone: &[u64]) {
        let slot = self.header().count as usize;
        let entry = self.entry(slot);
        bytemuck::cast_slice_mut::<u64, u32>(&mut entry[..1])[0] = block;
        entry[1..].copy_from_slice(zone);
        self.header().count += 1;
    }

    /// Changes a page's zone.
    pub fn set_zone(&mut self, slot: usize, zone: &[u64]) {
        self.entry(slot)[1..].copy_from_slice(zone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hnsw::format::NodeId;
    use crate::keys::{Condition, NULL, Test, of_i64};
    use crate::quantize::Factors;

    const LAYOUTS: [(u32, Quantizer, usize); 5] = [
        (1, Quantizer::Sq8, 0),
        (24, Quantizer::Sq8, 1),
        (384, Quantizer::Rabitq1, 2),
        (1536, Quantizer::Rabitq1, 31),
        (16000, Quantizer::Rabitq1, 1),
    ];

    fn row(n: u32) -> MapRow {
        let at = |block, offset| RawTid::from(NodeId { block, offset });
        MapRow {
            tid: at(n, 1),
            node: at(n + 1000, 2),
            generation: n,
        }
    }

    fn keys(n: u32, count: usize) -> Vec<u64> {
        (0..count as u64)
            .map(|c| of_i64(n as i64 * 10 + c as i64))
            .collect()
    }

    /// A page of the kind with those contents.
    fn page_of(kind: PageKind, contents: &[u8]) -> Vec<u64> {
        let mut words = vec![0u64; 1024];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        let opaque = Opaque::new(kind, 0);
        let special = 8192 - size_of::<Opaque>();
        bytes[12..14].copy_from_slice(&((24 + contents.len()) as u16).to_ne_bytes());
        bytes[14..16].copy_from_slice(&(special as u16).to_ne_bytes());
        bytes[16..18].copy_from_slice(&(special as u16).to_ne_bytes());
        bytes[special..].copy_from_slice(bytemuck::bytes_of(&opaque));
        bytes[24..24 + contents.len()].copy_from_slice(contents);
        words
    }

    #[test]
    fn entries_read_back_after_any_removal() {
        for (dims, quantizer, columns) in LAYOUTS {
            let layout = MapLayout::of(dims, quantizer, columns).unwrap();
            assert!(
                layout.size <= ROOM && layout.directory_size <= ROOM,
                "{layout:?}"
            );
            let mut words = vec![0u64; layout.size.div_ceil(8)];
            let contents: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut words)[..layout.size];
            let place = Place { block: 7, slot: 3 };
            let mut page = MapPageMut::of(contents, layout);
            page.init(place);
            let code = |n: u32| vec![n as u8 ^ 0x5a; layout.code_len()];
            for n in 0..=layout.capacity as u32 {
                let factors = Factors {
                    add: n as f32,
                    scale: -(n as f32),
                };
                let code = code(n);
                let kept = Kept {
                    factors,
                    code: &code,
                };
                let has_room = (n as usize) < layout.capacity;
                assert_eq!(page.push(row(n), &keys(n, columns), kept), has_room);
            }
            page.remove(&(0..layout.capacity).step_by(2).collect::<Vec<_>>());
            let words = page_of(PageKind::Map, contents);
            let read = MapPage::of(PageView::new(bytemuck::cast_slice(&words)), layout).unwrap();
            assert_eq!((read.count, read.place), (layout.capacity / 2, place));
            let mut there: Vec<u32> = read.rows().iter().map(|row| row.generation).collect();
            for (slot, &n) in there.iter().enumerate() {
                assert_eq!(read.rows()[slot], row(n));
                assert_eq!(
                    (read.adds()[slot], read.scales()[slot]),
                    (n as f32, -(n as f32))
                );
                assert_eq!(
                    read.codes()[slot * layout.code_len()..][..layout.code_len()],
                    code(n)
                );
                let expected = keys(n, columns);
                let found = (0..columns).map(|column| read.keys(column)[slot]);
                assert!(found.eq(expected));
            }
            there.sort_unstable();
            let left: Vec<u32> = (0..layout.capacity as u32).skip(1).step_by(2).collect();
            assert_eq!(there, left);
            let (low, high) = (keys(1, columns), keys(*left.last().unwrap(), columns));
            assert_eq!(read.zone(), [low, high].concat());
        }
    }

    #[test]
    fn the_directory_names_the_pages_that_can_match() {
        let layout = MapLayout::of(64, Quantizer::Rabitq4, 1).unwrap();
        let mut words = vec![0u64; layout.directory_size.div_ceil(8)];
        let contents: &mut [u8] =
            &mut bytemuck::cast_slice_mut(&mut words)[..layout.directory_size];
        let mut directory = DirectoryMut::of(contents, layout);
        for n in 0..layout.directory_capacity as i64 {
            directory.push(100 + n as u32, &[of_i64(10 * n), of_i64(10 * n + 9)]);
        }
        directory.set_zone(5, &[u64::MAX, 0]);
        directory.set_zone(6, &[of_i64(0), NULL]);
        let words = page_of(PageKind::Directory, contents);
        let page = PageView::new(bytemuck::cast_slice(&words));
        let read = Directory::of(page, layout).unwrap();
        let candidates = |test| {
            let mut blocks = Vec::new();
            let condition = Condition {
                column: 0,
                test,
                is_certain: true,
            };
            read.candidates(&Conditions::new(vec![condition]), &mut blocks);
            blocks
        };
        assert_eq!(
            candidates(Test::AnyOf(vec![of_i64(31), of_i64(72)])),
            [103, 106, 107]
        );
        assert_eq!(candidates(Test::Null), [106]);
        assert_eq!(
            candidates(Test::NotNull).len(),
            layout.directory_capacity - 1
        );
    }

    #[test]
    fn damaged_pages_are_refused() {
        let layout = MapLayout::of(64, Quantizer::Rabitq4, 1).unwrap();
        let of = |kind, contents: &[u8]| {
            let words = page_of(kind, contents);
            let page = PageView::new(bytemuck::cast_slice(&words));
            (
                MapPage::of(page, layout).is_ok(),
                Directory::of(page, layout).is_ok(),
            )
        };
        let mut full = vec![0; ROOM];
        assert_eq!(of(PageKind::Map, &full), (true, false));
        assert_eq!(of(PageKind::Directory, &full), (false, true));
        assert_eq!(of(PageKind::Map, &[]), (false, false));
        assert_eq!(of(PageKind::Directory, &full[..100]), (false, false));
        full[..4].fill(255);
        assert_eq!(of(PageKind::Map, &full), (false, false));
        assert_eq!(of(PageKind::Directory, &full), (false, false));
    }
}
