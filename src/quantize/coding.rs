//! How an index of lists codes its rows: one of all quantizers.

use super::binary::Signs;
use super::kernels::{Batch, Line};
use super::pq::{Codebook, Tables};
use super::{Base, CentreRef, Codec, ListEncoder, ListFactors, Quantizer, Query, Rotated};

/// A quantizer with all it has learnt.
#[derive(Debug, Clone)]
pub enum Coding {
    /// numbers of a few bits for each dimension
    Grid(Quantizer),
    /// signs of the residual, compared with those of the query's
    Binary,
    /// nearest entries of codebooks
    Pq(Codebook),
}

impl Coding {
    /// Name in SQL.
    pub fn name(&self) -> &'static str {
        match self {
            Coding::Grid(quantizer) => quantizer.name(),
            Coding::Binary => "binary",
            Coding::Pq(_) => "pq",
        }
    }

    /// Bytes of a code of `dims` dimensions.
    #[inline]
    pub fn code_len(&self, dims: usize) -> usize {
        match self {
            Coding::Grid(quantizer) => quantizer.code_len(dims),
            Coding::Binary => Quantizer::Rabitq1.code_len(dims),
            Coding::Pq(book) => book.shape().code_len(),
        }
    }

    /// Writes the code of a row relative to the centroid of a list; `out` has [`Coding::code_len`]
    /// bytes. The result is the same on every processor.
    pub fn encode(
        &self,
        codec: &Codec,
        centre: CentreRef<'_>,
        row: &Rotated,
        encoder: &mut ListEncoder,
        out: &mut [u8],
    ) -> ListFactors {
        match self {
            Coding::Grid(quantizer) => codec.encode_in(centre, row, *quantizer, encoder, out),
            Coding::Binary => codec.signs_in(centre, row, encoder, out),
            Coding::Pq(book) => codec.entries_in(centre, row, book, encoder, out),
        }
    }

    /// Makes a query ready for lists; [`Coding::enter`] comes next.
    pub fn prepare(&self, query: &Query, lookup: &mut Lookup) {
        match self {
            Coding::Grid(_) | Coding::Binary => {}
            Coding::Pq(book) => lookup.tables.fill(book, query),
        }
    }

    /// Makes a query ready for one list, whose rows [`Coding::estimate`] then takes.
    pub fn enter(&self, query: &Query, centre: CentreRef<'_>, lookup: &mut Lookup) {
        if let Coding::Binary = self {
            lookup.signs.of(query, centre);
        }
    }

    /// Estimated internal distances of the rows of a list, of codes that lie one after another: one for
    /// each of `adds`, `scales` and `out`.
    #[inline]
    pub fn estimate(
        &self,
        of: Lookups<'_>,
        codes: &[u8],
        adds: &[f32],
        scales: &[f32],
        out: &mut [f32],
    ) {
        let Lookups {
            query,
            lookup,
            base,
        } = of;
        match self {
            Coding::Grid(Quantizer::Rabitq1) => {
                let (line, batch) = one_bit(query, base, codes, adds, scales);
                query.bytewise.estimate_apart(line, batch, out);
            }
            Coding::Grid(quantizer) => {
                query.estimate_in(base, *quantizer, codes, adds, scales, out)
            }
            Coding::Binary => {
                let batch = Batch {
                    quantizer: Quantizer::Binary,
                    dims: query.dims(),
                    codes,
                    adds,
                    scales,
                };
                lookup.signs.estimate(base.distance, base.span, batch, out)
            }
            Coding::Pq(_) => lookup
                .tables
                .estimate(base.distance, codes, adds, scales, out),
        }
    }

    /// The same of the codes of a list page: of quantizers that have groups ([`Quantizer::is_grouped`]) those of whole
    /// groups as groups have them.
    #[inline]
    pub fn estimate_page(
        &self,
        of: Lookups<'_>,
        codes: &[u8],
        adds: &[f32],
        scales: &[f32],
        out: &mut [f32],
    ) {
        match self {
            Coding::Grid(quantizer) if quantizer.is_grouped() => {
                let (line, batch) = one_bit(of.query, of.base, codes, adds, scales);
                of.query.bytewise.estimate(line, batch, out);
            }
            _ => self.estimate(of, codes, adds, scales, out),
        }
    }
}

/// A batch of codes of one bit, and what their estimates start from.
fn one_bit<'a>(
    query: &Query,
    base: Base,
    codes: &'a [u8],
    adds: &'a [f32],
    scales: &'a [f32],
) -> (Line, Batch<'a>) {
    let line = Line {
        base: base.distance,
        offset: 0.0,
        ..query.line()
    };
    let batch = Batch {
        quantizer: Quantizer::Rabitq1,
        dims: query.dims(),
        codes,
        adds,
        scales,
    };
    (line, batch)
}

/// What some quantizers prepare for a query; can be used again for the next.
#[derive(Debug, Clone, Default)]
pub struct Lookup {
    signs: Signs,
    tables: Tables,
}

/// A query in a list.
#[derive(Debug, Clone, Copy)]
pub struct Lookups<'a> {
    /// the query
    pub query: &'a Query,
    /// prepared for it, and for the list
    pub lookup: &'a Lookup,
    /// [`Query::base`] of the list
    pub base: Base,
}
