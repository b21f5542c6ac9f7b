//! Exact neighbours by compact codes, to calibrate searches with.

use super::build::{Graph, Near};
use crate::cluster::{Queries, Rows};
use std::sync::atomic::{AtomicBool, Ordering};

/// Nodes gathered at a time, to be compared with all queries.
const BLOCK: usize = 1024;

impl Graph {
    /// The `k` linked nodes nearest to each of some nodes by the distance of their compact codes,
    /// nearest first, without that node itself. Compares with all, so give each thread a part of
    /// the queries. Once `stop` is set it returns soon, with wrong answers.
    pub fn exact_nearest(&self, queries: &[u32], k: usize, stop: &AtomicBool) -> Vec<Vec<Near>> {
        let mut found: Vec<Vec<Near>> = queries.iter().map(|_| Vec::with_capacity(k + 1)).collect();
        let mut coded = Rows::new(self.codec.dims());
        let mut terms = Vec::with_capacity(queries.len());
        for &query in queries {
            let compact = self.get(query);
            coded.push(compact);
            terms.push(compact.factors.add + self.codec.between_stored());
        }
        let compared = Queries::new(&coded, &terms);
        let mut bounds = vec![f32::INFINITY; queries.len()];
        let mut block = Rows::new(self.codec.dims());
        let mut nodes = Vec::with_capacity(BLOCK);
        for start in (0..self.len()).step_by(BLOCK) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            block.clear();
            nodes.clear();
            for node in start as u32..(start + BLOCK).min(self.len()) as u32 {
                if self.lists.is_linked(node) {
                    block.push(self.get(node));
                    nodes.push(node);
                }
            }
            let term = |row: usize| self.get(nodes[row]).factors.add;
            compared.compare(&block, term, &mut bounds, |row, query, distance| {
                let (node, found) = (nodes[row], &mut found[query]);
                if node != queries[query] {
                    let at = found.partition_point(|near| near.distance <= distance);
                    found.insert(at, Near { distance, node });
                    found.truncate(k);
                }
                match found.last() {
                    Some(last) if found.len() == k => last.distance,
                    _ => f32::INFINITY,
                }
            });
        }
        found
    }
}
