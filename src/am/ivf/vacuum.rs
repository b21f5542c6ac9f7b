//! VACUUM: dead rows leave the index.
//!
//! 1. List by list, dead rows are taken out and their bytes zeroed. Lists may be arranged anew meanwhile;
//!    then dead rows may be in the new lists, or on their way into them. So the directory is read again
//!    until it has no list that was not looked at; the last time, and from the third time on, nobody else
//!    arranges lists.
//! 2. When no list has a dead row any more, their compact codes are taken off the vector pages and zeroed.
//!    Pages of lists that no directory knows (a crash left them) are freed, and what pages have free is
//!    recorded: the free space map is not WAL-logged.
//! 3. Lists with many holes are written anew, nearly empty ones dissolved into their neighbours, and the
//!    curve is measured again where the index has changed much.

use super::arrange::{Alone, Found, Table};
use super::directory::{Directory, Listed};
use super::index::{Ivf, META_BLOCK, change_meta, read_meta};
use super::measure;
use super::storage::{Steps, Visit};
use crate::hnsw::format::RawTid;
use crate::ivf::format::{ListId, ListPageMut, Opaque, PageKind, VectorPage, VectorPageMut};
use crate::ivf::grow::{Fate, Sizes};
use crate::pg::buffer::{Access, Exclusive, Strategy, free_space_map};
use crate::pg::change::{Change, Logging};
use crate::pg::heap::TableReader;
use crate::pg::relation::Index;
use crate::pg::vacuum::{delay_point, stats_of, whether_dead};
use pgrx::pg_sys;
use rustc_hash::{FxHashMap, FxHashSet};

/// Readings of the directory after which VACUUM keeps others from arranging lists.
const PATIENCE: usize = 2;
/// A list is written anew when its rows fill less than this part of its pages.
const LEAST_FILL: f64 = 0.5;

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    callback: pg_sys::IndexBulkDeleteCallback,
    state: *mut std::ffi::c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: the server passes an open index, what it wants back from an earlier call, and a callback with
    // its state.
    let (index, strategy, stats, is_dead) = unsafe {
        let index = Index::new((*info).index);
        let strategy = Strategy::of((*info).strategy);
        (
            index,
            strategy,
            stats_of(stats),
            whether_dead(callback, state),
        )
    };
    let Some(is_dead) = is_dead else {
        return stats;
    };
    let (ivf, _) = Ivf::open(index);
    let mut vacuum = Vacuum {
        ivf: &ivf,
        access: Access::Sequential(strategy),
        is_dead: &is_dead,
        rows: 0,
        removed: 0,
        freed: 0,
    };
    vacuum.lists();
    vacuum.pages();
    stats.num_index_tuples = vacuum.rows as f64;
    stats.tuples_removed += vacuum.removed as f64;
    stats.pages_newly_deleted += vacuum.freed;
    stats
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: as in `ambulkdelete`.
    unsafe {
        if (*info).analyze_only {
            return stats;
        }
        let index = Index::new((*info).index);
        let (ivf, _) = Ivf::open(index);
        let mut table = Table::new(|| TableReader::of_index(index));
        if !stats.is_null() {
            // tidying takes pages
            free_space_map::publish(index);
            tidy(&ivf, &mut table, (*stats).num_index_tuples);
            free_space_map::publish(index);
            change_meta(index, Logging::EachChange, |meta| {
                meta.rows = (*stats).num_index_tuples as u64;
            });
            (*stats).num_pages = index.blocks();
        }
        if measure::is_outgrown(&read_meta(index)) {
            measure::measure(&ivf, &mut table);
        }
        table.end();
        stats
    }
}

struct Vacuum<'a> {
    ivf: &'a Ivf,
    access: Access,
    is_dead: &'a dyn Fn(RawTid) -> bool,
    rows: u64,
    removed: u64,
    freed: u32,
}

/// What is left of a list.
#[derive(Default)]
struct Left {
    /// rows by their first copies
    firsts: u64,
    /// copies
    copies: u64,
    removed: u64,
}

