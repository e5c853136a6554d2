//! The rules of the house that no compiler checks: sizes, first lines, names, and nothing of the machine that wrote a file.
use std::path::{Path, PathBuf};

/// Lines of a file at most.
const LINES: usize = 500;
/// Folders that hold nothing of the project.
const OUTSIDE: [&str; 5] = [".git", "target", "data", "services", "node_modules"];
/// Names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "helper", "helpers", "common", "misc"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files of the project whose name ends so, with their text.
fn files(endings: &[&str]) -> Vec<(PathBuf, String)> {
    let (mut out, mut folders) = (Vec::new(), vec![root()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let at_root = path.parent().is_some_and(|folder| folder == root());
            if path.is_dir() {
                if !OUTSIDE.contains(&name.as_str()) || (name == "services" && !at_root) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                out.push((path, text));
            }
        }
    }
    assert!(out.len() > 3, "the project has files");
    out
}

fn refuse(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_their_first_line_says_what_they_hold() {
    let mut wrong = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let (path, lines) = (path.display(), text.lines().count());
        if lines > LINES {
            wrong.push(format!("{path} has {lines} lines, at most {LINES} are allowed"));
        }
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.len() < 15 {
            wrong.push(format!("the first line of {path} does not say what it holds: {first}"));
        }
    }
    for (path, text) in files(&[".sh", ".yaml", ".py"]) {
        let mut first = text.lines().filter(|line| !line.starts_with("#!"));
        let first = first.next().unwrap_or_default();
        let is_data = path.components().any(|part| part.as_os_str() == "bad" || part.as_os_str() == "good");
        let says = first.starts_with("# ") || first.starts_with("\"\"\"");
        if !says && !is_data && !path.ends_with("own_stream.yaml") {
            wrong.push(format!("the first line of {} does not say what it holds: {first}", path.display()));
        }
    }
    refuse(&wrong);
}

#[test]
fn names_are_nouns_of_the_domain() {
    let mut wrong = Vec::new();
    for (path, _) in files(&[".rs"]) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if EMPTY_NAMES.contains(&stem.as_str()) || stem == "mod" {
            wrong.push(format!("{} says nothing by its name", path.display()));
        }
    }
    refuse(&wrong);
}

#[test]
fn nothing_tells_of_the_machine_that_wrote_it() {
    let places = ["root", "work", "home", "Users"].map(|folder| format!("/{folder}/"));
    let mut wrong = Vec::new();
    for (path, text) in files(&[".rs", ".toml", ".md", ".yaml", ".sh", ".py", ".json", "justfile", "Dockerfile", "run"])
    {
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(place) = places.iter().find(|place| line.contains(place.as_str())) {
                wrong.push(format!("{}:{number} names {place}: {}", path.display(), line.trim()));
            }
        }
    }
    refuse(&wrong);
}

/// What stands between backticks in a document.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn documents_name_files_and_tests_that_there_are() {
    let sources = files(&[".rs", ".lua", ".md", ".yaml"]);
    let paths: Vec<String> = sources.iter().map(|(path, _)| path.display().to_string()).collect();
    let (mut wrong, mut named) = (Vec::new(), 0);
    for (document, text) in sources.iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "md")) {
        for name in quoted(text) {
            let exists = if [".rs", ".lua", ".md"].iter().any(|ending| name.ends_with(ending)) {
                paths.iter().any(|path| path.ends_with(&format!("/{name}")))
            } else if name.starts_with("tests/config/") {
                paths.iter().any(|path| path.ends_with(&format!("/{name}.yaml")))
            } else if document.ends_with("pitfalls.md") && name.matches('_').count() > 2 {
                sources.iter().any(|(_, text)| text.contains(&format!("fn {name}(")))
            } else {
                continue;
            };
            named += 1;
            if !exists {
                wrong.push(format!("{} names `{name}`, which is not there", document.display()));
            }
        }
    }
    refuse(&wrong);
    assert!(named > 100, "documents name only {named} files and tests");
}
