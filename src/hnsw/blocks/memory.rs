//! Large arrays that grow: in private memory, or in a file mapped into it.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use thiserror::Error;

/// What an array may hold.
///
/// # Safety
/// All bytes zero is a value, and dropping one does nothing.
pub unsafe trait Plain: Send + Sync + 'static {}
// SAFETY: integers.
unsafe impl Plain for u8 {}
// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: integers.
unsafe impl Plain for u64 {}
// SAFETY: an integer inside.
unsafe impl Plain for AtomicU32 {}

/// Why an array in a file did not grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the files may not take more room")]
pub struct OverQuota;

impl OverQuota {
    /// Whether an error is this one.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<OverQuota>())
    }
}

/// How many bytes several files may have together.
#[derive(Debug)]
pub struct Quota {
    left: AtomicU64,
}

impl Quota {
    /// A quota of so many bytes.
    pub fn new(bytes: u64) -> Arc<Quota> {
        Arc::new(Quota {
            left: AtomicU64::new(bytes),
        })
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        let order = Ordering::Relaxed;
        self.left
            .fetch_update(order, order, |left| left.checked_sub(bytes))
            .map(drop)
            .map_err(|_| io::Error::new(io::ErrorKind::QuotaExceeded, OverQuota))
    }

    fn give_back(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A file that an array goes to: empty, readable and writable, of no other use, best already
/// without a name.
#[derive(Debug)]
pub struct Backing {
    /// the file
    pub file: File,
    /// what it counts against
    pub quota: Option<Arc<Quota>>,
}

impl From<File> for Backing {
    fn from(file: File) -> Self {
        Backing { file, quota: None }
    }
}

impl Backing {
    /// Gives the file blocks for `bytes` bytes; it had `before`.
    fn grow(&self, before: usize, bytes: usize) -> io::Result<()> {
        let more = (bytes - before) as u64;
        if let Some(quota) = &self.quota {
            quota.take(more)?;
        }
        allocate(&self.file, bytes).inspect_err(|_| self.give_back(more))
    }

    fn give_back(&self, bytes: u64) {
        if let Some(quota) = &self.quota {
            quota.give_back(bytes);
        }
    }
}

/// An array of zeros that can be made longer and moved into a file.
///
/// Memory that nobody has written to takes none. A file's blocks are allocated before they are
/// mapped, so a full disk is an error here and not a SIGBUS later.
#[derive(Debug)]
pub struct Region<T: Plain> {
    base: NonNull<T>,
    /// bytes mapped at `base`; nothing is mapped where this is 0
    bytes: usize,
    file: Option<Backing>,
    holds: PhantomData<T>,
}

// SAFETY: a region owns its mapping as a Vec owns its allocation, and `Plain` is Send and Sync.
unsafe impl<T: Plain> Send for Region<T> {}
// SAFETY: see Send; `&Region` gives `&[T]` and nothing more.
unsafe impl<T: Plain> Sync for Region<T> {}

impl<T: Plain> Default for Region<T> {
    fn default() -> Self {
        Region {
            base: NonNull::dangling(),
            bytes: 0,
            file: None,
            holds: PhantomData,
        }
    }
}

impl<T: Plain> Region<T> {
    /// An empty array in this file, whose contents are lost.
    pub fn in_file(file: impl Into<Backing>) -> io::Result<Self> {
        let backing = file.into();
        backing.file.set_len(0)?;
        Ok(Region {
            file: Some(backing),
            ..Region::default()
        })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes / size_of::<T>()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the array at least `len` elements long; new ones are zero.
    pub fn grow_to(&mut self, len: usize) -> io::Result<()> {
        let bytes = len
            .checked_mul(size_of::<T>())
            .and_then(|bytes| bytes.checked_next_multiple_of(GRAIN))
            .ok_or(io::ErrorKind::OutOfMemory)?;
        if bytes <= self.bytes {
            return Ok(());
        }
        let base = match &self.file {
            None => grow_private(self.mapping(), bytes)?,
            Some(backing) => {
                backing.grow(self.bytes, bytes)?;
                let base = map(bytes, libc::MAP_SHARED, backing.file.as_raw_fd())
                    .inspect_err(|_| backing.give_back((bytes - self.bytes) as u64))?;
                unmap(self.mapping());
                base
            }
        };
        self.base = base.cast();
        self.bytes = bytes;
        Ok(())
    }

    /// Moves the array into a file, whose contents are lost.
    pub fn move_to(&mut self, file: impl Into<Backing>) -> io::Result<()>
    where
        T: Copy,
    {
        let mut moved = Region::in_file(file)?;
        moved.grow_to(self.len())?;
        moved.copy_from_slice(self);
        *self = moved;
        Ok(())
    }

    /// Prepares for random reads all over what the array holds. Growing has moved it about, which leaves
    /// small pages where the system could have large ones. Only a hint.
    pub fn settle(&self) {
        #[cfg(target_os = "linux")]
        if self.file.is_none() && self.bytes > 0 {
            // SAFETY: the mapping is this region's, and the advice does not change what it holds.
            unsafe { libc::madvise(self.base.as_ptr().cast(), self.bytes, MADV_COLLAPSE) };
        }
    }

    fn mapping(&self) -> Option<Mapping> {
        (self.bytes > 0).then_some(Mapping {
            base: self.base.cast(),
            bytes: self.bytes,
        })
    }
}

impl<T: Plain> std::ops::Deref for Region<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `bytes` bytes are mapped at `base`, page-aligned, and any bytes in a fresh
        // mapping are zero, hence a T (`Plain`); nobody else maps an unlinked file.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.bytes / size_of::<T>()) }
    }
}

impl<T: Plain> std::ops::DerefMut for Region<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: see deref.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.bytes / size_of::<T>()) }
    }
}

