//! Lists arranged anew: one that has outgrown its size is divided together with its neighbours, one that is
//! nearly empty leaves its rows to them, one with holes is written anew.
//!
//! Lists are never changed but by adding rows and by taking out dead ones. To arrange some anew means to
//! write new lists with new numbers, enter them in the directory, take the old ones out of it, and free
//! their pages, in this order: whatever a scan has read of the directory, every row is in a list that it
//! knows, or it comes to a page that is not its list's any more and begins anew. A crash leaves what the
//! table in `src/ivf/growth.md` says.
//!
//! One session at a time does it in an index (a heavyweight lock on the metapage's number), with all lists
//! concerned to itself. Nobody waits for the one while holding the other.

use super::build::Centroid;
use super::directory::{Directory, EntryPlace};
use super::index::{Ivf, META_BLOCK, change_meta, raise_damaged, read_meta};
use super::measure;
use super::place::{Placer, centroids};
use super::sample::{Centroids, Scratch, memory, push_row};
use super::storage::{ListLock, Size, Steps, Visit};
use crate::cluster::Rows;
use crate::hnsw::format::RawTid;
use crate::ivf::format::{
    Entries, EntriesMut, Entry, Keys, ListId, ListPageMut, ListRow, Meta, Opaque, PageKind,
    RowForm, VectorAddress, VectorPage,
};
use crate::ivf::grow::{AROUND, Arrangement, Fate, Held, NEIGHBOURS, Placed, Pool, Sizes, arrange};
use crate::page::Damage;
use crate::pg::buffer::{Access, Change, Exclusive, Logging, Shared};
use crate::pg::heap::TableReader;
use crate::pg::relation::Turnstile;
use crate::quantize::{Compact, CompactRef, ListEncoder, ListFactors, Rotated};
use pgrx::pg_sys;
use rustc_hash::FxHashMap;

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

/// A table that is opened when the first value of it is needed.
pub struct Table<F> {
    open: F,
    reader: Option<TableReader>,
}

impl<F: Fn() -> TableReader> Table<F> {
    /// A table that `open` opens.
    pub fn new(open: F) -> Self {
        Table { open, reader: None }
    }

    /// The reader.
    pub fn reader(&mut self) -> &mut TableReader {
        self.reader.get_or_insert_with(&self.open)
    }

    /// Closes the table.
    pub fn end(self) {
        if let Some(reader) = self.reader {
            reader.end();
        }
    }
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
        pooled.fetch(ivf, &members, directory, table);
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

    /// Notes the size of a list that cannot be divided, so that it is not looked at again too soon.
    fn note_undivided(&self, member: &Member, rows: usize) {
        self.change_entries(member.place.block, None, |entries| {
            let entry = entries.entry(member.place.slot);
            (entry.rows, entry.undivided) = (rows as u32, rows as u32);
        });
    }

