//! What the numbers of an aggregate are counted in.
use serde::{Deserialize, Serialize};

use crate::view::value::FieldType;

/// What numbers are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Scaled integers with so many digits after the point.
    Scaled(u8),
    /// Doubles.
    Double,
}

impl Unit {
    /// The unit of a field's numbers; that of integers if it has none.
    pub fn of(field_type: FieldType) -> Unit {
        match field_type {
            FieldType::Float => Unit::Double,
            FieldType::Decimal(scale) => Unit::Scaled(scale),
            FieldType::Int | FieldType::Bool | FieldType::String => Unit::Scaled(0),
        }
    }
}
