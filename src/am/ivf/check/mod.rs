//! The part of `vector_index_check` that knows `ivf` and `ivfflat`: pages one by one, the directory, the
//! pages of each list, and what rows say of the table.
//!
//! Lists grow meanwhile: what does not fit is looked at again with the entry as it is then, and rows that
//! seem missing are looked for once more. The check has the right to arrange lists anew, so that nobody
//! else does; VACUUM waits for it where it needs that right. Replay on a standby asks nobody: what was
//! found while it arranged lists is forgotten, and the check begins anew.

mod codes;
mod lists;
mod rows;

use super::directory::Directory;
use super::index::{self, Ivf, META_BLOCK};
use crate::am::check::free::FreePages;
use crate::am::column::Column;
use crate::am::filter::keys::FilterColumns;
use crate::check::Findings;
use crate::hnsw::format::RawTid;
use crate::ivf::check::{self as structure, Expected};
use crate::ivf::format::{ListId, ListPage, Meta, Opaque, PageKind, VectorPage};
use crate::pg::attempt::{PageCopy, attempt};
use crate::pg::buffer::{Access, Strategy};
use crate::pg::error::raise_index;
use crate::pg::relation::{Index, Turnstile, is_in_recovery};
use crate::pg::table::Table;
use codes::{RowOfTable, code_fingerprint};
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// Looks at what seems wrong.
const LOOKS: usize = 3;

/// Times that a check on a standby begins, where replay arranges lists again and again.
const BEGINNINGS: usize = 5;

/// Checks an index, and against its table where that is given.
///
/// Raises 55000 on a standby where lists are arranged all the time.
pub fn check(index: Index, table: Option<&Table>, found: &mut Findings<'_>) {
    if is_in_recovery() {
        return check_during_replay(index, table, found);
    }
    // lists are not arranged anew meanwhile: their rows would be seen twice, or not at all
    let _alone = Turnstile::lock(index, META_BLOCK, pg_sys::ExclusiveLock);
    look(index, table, found);
}

fn check_during_replay(index: Index, table: Option<&Table>, found: &mut Findings<'_>) {
    let generation = || attempt(|| index::read_meta(index).generation).ok();
    for _ in 0..BEGINNINGS {
        let before = generation();
        let mut findings = Vec::new();
        let mut take = |finding| findings.push(finding);
        look(index, table, &mut Findings::new(&mut take));
        if findings.is_empty() || generation() == before {
            return findings.into_iter().for_each(|finding| found.take(finding));
        }
    }
    raise_index(
        Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "could not check index \"{}\": replay arranges its lists all the time",
            index.name()
        ),
        Some(
            "Call pg_wal_replay_pause() first, and pg_wal_replay_resume() after the check.".into(),
        ),
    )
}

fn look(index: Index, table: Option<&Table>, found: &mut Findings<'_>) {
    let access = Access::Sequential(Strategy::bulk_read());
    if index.blocks() == 0 {
        return found.error(META_BLOCK, None, "the index has no metapage");
    }
    let mut page = PageCopy::new();
    if let Err(message) = page.read(index, META_BLOCK, access) {
        return found.error(META_BLOCK, None, message);
    }
    if let Some(version) = index::other_version(page.page()) {
        return found.error(META_BLOCK, None, format!("the index {version}"));
    }
    let read = Meta::of(page.page()).and_then(|meta| Ok((*meta, meta.shape()?)));
    let (meta, shape) = match read {
        Ok(read) => read,
        Err(damage) => return found.error(META_BLOCK, None, damage),
    };
    let column = Column::built(index, shape.space.code(), shape.dims);
    if column.is_err() || shape.filters as usize + 1 != index.columns() {
        let message = "the metapage is of another column or operator class";
        return found.error(META_BLOCK, None, message);
    }
    let ivf = match attempt(|| Ivf::of_meta(index, shape, &meta)) {
        Ok(ivf) => ivf,
        Err(message) => return found.error(META_BLOCK, None, message),
    };
    let (directory, unreadable) = match attempt(|| Directory::now(&ivf)) {
        Ok(directory) => (Some(directory), None),
        Err(message) => (None, Some(message)),
    };
    let mut check = Check {
        index,
        access,
        expected: Expected::new(shape),
        ivf,
        directory,
        pages: FxHashMap::default(),
        list_of: FxHashMap::default(),
        vectors: FxHashMap::default(),
        free: FreePages::default(),
        rows: 0,
        page,
        filter_columns: FilterColumns::of(index),
        row: RowOfTable::default(),
    };
    check.pages(found);
    let centroid_len = match meta.centroid {
        0 => 0,
        _ => 4 * meta.dims as usize,
    };
    check.chain(meta.centroid, PageKind::Centroid, centroid_len, found);
    let codebook_len = meta.codebook_len as usize;
    check.chain(meta.codebook, PageKind::Codebook, codebook_len, found);
    let told = found.errors;
    check.directory(found);
    // what searches would not take, if nothing else was to be said of it
    if let Some(message) = unreadable.filter(|_| found.errors == told) {
        found.error(meta.directory, None, message);
    }
    check.leftovers(found);
    check.rows(table, found);
    check.free_pages(found);
}

