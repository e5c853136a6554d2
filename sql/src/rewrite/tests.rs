//! Queries of PostgreSQL in the engine's words, and what they read.
use super::*;
use crate::catalog::Origin;
use crate::parse;
use crate::pushdown::{Read, reads};
use crate::session::Session;
use seam_shared::config;
use seam_shared::view::value::Value as Cell;
use sqlparser::ast::Statement;
use std::sync::Arc;

const CONFIG: &str = r#"
version: 1
sources:
  flights:
    map: { time: $.time }
    fields: { carrier: string, year: int, fare: decimal(2), delay: float }
views:
  by_carrier:
    from: flights
    dimensions: [carrier, year]
    pane: 1m
    measures: { flights: count(), delay: stats(delay), fare: stats(fare) }
  totals: { from: flights, pane: 5m, measures: { flights: count() } }
"#;
const HOUR: i64 = 3_600_000_000;
const NEW_YEAR: i64 = 1_767_225_600_000_000;

fn catalog() -> Catalog {
    let config = config::load(CONFIG, "test.yaml").unwrap_or_else(|report| panic!("{report}"));
    Catalog::new(Arc::new(config), &seam_shared::access::Caller::trusted())
}

fn rewritten(text: &str) -> Result<(String, Vec<Read>), SqlError> {
    let catalog = catalog();
    let Some(Statement::Query(mut query)) = parse::statements(text)?.pop() else { panic!("{text} is no query") };
    let facts = Session::default().facts("me", "seam");
    let out = rewrite(&mut query, &catalog, &facts, &[])?;
    let table = |relation: &Relation| match relation {
        Relation::Table(table) => Some(*table),
        Relation::Meta(_) => None,
    };
    let tables: Vec<usize> = out.relations.iter().filter_map(table).collect();
    let found = reads(&query, &catalog, &tables);
    Ok((query.to_string(), found))
}

fn read(condition: &str) -> Read {
    let (_, mut reads) = rewritten(&format!("SELECT flights FROM by_carrier WHERE {condition}")).expect(condition);
    reads.remove(0)
}

#[test]
fn views_are_tables_with_a_column_a_measure() {
    let catalog = catalog();
    let names: Vec<&str> = catalog.tables[0].columns.iter().map(|column| column.name.as_str()).collect();
    let expected = "time pane_start carrier year flights delay_count delay_sum delay_avg delay_min delay_max \
                    fare_count fare_sum fare_avg fare_min fare_max";
    assert_eq!(names.join(" "), expected);
    let kind = |name: &str| catalog.tables[0].columns[catalog.tables[0].column(name).expect("a column")].kind;
    assert_eq!((kind("flights"), kind("fare_sum"), kind("delay_avg")), (Type::Int, Type::Decimal(2), Type::Float));
    assert_eq!(catalog.tables[0].columns[0].origin, Origin::Time);
}

#[test]
fn the_time_in_where_limits_what_is_read() {
    let range = |condition: &str| {
        let read = read(condition);
        (read.after - NEW_YEAR, read.until - NEW_YEAR)
    };
    let between = "time BETWEEN '2026-01-01T00:00:00Z' AND '2026-01-01T01:00:00.000000000Z'";
    assert_eq!(range(between), (-1, HOUR));
    assert_eq!(range("time > '2026-01-01' AND time < '2026-01-01 01:00:00+00'"), (0, HOUR - 1));
    assert_eq!(range("'2026-01-01' <= time AND (TIMESTAMP '2026-01-01 01:00:00' >= by_carrier.time)"), (-1, HOUR));
    assert_eq!(
        range("pane_start >= '2026-01-01' AND pane_start < '2026-01-01T01:00:00Z'"),
        (60_000_000 - 1, HOUR + 60_000_000 - 1)
    );
    let epoch = "extract(epoch from time) >= 1767225600 AND extract(epoch from time) <= 1767229200";
    assert_eq!(range(epoch), (-1_000_001, HOUR + 1_000_000));
    let sum = "time >= timestamptz '2026-01-01 01:00:00+01' + interval '1 hour' AND time <= '2026-02-01'::timestamptz - interval '1 month 1 h'";
    assert_eq!(range(sum), (HOUR - 1, -HOUR));
    assert!(read("time > now() - interval '6 hours'").is_bounded());
    for unbounded in [
        "time > '2026-01-01' OR flights > 1",
        "NOT time > '2026-01-01'",
        "time NOT BETWEEN '2026-01-01' AND '2026-01-02'",
    ] {
        assert!(!read(unbounded).is_bounded(), "{unbounded}");
    }
}

