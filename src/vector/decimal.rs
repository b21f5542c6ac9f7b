//! Between decimal text and f32, with the rules of PostgreSQL: reading takes what C's `strtof`
//! takes, writing gives what `float4out` writes. Both are exact, and faster than the C library.

/// A number at the start of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// nearest f32 (ties to even)
    pub value: f32,
    /// bytes of text that belong to the number
    pub len: usize,
    /// the text is finite, but rounds to infinity
    pub overflowed: bool,
}

/// Reads the longest prefix of `text` that is a number, as C's `strtof` does, but without leading
/// white space: decimal and hexadecimal floats, `inf`, `infinity` and `nan` in any case. None
/// where the text does not start with a number.
pub fn parse_prefix(text: &[u8]) -> Option<Number> {
    let sign_len = matches!(text.first(), Some(b'+' | b'-')) as usize;
    let negative = sign_len == 1 && text[0] == b'-';
    let unsigned = &text[sign_len..];
    let (magnitude, len) = match unsigned.first()? {
        b'0'..=b'9' | b'.' => match scan_hexadecimal(unsigned) {
            Some(found) => found,
            None => scan_decimal(unsigned)?,
        },
        _ => scan_word(unsigned)?,
    };
    Some(Number {
        value: if negative { -magnitude } else { magnitude },
        len: sign_len + len,
        overflowed: magnitude.is_infinite() && !unsigned[0].is_ascii_alphabetic(),
    })
}

/// `infinity`, `inf` or `nan`.
fn scan_word(text: &[u8]) -> Option<(f32, usize)> {
    let starts_with = |word: &[u8]| {
        text.get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
    };
    [
        (&b"infinity"[..], f32::INFINITY),
        (b"inf", f32::INFINITY),
        (b"nan", f32::NAN),
    ]
    .into_iter()
    .find(|(word, _)| starts_with(word))
    .map(|(word, value)| (value, word.len()))
}

/// Digits, a point among them or not, and an exponent or not.
fn scan_decimal(text: &[u8]) -> Option<(f32, usize)> {
    let mut significand = 0u64;
    let mut scale = 0i64;
    let mut any_digit = false;
    let mut point_seen = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            any_digit = true;
            if significand < 10u64.pow(18) {
                significand = significand * 10 + digit as u64;
                scale -= point_seen as i64;
            } else {
                scale += !point_seen as i64;
            }
        } else if byte == b'.' && !point_seen {
            point_seen = true;
        } else {
            break;
        }
        at += 1;
    }
    if !any_digit {
        return None;
    }
    let (exponent, exponent_len) = scan_exponent(&text[at..], b'e');
    let len = at + exponent_len;
    let fast = decimal_to_f32(significand, scale + exponent);
    let value = fast.unwrap_or_else(|| {
        std::str::from_utf8(&text[..len])
            .ok()
            .and_then(|number| number.parse().ok())
            .expect("digits with a point and an exponent are a float to Rust")
    });
    Some((value, len))
}

