//! The difference of two versions of a page, as a generic WAL record has it.
//!
//! PostgreSQL's `generic_redo` takes fragments, one after the other, each of an offset on the page (2 bytes), a length (2
//! bytes) and as many bytes (generic_xlog.c; the same from 9.6 on), and then clears what is between pd_lower and pd_upper.
//! `GenericXLogFinish` finds them byte by byte, which was a tenth of an insert into `hnsw`; here whole lines are passed
//! over at once.

use crate::page::{HEADER, PageView};
use std::ops::Range;

/// Bytes of a page.
pub const PAGE: usize = 8192;
/// Bytes that are compared at once where nothing differs.
const LINE: usize = 64;
/// Bytes that are compared at once where something does.
const WORD: usize = 8;

/// Where a page's free space begins and ends, inside the page whatever its header says.
pub fn free_space(page: &[u8; PAGE]) -> Range<usize> {
    let (lower, upper) = PageView::new(page).bounds();
    let lower = lower.clamp(HEADER, PAGE);
    lower..upper.clamp(lower, PAGE)
}

/// Appends the fragments that make `new` of `old`. Bytes of the old page's free space count as different whatever they
/// are: the log's page has zeros there, ours may have what was left behind.
pub fn append(old: &[u8; PAGE], new: &[u8; PAGE], out: &mut Vec<u8>) {
    let (before, after) = (free_space(old), free_space(new));
    let mut runs = Runs {
        old,
        new,
        unknown: before,
        out,
    };
    runs.of(0..after.start);
    runs.of(after.end..PAGE);
}

struct Runs<'a> {
    old: &'a [u8; PAGE],
    new: &'a [u8; PAGE],
    /// free space of the old page
    unknown: Range<usize>,
    out: &'a mut Vec<u8>,
}

impl Runs<'_> {
    /// Appends what differs in a part of the page.
    fn of(&mut self, part: Range<usize>) {
        let mut at = part.start;
        while at < part.end {
            let line = at..(at + LINE).min(part.end);
            if self.is_same(line.clone()) {
                at = line.end;
                continue;
            }
            let word = at..(at + WORD).min(part.end);
            if self.is_same(word.clone()) {
                at = word.end;
                continue;
            }
            let mut end = word.end;
            while end < part.end && !self.is_same(end..(end + WORD).min(part.end)) {
                end = (end + WORD).min(part.end);
            }
            self.push(at..end);
            at = end;
        }
    }

    #[inline(always)]
    fn is_same(&self, part: Range<usize>) -> bool {
        let is_known = part.end <= self.unknown.start || self.unknown.end <= part.start;
        // of a line no branch for each byte
        is_known
            && match part.len() {
                LINE => {
                    let (old, new) = (&self.old[part.clone()], &self.new[part]);
                    old.iter().zip(new).fold(0, |any, (a, b)| any | (a ^ b)) == 0
                }
                _ => self.old[part.clone()] == self.new[part],
            }
    }

    fn push(&mut self, part: Range<usize>) {
        self.out
            .extend_from_slice(&(part.start as u16).to_ne_bytes());
        self.out
            .extend_from_slice(&(part.len() as u16).to_ne_bytes());
        self.out.extend_from_slice(&self.new[part]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of a fragment's offset and length.
    const FRAGMENT_HEADER: usize = 4;

    /// What replay does: fragments, then zeros between pd_lower and pd_upper.
    fn replay(page: &mut [u8; PAGE], mut delta: &[u8]) {
        while let Some((header, rest)) = delta.split_first_chunk::<FRAGMENT_HEADER>() {
            let at = u16::from_ne_bytes([header[0], header[1]]) as usize;
            let len = u16::from_ne_bytes([header[2], header[3]]) as usize;
            page[at..at + len].copy_from_slice(&rest[..len]);
            delta = &rest[len..];
        }
        let free = free_space(page);
        page[free].fill(0);
    }

    fn with_bounds(mut page: [u8; PAGE], lower: usize, upper: usize) -> [u8; PAGE] {
        page[12..14].copy_from_slice(&(lower as u16).to_ne_bytes());
        page[14..16].copy_from_slice(&(upper as u16).to_ne_bytes());
        page
    }

    fn cleared(mut page: [u8; PAGE]) -> [u8; PAGE] {
        let free = free_space(&page);
        page[free].fill(0);
        page
    }

    proptest! {
        #[test]
        fn replay_of_a_difference_makes_the_new_page(
            seed in any::<u64>(),
            old_bounds in (HEADER..4200, 3800_usize..=PAGE),
            new_bounds in (HEADER..4200, 3800_usize..=PAGE),
            changes in 0..40_usize,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut old = [0; PAGE];
            old.fill_with(|| random.u8(..2));
            let old = with_bounds(old, old_bounds.0, old_bounds.1.max(old_bounds.0));
            let mut new = with_bounds(old, new_bounds.0, new_bounds.1.max(new_bounds.0));
            for _ in 0..changes {
                let at = random.usize(24..PAGE);
                let end = (at + random.usize(1..200)).min(PAGE);
                new[at..end].fill_with(|| random.u8(..));
            }
            let mut delta = Vec::new();
            append(&old, &new, &mut delta);
            // a header for each fragment, of which the shortest have a word, as has what is between them
            prop_assert!(delta.len() <= PAGE + PAGE / (2 * WORD) * FRAGMENT_HEADER + FRAGMENT_HEADER);
            // the log's page before has nothing in its free space
            let mut replayed = cleared(old);
            replay(&mut replayed, &delta);
            prop_assert!(replayed == cleared(new));
        }

        #[test]
        fn any_bytes_make_a_difference(old in any::<[u8; 32]>(), new in any::<[u8; 32]>()) {
            let page = |start: [u8; 32]| {
                let mut page = [7; PAGE];
                page[..32].copy_from_slice(&start);
                page
            };
            append(&page(old), &page(new), &mut Vec::new());
        }
    }

    #[test]
    fn a_page_that_stays_makes_none() {
        let page = with_bounds([3; PAGE], 100, 8000);
        let mut delta = Vec::new();
        append(&page, &page, &mut delta);
        assert_eq!(delta, []);
    }

    #[test]
    fn a_changed_byte_costs_a_word() {
        let old = with_bounds([3; PAGE], 100, 800);
        let mut new = old;
        new[5000] = 4;
        let mut delta = Vec::new();
        append(&old, &new, &mut delta);
        assert_eq!(delta.len(), FRAGMENT_HEADER + WORD);
    }
}
