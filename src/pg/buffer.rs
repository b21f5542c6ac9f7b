//! Pages in the buffer pool: pins and content locks as guards. They are changed through [`super::change`].
//!
//! Dropping a guard unlocks and unpins, except while an ERROR unwinds: then the transaction's abort
//! releases locks and pins in its own order (releasing them here as well would unbalance the
//! server's count of held interrupts).

use super::error::raise_index;
use super::relation::Index;
use crate::page::PageView;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Functions that do not raise, called without the error guard (7 ns against 1 ns a call).
mod unguarded {
    use pgrx::pg_sys;
    unsafe extern "C-unwind" {
        pub fn LockBuffer(buffer: pg_sys::Buffer, mode: std::ffi::c_int);
        pub fn UnlockReleaseBuffer(buffer: pg_sys::Buffer);
        pub fn ConditionalLockBuffer(buffer: pg_sys::Buffer) -> bool;
        pub fn ReleaseBuffer(buffer: pg_sys::Buffer);
    }
}

/// Bytes of a page.
pub const PAGE_SIZE: usize = pg_sys::BLCKSZ as usize;
const _: () = assert!(
    PAGE_SIZE == 8192,
    "the on-disk format is laid out for 8 kB pages"
);

/// Which pages a read expects to touch.
#[derive(Clone, Copy)]
pub enum Access {
    /// here and there
    Random,
    /// all of them once: go through a small ring of buffers
    Sequential(Strategy),
}

/// A ring of buffers for reading a whole index once.
#[derive(Clone, Copy)]
pub struct Strategy(pg_sys::BufferAccessStrategy);

impl Strategy {
    /// A ring for one pass over an index; lives in the current memory context.
    pub fn bulk_read() -> Self {
        // SAFETY: allocates, or raises.
        Strategy(unsafe {
            pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD)
        })
    }

    /// The strategy VACUUM passes to its callbacks.
    ///
    /// # Safety
    /// `raw` is null or valid while the result is used.
    pub unsafe fn of(raw: pg_sys::BufferAccessStrategy) -> Self {
        Strategy(raw)
    }
}

/// Blocks that the index is known to have, without asking the file system; 0 where nobody knows.
#[inline]
fn known_blocks(index: Index) -> u32 {
    // SAFETY: an open relation; its storage manager entry is valid while it is set.
    let known = unsafe {
        let Some(storage) = (*index.raw()).rd_smgr.as_ref() else {
            return 0;
        };
        storage.smgr_cached_nblocks[pg_sys::ForkNumber::MAIN_FORKNUM as usize]
    };
    if known == pg_sys::InvalidBlockNumber {
        0
    } else {
        known
    }
}

/// Whether a relation has a block; mostly without asking the file system.
#[inline]
pub fn has_block(relation: Index, block: u32) -> bool {
    block < known_blocks(relation) || block < relation.blocks()
}

/// Pins a block's buffer. Raises XX002 for a block beyond the index's end: its file was cut short,
/// or a link is damaged.
fn read_buffer(index: Index, block: u32, access: Access) -> pg_sys::Buffer {
    let strategy = match access {
        Access::Random => std::ptr::null_mut(),
        Access::Sequential(strategy) => strategy.0,
    };
    if !has_block(index, block) {
        raise_index(
            pgrx::PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
            format!(
                "index \"{}\" is damaged: it has no block {block}",
                index.name()
            ),
            Some("REINDEX the index.".into()),
        );
    }
    // SAFETY: an open relation; reading a block that is not there raises.
    unsafe {
        pg_sys::ReadBufferExtended(
            index.raw(),
            pg_sys::ForkNumber::MAIN_FORKNUM,
            block,
            pg_sys::ReadBufferMode::RBM_NORMAL,
            strategy,
        )
    }
}

/// Where in the buffer pool the blocks of an index or a table were last. A hint: the server checks that the
/// buffer still has the block. It saves the look-up in the pool's hash table, which costs a query
/// on pages more than its distances do.
#[derive(Clone)]
pub struct Hints(Rc<HintTable>);

struct HintTable {
    /// buffer by block number, modulo the table's size; 0 is none
    buffers: RefCell<Vec<pg_sys::Buffer>>,
    uses: Cell<u32>,
    /// they do not all fit into the pool: pages come and go
    is_large: Cell<bool>,
}

