//! What psql and Grafana ask of the catalog, by their texts.
use super::FIRST_OID;
use crate::catalog::{Catalog, Table};
use crate::frame::{Cells, Column, Frame};

/// The answer to a question about the catalog that is known by its text; `None` for any other.
pub fn recognise(text: &str, catalog: &Catalog) -> Option<Frame> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let folded = words.join(" ").to_ascii_lowercase();
    let folded = folded.trim_end_matches([';', ' ']);
    if folded == "select current_setting('server_version_num')::int/100 as version" {
        return Some(Frame(vec![Column { name: "version".to_owned(), cells: Cells::Int(vec![Some(1_500)]) }]));
    }
    if folded.contains("quote_ident(") && folded.contains("information_schema.") {
        return grafana(folded, catalog);
    }
    if folded.contains("from pg_catalog.pg_class c") || folded.contains("from pg_catalog.pg_attribute a") {
        return describe(folded, catalog);
    }
    (folded.starts_with("select n.nspname as \"name\"") && folded.contains("from pg_catalog.pg_namespace n"))
        .then(|| rows(["Name", "Owner"], [["public", "seam"]]))
}

fn rows<const N: usize>(names: [&str; N], rows: impl IntoIterator<Item = [impl Into<String>; N]>) -> Frame {
    let rows: Vec<[Option<String>; N]> = rows.into_iter().map(|row| row.map(|cell| Some(cell.into()))).collect();
    Frame::of_text(names, &rows)
}

/// The query builder of Grafana's PostgreSQL data source.
fn grafana(folded: &str, catalog: &Catalog) -> Option<Frame> {
    if folded.contains("as \"column\"") && folded.contains("from information_schema.columns") {
        let quoted = |before: &str| folded.split_once(before)?.1.split('\'').next();
        let name = quoted("parse_ident('").or_else(|| quoted("quote_ident(table_name) = '"))?;
        let name = name.rsplit('.').next()?.trim_matches('"');
        let columns = catalog.table(name).map_or(&[][..], |table| &catalog.tables[table].columns);
        let row = |column: &crate::catalog::ColumnDefinition| {
            let kind = column.kind.sql();
            [column.name.clone(), kind.split('(').next().unwrap_or_default().to_owned()]
        };
        return Some(rows(["column", "type"], columns.iter().map(row)));
    }
    if folded.contains("as \"table\"") && folded.contains("from information_schema.tables") {
        let other_schema = folded
            .split_once("where quote_ident(table_schema) = '")
            .is_some_and(|(_, rest)| !rest.starts_with("public'"));
        let mut names: Vec<[String; 1]> =
            catalog.tables.iter().filter(|_| !other_schema).map(|table| [table.name.clone()]).collect();
        names.sort();
        return Some(rows(["table"], names));
    }
    None
}

/// psql's `\d` and `\dt`, and how it finds the table of `\d table`.
fn describe(folded: &str, catalog: &Catalog) -> Option<Frame> {
    let matching = || {
        let pattern =
            folded.split_once("c.relname operator(pg_catalog.~) '^(").and_then(|(_, rest)| rest.split_once(")$"));
        let tables = catalog.tables.iter().enumerate();
        let mut tables: Vec<(usize, &Table)> =
            tables.filter(|(_, table)| pattern.is_none_or(|(pattern, _)| matches(pattern, &table.name))).collect();
        tables.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        tables
    };
    if folded.contains("pg_get_userbyid(c.relowner) as \"owner\" from") {
        let is_listed = folded.split_once("c.relkind in (").is_some_and(|(_, rest)| rest.starts_with("'r'"));
        let row = |(_, table): (usize, &Table)| {
            ["public".to_owned(), table.name.clone(), "table".to_owned(), "seam".to_owned()]
        };
        return Some(rows(["Schema", "Name", "Type", "Owner"], matching().into_iter().filter(|_| is_listed).map(row)));
    }
    if folded.starts_with("select c.oid, n.nspname, c.relname from") {
        let row = |(i, table): (usize, &Table)| [(FIRST_OID + i).to_string(), "public".to_owned(), table.name.clone()];
        return Some(rows(["oid", "nspname", "relname"], matching().into_iter().map(row)));
    }
    None
}

/// Whether a name matches one of psql's patterns: names, `.*` and `.`, parts separated by `|`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    fn from(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'.', b'*', rest @ ..] => (0..=name.len()).any(|skip| from(rest, &name[skip..])),
            [b'.', rest @ ..] => !name.is_empty() && from(rest, &name[1..]),
            [b'\\', letter, rest @ ..] | [letter, rest @ ..] => name.first() == Some(letter) && from(rest, &name[1..]),
        }
    }
    pattern.split('|').any(|part| from(part.as_bytes(), name.as_bytes()))
}
