//! What an index keeps of rows: what `WITH (quantizer, rerank)` asks for, or what suits the column.

use super::options::{self, Declared};
use crate::am::column::{self, Column};
use crate::am::filter::keys;
use crate::distance::{Element, Metric};
use crate::ivf::format::{Code as RowCode, Method, Rerank, RowForm, Shape};
use crate::pg::error::raise_index;
use crate::pg::relation::Index;
use crate::quantize::Quantizer;
use pgrx::PgSqlErrorCode as Code;

/// What columns `ivf` takes.
const IVF: column::Method = column::Method {
    name: "ivf",
    max_dims: |element| match element {
        Element::Bit => 64_000,
        // a centroid takes a byte for each, and has to fit on a page
        _ => 8_000,
    },
};

/// What columns `ivfflat` takes: of pgvector's types as many dimensions as there, of the others as many bytes.
const IVFFLAT: column::Method = column::Method {
    name: "ivfflat",
    max_dims: |element| match element {
        Element::Bit => 64_000,
        Element::F16 | Element::Bf16 => 4_000,
        Element::I8 => 8_000,
        _ => 2_000,
    },
};

/// Dimensions below which values in full are as small as their codes.
const LEAST_DIMS: u32 = 16;
/// Bytes of a value from which the server keeps it out of line, where it is slow to get.
const OUT_OF_LINE: usize = 2_000;

/// The column of an index that is being created, and what the index will keep of it. Raises 0A000 where
/// the options ask for what the operator class does not allow, 22023 where they contradict each other,
/// 54000 where rows do not fit on a page.
pub fn declared(index: Index, method: Method, declared: &Declared) -> (Column, Shape) {
    let column = Column::declared(
        index,
        match method {
            Method::Ivf => IVF,
            Method::Ivfflat => IVFFLAT,
        },
    );
    let form = match declared.quantizer {
        options::Quantizer::None => RowForm::Values,
        // bit strings are their own signs
        options::Quantizer::Binary if column.space.element == Element::Bit => RowForm::Values,
        options::Quantizer::Grid(quantizer) => coded(column, RowCode::Grid(quantizer)),
        options::Quantizer::Binary => coded(column, RowCode::Binary),
        options::Quantizer::Pq => coded(
            column,
            RowCode::Pq {
                segments: declared
                    .pq_segments
                    .unwrap_or_else(|| (column.dims as usize).div_ceil(4))
                    as u16,
                bits: declared.pq_bits.unwrap_or(8) as u8,
            },
        ),
        options::Quantizer::Auto => match suitable(column) {
            Some(quantizer) => RowForm::Codes(RowCode::Grid(quantizer)),
            None => RowForm::Values,
        },
    };
    let is_pq = matches!(form, RowForm::Codes(RowCode::Pq { .. }));
    if !is_pq && (declared.pq_segments.is_some() || declared.pq_bits.is_some()) {
        raise_index(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            "pq_segments and pq_bits are options of quantizer \"pq\"".into(),
            Some("Leave them out, or use quantizer = pq.".into()),
        );
    }
    if form == RowForm::Values && declared.copies == Some(2) {
        raise_index(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            "an index of values in full has each row in one list".into(),
            Some("Leave out copies, or choose a quantizer.".into()),
        );
    }
    let payload_len = column
        .payload_len()
        .expect("ivf has no operator class for values of different lengths");
    let rerank = match (form, declared.rerank) {
        (RowForm::Values, options::Rerank::Auto | options::Rerank::None) => Rerank::None,
        (RowForm::Values, _) => raise_index(
            Code::ERRCODE_INVALID_PARAMETER_VALUE,
            "an index of values in full needs no rerank".into(),
            Some("Leave out rerank, or choose a quantizer.".into()),
        ),
        (_, options::Rerank::None) => Rerank::None,
        (_, options::Rerank::Heap) => Rerank::Heap,
        (_, options::Rerank::Index) => Rerank::Index,
        (_, options::Rerank::Auto) => match payload_len >= OUT_OF_LINE {
            true => Rerank::Index,
            false => Rerank::Heap,
        },
    };
    let shape = Shape {
        space: column.space,
        dims: column.dims,
        form,
        row_len: match form {
            RowForm::Codes(code) => code.code_len(column.dims as usize).unwrap_or_else(|bad| {
                raise_index(
                    Code::ERRCODE_INVALID_PARAMETER_VALUE,
                    bad.to_string(),
                    Some("Change pq_segments or pq_bits, or leave them out.".into()),
                )
            }),
            RowForm::Values => payload_len,
        } as u32,
        rerank,
        filters: (index.columns() - 1) as u8,
    };
    keys::check_declared(index);
    if !shape.fits() {
        let (what, way_out) = match shape.filters {
            0 => (
                String::new(),
                "Use quantizer = auto, or one with fewer bits.",
            ),
            filters => (
                format!(" and {filters} filter columns"),
                "Use quantizer = auto, or one with fewer bits, or fewer filter columns.",
            ),
        };
        raise_index(
            Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "rows of {} dimensions{what} do not fit on a page of the index",
                column.dims
            ),
            Some(way_out.into()),
        );
    }
    (column, shape)
}

/// A form that only some operator classes have.
fn coded(column: Column, code: RowCode) -> RowForm {
    if !has_codes(column) {
        raise_index(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!(
                "the operator class of the index has no quantizer \"{}\"",
                code.name()
            ),
            Some(
                "Leave out quantizer. L2, inner product and cosine over vector, halfvec, bf16vec and bytevec have quantizers."
                    .into(),
            ),
        );
    }
    RowForm::Codes(code)
}

/// What an index of product quantization keeps instead as long as there are no rows to learn from.
pub fn without_rows(index: Index, shape: Shape) -> Shape {
    if !matches!(shape.form, RowForm::Codes(RowCode::Pq { .. })) {
        return shape;
    }
    let instead = RowCode::Grid(Quantizer::Rabitq4);
    pgrx::ereport!(
        NOTICE,
        Code::ERRCODE_SUCCESSFUL_COMPLETION,
        format!(
            "index \"{}\" uses quantizer {} for now: product quantization has no rows to learn from. REINDEX it when its table has some.",
            index.name(),
            instead.name()
        )
    );
    Shape {
        form: RowForm::Codes(instead),
        row_len: Quantizer::Rabitq4.code_len(shape.dims as usize) as u32,
        ..shape
    }
}

fn has_codes(column: Column) -> bool {
    column.space.element != Element::Bit
        && matches!(
            column.space.metric,
            Metric::L2 | Metric::InnerProduct | Metric::Cosine
        )
}

/// The quantizer that suits a column: the fewer dimensions there are, the more bits each needs for
/// the same precision. `None` where values in full are as good.
fn suitable(column: Column) -> Option<Quantizer> {
    if !has_codes(column) {
        return None;
    }
    match column.dims {
        0..LEAST_DIMS => None,
        LEAST_DIMS..64 => Some(Quantizer::Sq8),
        64..96 => Some(Quantizer::Rabitq4),
        96..256 => Some(Quantizer::Rabitq2),
        _ => Some(Quantizer::Rabitq1),
    }
}