/// Most blocks one relation has hints for: 4 MB in every backend that searches a large one.
const MOST_HINTS: usize = 1 << 20;
/// Relations that have hints in one backend.
const MOST_RELATIONS: usize = 16;
/// Every so many uses the pool is asked all the same: only that raises a page's usage count, which
/// keeps a hot page in memory.
const ASK_THE_POOL: u32 = 32;

/// A relation's file, and whether it is temporary: the number may be another relation's, too, if that is not.
type Key = (pg_sys::Oid, bool);

thread_local! {
    /// by [`key`]
    static RELATIONS: RefCell<Vec<(Key, Hints)>> = const { RefCell::new(Vec::new()) };
}

fn key(relation: Index) -> Key {
    (relation.file_number(), relation.is_temporary())
}

impl Hints {
    /// The hints of this backend for an index, or a table.
    pub fn of(index: Index) -> Hints {
        let key = key(index);
        let hints = RELATIONS.with_borrow_mut(|relations| {
            if let Some(at) = relations.iter().position(|(known, _)| *known == key) {
                return relations[at].1.clone();
            }
            if relations.len() == MOST_RELATIONS {
                relations.remove(0);
            }
            let table = HintTable {
                buffers: RefCell::new(Vec::new()),
                uses: Cell::new(0),
                is_large: Cell::new(false),
            };
            let hints = Hints(Rc::new(table));
            relations.push((key, hints.clone()));
            hints
        });
        let mut buffers = hints.0.buffers.borrow_mut();
        let blocks = index.blocks();
        // SAFETY: reads a setting.
        let pool = unsafe { pg_sys::NBuffers } as u32;
        hints.0.is_large.set(blocks > pool / 2);
        if buffers.is_empty() || buffers.len() < MOST_HINTS {
            let size = (blocks as usize).next_power_of_two().clamp(64, MOST_HINTS);
            if size > buffers.len() {
                *buffers = vec![0; size];
            }
        }
        drop(buffers);
        hints
    }

    /// The same, if there are any yet.
    #[inline]
    pub fn known(relation: Index) -> Option<Hints> {
        let key = key(relation);
        RELATIONS.with_borrow(|relations| {
            let mut relations = relations.iter();
            let found = relations.find(|(known, _)| *known == key);
            found.map(|(_, hints)| hints.clone())
        })
    }

    /// Asks for a block that will soon be read: the processor for its descriptor, its header and the
    /// `len` bytes that are `from_end` bytes before the end of the page, where it is known to have
    /// been in memory; the operating system for the page where it has not. Neither pins nor
    /// waits; a wrong hint costs a useless prefetch.
    #[inline]
    pub fn prefetch(&self, index: Index, block: u32, from_end: usize, len: usize) {
        let buffers = self.0.buffers.borrow();
        let slot = block as usize & (buffers.len() - 1);
        let hint = buffers[slot];
        if hint <= 0 || self.0.is_large.get() {
            drop(buffers);
            self.ask_for(index, block, slot);
            return;
        }
        let (descriptor, page) = addresses(hint);
        prefetch_line(descriptor);
        prefetch_line(page);
        prefetch_line(page.wrapping_add(PAGE_SIZE - 16));
        let start = page.wrapping_add(PAGE_SIZE - from_end.min(PAGE_SIZE));
        for line in 0..len.div_ceil(64) {
            prefetch_line(start.wrapping_add(64 * line));
        }
    }

    /// Starts to read a block unless it is in the pool, as far as effective_io_concurrency allows.
    #[cold]
    fn ask_for(&self, index: Index, block: u32, slot: usize) {
        // SAFETY: reads a setting; an open relation, whose length was checked.
        unsafe {
            if pg_sys::effective_io_concurrency <= 0 || block >= known_blocks(index) {
                return;
            }
            let found =
                pg_sys::PrefetchBuffer(index.raw(), pg_sys::ForkNumber::MAIN_FORKNUM, block);
            if found.recent_buffer > 0 {
                self.0.buffers.borrow_mut()[slot] = found.recent_buffer;
            }
        }
    }

