//! The texts of labels and annotations: `{{ $labels.region }}` and `{{ $value | humanize }}`, the part of Prometheus' templates that
//! rules are written with. What is outside it is refused when the rule is read.
use super::figures::{duration, fixed, percentage, si};
use crate::prometheus::evaluate::number_text;

/// What is supported, for whoever wrote something else.
const SUPPORTED: &str = "supported are {{ $labels.<name> }} and {{ $value }}, the latter with humanize, humanizePercentage, \
     humanizeDuration or printf \"%.2f\"";

/// A text with gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Label(String),
    Value(Option<Form>),
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Si,
    Percentage,
    Duration,
    /// With so many digits after the point.
    Fixed(usize),
}

/// What is wrong with a template, and where it begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The byte.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub suggestion: Option<String>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is outside the supported part, with its place.
    pub fn parse(text: &str) -> Result<Template, Wrong> {
        let (mut parts, mut at) = (Vec::new(), 0);
        while let Some(open) = text[at..].find("{{").map(|found| at + found) {
            let wrong = |message: &str| Wrong { at: open, message: message.to_owned(), suggestion: None };
            let close = text[open..].find("}}").map(|found| open + found);
            let close = close.ok_or_else(|| wrong("this {{ has no }}"))?;
            if at < open {
                parts.push(Part::Text(text[at..open].to_owned()));
            }
            let inside = text[open + 2..close].trim();
            parts.push(gap(inside).ok_or_else(|| Wrong {
                suggestion: Some(SUPPORTED.to_owned()),
                ..wrong(&format!("`{{{{ {inside} }}}}` is outside what templates can say here"))
            })?);
            at = close + 2;
        }
        if at < text.len() {
            parts.push(Part::Text(text[at..].to_owned()));
        }
        Ok(Template { text: text.to_owned(), parts })
    }
    /// A text without gaps, whatever it looks like.
    pub fn verbatim(text: &str) -> Template {
        Template { text: text.to_owned(), parts: vec![Part::Text(text.to_owned())] }
    }
    /// The labels that it names.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| if let Part::Label(name) = part { Some(name.as_str()) } else { None })
    }
    /// The text for a series with these labels and this value. A label that it does not have is empty.
    pub fn render<'l>(&self, label: impl Fn(&str) -> &'l str, value: f64) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Label(name) => label(name).to_owned(),
            Part::Value(None) => number_text(value),
            Part::Value(Some(Form::Si)) => si(value),
            Part::Value(Some(Form::Percentage)) => percentage(value),
            Part::Value(Some(Form::Duration)) => duration(value),
            Part::Value(Some(Form::Fixed(digits))) => fixed(value, *digits),
        };
        self.parts.iter().map(part).collect()
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What stands between the braces: `$value`, `$value | humanize` and `humanize $value` alike.
fn gap(inside: &str) -> Option<Part> {
    let (operand, form) = match inside.split_once('|') {
        Some((operand, function)) => (operand.trim(), Some(function.trim())),
        None => match inside.rsplit_once(char::is_whitespace) {
            Some((function, operand)) => (operand, Some(function.trim())),
            None => (inside, None),
        },
    };
    if matches!(operand, "$value" | ".Value") {
        return Some(Part::Value(form.map(|form| Form::named(form).ok_or(())).transpose().ok()?));
    }
    let label = operand.strip_prefix("$labels.").or_else(|| operand.strip_prefix(".Labels."))?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (form.is_none() && !label.is_empty() && label.chars().all(is_word)).then(|| Part::Label(label.to_owned()))
}

impl Form {
    fn named(name: &str) -> Option<Form> {
        Some(match name {
            "humanize" => Form::Si,
            "humanizePercentage" => Form::Percentage,
            "humanizeDuration" => Form::Duration,
            _ => {
                let format = name.strip_prefix("printf")?.trim().strip_prefix("\"%.")?.strip_suffix("f\"")?;
                Form::Fixed(format.parse().ok().filter(|digits| *digits <= 17)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, value: f64) -> String {
        let label = |name: &str| if name == "region" { "eu" } else { "" };
        Template::parse(text).unwrap_or_else(|wrong| panic!("{wrong:?}")).render(label, value)
    }

    #[test]
    fn gaps_are_filled() {
        assert_eq!(rendered("{{ $labels.region }}: {{ $value }}!", 0.25), "eu: 0.25!");
        assert_eq!(rendered("{{$labels.region}}{{.Labels.other}}{{.Value}}", f64::INFINITY), "eu+Inf");
        assert_eq!(rendered("{{ $value | humanize }}/{{ humanize $value }}", 123_456.0), "123.5k/123.5k");
        assert_eq!(rendered("{{ $value | humanizePercentage }}", 0.051_23), "5.123%");
        assert_eq!(rendered("{{ humanizeDuration $value }}", 3_723.0), "1h 2m 3s");
        assert_eq!(rendered("{{ printf \"%.2f\" $value }} {{ $value | printf \"%.0f\" }}", 2.345_6), "2.35 2");
        assert_eq!(rendered("no gap } { }}", 1.0), "no gap } { }}");
        let template = Template::parse("{{ $labels.b }}{{ $value }}{{ $labels.a }}").unwrap();
        assert_eq!(template.labels().collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn what_is_outside_is_refused_at_its_place() {
        for (text, at) in [
            ("a {{ $labels.x", 2),
            ("{{ $lables.x }}", 0),
            ("{{ $labels }}", 0),
            ("{{ $labels.a-b }}", 0),
            ("ok {{ $value }} {{ if gt $value 1 }}", 16),
            ("{{ $value | toUpper }}", 0),
            ("{{ $labels.x | humanize }}", 0),
            ("{{ query \"up\" }}", 0),
            ("{{ printf \"%d\" $value }}", 0),
            ("{{}}", 0),
        ] {
            let wrong = Template::parse(text).expect_err(text);
            assert_eq!(wrong.at, at, "{text}: {}", wrong.message);
        }
    }
}
