//! Exact neighbours by compact codes, to calibrate searches with.

use super::build::{Graph, Near};
use std::sync::atomic::{AtomicBool, Ordering};

/// Nodes compared with one query after the other while their records stay in the first-level cache.
const BLOCK: usize = 32;

impl Graph {
    /// The `k` linked nodes nearest to each of some nodes by the distance of their compact codes,
    /// nearest first, without that node itself. Compares with all, so give each thread a part of
    /// the queries. Once `stop` is set it returns soon, with wrong answers.
    pub fn exact_nearest(&self, queries: &[u32], k: usize, stop: &AtomicBool) -> Vec<Vec<Near>> {
        let mut found: Vec<Vec<Near>> = queries.iter().map(|_| Vec::with_capacity(k + 1)).collect();
        let mut block = Vec::with_capacity(BLOCK);
        for start in (0..self.len()).step_by(BLOCK) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            block.clear();
            let nodes = start as u32..(start + BLOCK).min(self.len()) as u32;
            block.extend(nodes.filter(|&node| self.lists.is_linked(node)));
            for (&query, found) in queries.iter().zip(&mut found) {
                let code = self.get(query);
                for &node in &block {
                    let distance = self.codec.distance(code, self.get(node));
                    let is_near = found.len() < k
                        || found.last().is_some_and(|last| distance < last.distance);
                    if is_near && node != query {
                        let at = found.partition_point(|near| near.distance <= distance);
                        found.insert(at, Near { distance, node });
                        found.truncate(k);
                    }
                }
            }
        }
        found
    }
}
