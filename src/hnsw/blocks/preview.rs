//! A graph in memory as scans will see it on pages, to measure searches with before it is written.

use super::build::{Graph, Link, Links};
use super::calibrate::{self, Calibration};
use super::format::{ENTRY_QUANTIZER, Kept};
use super::memory::{Backing, Region};
use super::walk::{BlockStore, Effort, KeySet, Near, SEEDS, Walk};
use crate::quantize::{Factors, Quantizer, Query};
use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

/// A search of the calibration ends when it has found so many rows.
const MOST_MEASURED_ROWS: usize = 2_000;
/// Nodes whose codes a thread makes at a time.
const PIECE: usize = 4096;

/// The inline codes of all nodes of a graph with their factors, made once.
pub struct Codes {
    bytes: Region<u8>,
    quantizer: Quantizer,
    dims: usize,
}

impl Codes {
    fn stride(quantizer: Quantizer, dims: usize) -> usize {
        size_of::<Factors>() + quantizer.code_len(dims)
    }

    /// Makes the codes of the first `dims` dimensions; in a file where one is given. `run` is handed
    /// what each thread is to do and starts the threads.
    pub fn of(
        graph: &Graph,
        quantizer: Quantizer,
        dims: usize,
        file: Option<Backing>,
        run: impl FnOnce(&(dyn Fn(&AtomicBool) + Sync)),
    ) -> io::Result<Codes> {
        let mut bytes = match file {
            Some(file) => Region::in_file(file)?,
            None => Region::default(),
        };
        let stride = Self::stride(quantizer, dims);
        let len = graph.len() * stride;
        bytes.grow_to(len)?;
        let pieces = Mutex::new(bytes[..len].chunks_mut(PIECE * stride).enumerate());
        run(&|stop| {
            loop {
                let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((at, piece)) = next.filter(|_| !stop.load(Ordering::Relaxed)) else {
                    return;
                };
                for (n, record) in piece.chunks_exact_mut(stride).enumerate() {
                    let (factors, code) = record.split_at_mut(size_of::<Factors>());
                    let compact = graph.get((at * PIECE + n) as u32);
                    let made = graph.codec.quantize(compact, quantizer, dims, code);
                    factors[..4].copy_from_slice(&made.add.to_ne_bytes());
                    factors[4..].copy_from_slice(&made.scale.to_ne_bytes());
                }
            }
        });
        Ok(Codes {
            bytes,
            quantizer,
            dims,
        })
    }

    /// What a neighbour keeps of a node.
    #[inline]
    pub fn kept(&self, node: u32) -> Kept<'_> {
        let stride = Self::stride(self.quantizer, self.dims);
        let record = &self.bytes[node as usize * stride..][..stride];
        let (factors, code) = record.split_at(size_of::<Factors>());
        Kept {
            factors: Factors {
                add: bytemuck::pod_read_unaligned(&factors[..4]),
                scale: bytemuck::pod_read_unaligned(&factors[4..]),
            },
            code,
        }
    }
}

/// Codes that lie one after another, as kernels take them.
#[derive(Default)]
struct Batch {
    codes: Vec<u8>,
    adds: Vec<f32>,
    scales: Vec<f32>,
    estimates: Vec<f32>,
}

impl Batch {
    fn clear(&mut self) {
        self.codes.clear();
        self.adds.clear();
        self.scales.clear();
    }

    fn push(&mut self, kept: Kept<'_>) {
        self.codes.extend_from_slice(kept.code);
        self.adds.push(kept.factors.add);
        self.scales.push(kept.factors.scale);
    }

    fn estimate(&mut self, query: &Query, quantizer: Quantizer, dims: usize) -> &[f32] {
        self.estimates.clear();
        self.estimates.resize(self.adds.len(), 0.0);
        let (adds, scales) = (&self.adds, &self.scales);
        query.estimate(
            quantizer,
            dims,
            &self.codes,
            adds,
            scales,
            &mut self.estimates,
        );
        &self.estimates
    }
}

/// A search of a graph in memory that does what one over pages will do.
pub struct Preview<'g> {
    graph: &'g Graph,
    /// of all nodes; none in the layout compact
    codes: Option<&'g Codes>,
    /// what is searched for
    pub query: Query,
    entries: Batch,
    batch: Batch,
    /// nodes whose compact codes were read as neighbours; layout compact
    visited: KeySet,
    lists: Links,
    links: Vec<Link>,
}

