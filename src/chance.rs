//! Here are numbers that scatter, tell me how likely one of them is below a bound.

/// Standard deviations beyond which nothing is left: less than a hundredth of what [`below`] is off by.
const ALL: f64 = 6.0;

/// Share of a normal distribution below so many standard deviations: Abramowitz and Stegun, 26.2.17, off by less
/// than 1e-7.
#[inline]
pub fn below(deviations: f64) -> f64 {
    let x = deviations.abs();
    if x > ALL {
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

/// How far estimates are off, as seen from the last ones: what came long ago is forgotten.
///
/// Whatever looks near has been estimated too near more often than what looks far, so errors depend on the
/// estimates: a line through those seen says which to expect farther on. How steep it is, few of them hardly tell;
/// until then it is taken for flat, more or less ([`SLOPE`](Self::SLOPE)), and what it says of distant estimates
/// for uncertain: linear regression with a normal prior of the slope (Bishop, Pattern Recognition and Machine
/// Learning, 3.3).
#[derive(Debug, Clone, Copy, Default)]
pub struct Errors {
    count: f64,
    /// means of the estimates and of their errors
    estimate: f64,
    error: f64,
    /// their variances, and what they have in common
    of_estimates: f64,
    of_errors: f64,
    common: f64,
    line: Line,
}

/// What errors seen say of others.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    slope: f64,
    /// how far the slope may be off: its variance
    of_slope: f64,
    /// variance of errors around the line
    around: f64,
}

impl Errors {
    /// Errors that are remembered, more or less.
    const MEMORY: f64 = 256.0;
    /// Standard deviation of the slope, as long as nothing is known of it. Where estimates tell nothing it is -1,
    /// where they are exact 0.
    const SLOPE: f64 = 0.5;
    /// Times the line is fitted, each with what the one before has told.
    const FITS: usize = 3;

    /// Adds an estimate, and how much more the truth was.
    #[inline]
    pub fn add(&mut self, estimate: f64, error: f64) {
        self.count = (self.count + 1.0).min(Self::MEMORY);
        let part = 1.0 / self.count;
        let (away, off) = (estimate - self.estimate, error - self.error);
        self.estimate += away * part;
        self.error += off * part;
        let left = error - self.error;
        self.of_estimates += (away * (estimate - self.estimate) - self.of_estimates) * part;
        self.of_errors += (off * left - self.of_errors) * part;
        self.common += (away * left - self.common) * part;
        self.line = self.fit();
    }

    fn fit(&self) -> Line {
        let known = 1.0 / (Self::SLOPE * Self::SLOPE);
        if self.of_errors <= 0.0 {
            return Line::default();
        }
        let (mut slope, mut around) = (0.0, self.of_errors);
        // what is taken for known weighs as much as errors scatter, which the line tells
        for _ in 0..Self::FITS {
            let weight = around * known / self.count;
            slope = self.common / (self.of_estimates + weight).max(f64::MIN_POSITIVE);
            let off =
                self.of_errors - 2.0 * slope * self.common + slope * slope * self.of_estimates;
            around = off.max(0.0);
        }
        Line {
            slope,
            of_slope: around
                / (self.count * self.of_estimates + around * known).max(f64::MIN_POSITIVE),
            around,
        }
    }

    /// What is expected behind an estimate.
    #[inline]
    pub fn expected(&self, estimate: f64) -> f64 {
        estimate + self.error + self.line.slope * (estimate - self.estimate)
    }

    /// How likely what is behind an estimate is below a bound.
    #[inline]
    pub fn below(&self, bound: f64, estimate: f64) -> f64 {
        let away = estimate - self.estimate;
        let variance =
            self.line.around * (1.0 + 1.0 / self.count.max(1.0)) + self.line.of_slope * away * away;
        let deviation = variance.sqrt().max(f64::MIN_POSITIVE);
        below((bound - self.expected(estimate)) / deviation)
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
        let mut errors = Errors::default();
        for n in 0..10_000 {
            let about = if n < 5_000 { 0.0 } else { 10.0 };
            let scatter = if n % 2 == 0 { 1.0 } else { -1.0 };
            errors.add((n % 7) as f64, about + scatter);
        }
        assert!((errors.expected(3.0) - 13.0).abs() < 0.05, "{errors:?}");
        assert!((errors.below(14.0, 3.0) - 0.841).abs() < 0.01);
        assert!(errors.below(5.0, 3.0) < 1e-6);
    }

    #[test]
    fn no_errors_are_expected_where_none_was() {
        let mut errors = Errors::default();
        for n in 0..40 {
            errors.add(n as f64, 0.0);
        }
        assert_eq!(errors.expected(50.0), 50.0);
        assert!(errors.below(49.9, 50.0) < 1e-6);
        assert!(errors.below(50.1, 50.0) > 1.0 - 1e-6);
    }

    #[test]
    fn estimates_that_tell_nothing_are_not_believed() {
        let mut errors = Errors::default();
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..32 {
            let estimate = 100.0 + random.f64();
            errors.add(estimate, 50.0 + 0.001 * random.f64() - estimate);
        }
        assert!((errors.expected(103.0) - 50.0).abs() < 0.01, "{errors:?}");
        let chance = errors.below(50.0005, 103.0);
        assert!(chance > 0.2 && chance < 0.8, "{chance}");
    }

    #[test]
    fn of_the_rows_that_look_farther_as_many_are_nearer_as_is_told() {
        // distances and errors scatter alike, so half of what makes a row look near is error
        let mut random = fastrand::Rng::with_seed(9);
        let mut normal = || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        let (mut told, mut met) = (0.0, 0.0);
        for _ in 0..400 {
            let mut rows: Vec<(f64, f64)> = (0..200)
                .map(|_| {
                    let distance = 20.0 + normal();
                    (distance + normal(), distance)
                })
                .collect();
            rows.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (read, others) = rows.split_at(50);
            let mut errors = Errors::default();
            for (estimate, distance) in read {
                errors.add(*estimate, distance - estimate);
            }
            let mut near: Vec<f64> = read.iter().map(|row| row.1).collect();
            near.sort_by(f64::total_cmp);
            for (estimate, distance) in others {
                told += errors.below(near[9], *estimate);
                met += (*distance < near[9]) as u32 as f64;
            }
        }
        assert!(told > 0.9 * met && told < 1.5 * met, "{told} of {met}");
    }
}
