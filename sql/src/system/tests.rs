//! What clients ask of the catalogs, in their words, and what they are shown.
use std::sync::Arc;

use seam_shared::access::Caller;
use seam_shared::config;
use sqlparser::ast::Statement;

use super::*;
use crate::literal::text;
use crate::parse;
use crate::session::Session;

const CONFIG: &str = "
version: 1
sources: { s: { fields: { kind: string, price: decimal(2) } } }
views:
  sales: { from: s, dimensions: [kind], measures: { price: sum(price) } }
  all: { from: s, measures: { events: count() } }
";

fn asked(query: &str, parameters: &[Expr]) -> Option<Result<Frame, SqlError>> {
    let config = config::load(CONFIG, "test.yaml").unwrap_or_else(|report| panic!("{report}"));
    let catalog = Catalog::new(Arc::new(config), &Caller::trusted());
    let Some(Statement::Query(query)) = parse::statements(query).expect("valid").pop() else { panic!("no query") };
    answer(&query, parameters, &catalog, &Session::default().facts("ann", "shop"))
}

fn frame_of(query: &str, parameters: &[Expr]) -> Frame {
    let answer = asked(query, parameters).unwrap_or_else(|| panic!("not about the catalog: {query}"));
    answer.unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// The rows as psql shows them.
fn rows(query: &str, parameters: &[Expr]) -> Vec<String> {
    let frame = frame_of(query, parameters);
    let cell = |column: &Column, row: usize| column.cells.text(row).unwrap_or_default();
    (0..frame.rows()).map(|row| frame.0.iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|")).collect()
}

const NOTHING: [&str; 0] = [];

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
    assert_eq!(rows(roles, &[]), ["ann|f|t|t|-1||{}"]);
    let functions = "SELECT n.nspname as \"Schema\", p.proname as \"Name\" FROM pg_catalog.pg_proc p
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname <> 'pg_catalog'";
    assert_eq!(rows(functions, &[]), NOTHING);
    let table = "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n
        ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) '^(sales)$' COLLATE pg_catalog.default
        AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3;";
    assert_eq!(rows(table, &[]), ["16384|public|sales"]);
    let columns = "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
        (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d WHERE d.adrelid = a.attrelid),
        a.attnotnull, a.attidentity, a.attstorage, pg_catalog.col_description(a.attrelid, a.attnum)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = '16384' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;";
    let shown = rows(columns, &[]);
    assert_eq!((shown.len(), shown[3].as_str()), (4, "price|numeric(38,2)||f||p|"));
}

#[test]
fn drivers_learn_tables_columns_and_types() {
    // The PostgreSQL driver for Java.
    let tables = "SELECT current_database() AS \"TABLE_CAT\", n.nspname AS \"TABLE_SCHEM\", c.relname AS \"TABLE_NAME\",
        CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema' WHEN true THEN 'SYSTEM TABLE' WHEN false THEN
        CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE NULL END ELSE NULL END AS \"TABLE_TYPE\", d.description AS \"REMARKS\"
        FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c
        LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0 and d.classoid = 'pg_class'::regclass)
        WHERE c.relnamespace = n.oid AND n.nspname LIKE 'public' AND c.relname LIKE 's%' AND (false OR (c.relkind = 'r'))
        ORDER BY \"TABLE_TYPE\",\"TABLE_SCHEM\",\"TABLE_NAME\"";
    assert_eq!(rows(tables, &[]), ["shop|public|sales|TABLE|"]);
    let columns = "SELECT * FROM (SELECT n.nspname,c.relname,a.attname,a.atttypid,a.attnotnull OR (t.typtype = 'd' AND t.typnotnull)
        AS attnotnull,a.atttypmod,row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum
        FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid)
        JOIN pg_catalog.pg_attribute a ON (a.attrelid=c.oid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid)
        LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid=def.adrelid AND a.attnum = def.adnum)
        WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped AND c.relname LIKE 'sal\\_s') c
        WHERE true AND attname LIKE 'p%' ORDER BY nspname,c.relname,attnum";
    assert_eq!(rows(columns, &[]), NOTHING, "an escaped _ is no wildcard");
    let modifier = (38 << 16 | 2) + 4;
    let columns = columns.replace("sal\\_s", "sal_s");
    let price = format!("public|sales|price|1700|f|{modifier}|4");
    assert_eq!(rows(&columns, &[]), ["public|sales|pane_start|1184|f|-1|2".to_owned(), price]);
    // Clients prepare for the types that a description names, however many rows there will be.
    let kinds = |query: &str| frame_of(query, &[]).0.iter().map(|column| column.cells.kind()).collect::<Vec<_>>();
    let none = columns.replace("'p%'", "'nothing'");
    assert_eq!((kinds(&columns), rows(&none, &[]).len()), (kinds(&none), 0));
    assert_eq!(kinds(&none)[3..], [Type::Int, Type::Bool, Type::Int, Type::Int]);
    let lists = "SELECT t.typname, e.typname FROM pg_type t JOIN pg_type e ON e.oid = t.typelem WHERE t.typelem <> 0 AND t.oid = $1";
    assert_eq!(rows(lists, &[crate::literal::number(1009)]), ["_text|text"]);
    assert_eq!(rows("SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_index_keys'", &[]), ["32"]);
    let words =
        "select string_agg(word, ',') from pg_catalog.pg_get_keywords() where word <> ALL ('{limit,offset}'::text[])";
    assert_eq!(rows(words, &[]), ["analyse,analyze,ilike,returning"]);
}

