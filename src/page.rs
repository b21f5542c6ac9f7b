//! A PostgreSQL page as bytes: header, line pointers and items, with every offset checked.
//!
//! Layout as in the PostgreSQL manual, "Database Page Layout", but that pd_prune_xid (4 bytes, at 20), which index
//! pages have no use for, is a CRC-32 of the page and its block number. Every change writes it; checks and the next
//! change compare it. Unlike the server's own checksums every index has it, and it tells a page that was written
//! for another block. Reading never trusts the page: what
//! does not fit is a [`Damage`], never a panic or an access out of bounds.

use std::ops::Range;

use thiserror::Error;

/// What is wrong with a page or an item on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Damage(pub &'static str);

/// Bytes of the page header; line pointers follow.
pub const HEADER: usize = 24;
/// Where in the header a page of ours has its checksum: in pd_prune_xid, which only pages of tables use otherwise.
const CHECKSUM: Range<usize> = 20..24;
/// What of the header comes before the flags: position in the log and the server's own checksum, which the
/// server writes.
const SERVERS: usize = 10;
/// Bytes of a line pointer.
const LINE_POINTER: usize = 4;
/// Flag value of a line pointer in use.
const NORMAL: u32 = 1;

/// A page for reading.
#[derive(Clone, Copy)]
pub struct PageView<'a>(&'a [u8]);

impl<'a> PageView<'a> {
    /// A view of a whole page; at least a header long.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        assert!(bytes.len() >= HEADER);
        PageView(bytes)
    }

    /// The whole page.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// A field of two bytes of the page header.
    #[inline]
    pub fn u16_at(self, at: usize) -> usize {
        u16::from_ne_bytes([self.0[at], self.0[at + 1]]) as usize
    }

    /// Whether the page was never initialised (a crash right after extension leaves such pages).
    #[inline]
    pub fn is_new(self) -> bool {
        self.u16_at(14) == 0
    }

    /// Where the line pointers end and where the items begin, as the header has it.
    #[inline]
    pub fn bounds(self) -> (usize, usize) {
        (self.u16_at(12), self.u16_at(14))
    }

    /// The special area at the end of the page.
    #[inline]
    pub fn special(self) -> Result<&'a [u8], Damage> {
        let at = self.u16_at(16);
        self.0
            .get(at.max(HEADER)..)
            .ok_or(Damage("special area out of bounds"))
    }

    /// The format version that a page names: in every version of every format of ours the special area
    /// begins with the format's magic number (4 bytes) and the version (2). `None` where it is another's.
    pub fn format_version(self, magic: u32) -> Option<u16> {
        let special = self.special().ok()?;
        let (named, version) = (special.get(..4)?, special.get(4..6)?);
        (named == magic.to_ne_bytes()).then(|| u16::from_ne_bytes([version[0], version[1]]))
    }

    /// The CRC-32 of all that is written on the page, and of its block number: header from the flags on, what lies
    /// before pd_lower and after pd_upper. Not of the free space between, which is zero.
    pub fn checksum(self, block: u32) -> u32 {
        let bytes = self.0;
        let (lower, upper) = self.bounds();
        let lower = lower.clamp(HEADER, bytes.len());
        let upper = upper.clamp(lower, bytes.len());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&block.to_ne_bytes());
        crc.update(&bytes[SERVERS..CHECKSUM.start]);
        crc.update(&bytes[HEADER..lower]);
        crc.update(&bytes[upper..]);
        crc.finalize()
    }

    /// Whether the page is as it was written, and where it was written.
    pub fn is_as_written(self, block: u32) -> bool {
        self.0[CHECKSUM] == self.checksum(block).to_ne_bytes()
    }

    /// What lies between the header and pd_lower, for pages without line pointers.
    #[inline]
    pub fn contents(self) -> Result<&'a [u8], Damage> {
        self.0
            .get(HEADER..self.u16_at(12))
            .ok_or(Damage("free space pointer out of bounds"))
    }

    /// Number of line pointers.
    #[inline]
    pub fn item_count(self) -> u16 {
        (self.u16_at(12).saturating_sub(HEADER) / LINE_POINTER) as u16
    }

    /// Line pointer `offset` (from 1) as it stands; `None` beyond the last.
    pub fn line_pointer(self, offset: u16) -> Option<u32> {
        if offset == 0 || offset > self.item_count() {
            return None;
        }
        let at = HEADER + (offset as usize - 1) * LINE_POINTER;
        let raw = self.0.get(at..at + LINE_POINTER)?;
        Some(u32::from_ne_bytes([raw[0], raw[1], raw[2], raw[3]]))
    }

    /// Where item `offset` (from 1) lies; `None` for a line pointer that is unused.
    #[inline]
    pub fn item_range(self, offset: u16) -> Result<Option<Range<usize>>, Damage> {
        if offset == 0 || offset > self.item_count() {
            return Ok(None);
        }
        let raw = self
            .line_pointer(offset)
            .ok_or(Damage("line pointer out of bounds"))?;
        let (start, flags, len) = (raw & 0x7fff, raw >> 15 & 3, raw >> 17);
        if flags != NORMAL {
            return Ok(None);
        }
        let range = start as usize..(start + len) as usize;
        if range.start % 8 != 0
            || range.start < HEADER
            || range.end > self.u16_at(16)
            || range.end > self.0.len()
        {
            return Err(Damage("item out of bounds"));
        }
        Ok(Some(range))
    }

    /// Item `offset` (from 1); `None` for a line pointer that is unused or beyond the last.
    #[inline]
    pub fn item(self, offset: u16) -> Result<Option<&'a [u8]>, Damage> {
        Ok(self.item_range(offset)?.map(|range| &self.0[range]))
    }
}

/// Writes the checksum of a page, which is whole in `bytes`.
pub fn seal(bytes: &mut [u8], block: u32) {
    let checksum = PageView::new(bytes).checksum(block);
    bytes[CHECKSUM].copy_from_slice(&checksum.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_sealed_page_tells_every_flipped_bit_and_another_place(
            mut bytes in proptest::collection::vec(any::<u8>(), 8192),
            bounds in (HEADER..4000, 4000_usize..8192),
            block in any::<u32>(),
            at in SERVERS..8192,
            bit in 0..8_u32,
        ) {
            let (lower, upper) = bounds;
            bytes[12..14].copy_from_slice(&(lower as u16).to_ne_bytes());
            bytes[14..16].copy_from_slice(&(upper as u16).to_ne_bytes());
            seal(&mut bytes, block);
            prop_assert!(PageView::new(&bytes).is_as_written(block));
            prop_assert!(!PageView::new(&bytes).is_as_written(block ^ 1 << bit));
            bytes[at] ^= 1 << bit;
            let is_free_space = (lower..upper).contains(&at);
            prop_assert_eq!(PageView::new(&bytes).is_as_written(block), is_free_space);
        }

        #[test]
        fn no_page_however_damaged_is_read_out_of_bounds(
            header in proptest::collection::vec(any::<u8>(), 200),
            offset in any::<u16>(),
        ) {
            let mut bytes = header;
            bytes.resize(8192, 0x5a);
            let page = PageView::new(&bytes);
            let _ = (page.special(), page.contents(), page.item(offset), page.is_new());
            let _ = page.checksum(0);
            for n in 0..=page.item_count().min(100) {
                let _ = page.item(n);
            }
        }
    }
}
