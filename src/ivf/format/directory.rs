//! Directory pages: an entry for each list.
//!
//! | bytes of the contents | what |
//! |---|---|
//! | 0..4 | slots in use: entries there are, unused ones among them |
//! | 4..8 | 0 |
//! | 8.. | entries, all of a size: [`Entry`], then the centroid's bytes, padded to 8 |

use super::{CONTENTS, Opaque, PageKind, Shape, contents};
use crate::page::{Damage, PageView};
use crate::quantize::Centre;
use bytemuck::{Pod, Zeroable};

/// Names a list. Never given to another list of the same index; 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListId(pub u32);

/// What the directory says of a list, before its centroid.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | list id; 0 for an entry that is free |
/// | 4 | 4 | first page; a list has one at least |
/// | 8 | 4 | last page: where rows are added |
/// | 12 | 4 | copies it had when it was found that it cannot be divided, or 0 |
/// | 16 | 4 | pages |
/// | 20 | 4 | rows, when last counted |
/// | 24 | 8 | 0 |
/// | 32 | 16 | factors of the centroid ([`Centre`]); 0 where it is bits |
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Entry {
    /// a [`ListId`], or 0
    pub list: u32,
    /// first page
    pub first: u32,
    /// last page
    pub last: u32,
    /// copies when it was built, or could not be divided, or 0
    pub undivided: u32,
    /// pages
    pub pages: u32,
    /// rows, when last counted
    pub rows: u32,
    /// zero
    pub reserved: u64,
    /// of the centroid
    pub centre: Centre,
}

const _: () = assert!(size_of::<Entry>() == 48);
/// Bytes before the entries.
const HEAD: usize = 8;

/// Where entries lie on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryLayout {
    centroid_len: usize,
    size: usize,
}

impl EntryLayout {
    /// The layout of an index's directory.
    pub fn of(shape: &Shape) -> EntryLayout {
        let centroid_len = shape.centroid_len();
        EntryLayout {
            centroid_len,
            size: size_of::<Entry>() + centroid_len.next_multiple_of(8),
        }
    }

    /// Bytes of an entry with its centroid.
    pub fn entry_len(&self) -> usize {
        self.size
    }

    /// Entries on a page.
    pub fn capacity(&self) -> usize {
        (CONTENTS - HEAD) / self.size
    }

    /// Bytes of a page's contents.
    pub fn contents_len(&self) -> usize {
        HEAD + self.capacity() * self.size
    }
}

/// A directory page for reading.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    layout: EntryLayout,
    count: usize,
    /// next page of the directory, or 0
    pub next: u32,
}

impl<'a> Entries<'a> {
    /// Reads and checks a page.
    pub fn of(page: PageView<'a>, layout: EntryLayout) -> Result<Entries<'a>, Damage> {
        let next = Opaque::expect(page, PageKind::Directory)?.next;
        let bytes = contents(page, layout.contents_len())?;
        let count = bytemuck::pod_read_unaligned::<u32>(&bytes[..4]) as usize;
        if count > layout.capacity() {
            return Err(Damage("directory page with more entries than fit"));
        }
        Ok(Entries {
            bytes,
            layout,
            count,
            next,
        })
    }

    /// Slots in use.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The entry in a slot below [`count`](Entries::count), and its centroid's bytes; `None` where it
    /// is free.
    pub fn get(&self, slot: usize) -> Option<(&'a Entry, &'a [u8])> {
        assert!(slot < self.count, "slot of the directory");
        let bytes = &self.bytes[HEAD + slot * self.layout.size..][..self.layout.size];
        let (entry, centroid) = bytes.split_at(size_of::<Entry>());
        let entry: &Entry = bytemuck::from_bytes(entry);
        (entry.list != 0).then(|| (entry, &centroid[..self.layout.centroid_len]))
    }

    /// Whether all is zero where no entry is.
    pub fn unused_is_zero(&self) -> bool {
        let is_zero = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        let used = size_of::<Entry>() + self.layout.centroid_len;
        let (head, slots) = self.bytes.split_at(HEAD);
        is_zero(&head[4..])
            && slots.chunks(self.layout.size).enumerate().all(|(n, slot)| {
                match n < self.count && self.get(n).is_some() {
                    true => is_zero(&slot[used..]),
                    false => is_zero(slot),
                }
            })
    }

    /// All lists on the page with their slots.
    pub fn iter(self) -> impl Iterator<Item = (usize, &'a Entry, &'a [u8])> {
        (0..self.count).filter_map(move |slot| {
            self.get(slot)
                .map(|(entry, centroid)| (slot, entry, centroid))
        })
    }
}

/// A directory page for writing.
pub struct EntriesMut<'a> {
    bytes: &'a mut [u8],
    layout: EntryLayout,
}

impl<'a> EntriesMut<'a> {
    /// The contents of a page that was checked, or of a new one: [`EntryLayout::contents_len`] bytes.
    pub fn new(bytes: &'a mut [u8], layout: EntryLayout) -> EntriesMut<'a> {
        assert_eq!(bytes.len(), layout.contents_len());
        EntriesMut { bytes, layout }
    }

    fn count(&self) -> usize {
        bytemuck::pod_read_unaligned::<u32>(&self.bytes[..4]) as usize
    }

    fn at(&mut self, slot: usize) -> &mut [u8] {
        &mut self.bytes[HEAD + slot * self.layout.size..][..self.layout.size]
    }

    /// The entry in a slot.
    pub fn entry(&mut self, slot: usize) -> &mut Entry {
        bytemuck::from_bytes_mut(&mut self.at(slot)[..size_of::<Entry>()])
    }

    /// Writes an entry into a slot, a free one or the first that is not in use.
    pub fn set(&mut self, slot: usize, entry: &Entry, centroid: &[u8]) {
        let count = self.count();
        assert!(
            slot <= count && slot < self.layout.capacity(),
            "slot of the directory"
        );
        assert_eq!(centroid.len(), self.layout.centroid_len);
        let bytes = self.at(slot);
        bytes.fill(0);
        bytes[..size_of::<Entry>()].copy_from_slice(bytemuck::bytes_of(entry));
        bytes[size_of::<Entry>()..][..centroid.len()].copy_from_slice(centroid);
        if slot == count {
            let count = count as u32 + 1;
            self.bytes[..4].copy_from_slice(&count.to_ne_bytes());
        }
    }

    /// Frees a slot, and erases its centroid.
    pub fn free(&mut self, slot: usize) {
        assert!(slot < self.count(), "slot of the directory");
        self.at(slot).fill(0);
    }

    /// Adds an entry: to a free slot, or after the last. Its slot, or `None` where the page is full.
    pub fn add(&mut self, entry: &Entry, centroid: &[u8]) -> Option<usize> {
        let count = self.count();
        let free = (0..count).find(|&slot| self.entry(slot).list == 0);
        let slot = free.unwrap_or(count);
        if slot == self.layout.capacity() {
            return None;
        }
        self.set(slot, entry, centroid);
        Some(slot)
    }
}
