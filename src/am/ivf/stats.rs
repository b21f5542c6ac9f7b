//! `ivf_index_stats(regclass)`: what an index holds and where its bytes are, page by page.

use super::index::{Ivf, META_BLOCK};
use super::options::Settings;
use crate::hnsw::format::RawTid;
use crate::ivf::calibrate;
use crate::ivf::format::{
    Entries, ListPage, Meta, Opaque, PageKind, Rerank, RowForm, VectorAddress, VectorPage,
};
use crate::page::{HEADER, PageView};
use crate::pg::array::build_real;
use crate::pg::buffer::{Access, PAGE_SIZE, Shared, Strategy};
use crate::pg::fmgr::{Call, float4, int4, int8};
use crate::pg::readable::Readable;
use crate::pg::varlena::text;
use crate::pg_fn;
use crate::quantize::Compact;
use pgrx::pg_sys::Datum;
use rustc_hash::FxHashMap;

pg_fn! {
    /// `ivf_index_stats(regclass)`; raises what [`Readable::open`] does.
    fn ivf_index_stats(call) {
        let oid = (call.arg(0).value() as u32).into();
        let readable = Readable::open(oid, "ivf", super::is_ours);
        let (ivf, meta) = Ivf::open(readable.index());
        let mut stats = Stats::default();
        stats.read(&ivf);
        stats.row(call, &ivf, &meta)
    }
}

#[derive(Default)]
struct Stats {
    /// rows of lists, by list
    lists: FxHashMap<u32, u64>,
    /// copies that are a row's only or first one
    rows: u64,
    copies: u64,
    pages: u64,
    /// codes with their factors, or values
    code_bytes: u64,
    /// compact codes with their factors
    vector_bytes: u64,
    tuple_bytes: u64,
    directory_bytes: u64,
    free_bytes: u64,
}

impl Stats {
    /// Reads every page once, through a small ring of buffers.
    fn read(&mut self, ivf: &Ivf) {
        let access = Access::Sequential(Strategy::bulk_read());
        self.pages = ivf.index.blocks() as u64;
        for block in 1..ivf.index.blocks() {
            pgrx::check_for_interrupts!();
            let page = Shared::read(ivf.index, block, access);
            self.add_page(ivf, block, page.page());
        }
    }

    fn add_page(&mut self, ivf: &Ivf, block: u32, page: PageView<'_>) {
        if page.is_new() {
            self.free_bytes += PAGE_SIZE as u64;
            return;
        }
        match ivf.check(block, || Opaque::of(page)).0 {
            PageKind::Meta | PageKind::Centroid | PageKind::Codebook => {}
            PageKind::Free => {
                self.free_bytes += (PAGE_SIZE - HEADER - size_of::<Opaque>()) as u64;
            }
            PageKind::Directory => {
                let entries = ivf.check(block, || Entries::of(page, ivf.entries));
                let size = ivf.entries.entry_len();
                for _ in entries.iter() {
                    self.directory_bytes += size as u64;
                }
                let free = ivf.entries.capacity() - entries.iter().count();
                self.free_bytes += (free * size) as u64;
            }
            PageKind::List => {
                let rows = ivf.check(block, || ListPage::of(page, &ivf.lists));
                let count = rows.count() as u64;
                *self.lists.entry(rows.list.0).or_default() += count;
                self.copies += count;
                let second = rows.errors().iter().filter(|e| e.is_marked()).count();
                self.rows += count - second as u64;
                let keys = ivf.lists.filters() * size_of::<u64>();
                let tuple = (size_of::<RawTid>() + keys) as u64;
                let beside = match ivf.shape.form {
                    RowForm::Codes(_) => 10,
                    RowForm::Values => 4 * ivf.shape.has_norms() as u64,
                };
                let address = size_of::<VectorAddress>() * ivf.shape.has_addresses() as usize;
                self.tuple_bytes += count * tuple;
                self.code_bytes += count * (beside + address as u64 + ivf.shape.row_len as u64);
                let room = ivf.lists.capacity() as u64 - count;
                self.free_bytes +=
                    room * (tuple + beside + address as u64 + ivf.shape.row_len as u64);
            }
            PageKind::Vectors => {
                let vectors = ivf.check(block, || VectorPage::of(page, ivf.vectors));
                let free = vectors.free_slots().count() as u64;
                let used = ivf.vectors.capacity() as u64 - free;
                let tuple = size_of::<RawTid>() as u64;
                let vector = size_of::<Compact>() as u64 + ivf.shape.dims as u64;
                self.tuple_bytes += used * tuple;
                self.vector_bytes += used * vector;
                self.free_bytes += free * (tuple + vector);
            }
        }
    }

    fn row(&self, call: Call, ivf: &Ivf, meta: &Meta) -> Datum {
        let lists = meta.lists as usize;
        let quantizer = match ivf.shape.form {
            RowForm::Codes(code) => code.name(),
            RowForm::Values => "none",
        };
        let rerank = match ivf.shape.rerank {
            Rerank::Heap => "heap",
            Rerank::Index => "index",
            Rerank::None => "none",
        };
        let sizes = || self.lists.values().copied();
        let squares: f64 = sizes().map(|size| (size as f64).powi(2)).sum();
        let imbalance = match self.copies {
            0 => 1.0,
            copies => squares * lists as f64 / (copies as f64).powi(2),
        };
        let settings = Settings::of(ivf.check(META_BLOCK, || meta.method()));
        let settings = settings.grown(lists, ivf.given_lists(meta));
        let probes = settings.probes_for(meta.curve(), lists, calibrate::RANK);
        let total = self.pages * PAGE_SIZE as u64;
        let parts = [
            self.code_bytes,
            self.vector_bytes,
            self.tuple_bytes,
            self.directory_bytes,
            self.free_bytes,
        ];
        let overhead = total - parts.iter().sum::<u64>().min(total);
        let curve = meta.curve();
        let points = |value: fn(&crate::ivf::format::CurvePoint) -> f32| {
            (!curve.is_empty()).then(|| {
                build_real(curve.len(), |array| {
                    for (element, point) in array.iter_mut().zip(curve) {
                        *element = value(point);
                    }
                })
            })
        };
        call.row(&[
            Some(text(quantizer)),
            Some(text(rerank)),
            Some(int4(ivf.shape.dims as i32)),
            Some(int4(lists as i32)),
            Some(int4(meta.copies as i32)),
            Some(int8(self.rows)),
            Some(int8(self.copies)),
            Some(int8(sizes().min().unwrap_or(0))),
            Some(int8(sizes().max().unwrap_or(0))),
            Some(float4(imbalance as f32)),
            Some(int4(probes as i32)),
            Some(int8(total)),
            Some(int8(self.code_bytes)),
            Some(int8(self.vector_bytes)),
            Some(int8(self.tuple_bytes)),
            Some(int8(self.directory_bytes)),
            Some(int8(self.free_bytes)),
            Some(int8(overhead)),
            points(|point| point.share),
            points(|point| point.recall),
            (!curve.is_empty()).then(|| int8(meta.calibrated_rows)),
        ])
    }
}
