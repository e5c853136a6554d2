//! The text of test files: `load`, `clear`, `eval`.
//!
//!     load 5m
//!       requests{job="api"}  0+10x10        # 0 10 20 …: eleven samples
//!       gauge                1 2 _ 4 _x3 5
//!     eval instant at 50m sum(requests)
//!       {} 100
//!     eval range from 0 to 10m step 5m requests
//!       requests{job="api"} 0 10 20
//!     eval fail instant at 0m 1 + "a"
//!       expected text
use promql_parser::parser::Expr;
use seam_shared::time::{Span, Timestamp};

use crate::prometheus::labels::{Labels, NAME};
use crate::prometheus::plan::{matchers, parse};
use crate::prometheus::source::{Grid, Samples};

pub enum Command {
    Clear,
    Load(Vec<Samples>),
    Evaluate { query: String, grid: Grid, is_range: bool, expected: Expected },
}

#[derive(Default)]
pub struct Expected {
    pub results: Vec<Result>,
    pub ordered: bool,
    pub fails: Option<String>,
}

pub enum Result {
    Scalar(f64),
    Series(Labels, Vec<Option<f64>>),
}

type Parsed<T> = std::result::Result<T, String>;

/// The commands of a file with their lines.
pub fn script(text: &str) -> Parsed<Vec<(usize, Command)>> {
    let mut out = Vec::new();
    let lines: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line.trim_end()))
        .filter(|(_, line)| !line.is_empty() && !line.trim().starts_with('#'))
        .collect();
    let mut at = 0;
    while let Some(&(number, line)) = lines.get(at) {
        at += 1;
        let block: Vec<&str> =
            lines[at..].iter().take_while(|(_, line)| line.starts_with(' ')).map(|(_, line)| line.trim()).collect();
        at += block.len();
        let command = command(line, &block).map_err(|error| format!("line {number}: {error}"))?;
        out.push((number, command));
    }
    Ok(out)
}

fn command(line: &str, block: &[&str]) -> Parsed<Command> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "clear" => Ok(Command::Clear),
        "load" => {
            let step = span(rest)?;
            let series = block.iter().map(|line| {
                let (labels, values) = series(line)?;
                let at = |i: usize| Timestamp(step.0 * i as i64);
                let list = values.into_iter().enumerate().filter_map(|(i, value)| Some((at(i), value?))).collect();
                Ok(Samples { labels, list })
            });
            Ok(Command::Load(series.collect::<Parsed<_>>()?))
        }
        "eval" => evaluation(rest, block),
        _ => Err(format!("{word} is no command")),
    }
}

fn evaluation(text: &str, block: &[&str]) -> Parsed<Command> {
    let mut expected = Expected::default();
    let mut text = text;
    loop {
        if let Some(rest) = text.strip_prefix("fail ") {
            expected.fails = Some(block.join(" "));
            text = rest;
        } else if let Some(rest) = text.strip_prefix("ordered ") {
            expected.ordered = true;
            text = rest;
        } else {
            break;
        }
    }
    let is_range = text.starts_with("range ");
    let (grid, query) = if let Some(rest) = text.strip_prefix("instant at ") {
        let (at, query) = rest.split_once(' ').ok_or("a query is missing")?;
        (Grid::instant(Timestamp(span(at)?.0)), query)
    } else {
        let words: Vec<&str> = text.splitn(8, ' ').collect();
        let ["range", "from", from, "to", to, "step", step, query] = words[..] else {
            return Err(format!("what is {text}?"));
        };
        let (from, to, step) = (span(from)?, span(to)?, span(step)?);
        (Grid { first: Timestamp(from.0), step, count: ((to.0 - from.0) / step.0) as usize + 1 }, query)
    };
    if expected.fails.is_none() {
        expected.results = block.iter().map(|line| result(line)).collect::<Parsed<_>>()?;
    }
    Ok(Command::Evaluate { query: query.to_owned(), grid, is_range, expected })
}

fn result(line: &str) -> Parsed<Result> {
    match number(line) {
        Ok(number) => Ok(Result::Scalar(number)),
        Err(_) => series(line).map(|(labels, values)| Result::Series(labels, values)),
    }
}

fn span(text: &str) -> Parsed<Span> {
    if text == "0" { Ok(Span(0)) } else { Span::parse(text) }
}

fn number(text: &str) -> Parsed<f64> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

/// Labels and values: `_` for none, `1x3` and `_x3` for repetitions, `a+bxn` and `a-bxn` for n steps from a.
fn series(line: &str) -> Parsed<(Labels, Vec<Option<f64>>)> {
    let end = line.rfind('}').map(|at| at + 1).or_else(|| line.find(' ')).unwrap_or(line.len());
    let (selector, values) = line.split_at(end);
    let mut out = Vec::new();
    for word in values.split_whitespace() {
        let Some((value, times)) = word.split_once('x') else {
            out.push(if word == "_" { None } else { Some(number(word)?) });
            continue;
        };
        let times: usize = times.parse().map_err(|_| format!("{word} has no number of times"))?;
        let sign = value.char_indices().skip(1).find(|(at, c)| "+-".contains(*c) && !value[..*at].ends_with('e'));
        match (value, sign) {
            ("_", _) => out.extend(vec![None; times]),
            (_, None) => out.extend(vec![Some(number(value)?); times + 1]),
            (_, Some((at, _))) => {
                let (from, by) = (number(&value[..at])?, number(&value[at..])?);
                out.extend((0..=times).map(|i| Some(from + by * i as f64)));
            }
        }
    }
    Ok((labels(selector)?, out))
}

fn labels(selector: &str) -> Parsed<Labels> {
    if selector == "{}" {
        return Ok(Labels::default());
    }
    let expression = parse(selector).map_err(|failure| failure.text)?;
    let Expr::VectorSelector(selector) = expression else { return Err(format!("{selector} is no series")) };
    let all = matchers(&selector).map_err(|failure| failure.text)?;
    debug_assert!(all.iter().any(|matcher| matcher.name != NAME || !matcher.value.is_empty()));
    Ok(Labels::new(all.into_iter().map(|matcher| (matcher.name.into(), matcher.value.into()))))
}
