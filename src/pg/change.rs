//! Changes of pages, as WAL records that happen as a whole.

use super::buffer::{Exclusive, PAGE_SIZE};
use super::error::raise_index;
use super::relation::Index;
use crate::delta;
use crate::page::{Damage, HEADER, PageView, seal};
use bytemuck::Pod;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::marker::PhantomData;

/// How a change reaches the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    /// one generic WAL record for each change (none where the relation needs no WAL)
    EachChange,
    /// none now: the build logs all pages at its end
    AtEndOfBuild,
}

/// Most pages of a change: as many as a record has room for without asking.
const MOST_PAGES: usize = 4;

/// What a page is going to be.
#[repr(C, align(64))]
struct Image([u8; PAGE_SIZE]);

thread_local! {
    /// Images of changes that were made, for those to come.
    static SPARE: RefCell<Vec<Box<Image>>> = const { RefCell::new(Vec::new()) };
}

impl Image {
    /// A copy of a page.
    fn of(page: &[u8; PAGE_SIZE]) -> Box<Image> {
        match SPARE.with_borrow_mut(Vec::pop) {
            Some(mut image) => {
                image.0.copy_from_slice(page);
                image
            }
            None => Box::new(Image(*page)),
        }
    }
}

/// A page that a change has taken.
struct Taken {
    buffer: pg_sys::Buffer,
    block: u32,
    /// what it is going to be; `None` in a build, which writes to the buffer
    image: Option<Box<Image>>,
    /// the log gets all of it
    is_new: bool,
}

impl Taken {
    /// The bytes that are written to.
    fn bytes_mut(&mut self) -> &mut [u8; PAGE_SIZE] {
        match &mut self.image {
            Some(image) => &mut image.0,
            // SAFETY: the change has borrowed the guard of the buffer's lock; a page is BLCKSZ bytes.
            None => unsafe { &mut *page_of(self.buffer) },
        }
    }
}

fn page_of(buffer: pg_sys::Buffer) -> *mut [u8; PAGE_SIZE] {
    // SAFETY: callers have the buffer pinned.
    unsafe { pg_sys::BufferGetPage(buffer).cast() }
}

/// A change to at most four pages that happens as a whole, after a crash too. It writes their checksums.
///
/// The record is one of PostgreSQL's generic WAL, which is replayed without the extension. `GenericXLogFinish` writes
/// the same, but compares pages byte by byte ([`delta`]).
pub struct Change<'g> {
    index: Index,
    logging: Logging,
    pages: Vec<Taken>,
    guards: PhantomData<&'g mut Exclusive>,
}

impl<'g> Change<'g> {
    /// Starts a change. Dropped, it leaves pages as they were, but in a build.
    pub fn begin(index: Index, logging: Logging) -> Self {
        Change {
            index,
            logging,
            pages: Vec::with_capacity(MOST_PAGES),
            guards: PhantomData,
        }
    }

