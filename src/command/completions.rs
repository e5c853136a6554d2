//! `seam completions`: the script that a shell completes commands with.
use clap::CommandFactory;

use crate::args::{Cli, Completions};

/// Prints it.
pub fn print(command: &Completions) {
    clap_complete::generate(command.shell, &mut Cli::command(), "seam", &mut std::io::stdout());
}
