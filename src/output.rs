//! What commands print. Whoever reads standard output may stop before all is said: then the command ends, quietly.
use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::process::exit;

use seam_shared::{Error, Result};
use serde::Serialize;

/// Prints a line on standard output, as `println!` does.
macro_rules! say {
    ($($words:tt)*) => { $crate::output::line(format_args!($($words)*)) };
}
pub(crate) use say;

/// One line.
pub fn line(text: Arguments<'_>) {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
        Err(error) => {
            eprintln!("error: standard output cannot be written: {error}");
            exit(1);
        }
    }
}

/// A value as a line of JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value);
    say!("{}", text.map_err(|e| Error::internal("what was found cannot be written as JSON").because(e))?);
    Ok(())
}

/// "1 view", "2 views".
pub fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
