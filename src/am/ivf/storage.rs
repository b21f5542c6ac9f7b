//! Pages of lists: reading them, adding rows to them, getting pages and giving them back.
//!
//! Lock order: list page, then vector page, then a page that is new, then directory page, then metapage. A
//! change takes its pages in the same order. A page whose kind is not sure yet (from the free space map)
//! is only tried for while another is held.

use super::directory::{Directory, EntryPlace};
use super::index::{Ivf, change_meta};
use crate::am::damaged::raise_damaged;
use crate::hnsw::format::RawTid;
use crate::ivf::format::{
    Entries, EntriesMut, Entry, ListId, ListPage, ListPageMut, ListRow, Opaque, PageKind,
    VectorAddress, VectorPage, VectorPageMut,
};
use crate::page::{Damage, PageView};
use crate::pg::buffer::{Access, Exclusive, Shared, free_space_map};
use crate::pg::change::{Change, Logging};
use crate::pg::relation::Turnstile;
use crate::quantize::CompactRef;
use pgrx::pg_sys;

/// What a page that is thought to be a list's turned out to be.
pub enum Visit<'a> {
    /// a page of the list
    Page(ListPage<'a>),
    /// a page of another list, or of none: the list was split, merged or emptied meanwhile
    Gone,
}

/// Pages that are followed before it is asked how many there are.
const FEW_PAGES: u32 = 64;

/// Steps along the pages of a list. One in a circle, which only damage makes, is longer than the index.
pub struct Steps {
    taken: u32,
    most: u32,
}

impl Steps {
    /// At the first page.
    pub fn new() -> Steps {
        Steps {
            taken: 0,
            most: FEW_PAGES,
        }
    }

    /// On to a page; called without locks on pages. Raises XX002 where the pages have no end, and answers
    /// interrupts.
    pub fn step(&mut self, ivf: &Ivf, block: u32) {
        self.taken += 1;
        if self.taken.is_multiple_of(FEW_PAGES) {
            pgrx::check_for_interrupts!();
        }
        if self.taken > self.most {
            self.most = ivf.index.blocks();
            if self.taken > self.most {
                raise_damaged(ivf.index, block, Damage("list without an end"));
            }
        }
    }
}

/// A heavyweight lock on a list: inserts share it, whoever arranges lists anew has it alone. It says nothing
/// of the list's pages, which scans read without it.
pub struct ListLock(#[allow(dead_code, reason = "held until drop")] Turnstile);

impl ListLock {
    /// Keeps a list, if it is still there, from being arranged anew.
    pub fn share(ivf: &Ivf, list: ListId) -> ListLock {
        // block 0 is the metapage, and no list has number 0
        ListLock(Turnstile::lock(ivf.index, list.0, pg_sys::ShareLock))
    }

    /// Keeps everybody from adding rows to a list.
    pub fn alone(ivf: &Ivf, list: ListId) -> ListLock {
        ListLock(Turnstile::lock(ivf.index, list.0, pg_sys::ExclusiveLock))
    }
}

/// How large a list is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// rows in it; pages before the last count as full
    pub rows: usize,
    /// rows when it could not be divided, or 0
    pub undivided: usize,
}

impl Ivf {
    /// A page as one of `list`.
    #[inline]
    pub fn list_page<'a>(&'a self, block: u32, page: PageView<'a>, list: ListId) -> Visit<'a> {
        self.check(block, || match Opaque::of(page)? {
            (PageKind::List, opaque) if opaque.list == list.0 => {
                ListPage::of(page, &self.lists).map(Visit::Page)
            }
            (PageKind::Meta | PageKind::Centroid | PageKind::Codebook, _) => {
                Err(Damage("link to a page that never holds rows"))
            }
            _ => Ok(Visit::Gone),
        })
    }

    /// A page as one of compact codes; `None` where it is none any more: VACUUM frees a page when all its rows are dead,
    /// and a scan may have met one of them before.
    pub fn vector_page<'a>(&'a self, block: u32, page: PageView<'a>) -> Option<VectorPage<'a>> {
        self.check(block, || match Opaque::of(page)?.0 {
            PageKind::Vectors => VectorPage::of(page, self.vectors).map(Some),
            PageKind::Meta | PageKind::Centroid | PageKind::Codebook => {
                Err(Damage("link to a page that never holds rows"))
            }
            _ => Ok(None),
        })
    }

