//! Compact codes of rows on pages of their own.

use crate::am::ivf::index::Ivf;
use crate::hnsw::format::RawTid;
use crate::ivf::format::{Opaque, PageKind, VectorAddress, VectorPageMut};
use crate::pg::buffer::{Access, Exclusive};
use crate::pg::change::{Change, Logging};
use crate::quantize::CompactRef;
use pgrx::pg_sys;

/// Writes compact codes to new pages in the order in which they come.
pub struct Vectors<'a> {
    ivf: &'a Ivf,
    /// the page that is being filled, or 0
    pub block: u32,
    slot: usize,
}

impl<'a> Vectors<'a> {
    pub fn new(ivf: &'a Ivf) -> Self {
        Vectors {
            ivf,
            block: 0,
            slot: 0,
        }
    }

    pub fn put(&mut self, tid: RawTid, compact: CompactRef<'_>) -> VectorAddress {
        let (index, layout) = (self.ivf.index, self.ivf.vectors);
        let is_new = self.block == 0 || self.slot == layout.capacity();
        let mut page = match is_new {
            true => Exclusive::extend(index, pg_sys::ForkNumber::MAIN_FORKNUM),
            false => Exclusive::lock(index, self.block, Access::Random),
        };
        let mut change = Change::begin(index, Logging::AtEndOfBuild);
        let block = page.block();
        let mut target = match is_new {
            true => change.new_page(&mut page, &Opaque::new(PageKind::Vectors)),
            false => change.page(&mut page),
        };
        if is_new {
            (self.block, self.slot) = (block, 0);
        }
        let bytes = target.contents_bytes_mut(layout.contents_len());
        VectorPageMut::new(bytes, layout).set(self.slot, tid, compact);
        change.commit();
        self.slot += 1;
        VectorAddress::new(self.block, self.slot - 1)
    }
}
