use super::*;
use crate::vector::SqlState;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A vector whose elements crowd the low dimensions, so that two of them meet often.
fn vector() -> impl Strategy<Value = SparseVector> {
    let value = prop_oneof![
        any::<f32>().prop_filter("finite", |x| x.is_finite() && *x != 0.0),
        prop_oneof![Just(-1.0f32), Just(1.0), Just(2.0)],
    ];
    let dims = prop_oneof![1i64..12, Just(SparseRef::MAX_DIMS as i64)];
    (dims, prop::collection::btree_map(0i32..12, value, 0..12)).prop_map(|(dims, elements)| {
        let elements = elements.into_iter().filter(|&(i, _)| (i as i64) < dims);
        SparseVector::from_elements(dims, -1, elements.collect()).unwrap()
    })
}

fn text(vector: SparseRef<'_>) -> String {
    let mut out = Vec::new();
    vector.write_text(&mut out);
    String::from_utf8(out).unwrap()
}

fn wire(vector: SparseRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    vector.write_wire(&mut out);
    out
}

/// The vector at the start of a message and the bytes it took.
fn from_wire(message: &[u8], typmod: i32) -> Result<(SparseVector, usize), VectorError> {
    let header = WireHeader::read(message, typmod)?;
    let vector = header.read_elements(&message[WireHeader::LEN..])?;
    Ok((vector, WireHeader::LEN + header.elements_len()))
}

