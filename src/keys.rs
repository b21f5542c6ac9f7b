//! Keys of filter columns: eight bytes that an index keeps of each value, and conditions on them.
//!
//! A key stands for one value of one row. What it tells depends on the column's type:
//!
//! | kind | key | tells |
//! |---|---|---|
//! | order | an image with the order of the values ([`of_i64`], [`of_f64`]) | `<` `<=` `=` `>=` `>`; where two values may share a key, only that they are not far apart |
//! | hash | a hash of the value ([`of_hash`]) | that values differ |
//! | labels | fingerprints of an array's elements ([`of_labels`]) | that an element is not there |
//!
//! [`NULL`] is the key of NULL and of nothing else. Where a key leaves a condition open the verdict
//! is [`Verdict::Open`], and the table has to be asked.

/// Key of NULL.
pub const NULL: u64 = u64::MAX;
/// The greatest key of a value. Values may share it.
pub const GREATEST: u64 = u64::MAX - 1;

/// What keys tell of a condition, or of all conditions of a scan. The lesser of two is both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Verdict {
    /// the row does not match
    No = 0,
    /// the table has to be asked
    Open = 1,
    /// the row matches; as good as certainly, where [`Condition::is_certain`] says no
    Yes = 2,
}

/// The key of an integer, or of what is kept as one (dates, timestamps, oids).
#[inline]
pub fn of_i64(value: i64) -> u64 {
    (value as u64 ^ 1 << 63).min(GREATEST)
}

/// The key of a float, in the order of SQL: NaN is the greatest value and equals itself.
#[inline]
pub fn of_f64(value: f64) -> u64 {
    if value.is_nan() {
        return GREATEST;
    }
    let bits = (value + 0.0).to_bits();
    match bits >> 63 {
        0 => bits | 1 << 63,
        _ => !bits,
    }
}

/// The key of a value that is hashed: equal values have equal hashes.
#[inline]
pub fn of_hash(hash: u64) -> u64 {
    hash.min(GREATEST)
}

/// Fingerprints that a key has room for.
const FINGERPRINTS: usize = 4;
/// Bits of a fingerprint; zero is none.
const FINGERPRINT_BITS: u32 = 15;
/// Set in the key of an array of more labels: the other bits are a signature of all of them.
const SIGNATURE: u64 = 1 << 62;
/// Bits of a signature.
const SIGNATURE_BITS: u64 = 62;

/// An element of a label array, by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    fingerprint: u64,
    bit: u64,
}

impl Label {
    /// A label of that hash.
    pub fn of_hash(hash: u64) -> Label {
        // hashes of the server are well mixed; these two share no bits
        Label {
            fingerprint: hash % ((1 << FINGERPRINT_BITS) - 1) + 1,
            bit: 1 << (((hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % SIGNATURE_BITS),
        }
    }

    /// Whether an array of that key has the label.
    #[inline]
    fn is_in(self, key: u64) -> Verdict {
        if key == NULL {
            return Verdict::No;
        }
        if key & SIGNATURE != 0 {
            return match key & self.bit {
                0 => Verdict::No,
                _ => Verdict::Open,
            };
        }
        let mut rest = key;
        while rest != 0 {
            if rest & ((1 << FINGERPRINT_BITS) - 1) == self.fingerprint {
                return Verdict::Yes;
            }
            rest >>= FINGERPRINT_BITS;
        }
        Verdict::No
    }
}

/// The key of an array: fingerprints of up to four different labels, a signature of more.
pub fn of_labels(labels: impl Iterator<Item = Label>) -> u64 {
    let mut few = [0u64; FINGERPRINTS];
    let mut count = 0;
    let mut signature = 0;
    for label in labels {
        signature |= label.bit;
        if few[..count.min(FINGERPRINTS)].contains(&label.fingerprint) {
            continue;
        }
        if count < FINGERPRINTS {
            few[count] = label.fingerprint;
        }
        count += 1;
    }
    if count > FINGERPRINTS {
        return SIGNATURE | signature;
    }
    few.iter()
        .rev()
        .fold(0, |key, fingerprint| key << FINGERPRINT_BITS | fingerprint)
}

/// A comparison of values that have an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

/// What a condition asks of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// a comparison with a value of that key. Where it is not `exact`, other values have the key, too
    Compare {
        /// which
        comparison: Comparison,
        /// the value's key
        key: u64,
        /// the value is the only one with its key
        exact: bool,
    },
    /// equal to a value with one of these keys, in ascending order
    AnyOf(Vec<u64>),
    /// any of these holds
    Any(Vec<Test>),
    /// `IS NULL`
    Null,
    /// `IS NOT NULL`
    NotNull,
    /// `&&`: has one of the labels
    Overlaps(Vec<Label>),
    /// `@>`: has all of the labels
    Contains(Vec<Label>),
    /// a condition of which keys tell nothing; NULL does not meet it
    Untold,
    /// a condition that nothing meets, as a comparison with NULL
    Never,
}

impl Test {
    /// What a key tells of it.
    #[inline]
    pub fn of(&self, key: u64) -> Verdict {
        use Verdict::*;
        let yes_if = |holds| if holds { Yes } else { No };
        match self {
            Test::Null => yes_if(key == NULL),
            Test::Never => No,
            _ if key == NULL => No,
            Test::NotNull => Yes,
            Test::Untold => Open,
            Test::Compare {
                comparison: Comparison::Equal,
                key: other,
                ..
            } => yes_if(key == *other),
            Test::Compare {
                key: other,
                exact: false,
                ..
            } if key == *other => Open,
            Test::Compare {
                comparison,
                key: other,
                ..
            } => yes_if(match comparison {
                Comparison::Less => key < *other,
                Comparison::LessOrEqual => key <= *other,
                Comparison::Equal => key == *other,
                Comparison::GreaterOrEqual => key >= *other,
                Comparison::Greater => key > *other,
            }),
            Test::AnyOf(keys) => yes_if(keys.binary_search(&key).is_ok()),
            Test::Any(tests) => tests.iter().map(|test| test.of(key)).max().unwrap_or(No),
            Test::Overlaps(labels) => {
                let verdicts = labels.iter().map(|label| label.is_in(key));
                verdicts.max().unwrap_or(No)
            }
            Test::Contains(labels) => {
                let verdicts = labels.iter().map(|label| label.is_in(key));
                verdicts.min().unwrap_or(Yes)
            }
        }
    }