#[test]
fn libraries_find_tables_by_name() {
    let names = "SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace
        ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p'])
        AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid) AND pg_catalog.pg_namespace.nspname != 'pg_catalog' ORDER BY 1";
    assert_eq!(rows(names, &[]), ["all", "sales"]);
    assert_eq!(rows(&names.replace("'r', 'p'", "'v'"), &[]), NOTHING);
    let one = names.replace("ORDER BY 1", "AND pg_catalog.pg_class.relname = $1");
    assert_eq!(rows(&one, &[text("sales")]), ["sales"]);
    assert_eq!(rows(&one, &[text("nothing")]), NOTHING);
    let hstore =
        "SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore'";
    assert_eq!(rows(hstore, &[]), NOTHING);
    let class = "SELECT 'sales'::regclass::oid, c.oid::regclass FROM pg_class c WHERE c.oid = 'public.sales'::regclass";
    assert_eq!(rows(class, &[]), ["16384|sales"]);
    let counts = "WITH n AS (SELECT attrelid, count(*) AS columns FROM pg_attribute GROUP BY attrelid)
        SELECT c.relname, n.columns FROM n JOIN pg_class c ON c.oid = n.attrelid WHERE EXISTS (SELECT 1 FROM pg_namespace s
        WHERE s.oid = c.relnamespace AND s.nspname IN (SELECT schema_name FROM information_schema.schemata)) ORDER BY 2 DESC, 1 LIMIT 1";
    assert_eq!(rows(counts, &[]), ["sales|4"]);
    let of_information = "SELECT column_name, data_type, numeric_scale FROM information_schema.columns
        WHERE table_name = 'sales' AND table_schema = ANY (current_schemas(false)) AND ordinal_position > 3";
    assert_eq!(rows(of_information, &[]), ["price|numeric|2"]);
}

#[test]
fn grafanas_query_builder_is_answered() {
    let tables = "SELECT quote_ident(table_name) as \"table\" FROM information_schema.tables
        WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog') AND table_type = 'BASE TABLE' ORDER BY 1";
    assert_eq!(rows(tables, &[]), ["\"all\"", "sales"]);
    let columns = "SELECT quote_ident(column_name) AS \"column\", data_type AS \"type\" FROM information_schema.columns WHERE
        CASE WHEN array_length(parse_ident('public.sales'),1) = 2 THEN quote_ident(table_schema) = (parse_ident('public.sales'))[1]
        AND quote_ident(table_name) = (parse_ident('public.sales'))[2] ELSE quote_ident(table_name) = 'public.sales' END";
    assert_eq!(rows(columns, &[])[3], "price|numeric");
    let paths = "SELECT CASE WHEN trim(s[i]) = '\"$user\"' THEN user ELSE trim(s[i]) END FROM generate_series(array_lower(string_to_array(
        current_setting('search_path'),','),1), array_upper(string_to_array(current_setting('search_path'),','),1)) as i,
        string_to_array(current_setting('search_path'),',') s";
    let found = tables.replace("NOT IN ('information_schema', 'pg_catalog')", &format!("IN ({paths})"));
    assert_eq!(rows(&found, &[]), ["\"all\"", "sales"]);
    assert_eq!(rows("SELECT current_setting('server_version_num')::int/100 as version", &[]), ["1500"]);
}

#[test]
fn what_is_about_views_is_left_to_the_engine() {
    for query in
        ["SELECT kind FROM sales", "SELECT s.kind FROM sales s JOIN pg_type t ON t.typname = s.kind", "SELECT 1"]
    {
        assert!(asked(query, &[]).is_none(), "{query}");
    }
    assert!(asked("SELECT now(), current_user", &[]).is_none());
    let endless = "SELECT 1 FROM pg_type a, pg_type b, pg_type c, pg_type d, pg_type e";
    let error = asked(endless, &[]).expect("a question").expect_err("too much");
    assert_eq!(error.code, crate::error::state::TOO_MUCH);
}
