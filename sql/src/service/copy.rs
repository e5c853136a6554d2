//! `COPY … TO STDOUT`, and so psql's `\\copy`: rows as lines of text or CSV.
use sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, Query, Statement};

use crate::error::{SqlError, state};
use crate::frame::Frame;
use crate::parse;

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Style {
    is_csv: bool,
    header: bool,
    delimiter: char,
    null: String,
    quote: char,
}

/// What the options say.
///
/// # Errors
/// What is not written here.
pub(super) fn style(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<Style, SqlError> {
    let (mut is_csv, mut header, mut delimiter, mut null, mut quote) = (false, false, None, None, '"');
    for option in options {
        match option {
            CopyOption::Format(format) if format.value == "csv" => is_csv = true,
            CopyOption::Format(format) if format.value == "text" => is_csv = false,
            CopyOption::Header(on) => header = *on,
            CopyOption::Delimiter(given) => delimiter = Some(*given),
            CopyOption::Null(given) => null = Some(given.clone()),
            CopyOption::Quote(given) => quote = *given,
            CopyOption::Encoding(_) => {}
            other => return Err(SqlError::unsupported(format!("COPY does not know {other}"))),
        }
    }
    for option in legacy {
        match option {
            CopyLegacyOption::Csv(of_csv) => {
                is_csv = true;
                for option in of_csv {
                    match option {
                        CopyLegacyCsvOption::Header => header = true,
                        CopyLegacyCsvOption::Quote(given) => quote = *given,
                        other => return Err(SqlError::unsupported(format!("COPY does not know {other}"))),
                    }
                }
            }
            CopyLegacyOption::Header => header = true,
            CopyLegacyOption::Delimiter(given) => delimiter = Some(*given),
            CopyLegacyOption::Null(given) => null = Some(given.clone()),
            other => return Err(SqlError::unsupported(format!("COPY does not know {other}"))),
        }
    }
    let delimiter = delimiter.unwrap_or(if is_csv { ',' } else { '\t' });
    let null = null.unwrap_or_else(|| if is_csv { String::new() } else { "\\N".to_owned() });
    Ok(Style { is_csv, header, delimiter, null, quote })
}

/// The query whose rows are copied.
///
/// # Errors
/// A table that does not exist is found out when it runs.
pub(super) fn query(source: &CopySource) -> Result<Query, SqlError> {
    let (table_name, columns) = match source {
        CopySource::Query(query) => return Ok((**query).clone()),
        CopySource::Table { table_name, columns } => (table_name, columns),
    };
    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let columns = if columns.is_empty() { "*".to_owned() } else { columns.join(", ") };
    match parse::statements(&format!("SELECT {columns} FROM {table_name}"))?.pop() {
        Some(Statement::Query(query)) => Ok(*query),
        _ => Err(SqlError::new(state::SYNTAX, format!("{table_name} is no table"))),
    }
}

/// The rows as lines.
pub(super) fn lines(frame: &Frame, style: &Style) -> Vec<String> {
    let line = |cells: Vec<Option<String>>| {
        let cells: Vec<String> = cells.into_iter().map(|cell| spelt(cell, style)).collect();
        cells.join(&style.delimiter.to_string()) + "\n"
    };
    let names = || frame.0.iter().map(|column| Some(column.name.clone())).collect();
    let row = |row: usize| frame.0.iter().map(|column| column.cells.text(row)).collect();
    style.header.then(names).into_iter().chain((0..frame.rows()).map(row)).map(line).collect()
}

fn spelt(cell: Option<String>, style: &Style) -> String {
    let Some(cell) = cell else { return style.null.clone() };
    if !style.is_csv {
        let mut out = String::with_capacity(cell.len());
        for letter in cell.chars() {
            match letter {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                letter if letter == style.delimiter => out.extend(['\\', letter]),
                letter => out.push(letter),
            }
        }
        return out;
    }
    let is_special = |letter| letter == style.delimiter || letter == style.quote || letter == '\n' || letter == '\r';
    if cell == style.null || cell == "\\." || cell.contains(is_special) {
        let quote = style.quote.to_string();
        return format!("{quote}{}{quote}", cell.replace(style.quote, &quote.repeat(2)));
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_as_postgresql_writes_them() {
        let row = |a: &str, b: Option<&str>| [Some(a.to_owned()), b.map(str::to_owned)];
        let frame = Frame::of_text(["a", "b"], &[row("x\ty\\", None), row("1,\"2\"", Some("")), row("", Some("\n"))]);
        let written = |options: &str| {
            let statement = parse::statements(&format!("COPY t TO STDOUT {options}")).expect("valid").pop();
            let Some(Statement::Copy { options, legacy_options, .. }) = statement else { panic!("{statement:?}") };
            lines(&frame, &style(&options, &legacy_options).expect("known")).concat()
        };
        assert_eq!(written(""), "x\\ty\\\\\t\\N\n1,\"2\"\t\n\t\\n\n");
        let csv = "a,b\nx\ty\\,\n\"1,\"\"2\"\"\",\"\"\n\"\",\"\n\"\n";
        assert_eq!(written("CSV HEADER"), csv);
        assert_eq!(written("WITH (FORMAT csv, HEADER true)"), csv);
        assert_eq!(written("(DELIMITER ';', NULL '-')"), "x\\ty\\\\;-\n1,\"2\";\n;\\n\n");
    }
}