    /// Whether a key from `low` to `high` can meet it.
    fn meets(&self, low: u64, high: u64) -> bool {
        match self {
            Test::Null => high == NULL,
            Test::Never => false,
            Test::Compare {
                comparison, key, ..
            } => match comparison {
                Comparison::Less | Comparison::LessOrEqual => low <= *key,
                Comparison::Equal => low <= *key && *key <= high,
                Comparison::GreaterOrEqual | Comparison::Greater => *key <= high,
            },
            Test::AnyOf(keys) => {
                let first = keys.partition_point(|key| *key < low);
                keys.get(first).is_some_and(|key| *key <= high)
            }
            Test::Any(tests) => tests.iter().any(|test| test.meets(low, high)),
            Test::NotNull | Test::Untold | Test::Overlaps(_) | Test::Contains(_) => low != NULL,
        }
    }
}

/// A condition on one filter column.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// number of the filter column, from 0
    pub column: usize,
    /// what it asks
    pub test: Test,
    /// [`Verdict::Yes`] is certain. Else values may differ whose keys do not
    pub is_certain: bool,
}

/// All conditions of a scan on filter columns; a row has to meet every one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// All of these.
    pub fn new(conditions: Vec<Condition>) -> Conditions {
        Conditions(conditions)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a row with [`Verdict::Yes`] matches for certain.
    pub fn is_certain(&self) -> bool {
        self.0.iter().all(|condition| condition.is_certain)
    }

    /// What a row's keys tell, one for each column.
    #[inline]
    pub fn of(&self, keys: &[u64]) -> Verdict {
        let mut verdict = Verdict::Yes;
        for condition in &self.0 {
            verdict = verdict.min(condition.test.of(keys[condition.column]));
            if verdict == Verdict::No {
                break;
            }
        }
        verdict
    }

    /// What the keys of many rows tell. `column` gives all rows' keys of a column; there are as many
    /// as `verdicts`, which begin as they are and become no greater.
    pub fn narrow<'k>(&self, column: impl Fn(usize) -> &'k [u64], verdicts: &mut [Verdict]) {
        for condition in &self.0 {
            let keys = column(condition.column);
            match &condition.test {
                // the loops that matter, without a branch
                Test::Compare {
                    comparison: Comparison::Equal,
                    key,
                    ..
                } => each(keys, verdicts, |k| k == *key),
                &Test::Compare {
                    comparison,
                    key,
                    exact: true,
                } => match comparison {
                    Comparison::Less => each(keys, verdicts, |k| k < key),
                    Comparison::LessOrEqual => each(keys, verdicts, |k| k <= key),
                    // NULL is the greatest key, and meets neither
                    Comparison::GreaterOrEqual => {
                        each(keys, verdicts, |k| (k >= key) & (k != NULL))
                    }
                    _ => each(keys, verdicts, |k| (k > key) & (k != NULL)),
                },
                test => {
                    for (verdict, &key) in verdicts.iter_mut().zip(keys) {
                        if *verdict != Verdict::No {
                            *verdict = (*verdict).min(test.of(key));
                        }
                    }
                }
            }
        }
    }

    /// Whether a row can match whose keys lie between `lows` and `highs`, column by column.
    pub fn meet(&self, lows: &[u64], highs: &[u64]) -> bool {
        self.0.iter().all(|condition| {
            let (low, high) = (lows[condition.column], highs[condition.column]);
            low <= high && condition.test.meets(low, high)
        })
    }
}