impl<T: Plain> Drop for Region<T> {
    fn drop(&mut self) {
        unmap(self.mapping());
        if let Some(backing) = &self.file {
            backing.give_back(self.bytes as u64);
        }
    }
}

/// Linux 6.1 and later: makes large pages of what is mapped, at once. Others answer that they do not know it.
#[cfg(target_os = "linux")]
const MADV_COLLAPSE: libc::c_int = 25;

/// Mappings are a multiple of this long: a page on every machine we know.
const GRAIN: usize = 64 << 10;

struct Mapping {
    base: NonNull<libc::c_void>,
    bytes: usize,
}

fn map(bytes: usize, flags: libc::c_int, file: libc::c_int) -> io::Result<NonNull<libc::c_void>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping where the system has room for it touches nothing that exists.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, file, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(base).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

fn unmap(mapping: Option<Mapping>) {
    if let Some(Mapping { base, bytes }) = mapping {
        // SAFETY: only regions make mappings, and the one that gives this up uses it no more.
        unsafe { libc::munmap(base.as_ptr(), bytes) };
    }
}

/// A private mapping of `bytes` bytes that starts with what `old` holds, and takes its place.
fn grow_private(old: Option<Mapping>, bytes: usize) -> io::Result<NonNull<libc::c_void>> {
    let private = libc::MAP_PRIVATE | libc::MAP_ANON;
    let base = match old {
        None => map(bytes, private, -1)?,
        #[cfg(target_os = "linux")]
        Some(old) => {
            // SAFETY: `old` is a whole mapping, and its region goes by the answer from now on.
            let base =
                unsafe { libc::mremap(old.base.as_ptr(), old.bytes, bytes, libc::MREMAP_MAYMOVE) };
            if base == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?
        }
        #[cfg(not(target_os = "linux"))]
        Some(old) => {
            let base = map(bytes, private, -1)?;
            // SAFETY: both mappings are at least `old.bytes` long and apart.
            unsafe {
                let (from, to) = (old.base.cast::<u8>(), base.cast::<u8>());
                std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), old.bytes);
            }
            unmap(Some(old));
            base
        }
    };
    // Random reads all over the array: fewer translations to look up. Only a hint.
    #[cfg(target_os = "linux")]
    // SAFETY: the mapping was just made, and the advice does not change what it holds.
    unsafe {
        libc::madvise(base.as_ptr(), bytes, libc::MADV_HUGEPAGE)
    };
    Ok(base)
}

/// Gives a file blocks for `bytes` bytes.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn allocate(file: &File, bytes: usize) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open as long as `file` lives.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes as libc::off_t) } {
            0 => return Ok(()),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Gives a file blocks for `bytes` bytes.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
fn allocate(file: &File, bytes: usize) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let zeros = [0; GRAIN];
    let mut at = file.metadata()?.len();
    while at < bytes as u64 {
        file.write_all_at(&zeros, at)?;
        at += GRAIN as u64;
    }
    Ok(())
}