    /// Takes a locked page into the change. Raises XX002 where it is not as the last change left it: a new checksum
    /// would hide the damage.
    pub fn page(&mut self, guard: &'g mut Exclusive) -> PageMut<'g> {
        // a build writes to pages of its own, which nobody has damaged since
        if self.logging == Logging::EachChange && !guard.page().is_as_written(guard.block()) {
            raise_not_as_written(self.index, guard.block());
        }
        self.take(guard, false)
    }

    /// Takes a locked page into the change and initialises it.
    pub fn new_page<T: Pod>(&mut self, guard: &'g mut Exclusive, special: &T) -> PageMut<'g> {
        let mut page = self.take(guard, true);
        page.init(special);
        page
    }

    fn take(&mut self, guard: &'g mut Exclusive, is_new: bool) -> PageMut<'g> {
        assert!(self.pages.len() < MOST_PAGES, "a change of too many pages");
        let buffer = guard.buffer();
        // SAFETY: the buffer is pinned and locked by `guard`.
        let image = unsafe {
            match self.logging {
                Logging::EachChange => Some(Image::of(&*page_of(buffer))),
                Logging::AtEndOfBuild => {
                    pg_sys::MarkBufferDirty(buffer);
                    None
                }
            }
        };
        self.pages.push(Taken {
            buffer,
            block: guard.block(),
            image,
            is_new,
        });
        let taken = self.pages.last_mut().expect("one was pushed");
        PageMut {
            page: taken.bytes_mut().as_mut_ptr(),
            guard: PhantomData,
        }
    }

    /// Makes the change.
    pub fn commit(mut self) {
        for taken in &mut self.pages {
            let block = taken.block;
            let bytes = taken.bytes_mut();
            let free = delta::free_space(bytes);
            // what was erased must not stay in the file
            bytes[free].fill(0);
            seal(bytes, block);
        }
        if self.logging == Logging::EachChange {
            match self.index.needs_wal() {
                true => self.log(),
                false => self.put(|_| {}),
            }
        }
        SPARE.with_borrow_mut(|spare| {
            let images = self.pages.drain(..).filter_map(|taken| taken.image);
            spare.extend(images.take(MOST_PAGES - spare.len().min(MOST_PAGES)));
        });
    }

    /// Writes the images to their buffers, which are dirty then, each followed by what else is to be done with it. The
    /// caller sees to it that nothing can fail.
    fn put(&self, mut and: impl FnMut(usize)) {
        for (n, taken) in self.pages.iter().enumerate() {
            if let Some(image) = &taken.image {
                // SAFETY: the buffer is pinned and locked by a guard that the change has borrowed.
                unsafe {
                    *page_of(taken.buffer) = image.0;
                    pg_sys::MarkBufferDirty(taken.buffer);
                }
            }
            and(n);
        }
    }

    /// The same with a record of it.
    fn log(&self) {
        let mut deltas = Vec::new();
        let parts: Vec<(usize, usize)> = self
            .pages
            .iter()
            .map(|taken| {
                let start = deltas.len();
                if let (Some(image), false) = (&taken.image, taken.is_new) {
                    // SAFETY: the buffer is pinned and locked.
                    let before = unsafe { &*page_of(taken.buffer) };
                    delta::append(before, &image.0, &mut deltas);
                }
                (start, deltas.len() - start)
            })
            .collect();
        // SAFETY: as GenericXLogFinish does it: buffers are pinned and locked; in the critical section an ERROR is a
        // PANIC, so that nothing comes between the pages and their record, and nothing there is of ours to fail; `deltas` stays
        // as it is until the record is written.
        unsafe {
            pg_sys::XLogBeginInsert();
            pg_sys::CritSectionCount += 1;
            self.put(|n| {
                let taken = &self.pages[n];
                let image = if taken.is_new {
                    pg_sys::REGBUF_FORCE_IMAGE
                } else {
                    0
                };
                let flags = image | pg_sys::REGBUF_STANDARD;
                pg_sys::XLogRegisterBuffer(n as u8, taken.buffer, flags as u8);
                let (start, len) = parts[n];
                if !taken.is_new {
                    let data = deltas.as_mut_ptr().add(start);
                    pg_sys::XLogRegisterBufData(n as u8, data.cast(), len as _);
                }
            });
            let lsn = pg_sys::XLogInsert(pg_sys::RmgrIds::RM_GENERIC_ID as u8, 0);
            for taken in &self.pages {
                let header = page_of(taken.buffer).cast::<pg_sys::PageHeaderData>();
                (*header).pd_lsn.xlogid = (lsn >> 32) as u32;
                (*header).pd_lsn.xrecoff = lsn as u32;
            }
            pg_sys::CritSectionCount -= 1;
        }
    }
}

#[cold]
fn raise_not_as_written(index: Index, block: u32) -> ! {
    raise_index(
        pgrx::PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
        format!(
            "index \"{}\" is damaged: the checksum of block {block} is not that of what it holds",
            index.name()
        ),
        Some("REINDEX the index.".into()),
    )
}

/// A page inside a change.
pub struct PageMut<'g> {
    page: *mut u8,
    guard: PhantomData<&'g mut [u8]>,
}

impl PageMut<'_> {
    fn raw(&mut self) -> pg_sys::Page {
        self.page.cast()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the page is BLCKSZ bytes, and ours until the change ends.
        unsafe { std::slice::from_raw_parts_mut(self.page, PAGE_SIZE) }
    }

    /// The page as the change has it now.
    pub fn view(&self) -> PageView<'_> {
        // SAFETY: as in `bytes_mut`.
        PageView::new(unsafe { std::slice::from_raw_parts(self.page, PAGE_SIZE) })
    }

    fn init<T: Pod>(&mut self, special: &T) {
        // SAFETY: the page is BLCKSZ bytes.
        unsafe { pg_sys::PageInit(self.raw(), PAGE_SIZE, size_of::<T>()) };
        *self.special_mut() = *special;
    }

    /// The special area. The page has been checked to have one of this size.
    pub fn special_mut<T: Pod>(&mut self) -> &mut T {
        let at = PAGE_SIZE - size_of::<T>();
        bytemuck::from_bytes_mut(&mut self.bytes_mut()[at..])
    }

    /// Adds an item, at the first unused line pointer or a new one; `None` where it has no room.
    pub fn add_item(&mut self, item: &[u8]) -> Option<u16> {
        let view = self.view();
        let count = view.item_count();
        let unused = (1..=count).find(|&n| matches!(view.item(n), Ok(None)));
        let (offset, flags) = match unused {
            Some(offset) => (offset, pg_sys::PAI_OVERWRITE),
            None => (count + 1, 0),
        };
        // SAFETY: an initialised page; the server copies `item.len()` bytes or refuses.
        let added = unsafe {
            pg_sys::PageAddItemExtended(
                self.raw(),
                item.as_ptr().cast_mut().cast(),
                item.len(),
                offset,
                flags as i32,
            )
        };
        (added != pg_sys::InvalidOffsetNumber).then_some(added)
    }

    /// Removes an item and its bytes; other items keep their offsets.
    pub fn remove_item(&mut self, offset: u16) {
        // SAFETY: the server checks the offset and raises where it is wrong.
        unsafe { pg_sys::PageIndexTupleDeleteNoCompact(self.raw(), offset) };
    }

    /// An item for writing; `None` for a line pointer that is unused.
    pub fn item_mut(&mut self, offset: u16) -> Result<Option<&mut [u8]>, Damage> {
        let range = self.view().item_range(offset)?;
        Ok(range.map(|range| &mut self.bytes_mut()[range]))
    }

    /// `len` bytes right after the header, on a page without items.
    pub fn contents_bytes_mut(&mut self, len: usize) -> &mut [u8] {
        let end = HEADER + len;
        let bytes = self.bytes_mut();
        // pd_lower: what lies above it is not WAL-logged
        bytes[12..14].copy_from_slice(&(end as u16).to_ne_bytes());
        &mut bytes[HEADER..end]
    }

    /// Space for a struct right after the header, on a page without items.
    pub fn contents_mut<T: Pod>(&mut self) -> &mut T {
        let end = HEADER + size_of::<T>();
        let bytes = self.bytes_mut();
        // pd_lower: what lies above it is not WAL-logged
        bytes[12..14].copy_from_slice(&(end as u16).to_ne_bytes());
        bytemuck::from_bytes_mut(&mut bytes[HEADER..end])
    }
}
