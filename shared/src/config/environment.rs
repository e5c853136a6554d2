//! `${VAR}` and `${VAR:-default}` in the strings of the tree, after parsing, so that a value can never change the structure.
use super::report::{Place, Problems};
use super::tree::{Content, Node};

/// Replaces every reference; `$${` stands for `${`. Keys are left alone.
pub(super) fn substitute(node: &mut Node, variable: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
    let place = node.place;
    match &mut node.content {
        Content::Sequence(items) => items.iter_mut().for_each(|item| substitute(item, variable, problems)),
        Content::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| substitute(value, variable, problems)),
        Content::Scalar(scalar) if scalar.text.contains("${") => {
            let column = scalar.verbatim.take();
            let at = |offset: usize, length: usize| match column {
                Some(column) => {
                    let before = scalar.text.get(..offset).map_or(0, |head| head.chars().count());
                    Place { line: place.line, column: column + before, length }
                }
                None => place,
            };
            match replace(&scalar.text, variable) {
                Ok(text) => scalar.text = text,
                Err(wrong) => wrong.into_iter().for_each(|(offset, length, m)| problems.add(at(offset, length), m)),
            }
        }
        Content::Scalar(_) => {}
    }
}

type Wrong = Vec<(usize, usize, String)>;

fn replace(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Wrong> {
    let (mut out, mut wrong, mut rest) = (String::new(), Wrong::new(), text);
    while let Some(start) = rest.find("${") {
        let offset = text.len() - rest.len() + start;
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start - 1]);
            out.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let Some(end) = rest[start..].find('}') else {
            wrong.push((offset, 2, "this ${ has no }".to_owned()));
            return Err(wrong);
        };
        let reference = &rest[start + 2..start + end];
        match resolve(reference, variable) {
            Ok(value) => out.push_str(&value),
            Err(message) => wrong.push((offset, reference.chars().count() + 3, message)),
        }
        rest = &rest[start + end + 1..];
    }
    out.push_str(rest);
    if wrong.is_empty() { Ok(out) } else { Err(wrong) }
}

/// As in a shell: `:-` takes the default for an empty variable too, `-` only for one that is not set.
fn resolve(reference: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (name, rest) = reference.split_at(reference.find(|c| !is_name(c)).unwrap_or(reference.len()));
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`${{{reference}}}` names no variable; write it like ${{NAME}} or ${{NAME:-default}}"));
    }
    let value = variable(name);
    if rest.is_empty() {
        return value.ok_or_else(|| format!("the environment has no {name}; set it, or write ${{{name}:-default}}"));
    }
    if let Some(default) = rest.strip_prefix(":-") {
        return Ok(value.filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned()));
    }
    match rest.strip_prefix('-') {
        Some(default) => Ok(value.unwrap_or_else(|| default.to_owned())),
        None => Err(format!("`${{{reference}}}` is not understood; write it like ${{NAME}} or ${{NAME:-default}}")),
    }
}
