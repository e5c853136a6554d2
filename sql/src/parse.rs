//! From text to statements: identifiers folded as PostgreSQL folds them, errors with their place.
use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{SqlError, state};

/// Bytes of the longest query text.
const LENGTH_MAX: usize = 1 << 20;
/// How deep expressions may nest.
const DEPTH_MAX: usize = 64;

/// The statements of a text; none if there are only comments and semicolons.
///
/// # Errors
/// A syntax error with its place.
pub fn statements(text: &str) -> Result<Vec<Statement>, SqlError> {
    if text.len() > LENGTH_MAX {
        return Err(SqlError::new(state::TOO_MUCH, format!("the query is longer than {LENGTH_MAX} bytes")));
    }
    let dialect = PostgreSqlDialect {};
    let mut tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| {
        let mut wrong = SqlError::new(state::SYNTAX, error.message.clone());
        wrong.position = position(text, error.location.line, error.location.column);
        wrong
    })?;
    for token in &mut tokens {
        if let Token::Word(word) = &mut token.token
            && word.quote_style.is_none()
        {
            word.value = word.value.to_lowercase();
        }
    }
    let parser = Parser::new(&dialect).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens);
    let mut parser = parser;
    parser.parse_statements().map_err(|error| syntax_error(text, &error))
}

fn syntax_error(text: &str, error: &ParserError) -> SqlError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.as_str(),
        ParserError::RecursionLimitExceeded => {
            return SqlError::new(state::TOO_MUCH, "the query nests too deeply");
        }
    };
    // The parser puts the place behind its message: ` at Line: 1, Column: 8`.
    let (what, place) = message.rsplit_once(" at Line: ").unwrap_or((message, ""));
    let mut wrong = SqlError::new(state::SYNTAX, format!("syntax error: {}", first_letter_small(what)));
    let numbers: Vec<u64> = place.split(", Column: ").filter_map(|number| number.trim().parse().ok()).collect();
    if let [line, column] = numbers[..] {
        wrong.position = position(text, line, column);
    }
    wrong
}

fn first_letter_small(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

/// The number of a character, from 1 on.
fn position(text: &str, line: u64, column: u64) -> Option<usize> {
    if line == 0 {
        return None;
    }
    let before: usize = text.split('\n').take(line as usize - 1).map(|line| line.chars().count() + 1).sum();
    Some(before + column as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_and_errors_have_a_place() {
        let one = statements("SELECT Carrier, \"Odd\" FROM V -- why\n").expect("valid");
        assert_eq!(one[0].to_string(), "SELECT carrier, \"Odd\" FROM v");
        assert_eq!(statements("-- ping").expect("empty").len(), 0);
        assert_eq!(statements(" ;; ").expect("empty").len(), 0);
        assert_eq!(statements("select 1; select 2;").expect("two").len(), 2);
        let error = statements("SELECT 1\nFROM v v2 v3").expect_err("two aliases");
        assert_eq!((error.code, error.position), (state::SYNTAX, Some(20)));
        assert_eq!(statements("SELECT 'x").expect_err("open").code, state::SYNTAX);
        let deep = format!("SELECT {}1{}", "(".repeat(2_000), ")".repeat(2_000));
        assert_eq!(statements(&deep).expect_err("deep").code, state::TOO_MUCH);
    }
}
