//! The codebook of an index whose inline codes are those of product quantization.

use super::index::{floats_of, write_chain};
use crate::am::hnsw::storage::{Hnsw, META_BLOCK};
use crate::hnsw::format::{Meta, Opaque, PageKind};
use crate::page::Damage;
use crate::pg::buffer::{Access, Shared};
use crate::pg::rows::Rows;
use crate::pg::{sample, threads};
use crate::quantize::{Codebook, Codec, PqShape, Rotated};
use pgrx::pg_sys;

/// Rows for each entry of a codebook.
const ROWS_PER_ENTRY: usize = 64;

/// Learns a codebook from a sample of the table, in so much memory.
pub fn learn(hnsw: &Hnsw, table: Rows, codec: &Codec, pq: PqShape, memory: usize) -> Codebook {
    let column = hnsw.column;
    let dims = column.dims as usize;
    let most = memory / 2 / (5 * dims + 64);
    let wanted = (ROWS_PER_ENTRY * pq.entries()).min(most.max(pq.entries()));
    let seed = fastrand::u64(..);
    let (mut floats, mut residuals) = (Vec::new(), Vec::new());
    let mut rotated = Rotated::default();
    sample::sample(table, wanted as u64, seed, |datum, _| {
        // SAFETY: a non-NULL value of the indexed column.
        let value = unsafe { column.value(datum) };
        if column.is_indexable(&value) {
            floats_of(column.space.element, &value, &mut floats);
            codec.rotate(&floats, &mut rotated);
            residuals.extend(rotated.values());
        }
    });
    if residuals.is_empty() {
        // the rows of the first sample are gone, as a snapshot of CONCURRENTLY may have it
        residuals.resize(dims, 0.0);
    }
    let threads = threads::for_maintenance(pq.segments());
    Codebook::train(pq, &residuals, seed, &mut threads::Workers(threads))
}

/// Reads the codebook from its pages. Raises XX002 where it is none.
pub fn read(hnsw: &Hnsw, meta: &Meta, pq: PqShape) -> Codebook {
    let mut bytes: Vec<u8> = Vec::new();
    let mut block = meta.codebook;
    while block != 0 {
        let page = Shared::read(hnsw.index, block, Access::Random);
        block = hnsw.check(block, || {
            let (kind, opaque) = Opaque::of(page.page())?;
            let piece = page.page().contents()?;
            let is_more = piece.is_empty() || bytes.len() + piece.len() > pq.codebook_len();
            if kind != PageKind::Codebook || is_more {
                return Err(Damage("not the codebook"));
            }
            bytes.extend_from_slice(piece);
            Ok(opaque.next)
        });
    }
    hnsw.check(META_BLOCK, || {
        Codebook::from_bytes(pq, &bytes).map_err(|_| Damage("the codebook is not what it must be"))
    })
}

/// Writes the codebook of an index being built to new pages; returns the first.
pub fn write(hnsw: &Hnsw, book: &Codebook) -> u32 {
    let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
    write_chain(hnsw, fork, PageKind::Codebook, &book.to_bytes())
}
