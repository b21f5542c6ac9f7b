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
}

/// What can be wrong with a value, a setting or a page.
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
}

impl VectorError {
    /// The SQLSTATE class of the error.
    pub fn sqlstate(&self) -> SqlState {
        match self {
            VectorError::DifferentDimensions { .. } => SqlState::DataException,
        }
    }

    /// Text for the DETAIL line, where there is more to say.
    pub fn detail(&self) -> Option<String> {
        None
    }

    /// Text for the HINT line, where there is a way out.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
