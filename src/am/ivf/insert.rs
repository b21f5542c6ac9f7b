//! Insert of one row into the list of the nearest centroid.

use super::directory::{Directory, Target};
use super::index::{self, Ivf, META_BLOCK, change_meta, raise_damaged};
use crate::distance::Value;
use crate::hnsw::format::RawTid;
use crate::ivf::format::{
    ListRow, Meta, Opaque, PageKind, RowForm, VectorAddress, VectorPage, VectorPageMut,
};
use crate::page::Damage;
use crate::pg::buffer::{Access, Change, Exclusive, Logging};
use crate::pg::relation::Index;
use crate::pg::rows::raw_tid;
use crate::quantize::{CompactRef, ListEncoder, ListFactors, Rotated};
use pgrx::pg_sys::{self, Datum};

#[allow(clippy::too_many_arguments, reason = "the server's signature")]
#[pgrx::pg_guard]
pub unsafe extern "C-unwind" fn aminsert(
    index: pg_sys::Relation,
    values: *mut Datum,
    isnull: *mut bool,
    heap_tid: pg_sys::ItemPointer,
    _heap: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    _index_unchanged: bool,
    _info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: the server passes an open index with one value for each column, and a valid TID.
    let (index, value, tid) = unsafe {
        if *isnull {
            return false;
        }
        (Index::new(index), *values, raw_tid(heap_tid))
    };
    let (ivf, meta) = Ivf::open(index);
    // SAFETY: a non-NULL value of the indexed column.
    let value = unsafe { ivf.column.value(value) };
    if ivf.column.is_indexable(&value) {
        insert(&ivf, &meta, &value, tid);
    }
    false
}

fn insert(ivf: &Ivf, meta: &Meta, value: &Value, tid: RawTid) {
    let mut rotated = Rotated::default();
    let mut floats = Vec::new();
    let mut address = VectorAddress::NONE;
    let query = ivf.codec.as_ref().map(|codec| {
        index::floats_of(ivf.column, value.payload(), &mut floats);
        codec.rotate(&floats, &mut rotated);
        codec.query(&floats)
    });
    if ivf.shape.has_addresses() {
        let mut code = vec![0; ivf.shape.dims as usize];
        let factors = ivf.codec().encode_rotated(&rotated, &mut code);
        let compact = CompactRef {
            factors,
            code: &code,
        };
        address = put_vector(ivf, meta, tid, compact);
    }
    let mut distances = Vec::new();
    loop {
        pgrx::check_for_interrupts!();
        let directory = Directory::now(ivf);
        let target = match &query {
            Some(query) => Target::Query(query),
            None => Target::Bits(value),
        };
        directory.distances(ivf, &target, &mut distances);
        let nearest = (0..distances.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        let Some(at) = nearest else {
            raise_damaged(ivf.index, META_BLOCK, Damage("an index without a list"));
        };
        let mut code = Vec::new();
        let factors = match (ivf.shape.form, directory.centre(at)) {
            (RowForm::Codes(quantizer), Some(centre)) => {
                code.resize(ivf.shape.row_len as usize, 0);
                let encoder = &mut ListEncoder::default();
                ivf.codec()
                    .encode_in(centre, &rotated, quantizer, encoder, &mut code)
            }
            _ => {
                code.extend_from_slice(value.payload());
                ListFactors::default()
            }
        };
        let row = ListRow {
            tid,
            is_second: false,
            factors,
            address,
            norm_squared: value.operand().norm_squared,
            code: &code,
        };
        let listed = directory.lists()[at];
        let added = ivf.append(Logging::EachChange, listed.id, listed.place, &row);
        if added.is_some() {
            return;
        }
    }
}

/// Keeps a row's compact code.
fn put_vector(ivf: &Ivf, meta: &Meta, tid: RawTid, compact: CompactRef<'_>) -> VectorAddress {
    let layout = ivf.vectors;
    if meta.vector_page != 0 {
        let block = meta.vector_page;
        let mut page = Exclusive::lock(ivf.index, block, Access::Random);
        let slot = ivf.check(block, || {
            let (kind, _) = Opaque::of(page.page())?;
            if kind != PageKind::Vectors {
                return Ok(None);
            }
            Ok(VectorPage::of(page.page(), layout)?.free_slots().next())
        });
        if let Some(slot) = slot {
            let mut change = Change::begin(ivf.index, Logging::EachChange);
            let mut target = change.page(&mut page);
            let bytes = target.contents_bytes_mut(layout.contents_len());
            VectorPageMut::new(bytes, layout).set(slot, tid, compact);
            change.commit();
            return VectorAddress::new(block, slot);
        }
    }
    let mut page = ivf.take_page();
    let block = page.block();
    let mut change = Change::begin(ivf.index, Logging::EachChange);
    let mut target = change.new_page(&mut page, &Opaque::new(PageKind::Vectors));
    let bytes = target.contents_bytes_mut(layout.contents_len());
    VectorPageMut::new(bytes, layout).set(0, tid, compact);
    change.commit();
    drop(page);
    change_meta(ivf.index, Logging::EachChange, |meta| {
        meta.vector_page = block;
    });
    VectorAddress::new(block, 0)
}