    /// Pins a block.
    #[inline]
    pub fn pin(&self, index: Index, block: u32) -> Pinned {
        if let Some(hint) = self.hint_to_pin(block)
            && index.is_in_buffer(block, hint)
        {
            return Pinned { buffer: hint };
        }
        let buffer = read_buffer(index, block, Access::Random);
        self.note(block, buffer);
        Pinned { buffer }
    }

    /// The buffer of the shared pool where a block was last.
    #[inline]
    pub fn hint(&self, block: u32) -> Option<pg_sys::Buffer> {
        let buffers = self.0.buffers.borrow();
        let hint = buffers[block as usize & (buffers.len() - 1)];
        (hint > 0).then_some(hint)
    }

    /// The same for who wants to pin it: `None` where the pool is to be asked.
    #[inline]
    pub fn hint_to_pin(&self, block: u32) -> Option<pg_sys::Buffer> {
        let uses = self.0.uses.get().wrapping_add(1);
        self.0.uses.set(uses);
        self.hint(block)
            .filter(|_| !uses.is_multiple_of(ASK_THE_POOL))
    }

    /// Notes where a block is.
    #[inline]
    pub fn note(&self, block: u32, buffer: pg_sys::Buffer) {
        let mut buffers = self.0.buffers.borrow_mut();
        let slot = block as usize & (buffers.len() - 1);
        buffers[slot] = buffer;
    }

    /// Whether the relation does not fit into the pool: its pages come and go.
    pub fn is_of_large(&self) -> bool {
        self.0.is_large.get()
    }
}

/// A pinned page that is not locked: it stays in memory, but may change.
pub struct Pinned {
    buffer: pg_sys::Buffer,
}

impl Pinned {
    /// Asks the processor for the page's header, first line pointers and special area.
    #[inline]
    pub fn prefetch_page(&self) {
        let page = self.start();
        prefetch_line(page);
        prefetch_line(page.wrapping_add(PAGE_SIZE - 16));
    }

    /// Asks the processor for the first bytes of an item. The line pointer is read without a lock:
    /// a wrong one costs a useless prefetch.
    #[inline]
    pub fn prefetch_item(&self, offset: u16, lines: usize) {
        let page = self.start();
        // SAFETY: the page is pinned.
        let Some((start, _)) = (unsafe { item_at(page, offset) }) else {
            return;
        };
        for line in 0..lines {
            prefetch_line(page.wrapping_add(start + 64 * line));
        }
    }

    #[inline]
    fn start(&self) -> *const u8 {
        // SAFETY: the buffer is pinned.
        unsafe { pg_sys::BufferGetPage(self.buffer).cast::<u8>() }
    }

    /// Locks the page for reading.
    #[inline]
    pub fn lock(self) -> Shared {
        let buffer = self.buffer;
        std::mem::forget(self);
        // SAFETY: pinned.
        unsafe { unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32) };
        Shared { buffer }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: we hold the pin.
            unsafe { unguarded::ReleaseBuffer(self.buffer) }
        }
    }
}

/// Asks the processor for a buffer's descriptor, its page's header and the line pointer of an item.
/// Nothing happens for a number that is not of the shared pool.
#[inline]
pub fn prefetch_line_pointer(buffer: pg_sys::Buffer, offset: u16) {
    if buffer <= 0 {
        return;
    }
    let (descriptor, page) = addresses(buffer);
    prefetch_line(descriptor);
    prefetch_line(page);
    prefetch_line(page.wrapping_add(crate::page::HEADER + 4 * offset as usize));
}

/// Asks the processor for both ends of an item, on whatever page is in a buffer of the shared pool now.
#[inline]
pub fn prefetch_ends(buffer: pg_sys::Buffer, offset: u16) {
    let (_, page) = addresses(buffer);
    // SAFETY: the pool's pages are there as long as the server runs.
    if let Some((start, len)) = unsafe { item_at(page, offset) } {
        prefetch_line(page.wrapping_add(start));
        prefetch_line(page.wrapping_add(start + len.saturating_sub(1)));
    }
}

/// Asks the processor for a part of a page, as far as it is on it.
#[inline(always)]
fn prefetch_part(page: *const u8, start: usize, len: usize) {
    let lines = start / 64..(start + len).min(PAGE_SIZE).div_ceil(64);
    lines.for_each(|line| prefetch_line(page.wrapping_add(64 * line)));
}

