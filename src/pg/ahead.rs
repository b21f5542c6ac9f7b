//! Asking the processor for a page that will be read next, a few lines at a time while another is worked on. It has room
//! for some lines at once (a dozen or so), and who asks for more waits for the first of them.

use super::buffer::{Hints, PAGE_SIZE, addresses};
use super::relation::Index;

/// Bytes of a line of the processor's caches.
const LINE: usize = 64;
/// Parts that a page may have.
const MOST_PARTS: usize = 6;

/// A page whose parts are asked for one line after another. It is not pinned: what is asked for is thrown away where
/// the page is another by then.
#[derive(Clone, Copy)]
pub struct Ahead {
    page: *const u8,
    /// where parts begin and end, in lines
    parts: [(u16, u16); MOST_PARTS],
    at: usize,
}

impl Ahead {
    /// No page.
    pub const NONE: Ahead = Ahead {
        page: std::ptr::null(),
        parts: [(0, 0); MOST_PARTS],
        at: MOST_PARTS,
    };

    /// A block by the parts of it that will be read: where each begins on its page, and how long it is. Its header and
    /// end are asked for at once, and the operating system for a block that is not in the pool.
    pub fn of(
        hints: &Hints,
        index: Index,
        block: u32,
        parts: impl IntoIterator<Item = (usize, usize)>,
    ) -> Ahead {
        hints.prefetch(index, block, 0, 0);
        let Some(hint) = hints.hint(block).filter(|_| !hints.is_of_large()) else {
            return Ahead::NONE;
        };
        let mut ahead = Ahead {
            page: addresses(hint).1,
            at: 0,
            ..Ahead::NONE
        };
        for (part, (start, len)) in ahead.parts.iter_mut().zip(parts) {
            let end = (start + len).min(PAGE_SIZE);
            *part = ((start / LINE) as u16, end.div_ceil(LINE) as u16);
        }
        ahead
    }

    /// Asks for the next lines.
    #[inline]
    pub fn ask(&mut self, lines: usize) {
        let mut left = lines;
        while left > 0 && self.at < MOST_PARTS {
            let (start, end) = &mut self.parts[self.at];
            let some = left.min(end.saturating_sub(*start) as usize);
            for line in *start as usize..*start as usize + some {
                ask_for(self.page.wrapping_add(LINE * line));
            }
            *start += some as u16;
            left -= some;
            if *start >= *end {
                self.at += 1;
            }
        }
    }

    /// How many lines are left to ask for.
    pub fn left(&self) -> usize {
        let parts = self.parts[self.at..].iter();
        parts
            .map(|&(start, end)| end.saturating_sub(start) as usize)
            .sum()
    }

    /// Asks for all that is left.
    pub fn ask_all(&mut self) {
        self.ask(usize::MAX);
    }
}

/// Asks for a line into the first cache: it is read soon.
#[inline(always)]
fn ask_for(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
