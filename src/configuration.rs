//! The configuration file of a command, and what a command may name in it.
use std::path::Path;
use std::sync::Arc;

use seam_shared::config::{self, Config, Report};
use seam_shared::view::definition::{Source, View};
use seam_shared::{Error, Result};

use crate::failure::Failure;

/// The configuration, which must be right.
pub fn load(file: &Path) -> Result<Config, Failure> {
    Ok(checked(&read(file)?, &file.display().to_string())?)
}

/// What a text says, which must be right: alert rules, too, whose expressions serving understands.
pub fn checked(text: &str, name: &str) -> Result<Config, Report> {
    config::load_checked(text, name, &seam_serving::alerts::check)
}

/// The configuration, if there is one and it is right: commands that ask a running Seam can do without.
pub fn found(file: &Path) -> Option<Config> {
    checked(&read(file).ok()?, "seam.yaml").ok()
}

/// The configuration, which must be right; a Seam that is named by its address is asked without one.
pub fn wanted(file: &Path, url: Option<&str>) -> Result<Option<Config>, Failure> {
    if url.is_some() { Ok(found(file)) } else { load(file).map(Some) }
}

/// A view by its name.
///
/// # Errors
/// `NotFound`, with the names that there are.
pub fn view<'c>(config: &'c Config, name: &str) -> Result<&'c Arc<View>> {
    let names = config.views.iter().map(|view| view.name.as_str());
    config.view(name).ok_or_else(|| unknown("view", name, names))
}

/// A source by its name.
///
/// # Errors
/// `NotFound`, with the names that there are.
pub fn source<'c>(config: &'c Config, name: &str) -> Result<&'c Arc<Source>> {
    let names = config.sources.iter().map(|source| source.name.as_str());
    config.source(name).ok_or_else(|| unknown("source", name, names))
}

fn unknown<'n>(what: &str, name: &str, names: impl Iterator<Item = &'n str>) -> Error {
    Error::not_found(format!("there is no {what} `{name}`; there is {}", names.collect::<Vec<_>>().join(", ")))
}

/// The text of the file, without the mark that some editors begin one with.
pub fn read(file: &Path) -> Result<String, Failure> {
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|e| {
        let hint = "name another with --config, or try `seam demo`";
        Failure::Unreadable(Error::not_found(format!("the configuration {name} cannot be read; {hint}")).because(e))
    })?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let error = Error::invalid(format!("the configuration {name} is no UTF-8 text"));
        Failure::Unreadable(error.because(e.utf8_error()))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
