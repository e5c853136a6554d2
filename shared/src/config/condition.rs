//! Conditions of the file (`where:`), and where in it they are wrong.
use super::report::Problems;
use super::tree::Node;
use crate::view::expression::Expression;
use crate::view::field::Field;

/// A condition over `fields`; what is wrong in it is shown inside the string.
pub(super) fn expression(node: &Node, fields: &[Field], problems: &mut Problems) -> Option<Expression> {
    match Expression::parse(node.text()?, fields) {
        Ok(expression) => Some(expression),
        Err(error) => {
            problems.condition(node.inside(error.at), error);
            None
        }
    }
}