    /// Notes how many copies a list has.
    pub fn note_rows(&self, place: EntryPlace, rows: usize) {
        self.change_entries(place.block, None, |entries| {
            let entry = entries.entry(place.slot);
            (entry.rows, entry.undivided) = (rows as u32, 0);
        });
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
            lists.push((writer.write(id, centroid, rows), centroid));
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

    /// Changes a page of the directory, and with `lists` the metapage: the number of lists changes by so
    /// many, and the directory has a new generation.
    fn change_entries(
        &self,
        block: u32,
        lists: Option<i32>,
        change: impl FnOnce(&mut EntriesMut<'_>),
    ) {
        let ivf = self.ivf;
        let mut page = Exclusive::lock(ivf.index, block, Access::Random);
        ivf.check(block, || Entries::of(page.page(), ivf.entries).map(drop));
        let mut meta = lists.map(|_| Exclusive::lock(ivf.index, META_BLOCK, Access::Random));
        let mut log = Change::begin(ivf.index, Logging::EachChange);
        let mut target = log.page(&mut page);
        let bytes = target.contents_bytes_mut(ivf.entries.contents_len());
        change(&mut EntriesMut::new(bytes, ivf.entries));
        if let (Some(meta), Some(lists)) = (&mut meta, lists) {
            ivf.check(META_BLOCK, || Meta::of(meta.page()).map(drop));
            let mut target = log.page(meta);
            let contents = target.contents_mut::<Meta>();
            contents.generation = contents.generation.wrapping_add(1);
            contents.lists = contents.lists.saturating_add_signed(lists);
        }
        log.commit();
    }

    /// Enters lists in the directory: in free slots of its pages, and of new ones.
    fn enter(&self, lists: &[(Entry, &Centroid)], copies: usize) {
        let ivf = self.ivf;
        let mut rest = lists;
        let mut block = read_meta(ivf.index).directory;
        while !rest.is_empty() {
            let mut page = Exclusive::lock(ivf.index, block, Access::Random);
            let (room, next) = ivf.check(block, || {
                let entries = Entries::of(page.page(), ivf.entries)?;
                Ok((
                    ivf.entries.capacity() - entries.iter().count(),
                    entries.next,
                ))
            });
            if room == 0 && next != 0 {
                block = next;
                continue;
            }
            let mut new = (room == 0).then(|| ivf.take_page());
            let mut meta = Exclusive::lock(ivf.index, META_BLOCK, Access::Random);
            ivf.check(META_BLOCK, || Meta::of(meta.page()).map(drop));
            let mut log = Change::begin(ivf.index, Logging::EachChange);
            let mut target = log.page(&mut page);
            if let Some(new) = &mut new {
                block = new.block();
                target.special_mut::<Opaque>().next = block;
                target = log.new_page(new, &Opaque::new(PageKind::Directory));
            }
            let bytes = target.contents_bytes_mut(ivf.entries.contents_len());
            let mut entries = EntriesMut::new(bytes, ivf.entries);
            let before = rest.len();
            while let Some(((entry, centroid), others)) = rest.split_first()
                && entries.add(entry, &centroid.bytes).is_some()
            {
                rest = others;
            }
            let mut target = log.page(&mut meta);
            let contents = target.contents_mut::<Meta>();
            contents.generation = contents.generation.wrapping_add(1);
            contents.lists += (before - rest.len()) as u32;
            contents.copies = contents.copies.max(copies as u8);
            log.commit();
            if new.is_none() {
                block = next;
                if next == 0 && !rest.is_empty() {
                    block = page.block();
                }
            }
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

/// Gives back the pages of a list that is not in the directory any more.
pub fn free_chain(ivf: &Ivf, list: ListId, first: u32) {
    let mut block = first;
    while block != 0 {
        let mut page = Exclusive::lock(ivf.index, block, Access::Random);
        let next = match ivf.list_page(block, page.page(), list) {
            Visit::Page(found) => found.next,
            Visit::Gone => return,
        };
        ivf.free_page(Logging::EachChange, &mut page);
        block = next;
    }
}

fn key(tid: RawTid) -> u64 {
    (tid.block_hi as u64) << 32 | (tid.block_lo as u64) << 16 | tid.offset as u64
}

/// A row whose copies are arranged.
struct Row {
    tid: RawTid,
    address: VectorAddress,
    norm_squared: f32,
    /// the error of its code
    error: f32,
    /// which member it was found in
    member: usize,
    /// its vector could not be read any more
    is_lost: bool,
}

/// Rows of the lists that are arranged.
struct Pooled {
    rows: Vec<Row>,
    held: Vec<Held>,
    of_cause: Vec<u32>,
    by_tid: FxHashMap<u64, u32>,
    /// of all rows, one for each filter column
    keys: Vec<u64>,
    /// values, where lists keep values
    values: Vec<u8>,
    value_len: usize,
    vectors: Rows,
}

impl Pooled {
    fn new(ivf: &Ivf) -> Pooled {
        Pooled {
            rows: Vec::new(),
            held: Vec::new(),
            of_cause: Vec::new(),
            by_tid: FxHashMap::default(),
            keys: Vec::new(),
            values: Vec::new(),
            value_len: ivf.shape.row_len as usize,
            vectors: Rows::new(ivf.shape.dims as usize),
        }
    }

    /// Reads the copies of a list.
    fn read(&mut self, ivf: &Ivf, member: &Member, is_cause: bool) {
        let mut block = member.entry.first;
        let mut steps = Steps::new();
        while block != 0 {
            pgrx::check_for_interrupts!();
            steps.step(ivf, block);
            let page = Shared::read(ivf.index, block, Access::Random);
            let Visit::Page(page) = ivf.list_page(block, page.page(), member.id) else {
                raise_damaged(
                    ivf.index,
                    block,
                    Damage("page of another list than its chain"),
                );
            };
            for n in 0..page.count() {
                self.add(ivf, &page.row(n), member, is_cause);
            }
            block = page.next;
        }
    }

    fn add(&mut self, ivf: &Ivf, row: &ListRow<'_>, member: &Member, is_cause: bool) {
        let new = self.rows.len() as u32;
        let at = *self.by_tid.entry(key(row.tid)).or_insert(new);
        if at == new {
            self.rows.push(Row {
                tid: row.tid,
                address: row.address,
                norm_squared: row.norm_squared,
                error: row.factors.error,
                member: member.at,
                is_lost: false,
            });
            self.held.push(match row.is_second {
                true => Held::Second,
                false => Held::First,
            });
            self.keys.extend(row.keys.iter());
            if ivf.keeps_values() {
                self.values.extend_from_slice(&row.code[..self.value_len]);
            }
        } else if (self.held[at as usize] == Held::Second) != row.is_second {
            self.held[at as usize] = Held::Both;
        }
        if is_cause && self.of_cause.last() != Some(&at) {
            self.of_cause.push(at);
        }
    }

    /// Gets the vectors of all rows: from vector pages, from lists, or from the table.
    fn fetch<F: Fn() -> TableReader>(
        &mut self,
        ivf: &Ivf,
        members: &[Member],
        directory: &Directory,
        table: &mut Table<F>,
    ) {
        let _ = members;
        let mut scratch = Scratch::default();
        let column = ivf.column;
        for n in 0..self.rows.len() {
            pgrx::check_for_interrupts!();
            let row = &mut self.rows[n];
            let vectors = &mut self.vectors;
            if ivf.keeps_values() {
                let payload = &self.values[n * self.value_len..][..self.value_len];
                push_row(ivf.codec.as_deref(), column, payload, &mut scratch, vectors);
                continue;
            }
            if let Some((block, slot)) = row.address.place() {
                let page = Shared::read(ivf.index, block, Access::Random);
                let page = ivf.check(block, || VectorPage::of(page.page(), ivf.vectors));
                match page.get(slot) {
                    Some((tid, compact)) if tid == row.tid => vectors.push(compact),
                    _ => raise_damaged(ivf.index, block, Damage("no vector of a row")),
                }
                continue;
            }
            let fetched = table.reader().fetch(row.tid, |datum| {
                // SAFETY: a non-NULL value of the indexed column.
                let value = unsafe { column.value(datum) };
                push_row(
                    ivf.codec.as_deref(),
                    column,
                    value.payload(),
                    &mut scratch,
                    vectors,
                );
            });
            if fetched.is_none() {
                // dead for everybody here, but perhaps not for a standby's queries: it stays, as near
                // as is known where it was
                row.is_lost = true;
                let centre = directory.centre(row.member);
                let centre = centre.expect("lists with codes have centroids in codes");
                vectors.push_scaled(centre.factors.scale, centre.code);
            }
        }
    }
}

/// Writes new lists.
struct Writer<'a> {
    ivf: &'a Ivf,
    pooled: &'a Pooled,
    rotated: Rotated,
    encoder: ListEncoder,
    code: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(ivf: &'a Ivf, pooled: &'a Pooled) -> Self {
        Writer {
            ivf,
            pooled,
            rotated: Rotated::default(),
            encoder: ListEncoder::default(),
            code: Vec::new(),
        }
    }

    /// Writes a list to free or new pages, the last first, so that each leads to one that is there.
    fn write(&mut self, id: ListId, centroid: &Centroid, rows: &[Placed]) -> Entry {
        let ivf = self.ivf;
        let mut entry = Entry {
            list: id.0,
            first: 0,
            last: 0,
            undivided: 0,
            pages: 0,
            rows: rows.len() as u32,
            reserved: 0,
            centre: centroid.centre,
        };
        let capacity = ivf.lists.capacity();
        let pages = rows.len().div_ceil(capacity).max(1);
        for n in (0..pages).rev() {
            let rows = rows.get(n * capacity..).unwrap_or_default();
            let mut page = ivf.take_page();
            let mut opaque = Opaque::of_list(id);
            opaque.next = entry.first;
            let mut change = Change::begin(ivf.index, Logging::EachChange);
            let mut target = change.new_page(&mut page, &opaque);
            let bytes = target.contents_bytes_mut(ivf.lists.contents_len());
            let mut list = ListPageMut::new(bytes, &ivf.lists);
            for &placed in rows.iter().take(capacity) {
                self.encode(placed, centroid, |row| list.push(row));
            }
            change.commit();
            entry.first = page.block();
            if entry.last == 0 {
                entry.last = entry.first;
            }
            entry.pages += 1;
        }
        entry
    }

    fn encode(
        &mut self,
        placed: Placed,
        centroid: &Centroid,
        push: impl FnOnce(&ListRow<'_>) -> bool,
    ) {
        let (ivf, n) = (self.ivf, placed.row as usize);
        let row = &self.pooled.rows[n];
        let filters = ivf.lists.filters();
        let keys = &self.pooled.keys[n * filters..][..filters];
        let mut list_row = ListRow {
            tid: row.tid,
            is_second: placed.is_second,
            factors: ListFactors::default(),
            address: row.address,
            norm_squared: row.norm_squared,
            keys: Keys::of(bytemuck::cast_slice(keys)),
            code: &[],
        };
        match ivf.shape.form {
            RowForm::Codes(_) => {
                let vectors = &self.pooled.vectors;
                let compact = CompactRef {
                    factors: Compact {
                        scale: vectors.scale(n),
                        ..Compact::default()
                    },
                    code: vectors.code(n),
                };
                ivf.codec().decode(compact, &mut self.rotated);
                self.code.resize(ivf.shape.row_len as usize, 0);
                let centre = crate::quantize::CentreRef {
                    factors: centroid.centre,
                    code: bytemuck::cast_slice(&centroid.bytes),
                };
                list_row.factors = ivf.coding().encode(
                    ivf.codec(),
                    centre,
                    &self.rotated,
                    &mut self.encoder,
                    &mut self.code,
                );
                if row.is_lost {
                    list_row.factors.error = list_row.factors.error.max(row.error);
                }
                list_row.code = &self.code;
            }
            RowForm::Values => {
                let len = self.pooled.value_len;
                list_row.code = &self.pooled.values[n * len..][..len];
            }
        }
        let has_room = push(&list_row);
        assert!(has_room, "a page takes as many rows as it has room for");
    }
}
