//! Tables about the tables, and the questions of well-known clients about them, which are recognised rather than executed.
mod pictures;
mod probes;

use seam_shared::config::MetricKind;
use seam_shared::event::batch::Excluded;
use seam_shared::view::definition::{DimensionDefinition, Field};

use crate::catalog::Catalog;
use crate::frame::{Cells, Column, Frame};
use crate::session::Stamp;

pub use pictures::{Asker, picture};
pub use probes::recognise;

/// A table about the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meta {
    /// The metrics of the HTTP API.
    Metrics,
    /// What the session's last statement was answered from.
    Stamp,
    /// information_schema.tables
    Tables,
    /// information_schema.columns
    Columns,
    /// information_schema.schemata
    Schemata,
    /// pg_catalog.pg_tables
    PgTables,
    /// pg_catalog.pg_namespace
    PgNamespace,
    /// pg_catalog.pg_class
    PgClass,
    /// pg_catalog.pg_database
    PgDatabase,
    /// pg_catalog.pg_extension
    PgExtension,
}

const PG: &str = "pg_catalog";
const INFORMATION: &str = "information_schema";
/// Schema, name, and the name that the engine sees.
const NAMES: [(Meta, &str, &str, &str); 11] = [
    (Meta::Metrics, "public", "seam_metrics", "seam_metrics"),
    (Meta::Metrics, "public", "metrics", "seam_metrics"),
    (Meta::Stamp, "public", "seam_stamp", "seam_stamp"),
    (Meta::Tables, INFORMATION, "tables", "information_schema tables"),
    (Meta::Columns, INFORMATION, "columns", "information_schema columns"),
    (Meta::Schemata, INFORMATION, "schemata", "information_schema schemata"),
    (Meta::PgTables, PG, "pg_tables", "pg_tables"),
    (Meta::PgNamespace, PG, "pg_namespace", "pg_namespace"),
    (Meta::PgClass, PG, "pg_class", "pg_class"),
    (Meta::PgDatabase, PG, "pg_database", "pg_database"),
    (Meta::PgExtension, PG, "pg_extension", "pg_extension"),
];
/// The object id of the first table.
pub const FIRST_OID: usize = 16_384;
/// The object id of the schema `public`.
const PUBLIC_OID: i64 = 2_200;

impl Meta {
    /// The table of that name. Those of `pg_catalog` need no schema.
    pub fn find(schema: Option<&str>, name: &str) -> Option<Meta> {
        let is_it = |(_, home, known, _): &&(Meta, &str, &str, &str)| {
            *known == name && schema.map_or(*home != INFORMATION, |schema| schema == *home)
        };
        NAMES.iter().find(is_it).map(|(meta, ..)| *meta)
    }
    /// What the engine calls it.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(meta, ..)| *meta == self).map_or("", |(.., internal)| internal)
    }
    /// Its rows.
    pub fn frame(self, catalog: &Catalog, database: &str, stamps: &[Stamp]) -> Frame {
        match self {
            Meta::Metrics => metrics(catalog),
            Meta::Stamp => stamp(stamps),
            Meta::Tables => tables(catalog, database),
            Meta::Columns => columns(catalog, database),
            Meta::Schemata => {
                let row = |name: &str| [Some(database.to_owned()), Some(name.to_owned())];
                Frame::of_text(["catalog_name", "schema_name"], &["public", INFORMATION, PG].map(row))
            }
            Meta::PgTables => {
                let rows: Vec<_> = table_names(catalog)
                    .map(|name| ["public", name, "seam"].map(|text| Some(text.to_owned())))
                    .collect();
                Frame::of_text(["schemaname", "tablename", "tableowner"], &rows)
            }
            Meta::PgNamespace => Frame(vec![
                ints("oid", [PUBLIC_OID, 11, 13_000]),
                texts("nspname", ["public", PG, INFORMATION].map(str::to_owned)),
            ]),
            Meta::PgClass => {
                let count = catalog.tables.len();
                Frame(vec![
                    ints("oid", (0..count).map(|table| (FIRST_OID + table) as i64)),
                    texts("relname", table_names(catalog).map(str::to_owned)),
                    ints("relnamespace", std::iter::repeat_n(PUBLIC_OID, count)),
                    texts("relkind", std::iter::repeat_n("r".to_owned(), count)),
                ])
            }
            Meta::PgDatabase => {
                let flag = |name: &str, is: bool| Column { name: name.to_owned(), cells: Cells::Bool(vec![Some(is)]) };
                let name = texts("datname", [database.to_owned()]);
                Frame(vec![ints("oid", [5]), name, flag("datallowconn", true), flag("datistemplate", false)])
            }
            Meta::PgExtension => Frame(vec![texts("extname", []), texts("extversion", [])]),
        }
    }
}