/// An exponent (`mark`, a sign or not, digits) and its length; 0 and 0 where there is none.
fn scan_exponent(text: &[u8], mark: u8) -> (i64, usize) {
    if text.first().map(u8::to_ascii_lowercase) != Some(mark) {
        return (0, 0);
    }
    let sign_len = matches!(text.get(1), Some(b'+' | b'-')) as usize;
    let digits = text[1 + sign_len..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let (value, digits) = digits.fold((0i64, 0), |(value, count), byte| {
        // far outside of any float, far inside of i64
        let value = (value * 10 + (byte - b'0') as i64).min(1 << 40);
        (value, count + 1)
    });
    match digits {
        0 => (0, 0),
        _ if text[1] == b'-' => (-value, 1 + sign_len + digits),
        _ => (value, 1 + sign_len + digits),
    }
}

/// `0x`, hexadecimal digits with a point among them or not, and a binary exponent or not.
fn scan_hexadecimal(text: &[u8]) -> Option<(f32, usize)> {
    if text.len() < 3 || text[0] != b'0' || text[1] | 0x20 != b'x' {
        return None;
    }
    let mut significand = 0u64;
    let mut scale = 0i64;
    let mut any_digit = false;
    let mut point_seen = false;
    let mut at = 2;
    while let Some(&byte) = text.get(at) {
        if let Some(digit) = (byte as char).to_digit(16) {
            any_digit = true;
            if significand >> 60 == 0 {
                significand = significand << 4 | digit as u64;
                scale -= 4 * point_seen as i64;
            } else {
                // past 60 bits only "is there more" matters to rounding
                significand |= (digit != 0) as u64;
                scale += 4 * !point_seen as i64;
            }
        } else if byte == b'.' && !point_seen {
            point_seen = true;
        } else {
            break;
        }
        at += 1;
    }
    if !any_digit {
        return None;
    }
    let (exponent, exponent_len) = scan_exponent(&text[at..], b'p');
    Some((
        binary_to_f32(significand, scale + exponent),
        at + exponent_len,
    ))
}

/// `significand * 2^exponent`, rounded once, to even.
fn binary_to_f32(significand: u64, exponent: i64) -> f32 {
    if significand == 0 {
        return 0.0;
    }
    let top = 63 - significand.leading_zeros() as i64 + exponent;
    if top > 127 {
        return f32::INFINITY;
    }
    // exponent of the last bit that an f32 of this size keeps
    let last = (top - 23).max(-149);
    let drop = last - exponent;
    let kept = if drop <= 0 {
        significand << -drop
    } else if drop > 64 {
        0
    } else {
        let wide = significand as u128;
        let (kept, half) = (wide >> drop, 1u128 << (drop - 1));
        let dropped = wide & ((half << 1) - 1);
        (kept + (dropped > half || (dropped == half && kept & 1 == 1)) as u128) as u64
    };
    // kept has 24 bits at most and `last` is in range: both steps are exact, or infinite
    (kept as f64 * 2f64.powi(last as i32)) as f32
}

/// Powers of ten that an f64 holds exactly.
static EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The f32 nearest to `significand * 10^exponent`, where it can be told with one operation in f64;
/// None where it takes a real conversion. A significand above 10^15 may be what is left of more
/// digits, cut off and not rounded.
///
/// The f64 computed is off by at most eleven units in its last place: nine for what was cut off,
/// half of one each for the 64 bits of the significand and for the operation, and a little for the
/// first two going through the third. Rounding it to f32 is right unless a midpoint of two f32 lies
/// within that error.
#[inline]
pub fn decimal_to_f32(significand: u64, exponent: i64) -> Option<f32> {
    if significand == 0 {
        return Some(0.0);
    }
    let power = *EXACT_POWERS.get(exponent.unsigned_abs() as usize)?;
    let value = if exponent < 0 {
        significand as f64 / power
    } else {
        significand as f64 * power
    };
    const DROPPED_BITS: u64 = (1 << 29) - 1;
    let from_midpoint = (value.to_bits() & DROPPED_BITS) as i64 - (1 << 28);
    // no value here is below 1e-22, so that the result is never subnormal
    (from_midpoint.abs() > 16 && value < f32::MAX as f64).then_some(value as f32)
}

/// Longest text of a float.
pub const MAX_TEXT_LEN: usize = 15;

/// What [`shortest_text`] wants to write into: more than the text, so that it can write digits all
/// at once.
pub type TextRoom = [u8; 24];

/// Appends what [`shortest_text`] writes.
pub fn write_shortest(value: f32, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; size_of::<TextRoom>()]);
    let room = out.last_chunk_mut().expect("just appended");
    let len = shortest_text(value, room);
    out.truncate(start + len);
}

/// Writes the shortest decimal text that reads back as `value`, as `float4out` writes it: `1.5`,
/// `1e+20`, `1e-05`, `-0`, `NaN`, `Infinity`. Returns its length; what is behind is undefined.
#[inline]
pub fn shortest_text(value: f32, text: &mut TextRoom) -> usize {
    let minus = (value.is_sign_negative() && !value.is_nan()) as usize;
    text[0] = b'-';
    let unsigned: &mut [u8; 23] = match minus {
        0 => text.first_chunk_mut(),
        _ => text.last_chunk_mut(),
    }
    .expect("both are a byte shorter");
    let mut word = |word: &[u8]| {
        unsigned[..word.len()].copy_from_slice(word);
        minus + word.len()
    };
    if value.is_nan() {
        word(b"NaN")
    } else if value.is_infinite() {
        word(b"Infinity")
    } else if value == 0.0 {
        word(b"0")
    } else {
        minus + decimal_text(shortest(value.abs()), unsigned)
    }
}