/// Asks the processor for an item, on whatever page is in a buffer of the shared pool now.
#[inline]
pub fn prefetch_item(buffer: pg_sys::Buffer, offset: u16) {
    let (_, page) = addresses(buffer);
    // SAFETY: the pool's pages are there as long as the server runs.
    if let Some((start, len)) = unsafe { item_at(page, offset) } {
        prefetch_part(page, start, len);
    }
}

/// Where on a page an item begins, and its length, as its line pointer has it now: others may be about to change it.
///
/// # Safety
/// `page` is a page in memory.
#[inline]
unsafe fn item_at(page: *const u8, offset: u16) -> Option<(usize, usize)> {
    let at = crate::page::HEADER + 4 * (offset as usize).saturating_sub(1);
    if at + 4 > PAGE_SIZE {
        return None;
    }
    // SAFETY: inside the page, aligned to 4.
    let raw = unsafe { page.add(at).cast::<u32>().read_volatile() };
    Some(((raw & 0x7fff) as usize, (raw >> 17) as usize))
}

/// Where the descriptor and the page of a buffer of the shared pool are.
#[inline]
pub(super) fn addresses(buffer: pg_sys::Buffer) -> (*const u8, *const u8) {
    let n = buffer as usize - 1;
    // SAFETY: reads two pointers that the server sets once, before any backend runs.
    let (descriptors, blocks) = unsafe { (pg_sys::BufferDescriptors, pg_sys::BufferBlocks) };
    (
        descriptors.wrapping_add(n).cast::<u8>().cast_const(),
        blocks.cast::<u8>().wrapping_add(n * PAGE_SIZE).cast_const(),
    )
}

#[inline(always)]
fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// A pinned page, locked for reading.
pub struct Shared {
    buffer: pg_sys::Buffer,
}

impl Shared {
    /// Pins and locks a block.
    #[inline]
    pub fn read(index: Index, block: u32, access: Access) -> Self {
        let buffer = read_buffer(index, block, access);
        // SAFETY: pinned just now.
        unsafe { unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32) };
        Shared { buffer }
    }

    /// The page.
    #[inline]
    pub fn page(&self) -> PageView<'_> {
        PageView::new(bytes(self.buffer))
    }
}

impl Drop for Shared {
    #[inline]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: we hold the pin and the lock.
            unsafe { unguarded::UnlockReleaseBuffer(self.buffer) }
        }
    }
}

#[inline]
fn bytes<'a>(buffer: pg_sys::Buffer) -> &'a [u8] {
    // SAFETY: callers hold a pin and a content lock for as long as they use the result; a buffer
    // is BLCKSZ bytes.
    unsafe { std::slice::from_raw_parts(pg_sys::BufferGetPage(buffer).cast::<u8>(), PAGE_SIZE) }
}

/// A pinned page, locked for writing. It is changed through a [`Change`](super::change::Change).
pub struct Exclusive {
    buffer: pg_sys::Buffer,
    block: u32,
}

