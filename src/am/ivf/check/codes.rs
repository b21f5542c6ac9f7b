//! What stands for all that an index keeps of a row, so that its copies and the table can be compared.

use super::Check;
use crate::am::check::claims::{Claim, fingerprint};
use crate::am::ivf::sample::{Scratch, push_row};
use crate::cluster::Rows;
use crate::distance::Value;
use crate::ivf::format::{Bf16, ListRow, RowBytes, RowForm};
use crate::quantize::{Compact, ListEncoder, ListFactors, Rotated};

/// The row of the table that was looked at last.
#[derive(Default)]
pub struct RowOfTable {
    scratch: Scratch,
    rows: Rows,
    /// stands for the value, where lists keep values
    pub value: u64,
    /// stands for the keys of its filter columns
    pub keys: u64,
    decoded: Rotated,
    encoder: ListEncoder,
    code: Vec<u8>,
}

impl Check {
    /// Takes the value of a row of the table.
    pub fn take_value(&mut self, value: &Value) {
        let shape = &self.expected.shape;
        match shape.form {
            RowForm::Values => {
                let norm = value.operand().norm_squared;
                self.row.value =
                    fingerprint_of_value(value.payload(), shape.has_norms().then_some(norm));
            }
            RowForm::Codes(_) => {
                let RowOfTable { scratch, rows, .. } = &mut self.row;
                if rows.dims() != shape.dims as usize {
                    *rows = Rows::new(shape.dims as usize);
                }
                rows.clear();
                let codec = self.ivf.codec.as_deref();
                push_row(codec, self.ivf.column, value.payload(), scratch, rows);
            }
        }
    }

    /// Stands for all that a list, and a vector page, keep of a row.
    pub fn fingerprint_of(&self, row: &ListRow<'_>) -> u64 {
        let shape = &self.expected.shape;
        match shape.form {
            RowForm::Values => fingerprint_of_value(
                row.code.value(shape.row_len as usize),
                shape.has_norms().then_some(row.norm_squared),
            ),
            RowForm::Codes(_) => {
                let at = row.address.place();
                let compact = at.and_then(|at| self.vectors.get(&at));
                fingerprint_of_code(
                    row.factors,
                    row.code,
                    compact.map_or(0, |(_, value)| *value),
                )
            }
        }
    }

    /// What lists keep as the code of the row of the table that was looked at last.
    pub fn has_code(&mut self, claim: &Claim) -> bool {
        let list = self.list_of.get(&claim.item().block);
        let (Some(directory), Some(codec), Some(coding)) =
            (&self.directory, &self.ivf.codec, &self.ivf.coding)
        else {
            return true;
        };
        let at = list.and_then(|list| directory.position(*list));
        let Some(centre) = at.and_then(|at| directory.centre(at)) else {
            return true;
        };
        let RowOfTable {
            scratch,
            decoded,
            encoder,
            code,
            ..
        } = &mut self.row;
        let compact = scratch.compact();
        let kept = match self.expected.shape.has_addresses() {
            true => code_fingerprint(compact.factors, compact.code),
            false => 0,
        };
        code.resize(self.expected.shape.row_len as usize, 0);
        // who puts a row into a list has its value; who arranges lists, what its compact code stands for
        let factors = coding.encode(codec, centre, &scratch.rotated, encoder, code);
        if fingerprint_of_code(rounded(factors), RowBytes::of(code), kept) == claim.value {
            return true;
        }
        codec.decode(compact, decoded);
        let factors = coding.encode(codec, centre, decoded, encoder, code);
        fingerprint_of_code(rounded(factors), RowBytes::of(code), kept) == claim.value
    }
}

/// Stands for a compact code.
pub fn code_fingerprint(factors: Compact, code: &[i8]) -> u64 {
    let mut bytes = bytemuck::bytes_of(&factors).to_vec();
    bytes.extend_from_slice(bytemuck::cast_slice(code));
    fingerprint(&bytes)
}

/// Stands for a value in full.
fn fingerprint_of_value(payload: &[u8], norm_squared: Option<f32>) -> u64 {
    let norm = norm_squared.map_or(0, |norm| norm.to_bits() as u64 + 1);
    fingerprint(payload) ^ norm.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Stands for a code, and the compact code beside it.
fn fingerprint_of_code(factors: ListFactors, code: RowBytes<'_>, compact: u64) -> u64 {
    let mut bytes = Vec::new();
    code.append_to(&mut bytes);
    for factor in [factors.add, factors.scale, factors.error] {
        bytes.extend_from_slice(&factor.to_ne_bytes());
    }
    bytes.extend_from_slice(&compact.to_ne_bytes());
    fingerprint(&bytes)
}

/// Factors as a list page keeps them.
fn rounded(factors: ListFactors) -> ListFactors {
    ListFactors {
        error: Bf16::at_least(factors.error).get(),
        ..factors
    }
}