    /// Raises XX002 for a page that a list leads to and that is not of it, unless the list is gone: lists are
    /// taken out of the directory before their pages are anything else.
    pub fn check_gone(&self, list: ListId, block: u32) {
        if Directory::now(self).position(list).is_some() {
            raise_damaged(
                self.index,
                block,
                Damage("page of another list than its chain"),
            );
        }
    }

    /// Copies in a list; `None` where it is gone.
    pub fn count(&self, list: ListId, first: u32) -> Option<usize> {
        let mut rows = 0;
        let mut block = first;
        let mut steps = Steps::new();
        while block != 0 {
            steps.step(self, block);
            let locked = Shared::read(self.index, block, Access::Random);
            let Visit::Page(page) = self.list_page(block, locked.page(), list) else {
                drop(locked);
                self.check_gone(list, block);
                return None;
            };
            rows += page.count();
            block = page.next;
        }
        Some(rows)
    }

    /// Adds a row to a list, whose entry in the directory is at `place`: to its last page, or to a new
    /// one. `None` where the list is gone by now, else what it has become.
    ///
    /// The caller holds what keeps the list from being arranged anew meanwhile (see `src/ivf/growth.md`).
    pub fn append(
        &self,
        logging: Logging,
        list: ListId,
        place: EntryPlace,
        row: &ListRow<'_>,
    ) -> Option<Size> {
        let entry = self.entry(list, place)?;
        let mut last = entry.last;
        let size = |pages: u32, on_last: usize| Size {
            rows: (pages as usize).saturating_sub(1) * self.lists.capacity() + on_last,
            undivided: entry.undivided as usize,
        };
        let mut pages = entry.pages;
        let mut steps = Steps::new();
        loop {
            steps.step(self, last);
            let mut page = Exclusive::lock(self.index, last, Access::Random);
            let (count, next) = match self.list_page(last, page.page(), list) {
                // nobody arranges the list, and the directory has it
                Visit::Gone => raise_damaged(
                    self.index,
                    last,
                    Damage("page of another list than its chain"),
                ),
                Visit::Page(found) => (found.count(), found.next),
            };
            if next != 0 {
                // somebody added a page since the directory was read
                last = next;
                pages = pages.saturating_add(1);
                continue;
            }
            if count < self.lists.capacity() {
                let mut change = Change::begin(self.index, logging);
                let mut target = change.page(&mut page);
                self.rows_of(&mut target).push(row);
                change.commit();
                return Some(size(pages, count + 1));
            }
            self.append_to_new_page(logging, list, place, &mut page, row);
            return Some(size(pages.saturating_add(1), 1));
        }
    }

