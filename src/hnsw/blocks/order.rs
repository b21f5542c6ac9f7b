//! In which order nodes are written, so that neighbours share pages.

use super::build::{Graph, Link};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

impl Graph {
    /// All nodes in an order in which the first `group`, the second `group` and so on have many links
    /// among themselves, and groups near each other too.
    ///
    /// Greedy: a group starts with a node that an earlier group has links to, and takes the node that
    /// most links lead to from within it, near ones first, until it is full. (Gorder, by Wei and others, SIGMOD 2016,
    /// does this in a sliding window.) Once `stop` is set it returns soon, with nodes missing.
    pub fn order(&self, group: usize, stop: &AtomicBool) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.len());
        let mut is_placed = vec![false; self.len()];
        let mut is_waiting = vec![false; self.len()];
        let mut waiting = VecDeque::new();
        let mut scores: FxHashMap<u32, u32> = FxHashMap::default();
        let mut links = Vec::new();
        let mut rest = 0..self.len() as u32;
        while order.len() < self.len() && !stop.load(Ordering::Relaxed) {
            scores.clear();
            for _ in 0..group.max(1) {
                // ties go to the smaller number, so that the order is repeatable
                let most = scores
                    .iter()
                    .max_by_key(|&(&node, &score)| (score, std::cmp::Reverse(node)));
                let unplaced = |node: &u32| !is_placed[*node as usize];
                let next = most
                    .map(|(&node, _)| node)
                    .or_else(|| {
                        std::iter::from_fn(|| waiting.pop_front()).find(|node| unplaced(node))
                    })
                    .or_else(|| rest.find(|node| unplaced(node)));
                let Some(node) = next else { break };
                order.push(node);
                is_placed[node as usize] = true;
                scores.remove(&node);
                nearest_first(self, node, &mut links);
                for (rank, link) in links.iter().enumerate() {
                    if !is_placed[link.node as usize] {
                        // the nearest count for up to twice the farthest
                        let score = (2 * links.len() - rank) as u32;
                        *scores.entry(link.node).or_default() += score;
                    }
                }
            }
            let mut left: Vec<(u32, u32)> = scores.iter().map(|(&n, &score)| (score, n)).collect();
            left.sort_unstable_by_key(|&(score, node)| (std::cmp::Reverse(score), node));
            for (_, node) in left {
                if !std::mem::replace(&mut is_waiting[node as usize], true) {
                    waiting.push_back(node);
                }
            }
        }
        order
    }
}

fn nearest_first(graph: &Graph, node: u32, links: &mut Vec<Link>) {
    links.clear();
    graph.links(node, links);
    links.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance));
}
