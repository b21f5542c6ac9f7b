//! Building an index: centroids from a sample of the table, then one pass over the table in which
//! threads find each row's lists and make its codes, then the pages of all lists in order.

use super::assign::{Assignment, Plan, row_of};
use super::directory::{self, NewList};
use super::index::{self, Ivf, META_BLOCK, change_meta, read_meta};
use super::options::Declared;
use super::{sample, shape};
use crate::am::filter::keys::FilterColumns;
use crate::ivf::format::{
    Code, Entry, ListId, ListPageMut, Meta, Method, Opaque, PageKind, RowForm, Shape,
};
use crate::pg::buffer::Exclusive;
use crate::pg::change::{Change, Logging};
use crate::pg::progress::{self, Phase};
use crate::pg::relation::Index;
use crate::pg::rows::Rows;
use crate::quantize::Centre;
use pgrx::pg_sys;

/// Lists from which rows are put into two of them.
const LEAST_LISTS_OF_PAIRS: usize = 8;

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    // SAFETY: as the server promises.
    unsafe { build(Method::Ivf, heap, index, info) }
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambuild_flat(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    // SAFETY: as the server promises.
    unsafe { build(Method::Ivfflat, heap, index, info) }
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    // SAFETY: the server passes an open index.
    build_empty(Method::Ivf, unsafe { Index::new(index) });
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty_flat(index: pg_sys::Relation) {
    // SAFETY: the server passes an open index.
    build_empty(Method::Ivfflat, unsafe { Index::new(index) });
}

#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(number: i64) -> *mut std::ffi::c_char {
    progress::phase_name(number).map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut())
}

/// # Safety
/// The arguments are what the server passes to `ambuild`.
unsafe fn build(
    method: Method,
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    // SAFETY: as promised by the caller.
    let (index, table) = unsafe {
        let index = Index::new(index);
        (index, Rows::new(heap, index, info))
    };
    let declared = Declared::of(index, method);
    let (_, shape) = shape::declared(index, method, &declared);
    let (heap_rows, index_rows) = fill(method, index, shape, &declared, table);
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    if index.needs_wal() {
        // SAFETY: all pages are standard and of this index.
        unsafe { pg_sys::log_newpage_range(index.raw(), fork, 0, index.blocks(), true) };
    }
    // SAFETY: allocates in the caller's context, or raises.
    unsafe {
        let result = pg_sys::palloc0(size_of::<pg_sys::IndexBuildResult>())
            .cast::<pg_sys::IndexBuildResult>();
        (*result).heap_tuples = heap_rows;
        (*result).index_tuples = index_rows as f64;
        result
    }
}

/// Writes the init fork of an unlogged index.
fn build_empty(method: Method, index: Index) {
    let fork = pg_sys::ForkNumber::INIT_FORKNUM;
    let declared = Declared::of(index, method);
    let (_, shape) = shape::declared(index, method, &declared);
    let shape = shape::without_rows(index, shape);
    write_meta_page(index, fork, Meta::new(method, &shape), |meta| {
        meta.seed = seed_of(&declared);
        meta.lists_are_given = declared.lists.is_some() as u8;
    });
    let ivf = Ivf::of_meta(index, shape, &meta_of_empty(method, &shape));
    let centroids = [Centroid::zero(&shape)];
    let mut lists = Writer::new(&ivf, fork);
    let written = vec![lists.write(std::iter::empty())];
    let directory = write_directory(&ivf, fork, &centroids, &written);
    set_meta(index, fork, |meta| {
        meta.directory = directory;
        (meta.lists, meta.next_list) = (1, 2);
    });
    // The init fork of an unlogged index outlives a crash, so it is logged always.
    // SAFETY: all pages are standard and of this index.
    unsafe { pg_sys::log_newpage_range(index.raw(), fork, 0, index.blocks_in(fork), true) };
}

fn seed_of(declared: &Declared) -> u64 {
    declared.seed.unwrap_or_else(|| fastrand::u64(1..))
}

