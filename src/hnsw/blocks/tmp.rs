use super::build::{Graph, Near};
use std::sync::atomic::{AtomicBool, Ordering};
impl Graph {
    pub fn attach_unreachable(&self, _turns: usize) {}
    pub fn order(&self) -> Vec<u32> { (0..self.len() as u32).collect() }
    pub fn nearest_of(&self, queries: &[u32], k: usize, part: usize, parts: usize, stop: &AtomicBool) -> Vec<Vec<Near>> {
        let mut out: Vec<Vec<Near>> = vec![Vec::new(); queries.len()];
        let linked = self.len() - queries.len();
        for t in (part..linked).step_by(parts) {
            if stop.load(Ordering::Relaxed) { break; }
            let node = self.at_turn(t);
            for (q, o) in queries.iter().zip(&mut out) {
                let distance = self.codec().distance(self.get(*q), self.get(node));
                if o.len() < k || distance < o[k - 1].distance {
                    let at = o.partition_point(|n| n.distance <= distance);
                    o.insert(at, Near { distance, node }); o.truncate(k);
                }
            }
        }
        out
    }
}
