//! The error type of the Postgres-free half.

use thiserror::Error;

/// SQLSTATE classes that core errors map to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlState {
    /// 22000
    DataException,
    /// 22P02
    InvalidTextRepresentation,
    /// 22P03
    InvalidBinaryRepresentation,
    /// 22023
    InvalidParameterValue,
    /// 22003
    NumericValueOutOfRange,
    /// 54000
    ProgramLimitExceeded,
    /// 22004
    NullValueNotAllowed,
    /// XX002
    IndexCorrupted,
    /// 08P01
    ProtocolViolation,
    /// XX001
    DataCorrupted,
}

/// What can be wrong with a value, a setting or a page.
///
/// `type_name` is the SQL name of the type everywhere.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum VectorError {
    /// Two operands of unequal dimensions.
    #[error("different {type_name} dimensions {left} and {right}")]
    DifferentDimensions {
        /// SQL name of the type
        type_name: &'static str,
        /// dimensions of the left operand
        left: usize,
        /// dimensions of the right operand
        right: usize,
    },
    /// A value that does not fit the dimensions of its column or state.
    #[error("expected {expected} dimensions, not {actual}")]
    UnexpectedDimensions {
        /// what the column or state has
        expected: usize,
        /// what the value has
        actual: usize,
    },
    /// A value without elements.
    #[error("{type_name} must have at least 1 dimension")]
    NoDimensions {
        /// SQL name of the type
        type_name: &'static str,
    },
    /// A value with more dimensions than the type allows.
    #[error("{type_name} cannot have more than {max} dimensions")]
    TooManyDimensions {
        /// SQL name of the type
        type_name: &'static str,
        /// limit of the type
        max: usize,
    },
    /// A NaN element.
    #[error("NaN not allowed in {type_name}")]
    NotANumber {
        /// SQL name of the type
        type_name: &'static str,
    },
    /// An infinite element.
    #[error("infinite value not allowed in {type_name}")]
    Infinite {
        /// SQL name of the type
        type_name: &'static str,
    },
    /// Text that is not the text form of the type.
    #[error("invalid input syntax for type {type_name}: \"{input}\"")]
    InvalidSyntax {
        /// SQL name of the type
        type_name: &'static str,
        /// the whole text
        input: String,
        /// what is wrong with it, where that can be said
        detail: Option<&'static str>,
    },
    /// A number that the element type cannot hold.
    #[error("\"{number}\" is out of range for type {type_name}")]
    OutOfRange {
        /// SQL name of the type
        type_name: &'static str,
        /// the number as written
        number: String,
    },
    /// A type modifier that is not one integer.
    #[error("invalid type modifier")]
    InvalidTypmod,
    /// A type modifier below 1.
    #[error("dimensions for type {type_name} must be at least 1")]
    TypmodTooSmall {
        /// SQL name of the type
        type_name: &'static str,
    },
    /// A type modifier above the limit of the type.
    #[error("dimensions for type {type_name} cannot exceed {max}")]
    TypmodTooLarge {
        /// SQL name of the type
        type_name: &'static str,
        /// limit of the type
        max: usize,
    },
    /// A reserved field of the binary form that is in use.
    #[error("expected unused to be 0, not {actual}")]
    UnusedNotZero {
        /// what the message holds
        actual: i32,
    },
    /// An array of more than one dimension.
    #[error("array must be 1-D")]
    ArrayNotOneDimensional,
    /// An array with NULL elements.
    #[error("array must not contain nulls")]
    ArrayContainsNulls,
    /// An array of a type that has no cast.
    #[error("unsupported array type")]
    UnsupportedArrayType,
    /// A result that the element type cannot hold.
    #[error("value out of range: overflow")]
    Overflow,
    /// A non-zero result that the element type can only hold as zero.
    #[error("value out of range: underflow")]
    Underflow,
    /// An aggregate's state that no transition function made.
    #[error("{function}: expected state array")]
    ExpectedStateArray {
        /// SQL name of the function
        function: &'static str,
    },

    /// A quantile that is none.
    #[error("quantile must be above 0 and at most 1, not {quantile}")]
    InvalidQuantile {
        /// as given
        quantile: f64,
    },
    /// Bounds between which nothing lies.
    #[error("lower bound {lower} must be below upper bound {upper}, and both finite")]
    InvalidByteRange {
        /// as given
        lower: f64,
        /// as given
        upper: f64,
    },

    // sparsevec and bit
    /// More elements than a sparse vector may store.
    #[error("sparsevec cannot have more than {max} non-zero elements")]
    TooManyElements {
        /// limit of the type
        max: usize,
    },
    /// A binary sparse vector whose number of elements is negative.
    #[error("sparsevec cannot have negative number of elements")]
    NegativeElementCount,
    /// A sparse vector with more elements than dimensions.
    #[error("sparsevec cannot have more elements than dimensions")]
    MoreElementsThanDimensions,
    /// A position below the first or above the last dimension.
    #[error("sparsevec index out of bounds")]
    IndexOutOfBounds,
    /// A binary sparse vector whose positions are not sorted.
    #[error("sparsevec indices must be in ascending order")]
    IndicesNotAscending,
    /// A position that is there twice.
    #[error("sparsevec indices must not contain duplicates")]
    DuplicateIndices,
    /// A binary sparse vector that stores a zero.
    #[error("binary representation of sparsevec cannot contain zero values")]
    ZeroElement,
    /// A binary value that ends before its elements do.
    #[error("insufficient data left in message")]
    TruncatedMessage,
    /// A stored value whose header contradicts its length: it was never written by this code.
    #[error("damaged {type_name} value")]
    DamagedValue {
        /// SQL name of the type
        type_name: &'static str,
    },
    /// Two bit strings of unequal length.
    #[error("different bit lengths {left} and {right}")]
    DifferentBitLengths {
        /// bits of the left operand
        left: usize,
        /// bits of the right operand
        right: usize,
    },
}