/// A metapage as good as any to lay out the pages of an empty index.
fn meta_of_empty(method: Method, shape: &Shape) -> Meta {
    Meta {
        seed: 1,
        ..Meta::new(method, shape)
    }
}

/// Fills an index whose first page is still to be written. Returns the numbers of heap rows and of rows
/// indexed.
fn fill(
    method: Method,
    index: Index,
    shape: Shape,
    declared: &Declared,
    table: Rows,
) -> (f64, u64) {
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    let seed = seed_of(declared);
    progress::phase(Phase::SamplingTuples);
    let first = sample::first(table, &shape, seed);
    let shape = match first.queries.is_empty() {
        true => shape::without_rows(index, shape),
        false => shape,
    };
    write_meta_page(index, fork, Meta::new(method, &shape), |meta| {
        meta.seed = seed;
        meta.reach = first.reach;
        meta.lists_are_given = declared.lists.is_some() as u8;
    });
    if !first.centroid.is_empty() {
        let block = index::write_centroid(index, fork, &first.centroid);
        change_meta(index, Logging::AtEndOfBuild, |meta| meta.centroid = block);
    }
    let mut ivf = Ivf::of_meta(index, shape, &read_meta(index));

    let centroids = sample::centroids(&ivf, table, declared, &first, seed);
    if let RowForm::Codes(Code::Pq { segments, bits }) = shape.form {
        let bytes = sample::codebook(&ivf, table, &centroids, (segments, bits), seed);
        let block = index::write_codebook(index, &bytes);
        change_meta(index, Logging::AtEndOfBuild, |meta| {
            meta.codebook = block;
            meta.codebook_len = bytes.len() as u32;
        });
        ivf = Ivf::of_meta(index, shape, &read_meta(index));
    }
    let lists = centroids.len();
    let filters = shape.filters as usize;
    let is_coded = matches!(shape.form, RowForm::Codes(_));
    let copies = match is_coded && lists >= LEAST_LISTS_OF_PAIRS && declared.copies != Some(1) {
        true => 2,
        false => 1,
    };
    change_meta(index, Logging::AtEndOfBuild, |meta| meta.copies = copies);

    progress::phase(Phase::AssigningTuples);
    let plan = Plan {
        ivf: &ivf,
        centroids: &centroids,
        copies: copies as usize,
        queries: first.queries,
    };
    let mut assignment = Assignment::new(plan);
    let mut filter_columns = FilterColumns::of(index);
    let heap_rows = table.each_with_all(|row, tid| {
        // SAFETY: a non-NULL value of the indexed column.
        let value = unsafe { ivf.column.value(row.values[0]) };
        // SAFETY: values of the index's columns.
        assignment.add(&value, tid, unsafe { filter_columns.keys(row) });
    });
    let assigned = assignment.finish();

    progress::phase(Phase::WritingIndex);
    let mut writer = Writer::new(&ivf, fork);
    let mut written = Vec::with_capacity(lists);
    for list in 0..lists {
        pgrx::check_for_interrupts!();
        let records = assigned.rows.list(list);
        written.push(writer.write(records.map(|record| row_of(record, filters))));
    }
    let centroids = centroids.to_entries(&ivf);
    let block = write_directory(&ivf, fork, &centroids, &written);
    change_meta(index, Logging::AtEndOfBuild, |meta| {
        meta.directory = block;
        meta.lists = lists as u32;
        meta.next_list = lists as u32 + 1;
        meta.rows = assigned.count;
        let curve = &assigned.curve;
        meta.curve[..curve.len()].copy_from_slice(curve);
        meta.curve_points = curve.len() as u32;
        meta.calibrated_rows = assigned.count;
        meta.calibrated_lists = lists as u32;
        meta.vector_page = assigned.vector_page;
    });
    (heap_rows, assigned.count)
}

/// Writes block 0, unlogged.
fn write_meta_page(
    index: Index,
    fork: pg_sys::ForkNumber::Type,
    meta: Meta,
    set: impl FnOnce(&mut Meta),
) {
    let mut page = Exclusive::extend(index, fork);
    assert_eq!(
        page.block(),
        META_BLOCK,
        "the metapage is the first page of an index"
    );
    let mut change = Change::begin(index, Logging::AtEndOfBuild);
    let mut target = change.new_page(&mut page, &Opaque::new(PageKind::Meta));
    let contents = target.contents_mut::<Meta>();
    *contents = meta;
    set(contents);
    change.commit();
}

