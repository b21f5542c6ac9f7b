//! The bytes of an index of lists, version 4. All numbers are in the machine's byte order, as everywhere
//! in a PostgreSQL data directory.
//!
//! Every page has the standard PostgreSQL header, with a checksum in it ([`crate::page`]), and a special
//! area of 24 bytes ([`Opaque`]). Block 0 is the metapage ([`Meta`]); every other page is of one [`PageKind`]:
//!
//! | kind | holds | chain |
//! |---|---|---|
//! | `Centroid` | a piece of the index's centroid: floats, written once by the build | yes |
//! | `Codebook` | a piece of what a quantizer learned (`pq`): bytes, written once by the build | yes |
//! | `Directory` | entries, one for each list ([`Entry`], [`Entries`]) | yes |
//! | `List` | rows of one list ([`ListPage`]) | one for each list |
//! | `Vectors` | compact codes of rows ([`VectorPage`]), `rerank = index` | no |
//! | `Free` | nothing; found through the free space map | no |
//!
//! None of them has line pointers: contents begin right after the page header, and pd_lower is where they
//! end.

use crate::page::{Damage, PageView};
use bytemuck::{Pod, Zeroable};

mod directory;
mod list;
mod meta;
#[cfg(test)]
mod tests;
mod vectors;

pub use directory::{Entries, EntriesMut, Entry, EntryLayout, ListId};
pub use list::{Bf16, Keys, ListLayout, ListPage, ListPageMut, ListRow, RowBytes};
pub use meta::{Code, CurvePoint, MOST_CURVE_POINTS, Meta, Method, Rerank, RowForm, Shape};
pub use vectors::{VectorAddress, VectorLayout, VectorPage, VectorPageMut};

/// "VXI1" in the special area and the metapage.
pub const MAGIC: u32 = 0x3149_5856;
/// Version of the format.
pub const VERSION: u16 = 4;
/// Bytes of a page between header and special area.
pub const CONTENTS: usize = 8192 - crate::page::HEADER - size_of::<Opaque>();
/// Floats of the centroid on one page.
pub const CENTROID_FLOATS: usize = CONTENTS / 4;

/// What a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum PageKind {
    /// block 0
    Meta = 1,
    /// a piece of the index's centroid
    Centroid = 2,
    /// a piece of a quantizer's codebook
    Codebook = 3,
    /// entries of lists
    Directory = 4,
    /// rows of a list
    List = 5,
    /// compact codes
    Vectors = 6,
    /// nothing
    Free = 7,
}

impl PageKind {
    fn of(number: u16) -> Option<PageKind> {
        use PageKind::*;
        [Meta, Centroid, Codebook, Directory, List, Vectors, Free]
            .into_iter()
            .find(|kind| *kind as u16 == number)
    }
}

/// The special area of every page.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | magic, "VXI1" |
/// | 4 | 2 | version |
/// | 6 | 2 | page kind |
/// | 8 | 4 | `List`: the list's id; elsewhere 0 |
/// | 12 | 4 | next page of the chain, or 0 |
/// | 16 | 8 | 0 |
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Opaque {
    /// [`MAGIC`]
    pub magic: u32,
    /// [`VERSION`]
    pub version: u16,
    /// a [`PageKind`]
    pub kind: u16,
    /// a [`ListId`], or 0
    pub list: u32,
    /// next page of a chain, or 0
    pub next: u32,
    /// zero
    pub reserved: u64,
}

const _: () = assert!(size_of::<Opaque>() == 24);

impl Opaque {
    /// The special area of a page of `kind`, the last of its chain.
    pub fn new(kind: PageKind) -> Self {
        Opaque {
            magic: MAGIC,
            version: VERSION,
            kind: kind as u16,
            list: 0,
            next: 0,
            reserved: 0,
        }
    }

    /// The special area of a list's last page.
    pub fn of_list(list: ListId) -> Self {
        Opaque {
            list: list.0,
            ..Opaque::new(PageKind::List)
        }
    }

    /// Reads and checks a page's special area.
    #[inline]
    pub fn of(page: PageView<'_>) -> Result<(PageKind, &Opaque), Damage> {
        let bytes = page.special()?;
        let opaque: &Opaque = bytemuck::try_from_bytes(bytes)
            .map_err(|_| Damage("special area of a foreign size"))?;
        if opaque.magic != MAGIC {
            return Err(Damage("not a page of an ivf index of vectorext"));
        }
        if opaque.version != VERSION {
            return Err(Damage("page of another format version"));
        }
        let kind = PageKind::of(opaque.kind).ok_or(Damage("unknown page kind"))?;
        Ok((kind, opaque))
    }

    /// Reads and checks the special area of a page that must be of `kind`.
    #[inline]
    pub fn expect(page: PageView<'_>, kind: PageKind) -> Result<&Opaque, Damage> {
        match Opaque::of(page)? {
            (found, opaque) if found == kind => Ok(opaque),
            _ => Err(Damage("page of another kind than expected")),
        }
    }
}

/// The first `len` bytes of a page's contents.
#[inline]
fn contents(page: PageView<'_>, len: usize) -> Result<&[u8], Damage> {
    page.contents()?
        .get(..len)
        .ok_or(Damage("contents cut short"))
}