impl Exclusive {
    /// Pins and locks a block.
    pub fn lock(index: Index, block: u32, access: Access) -> Self {
        let buffer = read_buffer(index, block, access);
        // SAFETY: pinned just now.
        unsafe { unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32) };
        Exclusive { buffer, block }
    }

    /// Pins and locks a block of any fork, which must be there.
    pub fn lock_in(index: Index, fork: pg_sys::ForkNumber::Type, block: u32) -> Self {
        // SAFETY: an open relation; reading a block that is not there raises.
        unsafe {
            let buffer = pg_sys::ReadBufferExtended(
                index.raw(),
                fork,
                block,
                pg_sys::ReadBufferMode::RBM_NORMAL,
                std::ptr::null_mut(),
            );
            unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            Exclusive { buffer, block }
        }
    }

    /// Pins and locks a block unless somebody, ourselves included, has it locked: for callers that
    /// hold another page and may not wait.
    pub fn try_lock(index: Index, block: u32) -> Option<Self> {
        let buffer = read_buffer(index, block, Access::Random);
        // SAFETY: pinned just now.
        unsafe {
            if unguarded::ConditionalLockBuffer(buffer) {
                return Some(Exclusive { buffer, block });
            }
            unguarded::ReleaseBuffer(buffer);
        }
        None
    }

    /// Adds a block to the end of a fork. Its page is all zero.
    pub fn extend(index: Index, fork: pg_sys::ForkNumber::Type) -> Self {
        // SAFETY: an open relation; the extension lock makes the new block ours alone.
        unsafe {
            pg_sys::LockRelationForExtension(index.raw(), pg_sys::ExclusiveLock as i32);
            let buffer = pg_sys::ReadBufferExtended(
                index.raw(),
                fork,
                pg_sys::InvalidBlockNumber,
                pg_sys::ReadBufferMode::RBM_NORMAL,
                std::ptr::null_mut(),
            );
            unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            pg_sys::UnlockRelationForExtension(index.raw(), pg_sys::ExclusiveLock as i32);
            let block = pg_sys::BufferGetBlockNumber(buffer);
            Exclusive { buffer, block }
        }
    }

    /// The page as it is.
    #[inline]
    pub fn page(&self) -> PageView<'_> {
        PageView::new(bytes(self.buffer))
    }

    /// The block's number.
    pub fn block(&self) -> u32 {
        self.block
    }

    /// The server's number of the buffer.
    pub(super) fn buffer(&self) -> pg_sys::Buffer {
        self.buffer
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: we hold the pin and the lock.
            unsafe { unguarded::UnlockReleaseBuffer(self.buffer) }
        }
    }
}

fn hole(page: PageView<'_>) -> (usize, usize) {
    let (lower, upper) = page.bounds();
    (
        lower.min(PAGE_SIZE),
        upper.clamp(lower.min(PAGE_SIZE), PAGE_SIZE),
    )
}

/// Bytes between a page's line pointers and its items.
pub fn free_space(page: PageView<'_>) -> usize {
    let (lower, upper) = hole(page);
    upper - lower
}

/// Bytes of the largest item a page has room for.
pub fn room(page: PageView<'_>) -> usize {
    let has_unused = (1..=page.item_count()).any(|n| matches!(page.item(n), Ok(None)));
    let line_pointer = if has_unused { 0 } else { 4 };
    free_space(page).saturating_sub(line_pointer) & !7
}

/// Free space map of an index: which pages have how many bytes free.
pub mod free_space_map {
    use super::*;

    /// What an empty page is recorded with, more than any page with items can have.
    pub const EMPTY_PAGE: usize = 8160;

    /// A page that may have `needed` bytes free.
    pub fn find(index: Index, needed: usize) -> Option<u32> {
        // SAFETY: an open relation.
        let block = unsafe { pg_sys::GetPageWithFreeSpace(index.raw(), needed) };
        (block != pg_sys::InvalidBlockNumber).then_some(block)
    }

    /// Corrects a page that was found to have only `free` bytes, and finds another.
    pub fn correct_and_find(index: Index, block: u32, free: usize, needed: usize) -> Option<u32> {
        // SAFETY: an open relation.
        let block =
            unsafe { pg_sys::RecordAndGetPageWithFreeSpace(index.raw(), block, free, needed) };
        (block != pg_sys::InvalidBlockNumber).then_some(block)
    }

    /// Records what a page has free.
    pub fn record(index: Index, block: u32, free: usize) {
        // SAFETY: an open relation.
        unsafe { pg_sys::RecordPageWithFreeSpace(index.raw(), block, free) }
    }

    /// What is recorded of a block.
    pub fn recorded(index: Index, block: u32) -> usize {
        // SAFETY: an open relation.
        unsafe { pg_sys::GetRecordedFreeSpace(index.raw(), block) }
    }

    /// Makes what was recorded of some blocks known to searches from the top of the map, at the cost of a few pages:
    /// until then only a search that comes by finds it.
    pub fn publish_some(index: Index, blocks: std::ops::RangeInclusive<u32>) {
        let end = blocks.end().saturating_add(1);
        // SAFETY: an open relation.
        unsafe { pg_sys::FreeSpaceMapVacuumRange(index.raw(), *blocks.start(), end) }
    }

    /// The same of all blocks.
    pub fn publish(index: Index) {
        // SAFETY: an open relation.
        unsafe { pg_sys::IndexFreeSpaceMapVacuum(index.raw()) }
    }
}
