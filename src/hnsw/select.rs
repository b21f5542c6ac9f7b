//! Which candidates become neighbours: Algorithm 4 of the paper (the heuristic), with
//! keepPrunedConnections.

use super::{Candidate, Distance};

/// Picks at most `capacity` of `candidates` (nearest first) as neighbours of the node they are
/// candidates for. A candidate that is nearer to one already chosen than to the node is kept only
/// while there is room: its way is covered, and links in other directions keep the graph
/// navigable. The answer holds the chosen first, then the kept, both nearest first.
pub fn select_neighbours<N: Copy>(
    candidates: &[Candidate<N>],
    capacity: usize,
    mut distance: impl FnMut(N, N) -> Distance,
) -> Vec<Candidate<N>> {
    if candidates.len() <= capacity {
        return candidates.to_vec();
    }
    let mut chosen: Vec<Candidate<N>> = Vec::with_capacity(capacity);
    let mut covered: Vec<Candidate<N>> = Vec::with_capacity(candidates.len());
    for &candidate in candidates {
        if chosen.len() == capacity {
            break;
        }
        let is_covered = chosen
            .iter()
            .any(|other| distance(candidate.node, other.node) <= candidate.distance);
        if is_covered {
            covered.push(candidate);
        } else {
            chosen.push(candidate);
        }
    }
    let room = capacity - chosen.len();
    chosen.extend(covered.into_iter().take(room));
    chosen
}