#[inline(always)]
fn each(keys: &[u64], verdicts: &mut [Verdict], holds: impl Fn(u64) -> bool) {
    for (verdict, &key) in verdicts.iter_mut().zip(keys) {
        *verdict = if holds(key) { *verdict } else { Verdict::No };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Comparison::*;
    use Verdict::*;

    fn compare(comparison: Comparison, key: u64, exact: bool) -> Test {
        Test::Compare {
            comparison,
            key,
            exact,
        }
    }

    #[test]
    fn keys_of_numbers_have_their_order() {
        let integers = [i64::MIN, -2, -1, 0, 1, 7, i64::MAX - 2];
        assert!(integers.map(of_i64).is_sorted_by(|a, b| a < b));
        let floats = [
            f64::NEG_INFINITY,
            -1e300,
            -1.0,
            -1e-310,
            0.0,
            1e-310,
            1.0,
            f64::INFINITY,
            f64::NAN,
        ];
        assert!(floats.map(of_f64).is_sorted_by(|a, b| a < b));
        assert_eq!(of_f64(-0.0), of_f64(0.0));
        assert!(of_i64(i64::MAX) < NULL && of_f64(f64::NAN) < NULL && of_hash(u64::MAX) < NULL);
    }

    #[test]
    fn a_shared_key_leaves_order_open() {
        let key = of_i64(5);
        for comparison in [Less, LessOrEqual, GreaterOrEqual, Greater] {
            assert_eq!(compare(comparison, key, false).of(key), Open);
        }
        assert_eq!(compare(Equal, key, false).of(key), Yes);
        assert_eq!(compare(Less, key, true).of(key), No);
        assert_eq!(compare(LessOrEqual, key, true).of(key), Yes);
        assert_eq!(compare(Less, key, false).of(of_i64(4)), Yes);
    }

    #[test]
    fn null_meets_is_null_alone() {
        let tests = [
            compare(GreaterOrEqual, 0, true),
            compare(Greater, 3, false),
            Test::AnyOf(vec![NULL]),
            Test::NotNull,
            Test::Overlaps(vec![Label::of_hash(1)]),
            Test::Contains(vec![]),
            Test::Untold,
            Test::Never,
        ];
        for test in tests {
            assert_eq!(test.of(NULL), No, "{test:?}");
        }
        assert_eq!(Test::Null.of(NULL), Yes);
        assert_eq!(Test::Null.of(GREATEST), No);
    }

    #[test]
    fn labels_that_are_there_are_never_denied() {
        let mut rng = fastrand::Rng::with_seed(1);
        for count in 0..12 {
            let labels: Vec<Label> = (0..count).map(|_| Label::of_hash(rng.u64(..))).collect();
            let key = of_labels(labels.iter().copied());
            assert_ne!(key, NULL);
            for &label in &labels {
                assert_ne!(Test::Overlaps(vec![label]).of(key), No);
            }
            assert_ne!(Test::Contains(labels.clone()).of(key), No);
            let strangers = (0..1000).map(|_| Label::of_hash(rng.u64(..)));
            let denied = strangers.filter(|&label| Test::Overlaps(vec![label]).of(key) == No);
            let denied = denied.count();
            assert!(
                denied >= if count <= 4 { 995 } else { 700 },
                "{count}: {denied}"
            );
        }
    }

    #[test]
    fn many_rows_get_the_verdicts_of_each() {
        let mut rng = fastrand::Rng::with_seed(2);
        let column: Vec<u64> = (0..500)
            .map(|_| match rng.u8(0..10) {
                0 => NULL,
                _ => of_i64(rng.i64(-5..5)),
            })
            .collect();
        let labels = vec![Label::of_hash(3), Label::of_hash(4)];
        let key = of_i64(2);
        let mut tests = vec![
            Test::AnyOf(vec![of_i64(-3), of_i64(1)]),
            Test::Any(vec![compare(Less, key, false), Test::Null]),
            Test::Null,
            Test::NotNull,
            Test::Overlaps(labels.clone()),
            Test::Contains(labels),
            Test::Untold,
            Test::Never,
        ];
        for comparison in [Less, LessOrEqual, Equal, GreaterOrEqual, Greater] {
            tests.push(compare(comparison, key, true));
            tests.push(compare(comparison, key, false));
        }
        for test in tests {
            let conditions = Conditions::new(vec![Condition {
                column: 0,
                test: test.clone(),
                is_certain: true,
            }]);
            let mut verdicts = vec![Yes; column.len()];
            conditions.narrow(|_| &column, &mut verdicts);
            for (&key, &verdict) in column.iter().zip(&verdicts) {
                assert_eq!(verdict, conditions.of(&[key]), "{test:?} of {key}");
                // a zone of this row alone is never passed over
                assert!(verdict == No || conditions.meet(&[key], &[key]), "{test:?}");
            }
            let met = verdicts.iter().any(|&verdict| verdict != No);
            let (low, high) = (column.iter().min(), column.iter().max());
            assert!(!met || conditions.meet(&[*low.unwrap()], &[*high.unwrap()]));
        }
    }

    #[test]
    fn an_empty_zone_is_passed_over() {
        let condition = Condition {
            column: 0,
            test: Test::NotNull,
            is_certain: true,
        };
        assert!(!Conditions::new(vec![condition]).meet(&[u64::MAX], &[0]));
    }
}
