//! The evaluator against series that are given in words: a runner of test files in the manner of promqltest, and files of ours.
mod memory;
mod script;

use std::path::Path;

use promql_parser::parser::value::ValueType;
use seam_shared::time::Timestamp;

use super::evaluate::{Value, evaluate};
use super::failure::Failure;
use super::plan::{parse, plan};
use super::source::Grid;
use memory::Memory;
use script::{Command, Expected, Result as Wanted, script};

/// Files with cases, and how many evaluations each has at least.
const FILES: [(&str, usize); 5] = [
    ("aggregators.test", 30),
    ("operators.test", 40),
    ("selectors.test", 20),
    ("functions.test", 50),
    ("ranges.test", 25),
];

#[test]
fn the_evaluator_does_what_the_cases_say() {
    for (name, at_least) in FILES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql").join(name);
        let text = std::fs::read_to_string(&path).expect("the file is there");
        let (mut memory, mut evaluations) = (Memory::default(), 0);
        for (line, command) in script(&text).unwrap_or_else(|error| panic!("{name}: {error}")) {
            match command {
                Command::Clear => memory = Memory::default(),
                Command::Load(series) => memory.load(series),
                Command::Evaluate { query, grid, is_range, expected } => {
                    evaluations += 1;
                    let answered = answer(&query, grid, &memory);
                    compare(answered, grid, is_range, &expected)
                        .unwrap_or_else(|error| panic!("{name}:{line}: {query}\n{error}"));
                }
            }
        }
        assert!(evaluations >= at_least, "{name} has {evaluations} evaluations");
    }
}

fn answer(query: &str, grid: Grid, memory: &Memory) -> Result<Value, Failure> {
    let expression = parse(query)?;
    if grid.count > 1 && expression.value_type() == ValueType::String {
        return Err(Failure::bad_data("a string in a range"));
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    evaluate(&plan(&expression, grid)?, memory, deadline)
}

/// Points of all series, as they are written in a file.
fn points(value: Value, grid: Grid) -> Vec<(String, Vec<(Timestamp, f64)>)> {
    match value {
        Value::Scalar(values) => vec![("{}".to_owned(), grid.iter().zip(values).collect())],
        Value::Vector(series) => {
            let list =
                |values: Vec<Option<f64>>| grid.iter().zip(values).filter_map(|(at, v)| Some((at, v?))).collect();
            series.into_iter().map(|series| (series.labels.to_string(), list(series.values))).collect()
        }
        Value::Samples(series) => series.into_iter().map(|series| (series.labels.to_string(), series.list)).collect(),
        Value::Text(text) => vec![(text, Vec::new())],
    }
}

fn compare(answered: Result<Value, Failure>, grid: Grid, is_range: bool, expected: &Expected) -> Result<(), String> {
    let value = match (answered, &expected.fails) {
        (Err(failure), Some(text)) if failure.text.contains(text) => return Ok(()),
        (Err(failure), Some(text)) => return Err(format!("it fails with {:?}, not with {text:?}", failure.text)),
        (Ok(value), Some(_)) => return Err(format!("it should fail, but comes to {value:?}")),
        (Err(failure), None) => return Err(format!("it fails: {failure:?}")),
        (Ok(value), None) => value,
    };
    let is_scalar = matches!(value, Value::Scalar(_));
    if matches!(expected.results[..], [Wanted::Scalar(_)]) != (is_scalar && !is_range) {
        return Err(format!("{value:?} is of the wrong kind"));
    }
    let mut found = points(value, grid);
    let mut wanted: Vec<(String, Vec<(Timestamp, f64)>)> = expected
        .results
        .iter()
        .map(|result| match result {
            Wanted::Scalar(number) => ("{}".to_owned(), vec![(grid.first, *number)]),
            Wanted::Series(labels, values) => {
                let values = grid.iter().zip(values).filter_map(|(at, value)| Some((at, (*value)?)));
                (labels.to_string(), values.collect())
            }
        })
        .collect();
    if !expected.ordered {
        found.sort_by(|a, b| a.0.cmp(&b.0));
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let same = found.len() == wanted.len()
        && found.iter().zip(&wanted).all(|((labels, list), (wanted, values))| {
            labels == wanted
                && list.len() == values.len()
                && list.iter().zip(values).all(|((at, a), (when, b))| at == when && is_near(*a, *b))
        });
    if same { Ok(()) } else { Err(format!("wanted {wanted:?}\n found {found:?}")) }
}

fn is_near(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}