fn texts(name: &str, cells: impl IntoIterator<Item = String>) -> Column {
    Column { name: name.to_owned(), cells: Cells::Text(cells.into_iter().map(Some).collect()) }
}

fn ints(name: &str, cells: impl IntoIterator<Item = i64>) -> Column {
    Column { name: name.to_owned(), cells: Cells::Int(cells.into_iter().map(Some).collect()) }
}

fn table_names(catalog: &Catalog) -> impl Iterator<Item = &str> {
    catalog.tables.iter().map(|table| table.name.as_str())
}

fn tables(catalog: &Catalog, database: &str) -> Frame {
    let row = |name: &str| [database, "public", name, "BASE TABLE", "NO"].map(|text| Some(text.to_owned()));
    let names = ["table_catalog", "table_schema", "table_name", "table_type", "is_insertable_into"];
    Frame::of_text(names, &table_names(catalog).map(row).collect::<Vec<_>>())
}

fn columns(catalog: &Catalog, database: &str) -> Frame {
    let (mut rows, mut positions) = (Vec::new(), Vec::new());
    for table in &catalog.tables {
        for (place, column) in (1..).zip(&table.columns) {
            let (kind, wire) = (column.kind.sql(), column.kind.wire());
            let data_type = kind.split('(').next().unwrap_or_default();
            let row = [database, "public", &table.name, &column.name, data_type, wire.name(), "YES"];
            rows.push(row.map(|text| Some(text.to_owned())));
            positions.push(place);
        }
    }
    let names = ["table_catalog", "table_schema", "table_name", "column_name", "data_type", "udt_name", "is_nullable"];
    let mut frame = Frame::of_text(names, &rows);
    frame.0.push(ints("ordinal_position", positions));
    frame
}

fn metrics(catalog: &Catalog) -> Frame {
    let row = |metric: &seam_shared::config::Metric| {
        let (kind, view, measure, filter) = match &metric.kind {
            MetricKind::Measure(of) => {
                let measure = of.definition().name.clone();
                let field = |d: &DimensionDefinition| Field::new(&d.name, vec![d.name.clone()], d.field_type);
                let fields: Vec<Field> = of.view.dimensions.iter().map(field).collect();
                (
                    "measure",
                    Some(of.view.name.clone()),
                    Some(measure),
                    of.filter.as_ref().map(|filter| filter.display(&fields).to_string()),
                )
            }
            MetricKind::Ratio(..) => ("ratio", None, None, None),
        };
        let (help, unit) = (metric.help.clone(), metric.unit.clone());
        [Some(metric.name.clone()), Some(kind.to_owned()), view, measure, filter, help, unit]
    };
    let shown = catalog.config.metrics.iter().filter(|metric| catalog.shows(&metric.kind));
    let names = ["name", "kind", "view", "measure", "condition", "help", "unit"];
    Frame::of_text(names, &shown.map(row).collect::<Vec<_>>())
}

fn stamp(stamps: &[Stamp]) -> Frame {
    let row = |stamp: &Stamp| {
        let Stamp { table, batch, speed, coverage, lag, .. } = stamp.clone();
        [Some(table), batch, Some(speed), Some(coverage), lag]
    };
    let rows: Vec<_> = stamps.iter().map(row).collect();
    let mut frame = Frame::of_text(["table", "batch", "speed", "coverage", "lag"], &rows);
    let generations = stamps.iter().map(|stamp| stamp.generation.and_then(|number| i64::try_from(number).ok()));
    frame.0.insert(1, Column { name: "generation".to_owned(), cells: Cells::Int(generations.collect()) });
    let complete = stamps.iter().map(|stamp| Some(stamp.complete)).collect();
    frame.0.push(Column { name: "complete".to_owned(), cells: Cells::Bool(complete) });
    frame.0.push(ints("rows", stamps.iter().map(|stamp| stamp.rows as i64)));
    let excluded = |of: fn(&Excluded) -> u64| {
        let counts = stamps.iter().map(|stamp| i64::try_from(of(stamp.excluded.as_ref()?)).ok());
        Cells::Int(counts.collect())
    };
    let cells = [("duplicates", excluded(|of| of.duplicates)), ("invalid", excluded(|of| of.invalid))];
    frame.0.extend(cells.map(|(name, cells)| Column { name: name.to_owned(), cells }));
    frame
}