/// A message of 32-bit words.
fn message(words: &[i32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn body(vector: SparseRef<'_>) -> Vec<u32> {
    let mut words = vec![0u32; vector.body_len() / 4];
    vector.write_body(bytemuck::cast_slice_mut(&mut words));
    words
}

/// Message, SQLSTATE and detail.
fn failure<T: std::fmt::Debug>(
    result: Result<T, VectorError>,
) -> (String, SqlState, Option<String>) {
    let error = result.unwrap_err();
    (error.to_string(), error.sqlstate(), error.detail())
}

fn parse(text: &str) -> Result<SparseVector, VectorError> {
    SparseVector::parse(text.as_bytes(), -1)
}

#[test]
fn text_is_read_and_written_as_users_know_it() {
    for (input, output) in [
        ("{1:1.5,3:3.5}/5", "{1:1.5,3:3.5}/5"),
        (" { 1 : 1.5 ,  3  :  3.5  } / 5 ", "{1:1.5,3:3.5}/5"),
        ("\t{\n1\r:\u{b}1\u{c}}/1", "{1:1}/1"),
        ("{+1:+2.,2:-.5}/+2", "{1:2,2:-0.5}/2"),
        ("{1:0x10}/1", "{1:16}/1"),
        ("{1:1.5e38,2:-1.5e-38}/2", "{1:1.5e+38,2:-1.5e-38}/2"),
        ("{2:1,1:3}/2", "{1:3,2:1}/2"),
        ("{1:0,2:1,3:-0,4:0e9,5:0x0p1}/9", "{2:1}/9"),
        ("{}/1000000000", "{}/1000000000"),
        ("{1000000000:1}/1000000000", "{1000000000:1}/1000000000"),
        // zeros are dropped before positions are looked at
        ("{9:0,1:0,1:1}/1", "{1:1}/1"),
    ] {
        assert_eq!(text(parse(input).unwrap().view()), output, "{input}");
    }
}

#[test]
fn malformed_text_is_quoted_in_the_error() {
    let start = Some("Vector contents must start with \"{\".");
    let end = Some("Unexpected end of input.");
    let junk = Some("Junk after closing.");
    for (input, detail) in [
        ("", start),
        ("[1]", start),
        ("{", None),
        ("{ ", None),
        ("{:", None),
        ("{,", None),
        ("{}", end),
        ("{1:1}", end),
        ("{}/", None),
        ("{}/a", None),
        ("{}/1a", junk),
        ("{}/1 1", junk),
        ("{:}/1", None),
        ("{,}/1", None),
        ("{1,}/1", None),
        ("{:1}/1", None),
        ("{1:}/1", None),
        ("{1a:1}/1", None),
        ("{1:1a}/1", None),
        ("{1:1,}/1", None),
        ("{1:1;2:1}/2", None),
        ("{1:hello}/2", None),
        ("{1.5:1}/2", None),
    ] {
        let message = format!("invalid input syntax for type sparsevec: \"{input}\"");
        let expected = (
            message,
            SqlState::InvalidTextRepresentation,
            detail.map(str::to_owned),
        );
        assert_eq!(failure(parse(input)), expected, "{input}");
    }
}

#[test]
fn text_beyond_a_limit_is_refused() {
    use SqlState::*;
    let no_dimension = "sparsevec must have at least 1 dimension";
    let dimensions = "sparsevec cannot have more than 1000000000 dimensions";
    let bounds = "sparsevec index out of bounds";
    let duplicates = "sparsevec indices must not contain duplicates";
    for (input, message, state) in [
        ("{}/0", no_dimension, DataException),
        ("{}/-9223372036854775809", no_dimension, DataException),
        ("{}/1000000001", dimensions, ProgramLimitExceeded),
        ("{}/9223372036854775808", dimensions, ProgramLimitExceeded),
        ("{0:1}/1", bounds, DataException),
        ("{2:1}/1", bounds, DataException),
        ("{-1:1}/1", bounds, DataException),
        ("{2147483648:1}/1", bounds, DataException),
        ("{-2147483649:1}/1", bounds, DataException),
        ("{99999999999999999999:1}/1", bounds, DataException),
        ("{1:1,1:1}/2", duplicates, DataException),
        ("{1:1,2:1,1:1}/2", duplicates, DataException),
        ("{1:nan}/1", "NaN not allowed in sparsevec", DataException),
        (
            "{1:-inf}/1",
            "infinite value not allowed in sparsevec",
            DataException,
        ),
        (
            "{1:4e38}/1",
            "\"4e38\" is out of range for type sparsevec",
            NumericValueOutOfRange,
        ),
        (
            "{1:-1e-46 }/1",
            "\"-1e-46\" is out of range for type sparsevec",
            NumericValueOutOfRange,
        ),
        (
            "{1:0x1p-151}/1",
            "\"0x1p-151\" is out of range for type sparsevec",
            NumericValueOutOfRange,
        ),
    ] {
        assert_eq!(
            failure(parse(input)),
            (message.to_owned(), state, None),
            "{input}"
        );
    }
}

#[test]
fn sixteen_thousand_elements_fit_and_no_more() {
    let list = |count: usize| -> String {
        let elements: Vec<String> = (1..=count).map(|i| format!("{i}:1")).collect();
        format!("{{{}}}/20000", elements.join(","))
    };
    let largest = parse(&list(16_000)).unwrap();
    assert_eq!(largest.view().indices.len(), 16_000);
    assert_eq!(from_wire(&wire(largest.view()), -1).unwrap().0, largest);

    let too_many = (
        "sparsevec cannot have more than 16000 non-zero elements".to_owned(),
        SqlState::ProgramLimitExceeded,
        None,
    );
    assert_eq!(failure(parse(&list(16_001))), too_many);
    let dense = std::iter::repeat_n(1.0, 16_001);
    assert_eq!(failure(SparseVector::from_dense(dense, -1)), too_many);
    let header = message(&[20_000, 16_001, 0]);
    assert_eq!(failure(from_wire(&header, -1)), too_many);
    // zeros of a dense vector don't count
    let dense = std::iter::repeat_n(0.0, 2_000_000);
    assert_eq!(
        text(SparseVector::from_dense(dense, -1).unwrap().view()),
        "{}/2000000"
    );
}

#[test]
fn a_column_s_dimensions_are_checked_by_every_way_in() {
    let wrong = (
        "expected 3 dimensions, not 2".to_owned(),
        SqlState::DataException,
        None,
    );
    assert_eq!(failure(SparseVector::parse(b"{}/2", 3)), wrong);
    assert_eq!(failure(from_wire(&message(&[2, 0, 0]), 3)), wrong);
    assert_eq!(
        failure(SparseVector::from_dense([1.0, 2.0].into_iter(), 3)),
        wrong
    );
    assert!(SparseVector::parse(b"{}/3", 3).is_ok());
}

#[test]
fn type_modifiers_are_one_number_of_dimensions() {
    let modifier = SparseVector::typmod;
    assert_eq!(modifier(&[1]), Ok(1));
    assert_eq!(modifier(&[1_000_000_000]), Ok(1_000_000_000));
    for (modifiers, message) in [
        (&[][..], "invalid type modifier"),
        (&[3, 2], "invalid type modifier"),
        (&[0], "dimensions for type sparsevec must be at least 1"),
        (
            &[1_000_000_001],
            "dimensions for type sparsevec cannot exceed 1000000000",
        ),
    ] {
        let expected = (message.to_owned(), SqlState::InvalidParameterValue, None);
        assert_eq!(failure(modifier(modifiers)), expected);
    }
}

#[test]
fn hostile_messages_are_refused() {
    use SqlState::*;
    const ONE: i32 = 0x3f80_0000;
    for (words, message_text, state) in [
        (
            &[0, 0, 0][..],
            "sparsevec must have at least 1 dimension",
            DataException,
        ),
        (
            &[i32::MIN, 0, 0],
            "sparsevec must have at least 1 dimension",
            DataException,
        ),
        (
            &[i32::MAX, 0, 0],
            "sparsevec cannot have more than 1000000000 dimensions",
            ProgramLimitExceeded,
        ),
        (
            &[5, -1, 0],
            "sparsevec cannot have negative number of elements",
            DataException,
        ),
        (
            &[20_000, i32::MAX, 0],
            "sparsevec cannot have more than 16000 non-zero elements",
            ProgramLimitExceeded,
        ),
        (
            &[1, 2, 0],
            "sparsevec cannot have more elements than dimensions",
            ProgramLimitExceeded,
        ),
        (&[1, 0, 7], "expected unused to be 0, not 7", DataException),
        (
            &[5, 1, 0, 5, ONE],
            "sparsevec index out of bounds",
            DataException,
        ),
        (
            &[5, 1, 0, -1, ONE],
            "sparsevec index out of bounds",
            DataException,
        ),
        (
            &[5, 2, 0, 3, 1, ONE, ONE],
            "sparsevec indices must be in ascending order",
            DataException,
        ),
        (
            &[5, 2, 0, 3, 3, ONE, ONE],
            "sparsevec indices must not contain duplicates",
            DataException,
        ),
        (
            &[5, 1, 0, 0, 0x7fc0_0000],
            "NaN not allowed in sparsevec",
            DataException,
        ),
        (
            &[5, 1, 0, 0, 0x7f80_0000],
            "infinite value not allowed in sparsevec",
            DataException,
        ),
        (
            &[5, 1, 0, 0, i32::MIN],
            "binary representation of sparsevec cannot contain zero values",
            DataException,
        ),
        (
            &[5, 1, 0, 0],
            "insufficient data left in message",
            ProtocolViolation,
        ),
        (
            &[16_000, 16_000, 0],
            "insufficient data left in message",
            ProtocolViolation,
        ),
        (
            &[5, 1],
            "insufficient data left in message",
            ProtocolViolation,
        ),
    ] {
        let result = from_wire(&message(words), -1);
        assert_eq!(
            failure(result),
            (message_text.to_owned(), state, None),
            "{words:?}"
        );
    }
}

#[test]
fn damaged_bodies_are_refused() {
    let good = body(parse("{1:1,3:2}/5").unwrap().view());
    let view = |words: &[u32]| SparseRef::from_body(bytemuck::cast_slice(words)).map(|_| ());
    assert_eq!(view(&good), Ok(()));
    let damaged = Err(VectorError::DamagedValue {
        type_name: "sparsevec",
    });
    for len in 0..good.len() {
        assert_eq!(view(&good[..len]), damaged);
    }
    for (word, value) in [
        (0, 0),
        (0, u32::MAX),
        (0, 1_000_000_001),
        (1, 1),
        (1, 3),
        (1, u32::MAX),
        (1, 16_001),
    ] {
        let mut words = good.clone();
        words[word] = value;
        assert_eq!(view(&words), damaged, "{word} {value}");
    }
    // lengths hold, elements don't: seen by validate and by what writes to an index
    let mut words = good.clone();
    words[4] = 5;
    let value = SparseRef::from_body(bytemuck::cast_slice(&words)).unwrap();
    assert_eq!(value.validate(), Err(VectorError::IndexOutOfBounds));
    assert_eq!(value.write_dense(&mut [0.0; 5], Ok), damaged);
    let bytes: &[u8] = bytemuck::cast_slice(&good);
    assert_eq!(
        SparseRef::from_body(&bytes[1..bytes.len() - 3]).map(|_| ()),
        damaged
    );
}

#[test]
fn normalizing_drops_what_becomes_zero() {
    let normalized = |input: &str| text(parse(input).unwrap().view().l2_normalized().view());
    assert_eq!(normalized("{1:3,2:4}/2"), "{1:0.6,2:0.8}/2");
    assert_eq!(normalized("{}/2"), "{}/2");
    assert_eq!(normalized("{1:3e38,2:1e-37}/2"), "{1:1}/2");
    assert_eq!(normalized("{1:1e-45}/2"), "{1:1}/2");
    assert_eq!(parse("{1:3,2:4}/2").unwrap().view().l2_norm(), 5.0);
    let zero = parse("{}/2").unwrap().view().l2_norm();
    assert_eq!(zero.to_bits(), 0.0f64.to_bits());
}

proptest! {
    #[test]
    fn every_form_reads_back(vector in vector()) {
        let view = vector.view();
        prop_assert_eq!(view.validate(), Ok(()));
        prop_assert_eq!(&SparseVector::parse(text(view).as_bytes(), -1).unwrap(), &vector);
        let mut message = wire(view);
        let len = message.len();
        prop_assert_eq!(&from_wire(&message, -1).unwrap(), &(vector.clone(), len));
        // what follows in the message belongs to somebody else
        message.extend_from_slice(b"rest");
        prop_assert_eq!(&from_wire(&message, -1).unwrap(), &(vector.clone(), len));
        let words = body(view);
        let stored = SparseRef::from_body(bytemuck::cast_slice(&words)).unwrap();
        prop_assert_eq!((stored.dims, stored.indices, stored.values), (view.dims, view.indices, view.values));
    }

    #[test]
    fn any_bytes_are_safe(bytes: Vec<u8>, words in prop::collection::vec(-3i32..9, 0..12)) {
        let _ = SparseVector::parse(&bytes, -1);
        let _ = from_wire(&bytes, -1);
        if let Ok((vector, len)) = from_wire(&message(&words), -1) {
            prop_assert_eq!(vector.view().validate(), Ok(()));
            prop_assert!(len <= 4 * words.len());
        }
        if let Ok(view) = SparseRef::from_body(bytemuck::cast_slice(&words)) {
            prop_assert_eq!(view.indices.len(), view.values.len());
        }
    }

    #[test]
    fn any_text_of_the_format_s_letters_is_safe(text in "[{}:,/ 0-9e.x+-]{0,40}") {
        if let Ok(vector) = parse(&text) {
            prop_assert_eq!(vector.view().validate(), Ok(()));
        }
    }

    #[test]
    fn order_is_that_of_dense_arrays(a in vector(), b in vector()) {
        let dense = |vector: &SparseVector| -> Vec<f32> {
            let elements: BTreeMap<i32, f32> = vector.view().elements().collect();
            // a billion dimensions are like thirteen, as elements are below twelve
            let dims = vector.view().dims.min(13) as i32;
            (0..dims).map(|i| elements.get(&i).copied().unwrap_or(0.0)).collect()
        };
        let expected = dense(&a).partial_cmp(&dense(&b)).unwrap();
        prop_assert_eq!(a.view().compare(&b.view()), expected);
        prop_assert_eq!(b.view().compare(&a.view()), expected.reverse());
    }

    #[test]
    fn dense_and_back(dense in prop::collection::vec(prop_oneof![Just(0.0f32), -9.0f32..9.0], 1..50)) {
        let vector = SparseVector::from_dense(dense.iter().copied(), -1).unwrap();
        let mut back = vec![0.0; dense.len()];
        vector.view().write_dense(&mut back, Ok).unwrap();
        prop_assert_eq!(back, dense);
    }
}
