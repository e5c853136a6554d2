//! A table's columns in Delta's JSON, from the Arrow schema of its files.
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use serde_json::{Value as Json, json};

use crate::error::{Error, Result};

/// Delta's `schemaString` of `schema`.
///
/// # Errors
/// `Internal` for a type that Seam's tables do not use.
pub fn to_json(schema: &Schema) -> Result<String> {
    let fields = schema.fields().iter().map(|field| column(field)).collect::<Result<Vec<_>>>()?;
    Ok(json!({"type": "struct", "fields": fields}).to_string())
}

fn column(field: &Field) -> Result<Json> {
    let type_name = match field.data_type() {
        DataType::Utf8 => "string".to_owned(),
        DataType::Binary => "binary".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".to_owned(),
        other => return Err(Error::internal(format!("column {} has type {other}", field.name()))),
    };
    Ok(json!({"name": field.name(), "type": type_name, "nullable": field.is_nullable(), "metadata": {}}))
}
