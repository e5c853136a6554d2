//! `seam validate`: says everything that is wrong with the configuration.
use std::path::Path;

use seam_shared::config::{Problem, Report};
use serde_json::{Value, json};

use crate::configuration::{checked, read};
use crate::failure::{BAD_CONFIGURATION, Failure};
use crate::output::{counted, say};

/// Prints what is wrong with it, or what it defines.
pub fn run(file: &Path, json: bool) -> Result<u8, Failure> {
    let (text, name) = (read(file)?, file.display().to_string());
    match checked(&text, &name) {
        Ok(_) if json => say!("{}", json!({ "file": name, "problems": [] })),
        Ok(config) => say!(
            "{name} is right: {}, {}, {}",
            counted(config.sources.len() as u64, "source"),
            counted(config.views.len() as u64, "view"),
            counted(config.metrics.len() as u64, "metric")
        ),
        Err(report) => {
            if json {
                say!("{:#}", as_json(&report));
            } else {
                eprintln!("{report}");
            }
            return Ok(BAD_CONFIGURATION);
        }
    }
    Ok(0)
}

fn as_json(report: &Report) -> Value {
    let problem =
        |p: &Problem| json!({ "line": p.line, "column": p.column, "message": p.message, "suggestion": p.suggestion });
    json!({ "file": report.file, "problems": report.problems.iter().map(problem).collect::<Vec<_>>() })
}
