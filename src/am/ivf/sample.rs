//! Centroids of an index being built: from a sample of its table, or from a table of centroids.

use super::build::Centroid;
use super::centroids;
use super::index::{self, Ivf};
use super::options::{self, Declared};
use crate::am::column::Column;
use crate::am::mean::Mean;
use crate::cluster::{self, Training};
use crate::distance::Value;
use crate::hnsw::format::RawTid;
use crate::ivf::format::Shape;
use crate::ivf::grow::lists_for;
use crate::pg::progress::{self, Phase};
use crate::pg::rows::Rows;
use crate::pg::threads::{self, Workers};
use crate::pg::{error::raise_index, sample};
use crate::quantize::{CentreRef, Codebook, Codec, Compact, CompactRef, PqShape};
use pgrx::PgSqlErrorCode as Code;
use pgrx::pg_sys;

/// Rows from which the index's centroid is computed.
const SAMPLE: usize = 10_000;
/// Rows among these that the calibration takes as queries.
const QUERIES: usize = 2_000;
/// Sampled rows for each list.
const ROWS_PER_LIST: usize = 64;
/// Rows of k-means where these are less.
const LEAST_ROWS: usize = 10_000;
/// How often centroids move.
const ITERATIONS: usize = 8;

/// Rows for each entry of a codebook.
const ROWS_PER_ENTRY: usize = 64;

/// What a first, small sample of the table told.
pub struct First {
    /// the index's centroid; empty for an empty table, and for bit strings
    pub centroid: Vec<f32>,
    /// see [`crate::quantize::Codec`]
    pub reach: f32,
    /// rows to measure the calibration curve with
    pub queries: Vec<QueryRow>,
    /// rows that the table has for the index, about
    pub table_rows: f64,
}

/// A row that is searched for when the index is calibrated.
pub struct QueryRow {
    /// where it is
    pub tid: RawTid,
    /// its value
    pub value: Value,
}

/// Memory of a build.
pub fn memory() -> usize {
    // SAFETY: reads a setting.
    let kilobytes = unsafe { pg_sys::maintenance_work_mem } as usize;
    kilobytes.saturating_mul(1024)
}

/// Reads the first sample.
pub fn first(table: Rows, shape: &Shape, seed: u64) -> First {
    let column = Column {
        space: shape.space,
        dims: shape.dims,
    };
    let dims = shape.dims as usize;
    let mut mean = Mean::new(shape.space.metric, dims);
    let mut queries: Vec<QueryRow> = Vec::new();
    let most_queries = QUERIES.min(memory() / 8 / (4 * dims));
    let mut floats = Vec::new();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut seen = 0;
    let sampled = sample::sample(table, SAMPLE as u64, seed, |datum, tid| {
        // SAFETY: a non-NULL value of the indexed column.
        let value = unsafe { column.value(datum) };
        if !column.is_indexable(&value) {
            return;
        }
        if !shape.has_bit_centroids() {
            index::floats_of(column, value.payload(), &mut floats);
            mean.add(&floats);
        }
        // every row is as likely to be among the queries
        seen += 1;
        if queries.len() < most_queries {
            queries.push(QueryRow { tid, value });
        } else {
            let at = random.usize(..seen);
            if let Some(place) = queries.get_mut(at) {
                *place = QueryRow { tid, value };
            }
        }
    });
    First {
        centroid: match shape.has_bit_centroids() {
            true => Vec::new(),
            false => mean.centroid(),
        },
        reach: mean.reach(),
        queries,
        table_rows: sampled.table_rows,
    }
}

/// The centroids of all lists: signed bytes with a scale, in the rotated space; bit strings as bytes of 1
/// and -1.
pub struct Centroids {
    /// the centroids
    pub rows: cluster::Rows,
}

impl Centroids {
    /// Number of lists, at least one.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// What the directory keeps of them.
    pub fn to_entries(&self, ivf: &Ivf) -> Vec<Centroid> {
        let of = |list: usize| {
            let (scale, code) = (self.rows.scale(list), self.rows.code(list));
            match &ivf.codec {
                Some(codec) => Centroid {
                    centre: codec.centre_of(scale, code),
                    bytes: bytemuck::cast_slice(code).to_vec(),
                },
                None => Centroid {
                    centre: Default::default(),
                    bytes: bits_of(code),
                },
            }
        };
        (0..self.len()).map(of).collect()
    }
}

/// Bytes of 1 and -1 as bits.
fn bits_of(code: &[i8]) -> Vec<u8> {
    let byte = |signs: &[i8]| {
        let bits = signs.iter().zip((0..8).rev());
        bits.fold(0, |byte, (&sign, bit)| byte | ((sign > 0) as u8) << bit)
    };
    code.chunks(8).map(byte).collect()
}

/// Bits as bytes of 1 and -1.
pub fn signs_of(column: Column, payload: &[u8], signs: &mut Vec<i8>) {
    let bits = payload
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    signs.clear();
    signs.extend(bits.take(column.dims as usize).map(|bit| 2 * bit as i8 - 1));
}

/// Adds a row to be clustered.
pub fn push_row(
    codec: Option<&Codec>,
    column: Column,
    payload: &[u8],
    scratch: &mut Scratch,
    rows: &mut cluster::Rows,
) {
    match codec {
        Some(codec) => {
            index::floats_of(column, payload, &mut scratch.floats);
            codec.rotate(&scratch.floats, &mut scratch.rotated);
            scratch.code.resize(codec.dims(), 0);
            scratch.factors = codec.encode_rotated(&scratch.rotated, &mut scratch.code);
            rows.push_scaled(scratch.factors.scale, &scratch.code);
        }
        None => {
            signs_of(column, payload, &mut scratch.code);
            rows.push_scaled(1.0, &scratch.code);
        }
    }
}