/// `digits * 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Decimal {
    digits: u32,
    exponent: i32,
}

/// Writes a decimal that is not zero; returns its length.
#[inline(always)]
fn decimal_text(decimal: Decimal, text: &mut [u8; 23]) -> usize {
    let count = decimal.digits.ilog10() + 1;
    // exponent of the first digit
    let exponent = decimal.exponent + count as i32 - 1;
    let (first, rest) = nine_digits(decimal.digits * TO_NINE_DIGITS[count as usize]);
    let significant = (MAX_DIGITS - rest.leading_zeros() / 8) as usize;
    let (first, rest) = (b'0' + first, rest | u64::from_le_bytes([b'0'; 8]));

    match exponent {
        // FLT_DIG = 6, as %g would choose
        -4..0 => {
            let digits_at = 1 + (exponent.unsigned_abs() & 7) as usize;
            text[..8].copy_from_slice(b"0.000000");
            text[digits_at] = first;
            text[digits_at + 1..][..8].copy_from_slice(&rest.to_le_bytes());
            digits_at + significant
        }
        0..6 => {
            let after_first = (exponent & 7) as usize;
            text[0] = first;
            text[1..9].copy_from_slice(&rest.to_le_bytes());
            if significant <= after_first + 1 {
                after_first + 1
            } else {
                let fraction = rest >> (8 * after_first);
                text[after_first + 1] = b'.';
                text[after_first + 2..][..8].copy_from_slice(&fraction.to_le_bytes());
                significant + 1
            }
        }
        _ => {
            text[0] = first;
            text[1] = b'.';
            text[2..10].copy_from_slice(&rest.to_le_bytes());
            let end = (significant + (significant > 1) as usize) & 15;
            let magnitude = exponent.unsigned_abs() as u8;
            text[end..][..4].copy_from_slice(&[
                b'e',
                if exponent < 0 { b'-' } else { b'+' },
                b'0' + magnitude / 10,
                b'0' + magnitude % 10,
            ]);
            end + 4
        }
    }
}

/// Digits that [`shortest`] gives at most.
const MAX_DIGITS: u32 = 9;

/// What makes a number of nine digits out of one of 0 to 9: a power of ten.
static TO_NINE_DIGITS: [u32; 10] = [
    1_000_000_000,
    100_000_000,
    10_000_000,
    1_000_000,
    100_000,
    10_000,
    1_000,
    100,
    10,
    1,
];

/// The first digit of a number of nine, and the eight others, one a byte, in reading order from the
/// lowest byte on.
#[inline(always)]
fn nine_digits(number: u32) -> (u8, u64) {
    let (first, rest) = (number / 100_000_000, number % 100_000_000);
    // each step splits every number in two: of four digits, of two, of one
    let fours = (rest / 10_000) as u64 | ((rest % 10_000) as u64) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000F_000F_000F_000F;
    let ones = tens | (twos - 10 * tens) << 8;
    (first as u8, ones)
}