impl VectorError {
    /// The SQLSTATE class of the error.
    pub fn sqlstate(&self) -> SqlState {
        use VectorError::*;
        match self {
            DifferentDimensions { .. }
            | UnexpectedDimensions { .. }
            | NoDimensions { .. }
            | NotANumber { .. }
            | Infinite { .. }
            | UnusedNotZero { .. }
            | ArrayNotOneDimensional
            | UnsupportedArrayType => SqlState::DataException,
            TooManyDimensions { .. } => SqlState::ProgramLimitExceeded,
            InvalidSyntax { .. } => SqlState::InvalidTextRepresentation,
            OutOfRange { .. } | Overflow | Underflow => SqlState::NumericValueOutOfRange,
            ExpectedStateArray { .. }
            | InvalidTypmod
            | TypmodTooSmall { .. }
            | TypmodTooLarge { .. }
            | InvalidQuantile { .. }
            | InvalidByteRange { .. } => SqlState::InvalidParameterValue,
            ArrayContainsNulls => SqlState::NullValueNotAllowed,

            // sparsevec and bit
            TooManyElements { .. } | MoreElementsThanDimensions => SqlState::ProgramLimitExceeded,
            NegativeElementCount
            | IndexOutOfBounds
            | IndicesNotAscending
            | DuplicateIndices
            | ZeroElement
            | DifferentBitLengths { .. } => SqlState::DataException,
            TruncatedMessage => SqlState::ProtocolViolation,
            DamagedValue { .. } => SqlState::DataCorrupted,
        }
    }

    /// Text for the DETAIL line, where there is more to say.
    pub fn detail(&self) -> Option<String> {
        match self {
            VectorError::InvalidSyntax { detail, .. } => detail.map(str::to_owned),
            _ => None,
        }
    }

    /// Text for the HINT line, where there is a way out.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