struct Check {
    index: Index,
    access: Access,
    expected: Expected,
    ivf: Ivf,
    /// the lists with their centroids, where the directory can be read
    directory: Option<Rc<Directory>>,
    /// pages that something must lead to
    pages: FxHashMap<u32, PageKind>,
    /// pages of lists that the directory has
    list_of: FxHashMap<u32, ListId>,
    /// what stands for each compact code, and its row
    vectors: FxHashMap<(u32, usize), (RawTid, u64)>,
    /// pages in no use
    free: FreePages,
    rows: u64,
    page: PageCopy,
    /// make keys of the table's rows
    filter_columns: FilterColumns,
    row: RowOfTable,
}

impl Check {
    fn pages(&mut self, found: &mut Findings<'_>) {
        for block in 0..self.index.blocks() {
            pgrx::check_for_interrupts!();
            if let Err(message) = self.page.read(self.index, block, self.access) {
                found.error(block, None, message);
                continue;
            }
            let page = self.page.page();
            let Some(kind) = structure::page(&self.expected, page, block, found) else {
                continue;
            };
            match kind {
                PageKind::Meta => continue,
                PageKind::Free => {
                    self.free.note(block);
                    continue;
                }
                PageKind::List => {
                    let rows = ListPage::of(page, &self.expected.lists);
                    self.rows += rows.map_or(0, |rows| rows.count()) as u64;
                }
                PageKind::Vectors => {
                    self.vectors_on(block);
                    continue;
                }
                _ => {}
            }
            self.pages.insert(block, kind);
        }
    }

    /// Remembers the compact codes of the page at hand.
    fn vectors_on(&mut self, block: u32) {
        let layout = self.expected.vectors;
        let Ok(page) = VectorPage::of(self.page.page(), layout) else {
            return;
        };
        for slot in 0..layout.capacity() {
            if let Some((tid, compact)) = page.get(slot) {
                let value = code_fingerprint(compact.factors, compact.code);
                self.vectors.insert((block, slot), (tid, value));
            }
        }
    }

    fn free_pages(&mut self, found: &mut Findings<'_>) {
        let (index, page) = (self.index, &mut self.page);
        let is_in_no_use = |block| {
            let read = page.read(index, block, Access::Random);
            read.is_ok() && matches!(Opaque::of(page.page()), Ok((PageKind::Free, _)))
        };
        self.free.check(index, is_in_no_use, found);
    }

    /// Pages that nothing leads to.
    fn leftovers(&mut self, found: &mut Findings<'_>) {
        for (block, kind) in std::mem::take(&mut self.pages) {
            // perhaps it was freed, or came into a list, while this went on
            let read = self.page.read(self.index, block, Access::Random);
            let is_still = matches!(Opaque::of(self.page.page()), Ok((now, _)) if now == kind);
            if read.is_ok() && is_still {
                match kind {
                    // written by the build that makes the index, and never again: a crash leaves none
                    PageKind::Centroid | PageKind::Codebook => {
                        let message = format!("page of kind {kind:?} that nothing leads to");
                        found.error(block, None, message);
                    }
                    _ => {
                        let message = format!(
                            "page of kind {kind:?} that nothing leads to: left by a crash, or in use since the check began"
                        );
                        found.warning(block, None, message);
                    }
                }
            }
        }
    }
}
