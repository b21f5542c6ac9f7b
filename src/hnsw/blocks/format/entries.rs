//! The entry table on its pages.

use super::Kept;
use crate::hnsw::format::{NodeId, Opaque, PageKind, RawTid};
use crate::page::{Damage, PageView};
use crate::quantize::Quantizer;
use bytemuck::{Pod, Zeroable};

/// Start of an `Entries` page's contents; the entries follow, each part padded to 8: addresses,
/// adds, scales, codes (rabitq1 of all dimensions), each with room for as many as fit.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | entries in use |
/// | 4 | 4 | zero |
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct EntriesHeader {
    /// entries in use
    pub count: u32,
    /// zero
    pub reserved: u32,
}

/// Where the parts of an `Entries` page lie.
#[derive(Debug, Clone, Copy)]
pub struct EntryLayout {
    /// entries a page has room for
    pub capacity: usize,
    adds_at: usize,
    scales_at: usize,
    codes_at: usize,
    code_len: usize,
    /// bytes of the contents
    pub size: usize,
}

/// Quantizer of the entry table.
pub const ENTRY_QUANTIZER: Quantizer = Quantizer::Rabitq1;

impl EntryLayout {
    /// The layout for values of `dims` dimensions.
    pub fn of(dims: u32) -> EntryLayout {
        let code_len = ENTRY_QUANTIZER.code_len(dims as usize);
        let room =
            8192 - crate::page::HEADER - size_of::<Opaque>() - size_of::<EntriesHeader>() - 24;
        let capacity = room / (size_of::<RawTid>() + 8 + code_len);
        let tids_end = size_of::<EntriesHeader>() + capacity * size_of::<RawTid>();
        let adds_at = tids_end.next_multiple_of(8);
        let scales_at = adds_at + (4 * capacity).next_multiple_of(8);
        let codes_at = scales_at + (4 * capacity).next_multiple_of(8);
        EntryLayout {
            capacity,
            adds_at,
            scales_at,
            codes_at,
            code_len,
            size: codes_at + capacity * code_len,
        }
    }

    /// Bytes of an entry's code.
    pub fn code_len(&self) -> usize {
        self.code_len
    }
}

/// Contents of a page without entries.
static NO_ENTRIES: Aligned = Aligned([0; 8192]);

#[repr(C, align(8))]
struct Aligned([u8; 8192]);

/// A checked page of the entry table.
#[derive(Clone, Copy)]
pub struct Entries<'a> {
    contents: &'a [u8],
    layout: EntryLayout,
    /// entries in use
    pub count: usize,
    /// next page of the table, or 0
    pub next: u32,
}

impl<'a> Entries<'a> {
    /// Reads and checks a page.
    pub fn of(page: PageView<'a>, layout: EntryLayout) -> Result<Entries<'a>, Damage> {
        let (kind, opaque) = Opaque::of(page)?;
        if kind != PageKind::Entries {
            return Err(Damage("not a page of the entry table"));
        }
        let contents = match page.contents()? {
            // a crash came between making the page and filling it: it is in no table yet
            [] => &NO_ENTRIES.0[..layout.size],
            contents => contents
                .get(..layout.size)
                .ok_or(Damage("page of the entry table too short"))?,
        };
        let header: &EntriesHeader = bytemuck::from_bytes(&contents[..size_of::<EntriesHeader>()]);
        if header.count as usize > layout.capacity {
            return Err(Damage("too many entries on a page"));
        }
        Ok(Entries {
            contents,
            layout,
            count: header.count as usize,
            next: opaque.next,
        })
    }

    /// Addresses of the entries.
    pub fn nodes(&self) -> &'a [RawTid] {
        bytemuck::cast_slice(&self.contents[size_of::<EntriesHeader>()..][..6 * self.count])
    }

    /// Their `add` factors.
    pub fn adds(&self) -> &'a [f32] {
        bytemuck::cast_slice(&self.contents[self.layout.adds_at..][..4 * self.count])
    }

    /// Their `scale` factors.
    pub fn scales(&self) -> &'a [f32] {
        bytemuck::cast_slice(&self.contents[self.layout.scales_at..][..4 * self.count])
    }

    /// Their codes.
    pub fn codes(&self) -> &'a [u8] {
        &self.contents[self.layout.codes_at..][..self.layout.code_len * self.count]
    }

    /// Whether nothing is left of entries that were removed, as it must be.
    pub fn unused_is_zero(&self) -> bool {
        let layout = &self.layout;
        let parts = [
            (size_of::<EntriesHeader>(), 6, layout.adds_at),
            (layout.adds_at, 4, layout.scales_at),
            (layout.scales_at, 4, layout.codes_at),
            (layout.codes_at, layout.code_len, layout.size),
        ];
        parts.iter().all(|&(at, len, end)| {
            let unused = &self.contents[at + self.count * len..end];
            unused.iter().all(|&byte| byte == 0)
        })
    }
}

/// Contents of a page of the entry table, for writing.
pub struct EntriesMut<'a> {
    contents: &'a mut [u8],
    layout: EntryLayout,
}

impl<'a> EntriesMut<'a> {
    /// Contents of `layout.size` bytes.
    pub fn of(contents: &'a mut [u8], layout: EntryLayout) -> EntriesMut<'a> {
        EntriesMut { contents, layout }
    }

    fn header(&mut self) -> &mut EntriesHeader {
        bytemuck::from_bytes_mut(&mut self.contents[..size_of::<EntriesHeader>()])
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.contents[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Adds an entry; false where the page is full.
    pub fn push(&mut self, node: NodeId, kept: Kept<'_>) -> bool {
        let slot = self.header().count as usize;
        if slot >= self.layout.capacity {
            return false;
        }
        let layout = self.layout;
        self.write(
            size_of::<EntriesHeader>() + 6 * slot,
            bytemuck::bytes_of(&RawTid::from(node)),
        );
        self.write(layout.adds_at + 4 * slot, &kept.factors.add.to_ne_bytes());
        self.write(
            layout.scales_at + 4 * slot,
            &kept.factors.scale.to_ne_bytes(),
        );
        self.write(layout.codes_at + layout.code_len * slot, kept.code);
        self.header().count += 1;
        true
    }

    /// Removes an entry; the last one of the page takes its place.
    pub fn remove(&mut self, slot: usize) {
        let layout = self.layout;
        let last = self.header().count as usize - 1;
        let parts = [
            (size_of::<EntriesHeader>(), 6),
            (layout.adds_at, 4),
            (layout.scales_at, 4),
            (layout.codes_at, layout.code_len),
        ];
        for (at, len) in parts {
            let from = at + last * len;
            self.contents.copy_within(from..from + len, at + slot * len);
            self.contents[from..from + len].fill(0);
        }
        self.header().count -= 1;
    }
}