impl Vacuum<'_> {
    /// Takes dead rows out of all lists.
    fn lists(&mut self) {
        let mut left: FxHashMap<ListId, Left> = FxHashMap::default();
        let mut alone = None;
        for round in 0.. {
            if round >= PATIENCE && alone.is_none() {
                alone = Some(Alone::new(self.ivf));
            }
            let directory = Directory::now(self.ivf);
            let mut todo: Vec<Listed> = directory.lists().to_vec();
            todo.retain(|listed| !left.contains_key(&listed.id));
            if todo.is_empty() && alone.is_none() {
                // somebody may have read dead rows of lists and not have entered the new ones yet
                alone = Some(Alone::new(self.ivf));
                continue;
            }
            if todo.is_empty() {
                let ids = directory.lists().iter();
                self.rows = ids.map(|listed| left[&listed.id].firsts).sum();
                break;
            }
            // in the order of pages, as far as lists lie together
            todo.sort_unstable_by_key(|listed| listed.first);
            for listed in todo {
                delay_point();
                let of_list = self.list(&listed);
                self.removed += of_list.removed;
                left.insert(listed.id, of_list);
            }
        }
        drop(alone);
    }

    /// Takes dead rows out of one list. One that goes away meanwhile has its rows in others that are
    /// still to be looked at.
    fn list(&mut self, listed: &Listed) -> Left {
        let ivf = self.ivf;
        let mut left = Left::default();
        let mut block = listed.first;
        let mut steps = Steps::new();
        while block != 0 {
            delay_point();
            steps.step(ivf, block);
            let mut page = Exclusive::lock(ivf.index, block, self.access);
            let Visit::Page(found) = ivf.list_page(block, page.page(), listed.id) else {
                drop(page);
                ivf.check_gone(listed.id, block);
                return left;
            };
            block = found.next;
            let tids = found.tids();
            let dead: Vec<usize> = (0..tids.len())
                .filter(|&n| (self.is_dead)(tids[n]))
                .collect();
            let firsts = (0..found.count())
                .filter(|&n| !found.row(n).is_second)
                .count();
            let dead_firsts = dead.iter().filter(|&&n| !found.row(n).is_second).count();
            left.copies += (tids.len() - dead.len()) as u64;
            left.firsts += (firsts - dead_firsts) as u64;
            left.removed += dead_firsts as u64;
            if dead.is_empty() {
                continue;
            }
            let mut change = Change::begin(ivf.index, Logging::EachChange);
            let mut target = change.page(&mut page);
            let bytes = target.contents_bytes_mut(ivf.lists.contents_len());
            let mut writer = ListPageMut::new(bytes, &ivf.lists);
            for &row in dead.iter().rev() {
                writer.swap_remove(row);
            }
            change.commit();
        }
        left
    }

    /// Takes dead rows off vector pages, and records what pages have free.
    fn pages(&mut self) {
        let ivf = self.ivf;
        let mut strangers: Vec<(u32, ListId)> = Vec::new();
        let known: FxHashSet<ListId> = {
            let directory = Directory::now(ivf);
            directory.lists().iter().map(|listed| listed.id).collect()
        };
        let mut block = META_BLOCK + 1;
        while block < ivf.index.blocks() {
            delay_point();
            let mut page = Exclusive::lock(ivf.index, block, self.access);
            if page.page().is_new() {
                free_space_map::record(ivf.index, block, free_space_map::EMPTY_PAGE);
                block += 1;
                continue;
            }
            let (kind, list) = ivf.check(block, || {
                Opaque::of(page.page()).map(|(kind, opaque)| (kind, ListId(opaque.list)))
            });
            match kind {
                PageKind::Free => {
                    free_space_map::record(ivf.index, block, free_space_map::EMPTY_PAGE);
                }
                PageKind::Vectors => self.vectors(&mut page),
                PageKind::List if !known.contains(&list) => strangers.push((block, list)),
                _ => {}
            }
            block += 1;
        }
        if !strangers.is_empty() {
            self.free_strangers(&strangers);
        }
    }

    fn vectors(&mut self, page: &mut Exclusive) {
        let ivf = self.ivf;
        let block = page.block();
        let capacity = ivf.vectors.capacity();
        let (dead, free): (Vec<usize>, usize) = {
            let found = ivf.check(block, || VectorPage::of(page.page(), ivf.vectors));
            let slots = (0..capacity).filter_map(|slot| Some((slot, found.get(slot)?.0)));
            let dead = slots.filter(|&(_, tid)| (self.is_dead)(tid));
            (
                dead.map(|(slot, _)| slot).collect(),
                found.free_slots().count(),
            )
        };
        let free = free + dead.len();
        if free == capacity && !dead.is_empty() {
            ivf.free_page(Logging::EachChange, page);
            self.freed += 1;
            return;
        }
        if !dead.is_empty() {
            let mut change = Change::begin(ivf.index, Logging::EachChange);
            let mut target = change.page(page);
            let bytes = target.contents_bytes_mut(ivf.vectors.contents_len());
            let mut writer = VectorPageMut::new(bytes, ivf.vectors);
            for slot in dead {
                writer.free(slot);
            }
            change.commit();
        }
        free_space_map::record(ivf.index, block, free * ivf.vectors.slot_len());
    }

    /// Frees pages of lists that a crash or an ERROR left outside the directory: while nobody arranges
    /// lists, a list that is not there is not on its way into it.
    fn free_strangers(&mut self, strangers: &[(u32, ListId)]) {
        let ivf = self.ivf;
        let _alone = Alone::new(ivf);
        let directory = Directory::now(ivf);
        for &(block, list) in strangers {
            delay_point();
            if directory.position(list).is_some() {
                continue;
            }
            let mut page = Exclusive::lock(ivf.index, block, self.access);
            if let Visit::Page(_) = ivf.list_page(block, page.page(), list) {
                ivf.free_page(Logging::EachChange, &mut page);
                self.freed += 1;
            }
        }
    }
}

