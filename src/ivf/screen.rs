//! Which rows of a list have lower bounds that leave them a chance: many at once, as hardly any has.

use super::format::Bf16;
use crate::distance::lanes::{Isa, for_every_isa};
use crate::quantize::Base;

/// Rows that are screened at once.
pub const SCREENED: usize = 32;

/// How far estimates of a list's rows may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// of the list
    pub base: Base,
    /// standard deviations allowed for
    pub deviations: f32,
}

impl Errors {
    /// Standard error of the estimate of a row that has this error at distance 1.
    #[inline(always)]
    pub fn deviation(self, of_row: f32) -> f32 {
        self.base.span * of_row + self.base.slack
    }

    /// How far it may be off.
    #[inline(always)]
    pub fn error(self, of_row: f32) -> f32 {
        self.deviations * self.deviation(of_row)
    }
}

/// Lanes in which bounds are compared: as many as the widest registers have.
const LANES: usize = 16;
const _: () = assert!(SCREENED == 2 * LANES);

/// Lower bounds of some rows after others.
#[derive(Debug, Clone)]
pub struct Screen {
    /// lower bounds of the last rows screened
    pub lows: [f32; SCREENED],
    /// the least of all that were above the bound, lane by lane
    least: [f32; LANES],
}

impl Default for Screen {
    fn default() -> Self {
        Screen {
            lows: [0.0; SCREENED],
            least: [f32::INFINITY; LANES],
        }
    }
}

impl Screen {
    /// Screens up to [`SCREENED`] rows. The result has a bit for each whose lower bound is not above `bound`, that of
    /// the first row lowest.
    #[inline]
    pub fn pass(&mut self, line: Errors, estimates: &[f32], errors: &[Bf16], bound: f32) -> u32 {
        pass(Isa::best(), self, line, estimates, errors, bound)
    }

    /// The least lower bound of those that did not pass; infinite where all did.
    pub fn least(&self) -> f32 {
        self.least.into_iter().fold(f32::INFINITY, f32::min)
    }
}

for_every_isa! {
    fn pass(isa: Isa, screen: &mut Screen, line: Errors, estimates: &[f32], errors: &[Bf16], bound: f32) -> u32 {
        let _ = isa;
        if let (Some(estimates), Some(errors)) = (estimates.as_array(), errors.as_array()) {
            return pass_all(screen, line, estimates, errors, bound);
        }
        let count = estimates.len();
        let (mut some, mut of_some) = ([f32::INFINITY; SCREENED], [Bf16::default(); SCREENED]);
        some[..count].copy_from_slice(estimates);
        of_some[..count].copy_from_slice(errors);
        let near = pass_all(screen, line, &some, &of_some, bound);
        near & ((1u64 << count) - 1) as u32
    }
}

#[inline(always)]
fn pass_all(
    screen: &mut Screen,
    line: Errors,
    estimates: &[f32; SCREENED],
    errors: &[Bf16; SCREENED],
    bound: f32,
) -> u32 {
    let lows = &mut screen.lows;
    for n in 0..SCREENED {
        lows[n] = estimates[n] - line.error(errors[n].get());
    }
    let mut near = [0; LANES];
    for (n, least) in screen.least.iter_mut().enumerate() {
        let (a, b) = (lows[n], lows[n + LANES]);
        near[n] = u32::from(a <= bound) << n | u32::from(b <= bound) << (n + LANES);
        let a = if a <= bound { f32::INFINITY } else { a };
        let b = if b <= bound { f32::INFINITY } else { b };
        let less = if a < b { a } else { b };
        *least = if less < *least { less } else { *least };
    }
    near.into_iter().fold(0, |all, of_lane| all | of_lane)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bounds_of_many_rows_are_those_of_each(
            rows in proptest::collection::vec((-10f32..100.0, 0f32..10.0), 0..=SCREENED),
            bound in -20f32..100.0,
            (span, slack, deviations) in (0f32..2.0, 0f32..1.0, 0f32..5.0),
        ) {
            let base = Base { distance: 0.0, span, slack };
            let line = Errors { base, deviations };
            let estimates: Vec<f32> = rows.iter().map(|row| row.0).collect();
            let errors: Vec<Bf16> = rows.iter().map(|row| Bf16::at_least(row.1)).collect();
            let lows: Vec<f32> = estimates.iter().zip(&errors).map(|(x, e)| x - line.error(e.get())).collect();
            for isa in Isa::available() {
                let mut screen = Screen::default();
                let near = pass(isa, &mut screen, line, &estimates, &errors, bound);
                prop_assert_eq!(&screen.lows[..lows.len()], &lows[..]);
                let above = lows.iter().copied().filter(|&low| low > bound);
                prop_assert_eq!(screen.least(), above.fold(f32::INFINITY, f32::min));
                let near = (0..SCREENED).filter(|n| near >> n & 1 == 1);
                let expected = (0..lows.len()).filter(|&n| lows[n] <= bound);
                prop_assert!(near.eq(expected));
            }
        }
    }
}