#[test]
fn equalities_of_dimensions_limit_it_too() {
    assert_eq!(
        read("carrier = 'UA' AND year = 2026").slices,
        [(0, vec![Cell::text("UA")]), (1, vec![Cell::Int(2026)])]
    );
    assert_eq!(read("carrier IN ('UA', 'AA') AND 'UA' = carrier").slices, [(0, vec![Cell::text("UA")])]);
    assert_eq!(read("carrier = ANY('{UA,AA}')").slices, [(0, vec![Cell::text("UA"), Cell::text("AA")])]);
    assert_eq!(read("carrier IS NULL").slices, [(0, vec![Cell::Null])]);
    assert_eq!(read("year = '2026'").slices, [(1, vec![Cell::Int(2026)])]);
    for all in ["carrier = 'UA' OR year = 1", "carrier <> 'UA'", "carrier = upper('ua')", "NOT carrier = 'UA'"] {
        assert!(read(all).slices.is_empty(), "{all}");
    }
}

#[test]
fn what_stands_twice_in_a_query_is_read_for_both() {
    let (_, reads) = rewritten(
        "SELECT a.flights FROM by_carrier a JOIN by_carrier b ON a.time = b.time AND a.carrier = b.carrier \
         WHERE a.time >= '2026-01-01' AND b.time >= '2026-01-01 01:00' AND b.time <= '2026-01-01 02:00' \
         AND a.carrier = 'UA' AND b.carrier IN ('AA', 'UA')",
    )
    .expect("valid");
    assert_eq!((reads.len(), reads[0].after), (1, NEW_YEAR - 1));
    assert!(reads[0].until > NEW_YEAR + 1_000 * HOUR);
    assert_eq!(reads[0].slices, [(0, vec![Cell::text("AA"), Cell::text("UA")])]);
    let (_, reads) = rewritten(
        "WITH x AS (SELECT time, flights FROM by_carrier) SELECT * FROM x, totals t WHERE x.time = t.time AND x.time > '2026-01-01'",
    )
    .expect("valid");
    assert_eq!((reads.len(), reads[0].is_bounded(), reads[1].is_bounded()), (2, false, false));
}

#[test]
fn only_the_columns_that_are_named_are_read() {
    let columns = |text: &str| rewritten(text).expect("valid").1.remove(0).columns;
    assert_eq!(columns("SELECT sum(flights) FROM by_carrier WHERE carrier = 'UA'"), [2, 4]);
    assert_eq!(columns("SELECT count(*) FROM by_carrier").len(), 0);
    assert_eq!(columns("SELECT * FROM by_carrier").len(), 15);
}

#[test]
fn grafanas_macros_and_postgresqls_functions_become_the_engines() {
    let text = |text: &str| rewritten(text).unwrap_or_else(|error| panic!("{text}: {error}")).0;
    let group = "SELECT floor(extract(epoch from time)/60)*60 AS \"time\", sum(flights) FROM by_carrier GROUP BY 1";
    assert!(
        text(group).contains("FLOOR((CAST(\"time\" AS BIGINT) / 1000000.0) / 60) * 60 AS \"time\""),
        "{}",
        text(group)
    );
    let bucket = text("SELECT time_bucket('60.000s', time) t FROM totals");
    assert!(bucket.contains("// 60000000) * 60000000"), "{bucket}");
    assert!(text("SELECT version(), current_database()").contains("'seam'"));
    let ordered = text("SELECT carrier, sum(flights) FROM by_carrier GROUP BY carrier ORDER BY sum(flights) DESC");
    assert!(ordered.ends_with("ORDER BY \"sum\" DESC"), "{ordered}");
    let twice = text("SELECT sum(flights), sum(delay_sum) FROM by_carrier");
    assert!(twice.contains("AS \"sum\"") && twice.contains("AS \"sum:2\""), "{twice}");
    let percentile = text("SELECT percentile_cont(0.95) WITHIN GROUP (ORDER BY delay_max) FROM by_carrier");
    assert!(percentile.contains("QUANTILE_CONT(\"delay_max\", 0.95)"), "{percentile}");
    assert!(text("SELECT flights FROM public.by_carrier b WHERE b.flights > '5'").contains("\"b\".\"flights\" > 5"));
}

