//! Lists arranged anew: one that has outgrown its size is divided together with its neighbours, one that is
//! nearly empty leaves its rows to them, one with holes is written anew as it is.
//!
//! Lists are never changed but by adding rows and by taking out dead ones. To arrange some anew means to
//! write new lists with new numbers, enter them in the directory, take the old ones out of it, and free
//! their pages, in this order: whatever a scan has read of the directory, every row is in a list that it
//! knows, or it comes to a page that is not its list's any more and begins anew. A crash leaves what the
//! table in `src/ivf/growth.md` says.
//!
//! One session at a time does it in an index (a heavyweight lock on the metapage's number), with all lists
//! concerned to itself. Nobody waits for the one while holding the other.

mod compact;
mod enter;
mod gather;
mod write;

use super::build::Centroid;
use super::directory::{Directory, EntryPlace};
use super::index::{Ivf, META_BLOCK, change_meta, read_meta};
use super::measure;
use super::place::{Placer, centroids};
use super::sample::{Centroids, memory};
use super::storage::{ListLock, Size, Visit};
use crate::cluster::Rows;
use crate::ivf::format::{Entry, ListId};
use crate::ivf::grow::{AROUND, Arrangement, Fate, NEIGHBOURS, Pool, Sizes, arrange};
use crate::pg::buffer::{Access, Exclusive, free_space_map};
use crate::pg::change::Logging;
use crate::pg::heap::TableReader;
use crate::pg::relation::Turnstile;
use gather::Pooled;
use pgrx::pg_sys;
use write::Writer;

pub use gather::Table;

/// Lists from which rows are put into two of them.
pub const LEAST_LISTS_OF_PAIRS: usize = 8;

/// Divides a list that has outgrown its size, unless somebody else arranges lists of the index.
///
/// # Safety
/// `heap` is the index's table, open like the index.
pub unsafe fn divide(ivf: &Ivf, list: ListId, heap: pg_sys::Relation) {
    let Some(alone) = Alone::try_new(ivf) else {
        return;
    };
    let open = || {
        // SAFETY: as promised by the caller.
        unsafe { TableReader::new(heap, ivf.index) }
    };
    let mut table = Table::new(open);
    alone.arrange(list, &mut table, |sizes, size| {
        sizes
            .is_too_large(size.rows, size.undivided)
            .then(|| Fate::Divided(sizes.parts(size.rows)))
    });
    drop(alone);
    if measure::is_outgrown(&read_meta(ivf.index)) {
        measure::measure(ivf, &mut table);
    }
    table.end();
}

/// The right to arrange the lists of an index anew, which one session has at a time.
pub struct Alone<'a> {
    ivf: &'a Ivf,
    #[allow(dead_code, reason = "held until drop")]
    lock: Turnstile,
}

/// A list to be arranged.
struct Member {
    id: ListId,
    place: EntryPlace,
    /// its position in the directory
    at: usize,
    entry: Entry,
    #[allow(dead_code, reason = "held until drop")]
    lock: ListLock,
}

/// How large a list was found.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// copies in it, about
    pub rows: usize,
    /// copies when it could not be divided, or 0
    pub undivided: usize,
    /// copies that its pages have room for
    pub room: usize,
}

impl<'a> Alone<'a> {
    /// Unless somebody else has it.
    pub fn try_new(ivf: &'a Ivf) -> Option<Self> {
        let lock = Turnstile::try_lock(ivf.index, META_BLOCK, pg_sys::ExclusiveLock)?;
        Some(Alone { ivf, lock })
    }

    /// As soon as nobody else has it.
    pub fn new(ivf: &'a Ivf) -> Self {
        let lock = Turnstile::lock(ivf.index, META_BLOCK, pg_sys::ExclusiveLock);
        Alone { ivf, lock }
    }

    /// Arranges a list and its neighbours anew, if `decide` says what is to become of it, once its size
    /// is known. False where nothing was changed.
    pub fn arrange<F: Fn() -> TableReader>(
        &self,
        list: ListId,
        table: &mut Table<F>,
        decide: impl FnOnce(Sizes, Found) -> Option<Fate>,
    ) -> bool {
        let ivf = self.ivf;
        let meta = read_meta(ivf.index);
        let placer = Placer::of(ivf, &meta);
        let directory = &placer.directory;
        let Some(cause) = directory.position(list) else {
            return false;
        };
        let order = nearest(&placer.centroids, cause);
        let about = placer.sizes(ivf, &meta, &[]);
        let Some(members) = self.members(directory, &order, about) else {
            return false;
        };
        let mut pooled = Pooled::new(ivf);
        for (n, member) in members.iter().enumerate() {
            pooled.read(ivf, member, n == 0);
        }
        let count = pooled.of_cause.len();
        let found = Found {
            rows: count,
            undivided: members[0].entry.undivided as usize,
            room: members[0].entry.pages as usize * ivf.lists.capacity(),
        };
        let size = Size {
            rows: count,
            undivided: found.undivided,
        };
        let sizes = placer.sizes(ivf, &meta, &[(list, size)]);
        let Some(fate) = decide(sizes, found) else {
            return false;
        };
        pooled.fetch(ivf, directory, table);
        let around = order.iter().skip(members.len()).take(AROUND).copied();
        let is_whole = members.len() == directory.lists().len();
        let has_pairs = match fate {
            _ if meta.copies > 1 => true,
            _ if !ivf.may_have_pairs(&meta) => false,
            Fate::Divided(parts) => is_whole && members.len() + parts > LEAST_LISTS_OF_PAIRS,
            _ => false,
        };
        let pool = Pool {
            centroids: &centroids(ivf, directory, members.iter().map(|member| member.at)),
            cause: (0, fate),
            rows: &pooled.vectors,
            held: &pooled.held,
            of_cause: &pooled.of_cause,
            around: &centroids(ivf, directory, around),
            is_whole,
            copies: if has_pairs { 2 } else { 1 },
            seed: meta.seed ^ meta.next_list as u64,
            sphere: ivf.sphere(),
        };
        let Some(arrangement) = arrange(&pool) else {
            self.note_undivided(&members[0], count);
            return false;
        };
        self.replace(&members, &pooled, arrangement, pool.copies);
        true
    }