/// Shortest decimal strictly inside the interval that rounds to `value` (finite, above zero); of
/// those, the nearest. Schubfach: Raffaello Giulietti, "The Schubfach way to render doubles",
/// 2020. The ends of the interval are never taken, not even for even significands: PostgreSQL
/// decides so (it does not rely on how the reader rounds).
fn shortest(value: f32) -> Decimal {
    let bits = value.to_bits();
    let (fraction, biased) = (bits & 0x7F_FFFF, (bits >> 23) as i32);
    let (c, q) = if biased == 0 {
        (fraction, -149)
    } else {
        (fraction | 0x80_0000, biased - 150)
    };
    if (-23..=0).contains(&q) && c.trailing_zeros() as i32 >= -q {
        return Decimal {
            digits: c >> -q,
            exponent: 0,
        };
    }
    let lower_is_closer = fraction == 0 && biased > 1;
    // floor(log10(2^q)), or of 3/4 of it; floor(log2(10^-k))
    let k = (q * 1_262_611 - if lower_is_closer { 524_031 } else { 0 }) >> 22;
    let h = q + ((-k * 1_741_647) >> 19) + 1;
    let power = POWERS[(-k - POWERS_FROM) as usize];
    // value and the ends of its interval, in quarters of 10^k
    let lower = round_to_odd(power, (4 * c - 2 + lower_is_closer as u32) << h) + 1;
    let here = round_to_odd(power, (4 * c) << h);
    let upper = round_to_odd(power, (4 * c + 2) << h) - 1;

    let s = here / 4;
    if s >= 10 {
        let coarse = s / 10;
        let below = lower <= 40 * coarse;
        let above = 40 * coarse + 40 <= upper;
        if below != above {
            return Decimal {
                digits: coarse + above as u32,
                exponent: k + 1,
            };
        }
    }
    let below = lower <= 4 * s;
    let above = 4 * s + 4 <= upper;
    let up = if below != above {
        above
    } else {
        let midpoint = 4 * s + 2;
        here > midpoint || (here == midpoint && s & 1 == 1)
    };
    Decimal {
        digits: s + up as u32,
        exponent: k,
    }
}

/// Upper part of `power * x`, its last bit set where anything below is.
fn round_to_odd(power: u64, x: u32) -> u32 {
    let product = power as u128 * x as u128;
    let low = (product >> 32) as u32;
    (product >> 64) as u32 | (low > 1) as u32
}

const POWERS_FROM: i32 = -31;

/// 10^k for k from -31 to 45, scaled to 64 bits, rounded up.
static POWERS: [u64; 77] = {
    let mut table = [0; 77];
    let mut i = 0;
    while i < table.len() {
        table[i] = scaled_power_of_ten(POWERS_FROM + i as i32);
        i += 1;
    }
    table
};