    /// The rows of a page of a list, for writing.
    fn rows_of<'a>(&'a self, page: &'a mut crate::pg::change::PageMut<'_>) -> ListPageMut<'a> {
        let bytes = page.contents_bytes_mut(self.lists.contents_len());
        ListPageMut::new(bytes, &self.lists)
    }

    /// The entry of a list; `None` where it is another list's by now.
    pub fn entry(&self, list: ListId, place: EntryPlace) -> Option<Entry> {
        let page = Shared::read(self.index, place.block, Access::Random);
        self.check(place.block, || {
            let entries = Entries::of(page.page(), self.entries)?;
            if place.slot >= entries.count() {
                return Err(Damage("directory page lost an entry"));
            }
            Ok(entries
                .get(place.slot)
                .filter(|(entry, _)| entry.list == list.0)
                .map(|(entry, _)| *entry))
        })
    }

    /// Adds a page with one row after the last page of a list, in one change with its entry.
    fn append_to_new_page(
        &self,
        logging: Logging,
        list: ListId,
        place: EntryPlace,
        last: &mut Exclusive,
        row: &ListRow<'_>,
    ) {
        let mut new = self.take_page();
        let block = new.block();
        let mut directory = Exclusive::lock(self.index, place.block, Access::Random);
        let is_ours = self.check(place.block, || {
            let entries = Entries::of(directory.page(), self.entries)?;
            let entry = (place.slot < entries.count())
                .then(|| entries.get(place.slot))
                .flatten();
            Ok(entry.is_some_and(|(entry, _)| entry.list == list.0))
        });
        let mut change = Change::begin(self.index, logging);
        change.page(last).special_mut::<Opaque>().next = block;
        let mut target = change.new_page(&mut new, &Opaque::of_list(list));
        self.rows_of(&mut target).push(row);
        if is_ours {
            let mut target = change.page(&mut directory);
            let bytes = target.contents_bytes_mut(self.entries.contents_len());
            let mut entries = EntriesMut::new(bytes, self.entries);
            let entry = entries.entry(place.slot);
            entry.last = block;
            entry.pages = entry.pages.saturating_add(1);
        }
        change.commit();
    }

    /// Keeps a row's compact code: on the page `hint`, or another with a free slot, or a new one.
    pub fn put_vector(&self, hint: u32, tid: RawTid, compact: CompactRef<'_>) -> VectorAddress {
        let wanted = self.vectors.slot_len();
        let mut block = match hint {
            0 => free_space_map::find(self.index, wanted),
            hint => Some(hint),
        };
        while let Some(at) = block {
            if at < self.index.blocks()
                && let Some(address) = self.put_vector_on(at, tid, compact)
            {
                if at != hint {
                    self.set_vector_page(at);
                }
                return address;
            }
            pgrx::check_for_interrupts!();
            block = free_space_map::correct_and_find(self.index, at, 0, wanted);
        }
        let mut page = self.take_page();
        let block = page.block();
        let address = self.put_vector_on_new(&mut page, tid, compact);
        drop(page);
        self.set_vector_page(block);
        address
    }

    fn set_vector_page(&self, block: u32) {
        change_meta(self.index, Logging::EachChange, |meta| {
            meta.vector_page = block;
        });
    }

    fn put_vector_on(
        &self,
        block: u32,
        tid: RawTid,
        compact: CompactRef<'_>,
    ) -> Option<VectorAddress> {
        let mut page = Exclusive::lock(self.index, block, Access::Random);
        if page.page().is_new() {
            return None;
        }
        let slot = self.check(block, || match Opaque::of(page.page())?.0 {
            PageKind::Vectors => Ok(VectorPage::of(page.page(), self.vectors)?
                .free_slots()
                .next()
                .map(Some)),
            PageKind::Free => Ok(Some(None)),
            _ => Ok(None),
        })?;
        let Some(slot) = slot else {
            return Some(self.put_vector_on_new(&mut page, tid, compact));
        };
        let mut change = Change::begin(self.index, Logging::EachChange);
        let mut target = change.page(&mut page);
        let bytes = target.contents_bytes_mut(self.vectors.contents_len());
        VectorPageMut::new(bytes, self.vectors).set(slot, tid, compact);
        change.commit();
        Some(VectorAddress::new(block, slot))
    }

    fn put_vector_on_new(
        &self,
        page: &mut Exclusive,
        tid: RawTid,
        compact: CompactRef<'_>,
    ) -> VectorAddress {
        let block = page.block();
        let mut change = Change::begin(self.index, Logging::EachChange);
        let mut target = change.new_page(page, &Opaque::new(PageKind::Vectors));
        let bytes = target.contents_bytes_mut(self.vectors.contents_len());
        VectorPageMut::new(bytes, self.vectors).set(0, tid, compact);
        change.commit();
        VectorAddress::new(block, 0)
    }

    /// A locked page that nobody uses: a free one, or a new one at the end of the index. It is for the
    /// caller to initialise.
    pub fn take_page(&self) -> Exclusive {
        let mut found = free_space_map::find(self.index, free_space_map::EMPTY_PAGE);
        while let Some(block) = found {
            if block < self.index.blocks()
                && let Some(page) = Exclusive::try_lock(self.index, block)
            {
                let is_free = page.page().is_new()
                    || self.check(block, || Opaque::of(page.page())).0 == PageKind::Free;
                if is_free {
                    free_space_map::record(self.index, block, 0);
                    return page;
                }
            }
            found =
                free_space_map::correct_and_find(self.index, block, 0, free_space_map::EMPTY_PAGE);
        }
        Exclusive::extend(self.index, pg_sys::ForkNumber::MAIN_FORKNUM)
    }

    /// Erases a page and makes it free for any use. Nothing may lead to it any more but what readers
    /// remember: they find that it is not what they look for.
    pub fn free_page(&self, logging: Logging, page: &mut Exclusive) {
        let block = page.block();
        let mut change = Change::begin(self.index, logging);
        change.new_page(page, &Opaque::new(PageKind::Free));
        change.commit();
        free_space_map::record(self.index, block, free_space_map::EMPTY_PAGE);
    }
}
