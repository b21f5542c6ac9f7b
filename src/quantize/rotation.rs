//! A random rotation that takes D log D additions instead of D^2, and a seed instead of a matrix.
//!
//! Rounds of random sign flips and a fast Hadamard transform, as in Ailon and Chazelle ("The Fast
//! Johnson-Lindenstrauss Transform", 2009). A Hadamard transform wants a power of two; other
//! dimensions are not padded: rounds transform the first and the last P = 2^floor(log2 D)
//! coordinates in turn, and between them a step of Kac's walk mixes each coordinate of the lower half
//! with its counterpart in the upper one (without it, where 2P is hardly more than D, the little that
//! both transforms share would carry little from one end to the other).

/// Rounds of flips and transform. Where D is a power of two, three make any input look random;
/// other dimensions need a fourth to even out what the transforms' overlap leaves uneven.
const ROUNDS: usize = 4;

/// An orthogonal map of D dimensions, to the last bit the same on every machine for the same seed.
#[derive(Debug, Clone)]
pub struct Rotation {
    dims: usize,
    /// largest power of two that is not above `dims`
    power: usize,
    /// For each round `dims` random signs, and in them the factors that keep the length: of the
    /// transform, and of Kac's step before it.
    flips: Vec<f32>,
}

impl Rotation {
    /// The rotation of `dims` (at least 1) dimensions that belongs to a seed.
    pub fn new(dims: usize, seed: u64) -> Self {
        assert!(dims > 0, "a rotation of nothing");
        let power = 1 << dims.ilog2();
        let length = (1.0 / power as f64).sqrt();
        let mut bits = SplitMix(seed);
        let mut flips = Vec::with_capacity(ROUNDS * dims);
        for round in 0..ROUNDS {
            let transformed = range(round, dims, power);
            let mut word = 0;
            for at in 0..dims {
                if at % 64 == 0 {
                    word = bits.next();
                }
                let mut factor = if transformed.contains(&at) {
                    length
                } else {
                    1.0
                };
                if round > 0 && power < dims && at < dims / 2 * 2 {
                    factor *= std::f64::consts::FRAC_1_SQRT_2;
                }
                let sign = if word >> (at % 64) & 1 == 1 {
                    -1.0
                } else {
                    1.0
                };
                flips.push((sign * factor) as f32);
            }
        }
        Rotation { dims, power, flips }
    }

    /// Rotates in place; `x` has the rotation's dimensions.
    #[inline(always)]
    pub(super) fn rotate(&self, x: &mut [f32]) {
        assert_eq!(x.len(), self.dims);
        for (round, flips) in self.flips.chunks_exact(self.dims).enumerate() {
            if round > 0 && self.power < self.dims {
                kac(x);
            }
            for (x, flip) in x.iter_mut().zip(flips) {
                *x *= flip;
            }
            hadamard(&mut x[range(round, self.dims, self.power)]);
        }
    }

    /// Rotates in place; `x` has the rotation's dimensions.
    pub fn apply(&self, x: &mut [f32]) {
        self.rotate(x);
    }
}

/// The coordinates that a round transforms.
#[inline(always)]
fn range(round: usize, dims: usize, power: usize) -> std::ops::Range<usize> {
    if round.is_multiple_of(2) {
        0..power
    } else {
        dims - power..dims
    }
}

/// One step of Kac's walk over all pairs (j, j + D/2), without its factor of sqrt(1/2).
#[inline(always)]
fn kac(x: &mut [f32]) {
    let half = x.len() / 2;
    let (low, high) = x[..2 * half].split_at_mut(half);
    butterflies(low, high);
}

#[inline(always)]
fn butterflies(low: &mut [f32], high: &mut [f32]) {
    for (a, b) in low.iter_mut().zip(high) {
        (*a, *b) = (*a + *b, *a - *b);
    }
}

/// The Walsh-Hadamard transform, without its factor of sqrt(1/len); `len` is a power of two.
#[inline(always)]
fn hadamard(x: &mut [f32]) {
    let mut stride = 1;
    while stride < x.len() {
        for pair in x.chunks_exact_mut(2 * stride) {
            let (low, high) = pair.split_at_mut(stride);
            butterflies(low, high);
        }
        stride *= 2;
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Written out because an index depends on its bits
/// for as long as it lives, whatever version of whatever crate it is read with.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}
