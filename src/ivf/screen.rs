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

    /// Writes the lower bounds of up to [`SCREENED`] rows; returns the least of those above `bound`.
    #[inline]
    pub fn screen(
        self,
        estimates: &[f32],
        errors: &[Bf16],
        bound: f32,
        lows: &mut [f32; SCREENED],
    ) -> f32 {
        screen(Isa::best(), self, estimates, errors, bound, lows)
    }
}

for_every_isa! {
    fn screen(isa: Isa, line: Errors, estimates: &[f32], errors: &[Bf16], bound: f32, lows: &mut [f32; SCREENED]) -> f32 {
        let _ = isa;
        let mut least = f32::INFINITY;
        for ((low, &estimate), error) in lows.iter_mut().zip(estimates).zip(errors) {
            *low = estimate - line.error(error.get());
            let above = if *low > bound { *low } else { f32::INFINITY };
            least = if above < least { above } else { least };
        }
        least
    }
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
                let mut bounds = [0.0; SCREENED];
                let least = screen(isa, line, &estimates, &errors, bound, &mut bounds);
                prop_assert_eq!(&bounds[..lows.len()], &lows[..]);
                let above = lows.iter().copied().filter(|&low| low > bound);
                prop_assert_eq!(least, above.fold(f32::INFINITY, f32::min));
            }
        }
    }
}
