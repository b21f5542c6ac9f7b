//! The text form of dense vectors: `[1,2.5,-3e-05]`.

use super::decimal::{MAX_TEXT_LEN, TextRoom};
use super::{Element, Unreadable, VectorError, dense};

/// White space of the server's scanner.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

/// A text being read, front to back.
struct Reader<'a, E> {
    text: &'a [u8],
    at: usize,
    element: std::marker::PhantomData<E>,
}

impl<E: Element> Reader<'_, E> {
    /// The next byte that is not white space.
    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.text.get(self.at) {
            if !is_space(byte) {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    #[cold]
    fn syntax_error(&self, detail: Option<&'static str>) -> VectorError {
        VectorError::InvalidSyntax {
            type_name: E::TYPE_NAME,
            input: String::from_utf8_lossy(self.text).into_owned(),
            detail,
        }
    }

    #[inline(always)]
    fn number(&mut self) -> Result<E, VectorError> {
        let rest = &self.text[self.at..];
        let (element, len) = E::read(rest).map_err(|unreadable| self.error(unreadable))?;
        self.at += len;
        Ok(element)
    }

    #[cold]
    fn error(&self, unreadable: Unreadable) -> VectorError {
        match unreadable {
            Unreadable::Syntax(detail) => self.syntax_error(detail),
            Unreadable::OutOfRange(len) => VectorError::OutOfRange {
                type_name: E::TYPE_NAME,
                number: String::from_utf8_lossy(&self.text[self.at..][..len]).into_owned(),
            },
            Unreadable::Refused(error) => error,
        }
    }
}

/// Reads a vector: brackets around numbers with commas between, white space anywhere but inside
/// of numbers. Numbers are rounded to the nearest f32 and then to the nearest element; those of
/// `bytevec` are integers.
pub fn parse<E: Element>(text: &[u8]) -> Result<Vec<E>, VectorError> {
    let mut reader = Reader::<E> {
        text,
        at: 0,
        element: std::marker::PhantomData,
    };
    if reader.peek() != Some(b'[') {
        return Err(reader.syntax_error(Some("Vector contents must start with \"[\".")));
    }
    reader.at += 1;
    if reader.peek() == Some(b']') {
        return dense::check_dims::<E>(0).map(|_| Vec::new());
    }
    // a typical number with its comma has ten characters
    let mut elements = Vec::with_capacity((text.len() / 8).clamp(4, E::MAX_DIMS));
    loop {
        dense::check_dims::<E>(elements.len() + 1)?;
        reader.peek();
        elements.push(reader.number()?);
        let next = reader.peek();
        reader.at += 1;
        match next {
            Some(b',') => {}
            Some(b']') => break,
            _ => return Err(reader.syntax_error(None)),
        }
    }
    match reader.peek() {
        None => Ok(elements),
        Some(_) => Err(reader.syntax_error(Some("Junk after closing right brace."))),
    }
}

/// Writes a vector, each element as `float4out` writes its value, integers as `int2out`.
pub fn format<E: Element>(elements: &[E]) -> Vec<u8> {
    let room = size_of::<TextRoom>();
    let mut text = vec![0; elements.len() * (MAX_TEXT_LEN + 1) + room];
    let mut end = 0;
    for element in elements {
        text[end] = b',';
        let here = text[end + 1..].first_chunk_mut().expect("room for all");
        end += 1 + element.write(here);
    }
    text[0] = b'[';
    text.truncate(end.max(1));
    text.push(b']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};
    use proptest::prelude::*;

    fn error<E: Element + std::fmt::Debug>(text: &str) -> (String, Option<String>) {
        let error = parse::<E>(text.as_bytes()).unwrap_err();
        (error.to_string(), error.detail())
    }

    fn reformat<E: Element>(text: &str) -> String {
        String::from_utf8(format(&parse::<E>(text.as_bytes()).unwrap())).unwrap()
    }

    #[test]
    fn accepts() {
        for (text, expected) in [
            ("[1,2,3]", "[1,2,3]"),
            ("\t\r\n [\x0b1 , \x0c 2 ,\n3\n] \n", "[1,2,3]"),
            ("[-1.,+.5,1e3]", "[-1,0.5,1000]"),
            ("[0x10,0x.8p0]", "[16,0.5]"),
            ("[-0]", "[-0]"),
            ("[1e-46]", "[0]"),
            ("[1.23456789]", "[1.2345679]"),
        ] {
            assert_eq!(reformat::<f32>(text), expected);
        }
        assert_eq!(
            reformat::<f16>("[1.23456,65519,-1e-8,6e-8]"),
            "[1.234375,65504,-0,5.9604645e-08]"
        );
        assert_eq!(
            reformat::<bf16>("[1.00390625,0.1,3e38,1e-40,-1e-46]"),
            "[1,0.100097656,3.0040553e+38,9.1835e-41,-0]"
        );
        assert_eq!(
            reformat::<i8>(" [ -128 ,+127,-0,007 , 10]"),
            "[-128,127,0,7,10]"
        );
    }

    #[test]
    fn refuses_bad_syntax() {
        let start = Some("Vector contents must start with \"[\".");
        let junk = Some("Junk after closing right brace.");
        for (text, detail) in [
            ("", start),
            ("1,2,3", start),
            ("{1}", start),
            ("[", None),
            ("[ ", None),
            ("[,", None),
            ("[,]", None),
            ("[1", None),
            ("[1,", None),
            ("[1,]", None),
            ("[1,,3]", None),
            ("[1, ,3]", None),
            ("[1a]", None),
            ("[1 2]", None),
            ("[- 1]", None),
            ("[hello,1]", None),
            ("[1\u{a0}]", None),
            ("[1,2,3]9", junk),
            ("[1][2]", junk),
            ("[1]]", junk),
        ] {
            let message = format!("invalid input syntax for type vector: \"{text}\"");
            assert_eq!(error::<f32>(text), (message, detail.map(str::to_owned)));
        }
    }

    #[test]
    fn bytes_are_written_as_integers() {
        let integers = Some("Elements of a bytevec are integers from -128 to 127.".to_owned());
        for (text, detail) in [
            ("[1.0]", &integers),
            ("[1.]", &integers),
            ("[.5]", &integers),
            ("[1e1]", &integers),
            ("[0x10]", &integers),
            ("[NaN]", &integers),
            ("[inf]", &integers),
            ("[-]", &integers),
            ("[1,]", &integers),
            ("[1 2]", &None),
            ("[1;2]", &None),
        ] {
            let message = format!("invalid input syntax for type bytevec: \"{text}\"");
            assert_eq!(error::<i8>(text), (message, detail.clone()));
        }
        for number in ["128", "-129", "+00128", "99999999999999999999"] {
            assert_eq!(
                error::<i8>(&format!("[1,{number}]")).0,
                format!("\"{number}\" is out of range for type bytevec")
            );
        }
    }

    #[test]
    fn every_byte_reads_back() {
        let all: Vec<i8> = (i8::MIN..=i8::MAX).collect();
        assert_eq!(parse::<i8>(&format(&all)), Ok(all));
    }

    #[test]
    fn refuses_bad_values() {
        for (text, message) in [
            ("[]", "vector must have at least 1 dimension"),
            ("[ ] junk", "vector must have at least 1 dimension"),
            ("[NaN,1]", "NaN not allowed in vector"),
            ("[1,-nan]", "NaN not allowed in vector"),
            ("[Infinity,1]", "infinite value not allowed in vector"),
            ("[-inf]", "infinite value not allowed in vector"),
            ("[4e38,1]", "\"4e38\" is out of range for type vector"),
            ("[-4e38 ]", "\"-4e38\" is out of range for type vector"),
        ] {
            assert_eq!(error::<f32>(text).0, message);
        }
        assert_eq!(
            error::<f16>("[1,65520]").0,
            "\"65520\" is out of range for type halfvec"
        );
        assert_eq!(
            error::<f16>("[1e40]").0,
            "\"1e40\" is out of range for type halfvec"
        );
        assert_eq!(
            error::<f16>("[-inf]").0,
            "infinite value not allowed in halfvec"
        );
        assert_eq!(
            error::<bf16>("[3.4e38]").0,
            "\"3.4e38\" is out of range for type bf16vec"
        );
        assert_eq!(error::<bf16>("[nan]").0, "NaN not allowed in bf16vec");
    }

    #[test]
    fn dimensions_are_limited() {
        let text = |dims: usize| format!("[0{}]", ",0".repeat(dims - 1));
        assert_eq!(parse::<f32>(text(16_000).as_bytes()).unwrap().len(), 16_000);
        assert_eq!(
            error::<f16>(&text(16_001)).0,
            "halfvec cannot have more than 16000 dimensions"
        );
    }

    proptest! {
        #[test]
        fn vectors_read_back(values in prop::collection::vec(any::<f32>(), 1..100)) {
            let values: Vec<f32> = values.into_iter().filter(|v| v.is_finite()).collect();
            prop_assume!(!values.is_empty());
            let back: Vec<f32> = parse(&format(&values)).unwrap();
            prop_assert_eq!(bytemuck::cast_slice::<_, u32>(&back), bytemuck::cast_slice::<_, u32>(&values));
        }

        #[test]
        fn halfvecs_read_back(bits in prop::collection::vec(any::<u16>(), 1..100)) {
            let values: Vec<f16> = bits.into_iter().map(f16::from_bits).filter(|v| v.is_finite()).collect();
            prop_assume!(!values.is_empty());
            let back: Vec<f16> = parse(&format(&values)).unwrap();
            prop_assert_eq!(bytemuck::cast_slice::<_, u16>(&back), bytemuck::cast_slice::<_, u16>(&values));
        }

        #[test]
        fn bf16vecs_read_back(bits in prop::collection::vec(any::<u16>(), 1..100)) {
            let values: Vec<bf16> = bits.into_iter().map(bf16::from_bits).filter(|v| v.is_finite()).collect();
            prop_assume!(!values.is_empty());
            let back: Vec<bf16> = parse(&format(&values)).unwrap();
            prop_assert_eq!(bytemuck::cast_slice::<_, u16>(&back), bytemuck::cast_slice::<_, u16>(&values));
        }

        #[test]
        fn no_text_panics(text in r"[ \[\],.+\-0-9eExXpPnaif]{0,40}", bytes: Vec<u8>) {
            let _ = parse::<f32>(text.as_bytes());
            let _ = parse::<f16>(format!("[{text}]").as_bytes());
            let _ = parse::<i8>(format!("[{text}]").as_bytes());
            let _ = parse::<f32>(&bytes);
            let _ = parse::<i8>(&bytes);
        }
    }
}