/// Changes the metapage of a fork, unlogged.
fn set_meta(index: Index, fork: pg_sys::ForkNumber::Type, set: impl FnOnce(&mut Meta)) {
    let mut page = Exclusive::lock_in(index, fork, META_BLOCK);
    let mut change = Change::begin(index, Logging::AtEndOfBuild);
    set(change.page(&mut page).contents_mut::<Meta>());
    change.commit();
}

/// A list's centroid as the directory keeps it.
pub struct Centroid {
    /// its factors
    pub centre: Centre,
    /// its bytes
    pub bytes: Vec<u8>,
}

impl Centroid {
    /// The origin of the index's space.
    fn zero(shape: &Shape) -> Centroid {
        Centroid {
            centre: Centre::default(),
            bytes: vec![0; shape.centroid_len()],
        }
    }
}

/// Where a list was written.
struct Written {
    first: u32,
    last: u32,
    rows: u32,
}

/// Writes lists to new pages, one after the other.
struct Writer<'a> {
    ivf: &'a Ivf,
    fork: pg_sys::ForkNumber::Type,
    next_block: u32,
    next_list: u32,
    done: u64,
}

impl<'a> Writer<'a> {
    fn new(ivf: &'a Ivf, fork: pg_sys::ForkNumber::Type) -> Self {
        Writer {
            ivf,
            fork,
            next_block: ivf.index.blocks_in(fork),
            next_list: 1,
            done: 0,
        }
    }

    /// Writes the next list; it gets one page at least.
    fn write<'r>(
        &mut self,
        rows: impl Iterator<Item = crate::ivf::format::ListRow<'r>>,
    ) -> Written {
        let (ivf, list) = (self.ivf, ListId(self.next_list));
        self.next_list += 1;
        let mut rows = rows.peekable();
        let mut written = Written {
            first: self.next_block,
            last: self.next_block,
            rows: 0,
        };
        loop {
            let mut page = Exclusive::extend(ivf.index, self.fork);
            assert_eq!(
                page.block(),
                self.next_block,
                "nobody else extends an index being built"
            );
            self.next_block += 1;
            let mut change = Change::begin(ivf.index, Logging::AtEndOfBuild);
            let mut target = change.new_page(&mut page, &Opaque::of_list(list));
            let bytes = target.contents_bytes_mut(ivf.lists.contents_len());
            let mut writer = ListPageMut::new(bytes, &ivf.lists);
            for _ in 0..ivf.lists.capacity() {
                let Some(row) = rows.next() else { break };
                writer.push(&row);
                written.rows += 1;
            }
            written.last = page_of(self.next_block);
            let is_last = rows.peek().is_none();
            if !is_last {
                target.special_mut::<Opaque>().next = self.next_block;
            }
            change.commit();
            if is_last {
                self.done += written.rows as u64;
                progress::tuples_done(self.done);
                return written;
            }
        }
    }
}

/// The page written last.
fn page_of(next_block: u32) -> u32 {
    next_block - 1
}

fn write_directory(
    ivf: &Ivf,
    fork: pg_sys::ForkNumber::Type,
    centroids: &[Centroid],
    written: &[Written],
) -> u32 {
    let written_lists = written.len();
    let lists = centroids.iter().zip(written).enumerate();
    directory::write(
        ivf,
        fork,
        lists.map(|(n, (centroid, written))| NewList {
            entry: Entry {
                list: n as u32 + 1,
                first: written.first,
                last: written.last,
                // what k-means over all rows left as large is not to be divided by the first insert
                undivided: if written_lists > 1 { written.rows } else { 0 },
                pages: written.last - written.first + 1,
                rows: written.rows,
                reserved: 0,
                centre: centroid.centre,
            },
            centroid: &centroid.bytes,
        }),
    )
}
