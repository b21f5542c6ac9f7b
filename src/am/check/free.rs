//! Pages in no use, held against the free space map: what that does not offer is lost until VACUUM.

use crate::check::Findings;
use crate::pg::buffer::free_space_map;
use crate::pg::relation::{Index, is_in_recovery};

/// Pages in no use.
#[derive(Default)]
pub struct FreePages(Vec<u32>);

impl FreePages {
    /// Remembers one.
    pub fn note(&mut self, block: u32) {
        self.0.push(block);
    }

    /// Tells those that the free space map does not offer, though they are still in no use. On a standby, which has no
    /// such map of its own until it takes over, none.
    pub fn check(
        &self,
        index: Index,
        mut is_in_no_use: impl FnMut(u32) -> bool,
        found: &mut Findings<'_>,
    ) {
        if is_in_recovery() {
            return;
        }
        for &block in &self.0 {
            pgrx::check_for_interrupts!();
            let is_offered =
                || free_space_map::recorded(index, block) >= free_space_map::EMPTY_PAGE;
            if !is_offered() && is_in_no_use(block) && !is_offered() {
                found.warning(
                    block,
                    None,
                    "page in no use that the free space map does not offer: VACUUM enters it",
                );
            }
        }
    }
}
