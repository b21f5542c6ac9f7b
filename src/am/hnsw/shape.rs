//! Which layout an index gets: what `WITH (layout, quantizer)` asks for, or what suits the column.

use super::options::{self, Layout};
use super::storage::Hnsw;
use crate::am::column::Column;
use crate::distance::Metric;
use crate::hnsw::Params;
use crate::hnsw::blocks::format::BlockShape;
use crate::hnsw::blocks::map::MapLayout;
use crate::hnsw::format::Shape;
use crate::pg::error::raise_index;
use crate::pg::relation::Index;
use crate::quantize::{PqShape, Quantizer};
use pgrx::PgSqlErrorCode as Code;

/// Dimensions below which values in full are as small as their codes.
const LEAST_DIMS: u32 = 16;
/// Dimensions of a segment of product quantization, where nobody says how many segments.
const DIMS_OF_SEGMENT: usize = 4;

/// The quantizer for neighbours' codes of a number of dimensions: the fewer there are, the more
/// bits each needs for the same precision. Up to 32 dimensions four bits take as much room as eight,
/// for their planes are whole words of 64.
fn suitable(dims: u32) -> Quantizer {
    match dims {
        0..=32 => Quantizer::Sq8,
        33..=95 => Quantizer::Rabitq4,
        96..=319 => Quantizer::Rabitq2,
        _ => Quantizer::Rabitq1,
    }
}

/// The quantizer of the code map of an index of that shape; `None` where it has no map. The compact
/// layout, for those whose memory is short, has one only where filter columns want it.
pub fn map_quantizer(shape: Shape) -> Option<Quantizer> {
    let block = shape.block?;
    if block.quantizer.is_none() && block.keys == 0 {
        return None;
    }
    let quantizer = suitable(block.dims);
    MapLayout::of(block.dims, quantizer, block.keys as usize)?;
    Some(quantizer)
}

fn has_codes(column: Column) -> bool {
    column.space.element.is_dense()
        && matches!(
            column.space.metric,
            Metric::L2 | Metric::InnerProduct | Metric::Cosine
        )
}

/// The shape of an index that is being created. Raises 0A000 where the options ask for codes that
/// the operator class or the number of dimensions does not allow.
pub fn declared(index: Index, column: Column, params: Params) -> Shape {
    let (layout, quantizer) = options::declared_storage(index);
    let plain = Shape::plain(params.m);
    if layout == Layout::Plain || quantizer == options::Quantizer::None {
        return plain;
    }
    if !has_codes(column) {
        if layout != Layout::Auto || quantizer != options::Quantizer::Auto {
            raise_index(
                Code::ERRCODE_FEATURE_NOT_SUPPORTED,
                "the operator class of the index has no quantized layout".into(),
                Some(
                    "Leave out layout and quantizer. L2, inner product and cosine over vector, halfvec, bf16vec and bytevec have quantized layouts."
                        .into(),
                ),
            );
        }
        return plain;
    }
    let keys = index.columns() as u8 - 1;
    let compact = || BlockShape::compact(column.dims, params.m, keys);
    let shape = match layout {
        Layout::Compact => {
            if !matches!(
                quantizer,
                options::Quantizer::Auto | options::Quantizer::Code(Quantizer::Sq8)
            ) {
                raise_index(
                    Code::ERRCODE_INVALID_PARAMETER_VALUE,
                    "layout compact has one sq8 code for each node, and no other quantizer".into(),
                    Some("Use quantizer = auto or sq8, or layout = inline.".into()),
                );
            }
            compact()
        }
        _ => match quantizer {
            options::Quantizer::Code(quantizer) => {
                BlockShape::inline(column.dims, params.m, quantizer, keys)
            }
            options::Quantizer::Pq { segments, bits } => {
                let dims = column.dims as usize;
                let segments = segments.map_or(dims.div_ceil(DIMS_OF_SEGMENT), usize::from);
                let pq = PqShape::new(dims, segments, bits.unwrap_or(8) as usize);
                let pq = pq.unwrap_or_else(|bad| {
                    raise_index(
                        Code::ERRCODE_INVALID_PARAMETER_VALUE,
                        bad.to_string(),
                        Some("Change pq_segments or pq_bits, or leave them out.".into()),
                    )
                });
                BlockShape::of_segments(pq, params.m, keys)
            }
            _ if layout == Layout::Auto && column.dims < LEAST_DIMS && keys == 0 => Some(plain),
            _ => {
                let inline = BlockShape::inline(column.dims, params.m, suitable(column.dims), keys);
                match layout {
                    Layout::Auto => inline.or_else(compact).or(Some(plain)),
                    _ => inline,
                }
            }
        },
    };
    shape.unwrap_or_else(|| raise_too_large(column.dims, params.m))
}

/// What an index of product quantization keeps instead as long as there are no rows to learn from.
pub fn without_rows(hnsw: &Hnsw) -> Shape {
    let shape = hnsw.shape;
    let Some(pq) = shape.block.filter(|block| block.pq().is_some()) else {
        return shape;
    };
    let instead = suitable(pq.dims);
    pgrx::ereport!(
        NOTICE,
        Code::ERRCODE_SUCCESSFUL_COMPLETION,
        format!(
            "index \"{}\" uses quantizer {} for now: product quantization has no rows to learn from. REINDEX it when its table has some.",
            hnsw.index.name(),
            instead.name()
        )
    );
    let inline = BlockShape::inline(pq.dims, shape.m, instead, pq.keys);
    inline.unwrap_or_else(|| raise_too_large(pq.dims, shape.m))
}

fn raise_too_large(dims: u32, m: u16) -> ! {
    raise_index(
        Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!("{dims} dimensions with m = {m} do not fit on a page in this layout"),
        Some("Use layout = auto, a smaller m, or a quantizer with fewer bits.".into()),
    )
}
