//! The view algebra, all of it here and only here: definition -> pane -> partial -> combine -> present. Pure.
pub mod aggregate;
pub(crate) mod bytes;
pub mod definition;
pub mod difference;
pub mod exact_sum;
pub mod expression;
pub mod field;
pub mod groups;
#[cfg(test)]
mod laws;
pub mod oracle;
pub mod ranks;
pub mod rows;
pub mod value;