#[test]
fn quotients_of_decimals_keep_their_digits() {
    let text = |text: &str| rewritten(text).unwrap_or_else(|error| panic!("{text}: {error}")).0;
    let mean = text("SELECT sum(fare_sum) / sum(fare_count) FROM by_carrier");
    assert!(mean.contains("CAST(sum(\"fare_sum\") AS DOUBLE PRECISION) / sum(\"fare_count\")"), "{mean}");
    let plain = text("SELECT delay_sum / delay_count FROM by_carrier");
    assert!(plain.contains("\"delay_sum\" / \"delay_count\""), "{plain}");
}

#[test]
fn groups_of_decimals_are_groups_of_doubles() {
    let text = |text: &str| rewritten(text).unwrap_or_else(|error| panic!("{text}: {error}")).0;
    let float = "CAST(\"fare_sum\" AS DOUBLE PRECISION)";
    let named = text("SELECT fare_sum, count(*) FROM by_carrier GROUP BY fare_sum");
    assert!(
        named.contains(&format!("{float} AS \"fare_sum\"")) && named.ends_with(&format!("GROUP BY {float}")),
        "{named}"
    );
    let placed = text("SELECT fare_sum AS f, count(*) FROM by_carrier GROUP BY 1");
    assert!(placed.contains(&format!("{float} AS \"f\"")), "{placed}");
    assert!(text("SELECT DISTINCT fare_sum FROM by_carrier").contains(float));
    assert!(!text("SELECT carrier, max(fare_sum) FROM by_carrier GROUP BY carrier").contains(float));
}

#[test]
fn lists_are_taken_apart_as_postgresql_does() {
    let text = |text: &str| rewritten(text).unwrap_or_else(|error| panic!("{text}: {error}")).0;
    let all = [
        r#"carrier = ANY ('{"x,y",UA,NULL}')"#,
        r#"carrier = ANY ('{"x,y",UA}'::text[])"#,
        "carrier = ANY (ARRAY['x,y', 'UA'])",
        "carrier = ANY (ARRAY['x,y', 'UA']::text[])",
    ];
    for condition in all {
        let found = text(&format!("SELECT flights FROM by_carrier WHERE {condition}"));
        assert!(found.ends_with("\"carrier\" IN ('x,y', 'UA')"), "{found}");
    }
    assert!(text("SELECT flights FROM by_carrier WHERE year = ANY ('{2026,2027}')").ends_with("IN (2026, 2027)"));
}

#[test]
fn what_cannot_be_is_refused_with_its_code() {
    let code = |text: &str| rewritten(text).expect_err(text).code;
    let error = rewritten("SELECT 1 FROM by_carier").expect_err("no table");
    assert_eq!((error.code, error.hint.as_deref()), (state::NO_TABLE, Some("Did you mean \"by_carrier\"?")));
    assert_eq!(code("SELECT * FROM other.by_carrier"), state::NO_TABLE);
    assert_eq!(code("SELECT * FROM generate_series(1, 10)"), state::NOT_SUPPORTED);
    assert_eq!(code("SELECT flights FROM by_carrier WHERE time > 'yesterday'"), state::NO_TIME);
    assert_eq!(code("SELECT flights FROM by_carrier WHERE flights > 'many'"), state::BAD_VALUE);
    assert_eq!(code("SELECT time AT TIME ZONE 'Europe/Berlin' FROM by_carrier"), state::NOT_SUPPORTED);
    assert_eq!(code("SELECT date_trunc('fortnight', time) FROM by_carrier"), "22023");
    assert_eq!(code("SELECT current_setting('nothing')"), state::NO_SETTING);
    assert_eq!(code("SELECT * FROM by_carrier FOR UPDATE"), state::NOT_SUPPORTED);
}