impl<'g> Preview<'g> {
    /// Searches over what is linked now.
    pub fn new(graph: &'g Graph, codes: Option<&'g Codes>) -> Self {
        let mut entries = Batch::default();
        let mut code = vec![0; ENTRY_QUANTIZER.code_len(graph.codec.dims())];
        for &node in graph.entries() {
            let dims = graph.codec.dims();
            let factors = graph
                .codec
                .quantize(graph.get(node), ENTRY_QUANTIZER, dims, &mut code);
            entries.push(Kept {
                factors,
                code: &code,
            });
        }
        Preview {
            graph,
            codes,
            query: Query::default(),
            entries,
            batch: Batch::default(),
            visited: KeySet::new(),
            lists: Links::default(),
            links: Vec::new(),
        }
    }

    /// Where a search for the query starts: the nearest entries by their codes.
    pub fn seeds(&mut self, seeds: &mut Vec<(u32, f32)>) {
        self.visited.clear();
        let dims = self.graph.codec.dims();
        let estimates = self.entries.estimate(&self.query, ENTRY_QUANTIZER, dims);
        seeds.clear();
        seeds.extend(
            self.graph
                .entries()
                .iter()
                .copied()
                .zip(estimates.iter().copied()),
        );
        seeds.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
        seeds.truncate(SEEDS);
    }
}

impl BlockStore for Preview<'_> {
    type Node = u32;
    type Row = u32;

    fn key(node: u32) -> u64 {
        node as u64 + 1
    }

    fn expand(&mut self, node: u32, mut neighbour: impl FnMut(u32, f32)) -> Option<Near<u32>> {
        self.links.clear();
        self.graph
            .links_with(node, &mut self.lists, &mut self.links);
        match self.codes {
            Some(codes) => {
                self.batch.clear();
                for link in &self.links {
                    self.batch.push(codes.kept(link.node));
                }
                let estimates = self
                    .batch
                    .estimate(&self.query, codes.quantizer, codes.dims);
                for (link, &estimate) in self.links.iter().zip(estimates) {
                    neighbour(link.node, estimate);
                }
            }
            None => {
                for link in &self.links {
                    if self.visited.insert(Self::key(link.node)) {
                        neighbour(link.node, self.query.distance(self.graph.get(link.node)));
                    }
                }
            }
        }
        Some(Near {
            distance: self.query.distance(self.graph.get(node)),
            error: 0.0,
            row: node,
        })
    }
}

/// Measures the calibration curve: each of the nodes held back, `queries[i]`, is searched for among
/// those linked, and `nearest[i]` are its neighbours. `next` hands out the queries to threads. Once
/// `stop` is set it returns soon, with less measured.
pub fn measure(
    preview: &mut Preview<'_>,
    queries: &[u32],
    nearest: &[Vec<u32>],
    mut next: impl FnMut() -> usize,
    stop: &AtomicBool,
) -> Calibration {
    let mut calibration = Calibration::default();
    let mut walk = Walk::default();
    let mut seeds = Vec::new();
    let effort = Effort {
        rank: calibrate::RANK,
        multiple: calibrate::MULTIPLES[calibrate::MULTIPLES.len() - 1],
        ..Effort::default()
    };
    loop {
        let at = next();
        let Some(&query) = queries.get(at).filter(|_| !stop.load(Ordering::Relaxed)) else {
            return calibration;
        };
        let wanted = &nearest[at];
        let compact = preview.graph.get(query);
        preview.query.reset_of(&preview.graph.codec, compact);
        preview.seeds(&mut seeds);
        let mut places = vec![usize::MAX; wanted.len()];
        let (mut seen, mut left) = (0, wanted.len());
        let reached = calibrate::trace(&mut walk, preview, seeds.drain(..), effort, |_, found| {
            while let Some(near) = found.get(seen) {
                if let Some(n) = wanted.iter().position(|&node| node == near.row) {
                    places[n] = seen;
                    left -= 1;
                }
                seen += 1;
            }
            // with all of them found, no multiple finds more
            left > 0 && seen < MOST_MEASURED_ROWS
        });
        calibration.add(&reached, &places);
    }
}