/// Writes lists with many holes anew, dissolves nearly empty ones, and divides what has grown too large
/// while nobody could. `rows` are left in the index.
fn tidy<F: Fn() -> TableReader>(ivf: &Ivf, table: &mut Table<F>, rows: f64) {
    let meta = read_meta(ivf.index);
    let sizes = Sizes::of(rows, meta.copies as usize, ivf.given_lists(&meta));
    let directory = Directory::now(ivf);
    let lists = directory.lists().len();
    for listed in directory.lists() {
        delay_point();
        let alone = Alone::new(ivf);
        let Some(entry) = ivf.entry(listed.id, listed.place) else {
            // arranged with a neighbour
            continue;
        };
        let Some(rows) = ivf.count(listed.id, entry.first) else {
            continue;
        };
        let found = Found {
            rows,
            undivided: entry.undivided as usize,
            room: entry.pages as usize * ivf.lists.capacity(),
        };
        let has_holes = (rows as f64) < LEAST_FILL * found.room as f64;
        let fate = |found| fate(sizes, found, lists);
        if has_holes && entry.pages > 1 && fate(found).is_none() {
            alone.compact(listed);
            continue;
        }
        if (rows as f64) < LEAST_FILL * entry.rows as f64 {
            alone.note_rows(listed.place, rows);
        }
        // to arrange it means to read its neighbours as well
        if has_holes && fate(found).is_some() {
            alone.arrange(listed.id, table, |_, found| fate(found));
        }
    }
}

/// What is to become of a list with holes, but for being written anew.
fn fate(sizes: Sizes, found: Found, lists: usize) -> Option<Fate> {
    if lists > 1 && sizes.is_too_small(found.rows, lists) {
        return Some(Fate::Dissolved);
    }
    sizes
        .is_too_large(found.rows, found.undivided)
        .then(|| Fate::Divided(sizes.parts(found.rows)))
}
