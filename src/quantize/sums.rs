//! Sums of floats over dimensions: in sixteen lanes and one order, so that every instruction set that
//! they are compiled for gives the same bits.

/// Sum of `term` over pairs.
#[inline(always)]
pub(super) fn sum2<A: Copy, B: Copy>(a: &[A], b: &[B], term: impl Fn(A, B) -> f32) -> f32 {
    let mut lanes = [0.0; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane += term(*a, *b);
    }
    fold(lanes, |a, b| a + b)
}

/// Largest magnitude.
#[inline(always)]
pub(super) fn largest(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [0.0; 16];
    let (chunks, rest) = x.as_chunks::<16>();
    for x in chunks {
        for lane in 0..16 {
            lanes[lane] = larger(lanes[lane], x[lane].abs());
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, x.abs());
    }
    fold(lanes, larger)
}

#[inline(always)]
fn fold(mut lanes: [f32; 16], op: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = 8;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = op(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}
