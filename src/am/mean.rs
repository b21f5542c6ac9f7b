//! What a sample of a table tells of its vectors: where their middle is, and how long they are.

use crate::distance::Metric;

/// Sums vectors up.
pub struct Mean {
    metric: Metric,
    sums: Vec<f64>,
    count: u64,
    longest: f64,
}

impl Mean {
    /// Nothing yet, of vectors of `dims` dimensions; under cosine they count as if of length 1.
    pub fn new(metric: Metric, dims: usize) -> Mean {
        Mean {
            metric,
            sums: vec![0.0; dims],
            count: 0,
            longest: 0.0,
        }
    }

    /// Adds a vector.
    pub fn add(&mut self, x: &[f32]) {
        let squares = x.iter().map(|&x| x as f64 * x as f64);
        let norm = squares.sum::<f64>().sqrt();
        if norm == 0.0 && self.metric == Metric::Cosine {
            return;
        }
        let scale = match self.metric {
            Metric::Cosine => 1.0 / norm,
            _ => 1.0,
        };
        self.longest = self.longest.max(norm);
        self.count += 1;
        for (sum, &x) in self.sums.iter_mut().zip(x) {
            *sum += x as f64 * scale;
        }
    }

    /// The mean; empty where nothing was added.
    pub fn centroid(&self) -> Vec<f32> {
        match self.count {
            0 => Vec::new(),
            count => self
                .sums
                .iter()
                .map(|sum| (sum / count as f64) as f32)
                .collect(),
        }
    }

    /// Length of the longest vector, 1 where there is none of any length.
    pub fn reach(&self) -> f32 {
        match self.longest {
            longest if longest > 0.0 => (longest as f32).min(f32::MAX),
            _ => 1.0,
        }
    }
}
