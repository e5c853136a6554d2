//! What psql and libraries ask of the catalog, in their words, and what they are shown.
use std::sync::Arc;

use seam_shared::config;
use sqlparser::ast::Statement;

use super::*;
use crate::literal::text;
use crate::parse;

const CONFIG: &str = "
version: 1
sources: { s: { fields: { kind: string, price: decimal(2) } } }
views:
  sales: { from: s, dimensions: [kind], measures: { price: sum(price) } }
  all: { from: s, measures: { events: count() } }
";

fn asked(query: &str, parameters: &[Expr]) -> Option<Frame> {
    let config = config::load(CONFIG, "test.yaml").unwrap_or_else(|report| panic!("{report}"));
    let catalog = Catalog::new(Arc::new(config), &seam_shared::access::Caller::trusted());
    let Some(Statement::Query(query)) = parse::statements(query).expect("valid").pop() else { panic!("no query") };
    picture(&query, parameters, &catalog, Asker { user: "ann", database: "shop" })
}

/// The rows as psql shows them.
fn rows(query: &str, parameters: &[Expr]) -> Vec<String> {
    let frame = asked(query, parameters).unwrap_or_else(|| panic!("not known: {query}"));
    let cell = |column: &Column, row: usize| match &column.cells {
        Cells::Text(cells) => cells[row].clone().unwrap_or_default(),
        Cells::Int(cells) => cells[row].map_or(String::new(), |cell| cell.to_string()),
        Cells::Bool(cells) => cells[row].map_or(String::new(), |cell| cell.to_string()),
        other => panic!("{other:?}"),
    };
    (0..frame.rows()).map(|row| frame.0.iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|")).collect()
}

#[test]
fn psqls_commands_show_what_there_is() {
    let databases = "SELECT d.datname as \"Name\", pg_catalog.pg_get_userbyid(d.datdba) as \"Owner\",
        pg_catalog.pg_encoding_to_char(d.encoding) as \"Encoding\", d.datcollate as \"Collate\", d.daticulocale as \"ICU Locale\",
        CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' END AS \"Locale Provider\",
        pg_catalog.array_to_string(d.datacl, E'\\n') AS \"Access privileges\" FROM pg_catalog.pg_database d ORDER BY 1;";
    assert_eq!(rows(databases, &[]), ["shop|seam|UTF8|C||libc|"]);
    let roles = "SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcanlogin, r.rolconnlimit, r.rolvaliduntil,
        ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid)
        WHERE m.member = r.oid) as memberof FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1;";
    assert_eq!(rows(roles, &[]), ["ann|false|true|true|-1||{}"]);
    let functions = "SELECT n.nspname as \"Schema\", p.proname as \"Name\" FROM pg_catalog.pg_proc p
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname <> 'pg_catalog'";
    assert_eq!(rows(functions, &[]), Vec::<String>::new());
    let columns = "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
        (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid),
        a.attnotnull, a.attidentity, a.attstorage, pg_catalog.col_description(a.attrelid, a.attnum)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = '16384' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;";
    let shown = rows(columns, &[]);
    assert_eq!(shown.len(), 4, "{shown:?}");
    assert_eq!(shown[3], "price|numeric(38,2)||false||p|");
    let indexes = "SELECT c2.relname FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i
        WHERE c.oid = '16384' AND c.oid = i.indrelid AND i.indexrelid = c2.oid";
    assert_eq!(rows(indexes, &[]), Vec::<String>::new());
}

#[test]
fn libraries_find_tables_and_no_types_of_users() {
    let names = "SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace
        ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p'])
        AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != 'pg_catalog'";
    assert_eq!(rows(names, &[]), ["all", "sales"]);
    assert_eq!(rows(&names.replace("'r', 'p'", "'v'"), &[]), Vec::<String>::new());
    let one = format!("{names} AND pg_catalog.pg_class.relname = $1");
    assert_eq!(rows(&one, &[text("sales")]), ["sales"]);
    assert_eq!(rows(&one, &[text("nothing")]), Vec::<String>::new());
    let columns = "SELECT * FROM (SELECT n.nspname, c.relname, a.attname, a.attnum FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid) JOIN pg_catalog.pg_attribute a ON (a.attrelid = c.oid)
        JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid) WHERE c.relkind in ('r','p') AND c.relname LIKE 'sal_s') c WHERE true";
    assert_eq!(rows(columns, &[])[2], "public|sales|kind|3");
    assert_eq!(rows(&columns.replace("sal_s", r"sal\_s"), &[]), Vec::<String>::new());
    let hstore =
        "SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore'";
    assert_eq!(rows(hstore, &[]), Vec::<String>::new());
}

#[test]
fn what_the_engine_can_do_is_left_to_it() {
    assert!(asked("SELECT relname FROM pg_catalog.pg_class WHERE relname LIKE 's%'", &[]).is_none());
    assert!(asked("SELECT kind FROM sales", &[]).is_none());
    assert!(asked("SELECT s.kind FROM sales s JOIN pg_type t ON t.typname = s.kind", &[]).is_none());
    assert!(asked("SELECT 1", &[]).is_none());
}
