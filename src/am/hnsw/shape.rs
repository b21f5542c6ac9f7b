//! Which layout an index gets: what `WITH (layout, quantizer)` asks for, or what suits the column.

use super::options::{self, Layout};
use crate::am::column::Column;
use crate::distance::Metric;
use crate::hnsw::Params;
use crate::hnsw::blocks::format::BlockShape;
use crate::hnsw::blocks::map::MapLayout;
use crate::hnsw::format::Shape;
use crate::pg::error::raise_index;
use crate::pg::relation::Index;
use crate::quantize::Quantizer;
use pgrx::PgSqlErrorCode as Code;

/// Dimensions below which values in full are as small as their codes.
const LEAST_DIMS: u32 = 16;

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
    let asked = match quantizer {
        options::Quantizer::Auto | options::Quantizer::None => None,
        options::Quantizer::Code(quantizer) => Some(quantizer),
    };
    let plain = Shape::plain(params.m);
    if layout == Layout::Plain || quantizer == options::Quantizer::None {
        return plain;
    }
    if !has_codes(column) {
        if layout != Layout::Auto || asked.is_some() {
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
            if asked.is_some_and(|asked| asked != Quantizer::Sq8) {
                raise_index(
                    Code::ERRCODE_INVALID_PARAMETER_VALUE,
                    "layout compact has one sq8 code for each node, and no other quantizer".into(),
                    Some("Use quantizer = auto or sq8, or layout = inline.".into()),
                );
            }
            compact()
        }
        _ if layout == Layout::Auto && asked.is_none() && column.dims < LEAST_DIMS && keys == 0 => {
            Some(plain)
        }
        _ => {
            let quantizer = asked.unwrap_or_else(|| suitable(column.dims));
            let inline = BlockShape::inline(column.dims, params.m, quantizer, keys);
            match layout {
                Layout::Auto if asked.is_none() => inline.or_else(compact).or(Some(plain)),
                _ => inline,
            }
        }
    };
    shape.unwrap_or_else(|| {
        raise_index(
            Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "{} dimensions with m = {} do not fit on a page in this layout",
                column.dims, params.m
            ),
            Some("Use layout = auto, a smaller m, or a quantizer with fewer bits.".into()),
        )
    })
}
