//! Problems of a configuration file and the report that shows all of them, each with its line and a caret.
use std::fmt;

use super::secret::KEY_PREFIX;
use crate::error::Error;
use crate::view::expression::ExpressionError;

/// A run of characters in one line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters the carets cover, at least 1.
    pub length: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// How many characters of the line it is about.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right, e.g. ``did you mean `carrier`?``.
    pub suggestion: Option<String>,
}

/// All problems of a file in the order of their places. Its `Display` is what people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file's name.
    pub file: String,
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
    /// The lines of the file that have problems, by number.
    lines: std::collections::BTreeMap<usize, String>,
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    all: Vec<Problem>,
    /// How many were found by earlier stages.
    earlier: usize,
    /// Names of fields that were declared, but wrongly: whoever uses one is not wrong, too.
    broken: Vec<String>,
}

/// Problems shown in full; a file that is no Seam file at all would fill the screen otherwise.
const SHOWN: usize = 100;
/// Names that a suggestion lists; enough for the keys at the top of the file.
const NAMED_MAX: usize = 16;
/// Characters of a source line that are shown around the place.
const WIDTH: usize = 160;

impl Problems {
    /// Adds one without a suggestion.
    pub fn add(&mut self, place: Place, message: impl Into<String>) {
        self.suggest(place, message, None);
    }
    /// Adds one, with a suggestion if there is one.
    pub fn suggest(&mut self, place: Place, message: impl Into<String>, suggestion: Option<String>) {
        let Place { line, column, length } = place;
        let within = |p: &Problem| p.line == line && (column..column + length).contains(&p.column);
        if self.all[..self.earlier].iter().any(within) {
            return;
        }
        self.all.push(Problem { line, column, length, message: message.into(), suggestion });
    }
    /// Adds "no such thing", with the nearest known name or the list of all.
    pub fn unknown<'a>(
        &mut self,
        place: Place,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str> + Clone,
    ) {
        self.suggest(place, format!("{what} `{name}`"), nearest(name, known));
    }
    /// A field of that name was meant to be there; what is wrong with it was said.
    pub fn breaks(&mut self, field: &str) {
        self.broken.push(field.to_owned());
    }
    /// Whether that is a field that was declared wrongly.
    pub fn is_broken(&self, field: &str) -> bool {
        self.broken.iter().any(|broken| broken == field)
    }
    /// Adds what is wrong with a condition, unless that is a field that was declared wrongly.
    pub fn condition(&mut self, place: Place, error: ExpressionError) {
        if !error.unknown.as_ref().is_some_and(|name| self.is_broken(name)) {
            self.suggest(place, error.message, error.suggestion);
        }
    }
    /// From here on, a place that has a problem already is left alone: the next stage would only see its consequences.
    pub fn next_stage(&mut self) {
        self.earlier = self.all.len();
    }
    /// What was made of the file, unless there are problems.
    pub fn finish<T>(mut self, made: Option<T>, file: &str, text: &str) -> Result<T, Report> {
        self.all.sort_by_key(|p| (p.line, p.column));
        self.all.dedup();
        match made {
            Some(made) if self.all.is_empty() => Ok(made),
            _ => {
                if self.all.is_empty() {
                    self.add(Place { line: 1, column: 1, length: 1 }, "the file cannot be read as a configuration");
                }
                let wanted = |number: &usize| self.all.iter().any(|p| p.line == *number);
                let lines = (1..).zip(text.lines().map(without_keys)).filter(|(n, _)| wanted(n)).collect();
                Err(Report { file: file.to_owned(), problems: self.all, lines })
            }
        }
    }
}

/// A line with stars in the place of API keys: reports end up in logs.
fn without_keys(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(KEY_PREFIX) {
        let (before, key) = rest.split_at(at + KEY_PREFIX.len());
        let digits = key.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(before);
        out.push_str(&if digits < 16 { key[..digits].to_owned() } else { "*".repeat(digits) });
        rest = &key[digits..];
    }
    out + rest
}

/// The known name that is so near to a name that it is probably meant.
pub(super) fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    let lower = name.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let best =
        known.into_iter().map(|candidate| (distance(candidate), candidate)).min_by_key(|(distance, _)| *distance);
    best.filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count()).map(|(_, c)| c)
}

/// The suggestion for a name that does not exist: the known name that is nearest to it, or all if they are few.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    if let Some(candidate) = meant(name, known.clone()) {
        return Some(format!("did you mean `{candidate}`?"));
    }
    let all: Vec<String> = known.into_iter().map(|k| format!("`{k}`")).collect();
    match all.as_slice() {
        [] => None,
        [one] => Some(format!("the only one is {one}")),
        [..] if all.len() <= NAMED_MAX => Some(format!("there are {}", all.join(", "))),
        [..] => None,
    }
}

impl Report {
    /// What was found wrong in a file that could be read. There is at least one problem.
    pub(super) fn of(file: &str, text: &str, found: Vec<Problem>) -> Report {
        let problems = Problems { all: found, ..Problems::default() };
        let made: Result<(), Report> = problems.finish(None, file, text);
        made.expect_err("nothing was made")
    }
    fn fragment(&self, problem: &Problem) -> Option<(String, String)> {
        let line: Vec<char> = self.lines.get(&problem.line)?.chars().collect();
        let at = (problem.column - 1).min(line.len());
        let start = if line.len() > WIDTH { at.saturating_sub(WIDTH / 2) } else { 0 };
        let end = (start + WIDTH).min(line.len());
        // tabs are kept as tabs so that the caret stands under its character
        let indent = line[start..at].iter().map(|&c| if c == '\t' { '\t' } else { ' ' }).collect::<String>();
        let carets = problem.length.clamp(1, (end - at).max(1));
        Some((line[start..end].iter().collect(), indent + &"^".repeat(carets)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.problems.iter().take(SHOWN) {
            write!(f, "{}:{}:{}: {}", self.file, problem.line, problem.column, problem.message)?;
            if let Some(suggestion) = &problem.suggestion {
                write!(f, "; {suggestion}")?;
            }
            writeln!(f)?;
            if let Some((source, carets)) = self.fragment(problem) {
                writeln!(f, "{:>5} | {source}\n      | {carets}", problem.line)?;
            }
        }
        match self.problems.len() {
            1 => write!(f, "1 problem in {}", self.file),
            n if n > SHOWN => write!(f, "{n} problems in {}, {} of them not shown", self.file, n - SHOWN),
            n => write!(f, "{n} problems in {}", self.file),
        }
    }
}

impl std::error::Error for Report {}

impl From<Report> for Error {
    fn from(report: Report) -> Error {
        Error::invalid(report.to_string())
    }
}