/// Working memory of [`push_row`], and what it leaves of a row: compact code and rotated vector.
#[derive(Default)]
pub struct Scratch {
    floats: Vec<f32>,
    /// the vector in the rotated space
    pub rotated: crate::quantize::Rotated,
    /// its compact code, or its signs
    pub code: Vec<i8>,
    /// of the compact code
    pub factors: Compact,
}

impl Scratch {
    /// The compact code.
    pub fn compact(&self) -> CompactRef<'_> {
        CompactRef {
            factors: self.factors,
            code: &self.code,
        }
    }
}

/// Finds the centroids of an index being built.
pub fn centroids(
    ivf: &Ivf,
    table: Rows,
    declared: &Declared,
    first: &First,
    seed: u64,
) -> Centroids {
    if let Some(table) = &declared.centroids {
        return Centroids {
            rows: centroids::read(ivf, table),
        };
    }
    let dims = ivf.shape.dims as usize;
    let lists = declared
        .lists
        .unwrap_or_else(|| lists_for(first.table_rows) as usize)
        .clamp(1, options::MOST_LISTS as usize);
    let wanted = (lists * ROWS_PER_LIST).max(LEAST_ROWS);
    let per_row = cluster::Rows::memory(dims, 1) + 16;
    let most = memory() / 2 / per_row;
    if first.table_rows > 0.0 && most < lists {
        raise_index(
            Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "memory required is {} MB, maintenance_work_mem is {} MB",
                (2 * lists * per_row).div_ceil(1 << 20),
                memory() >> 20
            ),
            Some("Raise maintenance_work_mem, or use fewer lists.".into()),
        );
    }
    let mut rows = cluster::Rows::new(dims);
    if lists > 1 && first.table_rows > 0.0 {
        let mut scratch = Scratch::default();
        sample::sample(table, wanted.min(most) as u64, seed, |datum, _| {
            // SAFETY: a non-NULL value of the indexed column.
            let value = unsafe { ivf.column.value(datum) };
            if ivf.column.is_indexable(&value) {
                push_row(
                    ivf.codec.as_deref(),
                    ivf.column,
                    value.payload(),
                    &mut scratch,
                    &mut rows,
                );
            }
        });
    }
    if rows.is_empty() {
        // one list, at the middle of what there is
        let code = vec![if ivf.codec.is_some() { 0 } else { -1 }; dims];
        rows.push_scaled(if ivf.codec.is_some() { 0.0 } else { 1.0 }, &code);
        return Centroids { rows };
    }
    progress::phase(Phase::Clustering);
    let training = Training {
        lists,
        iterations: ITERATIONS,
        seed,
        sphere: ivf.sphere(),
    };
    let threads = threads::for_maintenance(rows.len().div_ceil(100));
    let mut trained = cluster::train(&rows, training, &mut Workers(threads));
    if ivf.codec.is_none() {
        trained = to_signs(&trained);
    }
    Centroids { rows: trained }
}

/// Learns the codebook of product quantization from residuals of some rows; its bytes.
pub fn codebook(
    ivf: &Ivf,
    table: Rows,
    centroids: &Centroids,
    (segments, bits): (u16, u8),
    seed: u64,
) -> Vec<u8> {
    let dims = ivf.shape.dims as usize;
    let shape = PqShape::new(dims, segments as usize, bits as usize)
        .unwrap_or_else(|bad| unreachable!("declared as {bad}"));
    let codec = ivf.codec();
    let most = memory() / 2 / (5 * dims + 64);
    let wanted = (ROWS_PER_ENTRY * shape.entries()).min(most.max(shape.entries()));
    let lists = cluster::Lists::of(&centroids.rows);
    let mut residuals = Vec::new();
    let mut scratch = Scratch::default();
    let mut row = cluster::Rows::new(dims);
    sample::sample(table, wanted as u64, seed, |datum, _| {
        // SAFETY: a non-NULL value of the indexed column.
        let value = unsafe { ivf.column.value(datum) };
        if !ivf.column.is_indexable(&value) {
            return;
        }
        row.clear();
        let payload = value.payload();
        push_row(Some(codec), ivf.column, payload, &mut scratch, &mut row);
        let list = lists.nearest_here(&row)[0].list as usize;
        let code = centroids.rows.code(list);
        let centre = CentreRef {
            factors: codec.centre_of(centroids.rows.scale(list), code),
            code,
        };
        codec.residual_in(centre, &scratch.rotated, &mut residuals);
    });
    if residuals.is_empty() {
        // the rows of the first sample are gone, as a snapshot of CONCURRENTLY may have it
        residuals.resize(dims, 0.0);
    }
    let threads = threads::for_maintenance(segments as usize);
    Codebook::train(shape, &residuals, seed, &mut Workers(threads)).to_bytes()
}

/// Centroids of bit strings as such: each bit is that of most rows.
fn to_signs(centroids: &cluster::Rows) -> cluster::Rows {
    let mut signs = cluster::Rows::new(centroids.dims());
    let mut known = rustc_hash::FxHashSet::default();
    for list in 0..centroids.len() {
        let code: Vec<i8> = centroids
            .code(list)
            .iter()
            .map(|&i| if i > 0 { 1 } else { -1 })
            .collect();
        if known.insert(code.clone()) {
            signs.push_scaled(1.0, &code);
        }
    }
    signs
}