/// The first 64 bits of 10^k, rounded up; of 5^k that is, as powers of two only scale.
const fn scaled_power_of_ten(k: i32) -> u64 {
    let mut five = 1u128;
    let mut i = 0;
    while i < k.unsigned_abs() {
        five *= 5;
        i += 1;
    }
    if k >= 0 {
        let bits = 128 - five.leading_zeros();
        if bits <= 64 {
            return (five as u64) << (64 - bits);
        }
        let drop = bits - 64;
        (five >> drop) as u64 + (five << (128 - drop) != 0) as u64
    } else {
        // long division of a power of two, up to 64 bits of quotient
        let mut remainder = 1u128;
        let mut quotient = 0u64;
        while quotient >> 63 == 0 {
            remainder <<= 1;
            quotient <<= 1;
            if remainder >= five {
                remainder -= five;
                quotient |= 1;
            }
        }
        quotient + (remainder != 0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: f32) -> String {
        let mut out = Vec::new();
        write_shortest(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn parsed(text: &str) -> Option<(f32, usize)> {
        parse_prefix(text.as_bytes()).map(|number| (number.value, number.len))
    }

    #[test]
    fn writes_as_float4out() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (-1.23456, "-1.23456"),
            (100000.0, "100000"),
            (120000.0, "120000"),
            (1e6, "1e+06"),
            (1234567.0, "1.234567e+06"),
            (16777215.0, "1.6777215e+07"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00012345, "0.00012345"),
            (1e-5, "1e-05"),
            (1e20, "1e+20"),
            (f32::MAX, "3.4028235e+38"),
            (f32::MIN_POSITIVE, "1.1754944e-38"),
            (f32::from_bits(1), "1e-45"),
            (f32::NAN, "NaN"),
            (f32::NEG_INFINITY, "-Infinity"),
            (33554432.0, "3.3554432e+07"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn powers_of_two_read_back() {
        for exponent in 0..255 {
            for fraction in [0, 1, 0x7F_FFFF] {
                let value = f32::from_bits(exponent << 23 | fraction);
                assert_eq!(text(value).parse::<f32>().unwrap(), value);
            }
        }
    }

    #[test]
    fn reads_what_strtof_reads() {
        for (input, expected) in [
            ("1", Some((1.0, 1))),
            ("1.", Some((1.0, 2))),
            (".5,", Some((0.5, 2))),
            ("+2e3x", Some((2000.0, 4))),
            ("1e", Some((1.0, 1))),
            ("1e+", Some((1.0, 1))),
            ("1.2.3", Some((1.2, 3))),
            ("0x10", Some((16.0, 4))),
            ("0x.8p1", Some((1.0, 6))),
            ("0x1.8P-1 ", Some((0.75, 8))),
            ("0x", Some((0.0, 1))),
            ("0xg", Some((0.0, 1))),
            ("0x1p-149", Some((f32::from_bits(1), 8))),
            ("0x1p-150", Some((0.0, 8))),
            ("0x1.8p-150", Some((f32::from_bits(1), 10))),
            ("0x1000001", Some((16777216.0, 9))),
            (
                "0x1000001.0000000000000000000000001",
                Some((16777218.0, 35)),
            ),
            ("16777217", Some((16777216.0, 8))),
            (
                "16777217.00000000000000000000000001",
                Some((16777218.0, 35)),
            ),
            ("inFinity", Some((f32::INFINITY, 8))),
            ("infinit", Some((f32::INFINITY, 3))),
            ("-inf", Some((f32::NEG_INFINITY, 4))),
            ("1e-46", Some((0.0, 5))),
            ("0e999999999999999999999999", Some((0.0, 26))),
            ("", None),
            ("-", None),
            (".", None),
            (".e5", None),
            ("e5", None),
            ("- 1", None),
            ("hello", None),
        ] {
            assert_eq!(parsed(input), expected, "{input}");
        }
        assert!(parse_prefix(b"nan").unwrap().value.is_nan());
    }

    #[test]
    fn only_finite_texts_overflow() {
        for (input, overflowed) in [
            ("3.4e38", false),
            ("4e38", true),
            ("-4e38", true),
            ("1e99999999999999999999", true),
            ("0x1p128", true),
            ("0x1.ffffffp127", true),
            ("inf", false),
            ("-Infinity", false),
        ] {
            assert_eq!(
                parse_prefix(input.as_bytes()).unwrap().overflowed,
                overflowed
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn every_float_reads_back(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(!value.is_nan());
            let text = text(value);
            prop_assert!(text.len() <= MAX_TEXT_LEN);
            let (read, len) = parsed(&text).unwrap();
            prop_assert_eq!((read.to_bits(), len), (bits, text.len()));
        }

        #[test]
        fn no_shorter_than_rust_s_shortest(bits: u32) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            let count = |text: &str| {
                let digits = text.split('e').next().unwrap();
                let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
                digits.trim_matches('0').len()
            };
            let rust = format!("{value:e}");
            // longer only where Rust took an end of the interval: a midpoint of two floats
            let (ours, rusts) = (count(&text(value)), count(&rust));
            prop_assert!(ours >= rusts);
            if ours > rusts {
                let taken: f64 = rust.parse().unwrap();
                let ulp = f32::from_bits(value.abs().to_bits() + 1) as f64 - value.abs() as f64;
                prop_assert_eq!((taken - value as f64).abs(), ulp / 2.0);
            }
        }

        #[test]
        fn decimals_are_nearest(significand: u64, exponent in -60i64..60, digits in 1u32..20) {
            let significand = significand % 10u64.saturating_pow(digits);
            let text = format!("{significand}e{exponent}");
            let expected: f32 = text.parse().unwrap();
            prop_assert_eq!(parsed(&text), Some((expected, text.len())));
            if let Some(fast) = decimal_to_f32(significand, exponent) {
                prop_assert_eq!(fast, expected);
            }
        }

        #[test]
        fn points_move(text in r"[+-]?[0-9]{0,25}\.[0-9]{1,25}(e[+-]?[0-9]{1,2})?") {
            let expected: f32 = text.parse().unwrap();
            let number = parse_prefix(text.as_bytes()).unwrap();
            prop_assert_eq!((number.value, number.len), (expected, text.len()));
            prop_assert_eq!(number.overflowed, expected.is_infinite());
        }

        #[test]
        fn any_bytes_are_safe(text: Vec<u8>) {
            if let Some(number) = parse_prefix(&text) {
                prop_assert!(number.len <= text.len());
            }
        }
    }
}