    /// Locks a list and those of its neighbours that are arranged with it. `None` where the list is gone.
    fn members(&self, directory: &Directory, order: &[usize], sizes: Sizes) -> Option<Vec<Member>> {
        let ivf = self.ivf;
        let per_row = Rows::memory(ivf.shape.dims as usize, 1) + ivf.shape.row_len as usize + 64;
        let most = sizes.most_at_once().min(memory() / per_row);
        let mut copies = 0;
        let mut members = Vec::new();
        for &at in order.iter().take(NEIGHBOURS + 1) {
            let listed = &directory.lists()[at];
            let Some(entry) = ivf.entry(listed.id, listed.place) else {
                // nobody else takes lists out of the directory
                return None;
            };
            copies += (entry.pages as usize) * ivf.lists.capacity();
            if copies > most && !members.is_empty() {
                break;
            }
            members.push(Member {
                id: listed.id,
                place: listed.place,
                at,
                entry,
                lock: ListLock::alone(ivf, listed.id),
            });
        }
        Some(members)
    }

    fn replace(
        &self,
        members: &[Member],
        pooled: &Pooled,
        arrangement: Arrangement,
        copies: usize,
    ) {
        let ivf = self.ivf;
        let new = Centroids {
            rows: arrangement.centroids,
        };
        let entries = new.to_entries(ivf);
        let mut first_id = 0;
        change_meta(ivf.index, Logging::EachChange, |meta| {
            first_id = meta.next_list;
            meta.next_list += entries.len() as u32;
        });
        let mut writer = Writer::new(ivf, pooled);
        let mut lists: Vec<(Entry, &Centroid)> = Vec::new();
        for ((n, rows), centroid) in arrangement.lists.iter().enumerate().zip(&entries) {
            pgrx::check_for_interrupts!();
            let id = ListId(first_id + n as u32);
            let mut entry = writer.write(id, centroid, rows);
            // what a build left as large stays so: else each division of a list would be followed by those of its
            // neighbours
            entry.undivided = members
                .get(n + 1)
                .map_or(0, |member| member.entry.undivided);
            lists.push((entry, centroid));
        }
        self.enter(&lists, copies);
        for member in members {
            self.change_entries(member.place.block, Some(-1), |entries| {
                entries.free(member.place.slot);
            });
        }
        for member in members {
            free_chain(ivf, member.id, member.entry.first);
        }
    }
}

/// Positions of all lists, nearest to the one at `cause` first.
fn nearest(all: &Rows, cause: usize) -> Vec<usize> {
    let distance = |at: usize| all.product(at, all, at) - 2.0 * all.product(at, all, cause);
    let mut order: Vec<(f32, usize)> = (0..all.len())
        .map(|at| match at == cause {
            true => (f32::NEG_INFINITY, at),
            false => (distance(at), at),
        })
        .collect();
    let most = NEIGHBOURS + 1 + AROUND;
    if order.len() > most {
        order.select_nth_unstable_by(most - 1, |a, b| a.0.total_cmp(&b.0));
        order.truncate(most);
    }
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order.into_iter().map(|(_, at)| at).collect()
}

/// Gives back the pages of a list that is not in the directory any more, for the lists that are written next: an
/// index that grows would else be ten times as large as its lists until VACUUM.
pub fn free_chain(ivf: &Ivf, list: ListId, first: u32) {
    let mut block = first;
    let mut freed = first..=first;
    while block != 0 {
        let mut page = Exclusive::lock(ivf.index, block, Access::Random);
        let next = match ivf.list_page(block, page.page(), list) {
            Visit::Page(found) => found.next,
            Visit::Gone => break,
        };
        ivf.free_page(Logging::EachChange, &mut page);
        freed = block.min(*freed.start())..=block.max(*freed.end());
        block = next;
    }
    free_space_map::publish_some(ivf.index, freed);
}
