//! Here are numbers that scatter, tell me how likely one of them is below a bound.

/// Share of a normal distribution below so many standard deviations: Abramowitz and Stegun, 26.2.17.
#[inline]
pub fn below(deviations: f64) -> f64 {
    let x = deviations.abs();
    if x > 8.0 {
        return if deviations > 0.0 { 1.0 } else { 0.0 };
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let terms = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let series = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    let beyond = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if deviations > 0.0 {
        1.0 - beyond
    } else {
        beyond
    }
}

/// The mean of what came last, and how far it scatters: what came long ago is forgotten.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lately {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Lately {
    /// Numbers that are remembered, more or less.
    const MEMORY: f64 = 256.0;

    /// Adds a number.
    #[inline]
    pub fn add(&mut self, number: f64) {
        self.count = (self.count + 1.0).min(Self::MEMORY);
        let away = number - self.mean;
        self.mean += away / self.count;
        self.variance += (away * (number - self.mean) - self.variance) / self.count;
    }

    /// The mean; 0 where nothing came.
    #[inline]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// The standard deviation.
    #[inline]
    pub fn deviation(&self) -> f64 {
        self.variance.sqrt()
    }

    /// How likely the next number is below a bound, if it is as the last ones were.
    #[inline]
    pub fn below(&self, bound: f64) -> f64 {
        let deviation = self.deviation().max(f64::MIN_POSITIVE);
        below((bound - self.mean) / deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_a_normal_distribution_are_those_of_the_tables() {
        for (deviations, share) in [
            (-9.0, 0.0),
            (-3.0, 0.00135),
            (-1.0, 0.15866),
            (0.0, 0.5),
            (1.0, 0.84134),
            (2.0, 0.97725),
        ] {
            assert!((below(deviations) - share).abs() < 1e-5, "{deviations}");
        }
    }

    #[test]
    fn what_came_long_ago_is_forgotten() {
        let mut lately = Lately::default();
        for n in 0..10_000 {
            let about = if n < 5_000 { 0.0 } else { 10.0 };
            lately.add(about + if n % 2 == 0 { 1.0 } else { -1.0 });
        }
        assert!((lately.mean() - 10.0).abs() < 0.01, "{}", lately.mean());
        let deviation = lately.deviation();
        assert!((deviation - 1.0).abs() < 0.01, "{deviation}");
        assert!((lately.below(11.0) - 0.841).abs() < 0.01);
        assert!(lately.below(5.0) < 1e-6);
    }

    #[test]
    fn of_few_numbers_all_count_alike() {
        let mut lately = Lately::default();
        for number in [1.0, 2.0, 3.0, 4.0] {
            lately.add(number);
        }
        assert_eq!(lately.mean(), 2.5);
        assert!((lately.deviation() - 1.25f64.sqrt()).abs() < 1e-12);
    }
}
