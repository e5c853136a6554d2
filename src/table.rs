//! Rows of text under names: as columns for people, as CSV for programs.
use seam_shared::{Error, Result};

/// Columns that are as wide as they must be.
pub fn table(names: &[String], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return "no events in that window".to_owned();
    }
    // A key may hold line ends, and what a terminal would take for commands.
    let shown = |cell: &String| {
        cell.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let widths: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(i, name)| rows.iter().map(|r| r[i].chars().count()).chain([name.len()]).max().unwrap_or(0))
        .collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = vec![line(names)];
    out.extend(rows.iter().map(|r| line(r)));
    out.join("\n")
}

/// Comma-separated, a line of names first.
pub fn csv(names: &[String], rows: &[Vec<String>]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in std::iter::once(names).chain(rows.iter().map(Vec::as_slice)) {
        writer.write_record(row).map_err(|e| Error::internal("the answer does not fit into CSV").because(e))?;
    }
    let bytes = writer.into_inner().map_err(|_| Error::internal("the CSV buffer could not be flushed"))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
