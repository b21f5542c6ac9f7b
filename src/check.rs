//! What a check of an index finds, and what holds of every page whatever the access method.

use crate::page::{Damage, HEADER, PageView};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// what a crash may leave, or a search pays for; nothing is lost, and the message says what
    /// mends it
    Warning,
    /// damage
    Error,
}

impl Severity {
    /// As SQL shows it.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// how bad it is
    pub severity: Severity,
    /// block of the index
    pub block: u32,
    /// item on the page, where it is about one
    pub offset: Option<u16>,
    /// what it is
    pub message: String,
}

/// Where findings go as they are made.
pub struct Findings<'a> {
    take: &'a mut dyn FnMut(Finding),
    /// findings of severity error so far
    pub errors: u64,
}

impl<'a> Findings<'a> {
    /// Hands every finding to `take`.
    pub fn new(take: &'a mut dyn FnMut(Finding)) -> Self {
        Findings { take, errors: 0 }
    }

    /// A finding as it is.
    pub fn take(&mut self, finding: Finding) {
        self.errors += (finding.severity == Severity::Error) as u64;
        (self.take)(finding);
    }

    /// Damage.
    pub fn error(&mut self, block: u32, offset: impl Into<Option<u16>>, message: impl ToString) {
        self.errors += 1;
        (self.take)(Finding {
            severity: Severity::Error,
            block,
            offset: offset.into(),
            message: message.to_string(),
        });
    }

    /// Something that nothing is lost by.
    pub fn warning(&mut self, block: u32, offset: impl Into<Option<u16>>, message: impl ToString) {
        (self.take)(Finding {
            severity: Severity::Warning,
            block,
            offset: offset.into(),
            message: message.to_string(),
        });
    }
}

/// What lies between a page's header and its special area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// line pointers and items
    Items,
    /// one structure that ends at pd_lower
    Whole,
}

/// Flag bits a page header may have (PD_VALID_FLAG_BITS).
const FLAGS: u16 = 7;
/// Page size and version of the page layout, as PostgreSQL writes them.
const SIZE_AND_VERSION: u16 = 8192 | 4;

/// Checks what every page has: that it was written, its header, and its special area of `special` bytes,
/// which `read` reads. What that read, where the rest of the page can be looked at.
pub fn page<'a, T>(
    page: PageView<'a>,
    block: u32,
    special: usize,
    read: impl FnOnce(PageView<'a>) -> Result<T, Damage>,
    found: &mut Findings<'_>,
) -> Option<T> {
    if page.is_new() {
        found.warning(
            block,
            None,
            "page that was never written: the server crashed when the index grew, or the page was lost",
        );
        return None;
    }
    if !header(page, block, special, found) {
        return None;
    }
    let read = read(page);
    read.map_err(|damage| found.error(block, None, damage)).ok()
}

/// Checks the header of a page with a special area of `special` bytes. False where nothing else of
/// the page can be trusted.
fn header(page: PageView<'_>, block: u32, special: usize, found: &mut Findings<'_>) -> bool {
    let bytes = page.bytes();
    let (lower, upper) = page.bounds();
    let mut whole = true;
    let mut error = |message: &str| {
        found.error(block, None, message);
        whole = false;
    };
    if page.u16_at(18) != SIZE_AND_VERSION as usize {
        error("page header: another page size or layout version");
    }
    if page.u16_at(16) != bytes.len() - special {
        error("page header: special area of another size");
    } else if lower < HEADER || lower > upper || upper > bytes.len() - special {
        error("page header: free space out of bounds");
    } else if bytes[lower..upper].iter().any(|&byte| byte != 0) {
        found.error(block, None, "bytes in the page's free space");
    }
    if page.u16_at(10) & !(FLAGS as usize) != 0 {
        found.error(block, None, "page header: unknown flags");
    }
    if !page.is_as_written(block) {
        found.error(
            block,
            None,
            "checksum: the page is not as it was written, or was written for another block",
        );
    }
    whole
}

/// Checks a page that holds one structure: all behind it is free.
pub fn whole(page: PageView<'_>, block: u32, found: &mut Findings<'_>) {
    if page.bounds().1 != page.u16_at(16) {
        found.error(block, None, "page header: items where none can be");
    }
}

/// Checks line pointers: in use or empty, items side by side from pd_upper to the special area.
pub fn items(page: PageView<'_>, block: u32, found: &mut Findings<'_>) {
    let (lower, upper) = page.bounds();
    if !(lower - HEADER).is_multiple_of(4) {
        found.error(block, None, "page header: half a line pointer");
    }
    let mut ranges = Vec::new();
    for offset in 1..=page.item_count() {
        match page.item_range(offset) {
            Ok(Some(range)) => ranges.push((range.start, range.end.next_multiple_of(8), offset)),
            Ok(None) if page.line_pointer(offset) == Some(0) => {}
            Ok(None) => found.error(
                block,
                offset,
                "line pointer that is neither in use nor empty",
            ),
            Err(damage) => found.error(block, offset, damage),
        }
    }
    ranges.sort_unstable();
    let mut at = upper;
    for (start, end, offset) in ranges {
        if start != at {
            found.error(block, offset, "items overlap, or leave a gap");
        }
        at = end;
    }
    if at != page.u16_at(16) {
        found.error(block, None, "items do not fill the page up to its end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u32 = 7;

    /// A page with two items of 16 and 20 bytes, and a special area of 16.
    fn page() -> Vec<u8> {
        let mut bytes = vec![0; 8192];
        let mut put = |at: usize, value: u16| {
            bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
        };
        put(12, 32);
        put(14, 8176 - 40);
        put(16, 8176);
        put(18, SIZE_AND_VERSION);
        for (n, (start, len)) in [(8176 - 16, 16u32), (8176 - 40, 20)]
            .into_iter()
            .enumerate()
        {
            let raw = start as u32 | 1 << 15 | len << 17;
            bytes[24 + 4 * n..28 + 4 * n].copy_from_slice(&raw.to_ne_bytes());
        }
        crate::page::seal(&mut bytes, BLOCK);
        bytes
    }

    fn findings(bytes: &[u8]) -> Vec<Finding> {
        let mut all = Vec::new();
        let mut take = |finding| all.push(finding);
        let mut found = Findings::new(&mut take);
        if header(PageView::new(bytes), BLOCK, 16, &mut found) {
            items(PageView::new(bytes), BLOCK, &mut found);
        }
        all
    }

    #[test]
    fn a_sound_page_has_no_findings() {
        assert_eq!(findings(&page()), []);
    }

    #[test]
    fn every_bit_is_told() {
        // position in the log and checksum are the server's to judge
        for bit in 8 * 10..8 * 8192 {
            let mut bytes = page();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(findings(&bytes), [], "bit {bit}");
        }
    }

    #[test]
    fn header_line_pointers_and_free_space_are_checked_where_the_checksum_agrees() {
        let sound = page();
        // the last byte of an item's length decides between a length and its padding
        for bit in (8 * 10..8 * 20).chain(8 * 24..8 * 1000) {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            crate::page::seal(&mut bytes, BLOCK);
            // more line pointers, all of them empty, are allowed
            let is_grown = matches!(bit / 8, 12 | 13)
                && bytes[12..14] != sound[12..14]
                && bytes[bit / 8] > sound[bit / 8];
            let is_flag = bit / 8 == 10 && bit % 8 < 3;
            let is_padded_len = (28..32).contains(&(bit / 8)) && (17..20).contains(&(bit - 8 * 28));
            if !is_grown && !is_flag && !is_padded_len {
                assert_ne!(findings(&bytes), [], "bit {bit}");
            }
        }
    }
}
