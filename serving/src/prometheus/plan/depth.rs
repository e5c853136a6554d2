//! How deep a query may be nested: trees are walked by recursion, and a query comes from anybody.
use super::Failure;

/// Bytes of the longest query.
const BYTES_MAX: usize = 64 * 1024;
/// Operators and parentheses of the largest query.
const NODES_MAX: usize = 400;

/// Refuses a query whose tree may be too deep.
///
/// # Errors
/// `bad_data`.
pub fn check(text: &str) -> Result<(), Failure> {
    if text.trim().is_empty() {
        return Err(Failure::bad_data("invalid parameter \"query\": the query is empty"));
    }
    if text.len() > BYTES_MAX {
        return Err(Failure::bad_data(format!("the query has more than {BYTES_MAX} bytes")));
    }
    if nodes(text) > NODES_MAX {
        return Err(Failure::bad_data(format!("the query has more than {NODES_MAX} operators and parentheses")));
    }
    Ok(())
}

/// The signs outside of texts and matchers that may make the tree one deeper.
fn nodes(text: &str) -> usize {
    let (mut quote, mut escaped, mut in_braces, mut comment) = (None, false, false, false);
    let (mut nodes, mut word) = (0, String::new());
    for character in text.chars() {
        if comment {
            comment = character != '\n';
            continue;
        }
        if let Some(end) = quote {
            match character {
                _ if escaped => escaped = false,
                '\\' if end != '`' => escaped = true,
                _ if character == end => quote = None,
                _ => {}
            }
            continue;
        }
        if character.is_alphanumeric() || character == '_' {
            word.push(character);
            continue;
        }
        nodes += usize::from(is_operator(&word));
        word.clear();
        match character {
            '"' | '\'' | '`' => quote = Some(character),
            '#' => comment = true,
            '{' => in_braces = true,
            '}' => in_braces = false,
            '(' | '[' | '+' | '-' | '*' | '/' | '%' | '^' | '<' | '>' | '=' | '!' if !in_braces => nodes += 1,
            _ => {}
        }
    }
    nodes + usize::from(is_operator(&word))
}

fn is_operator(word: &str) -> bool {
    ["and", "or", "unless", "atan2"].iter().any(|operator| word.eq_ignore_ascii_case(operator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_deepens_the_tree_counts() {
        assert_eq!(nodes("sum(a{b=\"((((\", c='-\\'-'}) # ((("), 1);
        assert_eq!(nodes("a + b or c == 1 AND `-` unless --d"), 8);
        for deep in ["(", "-", "1+", "a or ", "{a=\"b\"} and "] {
            assert!(check(&deep.repeat(500)).is_err(), "{deep}");
        }
        assert!(check(&format!("a{{b=~\"{}\"}}", "x|".repeat(20_000))).is_ok());
        assert!(check(&"a".repeat(BYTES_MAX + 1)).is_err());
        assert!(check("  ").is_err());
    }
}
