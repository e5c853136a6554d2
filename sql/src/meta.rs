//! Tables of Seam's own beside the views: the metrics, and what the last statement was answered from.
use seam_shared::config::MetricKind;
use seam_shared::event::batch::Excluded;
use seam_shared::view::definition::{DimensionDefinition, Field};

use crate::catalog::Catalog;
use crate::frame::{Cells, Column, Frame};
use crate::session::Stamp;

/// A table that is no view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meta {
    /// The metrics of the HTTP API.
    Metrics,
    /// What the session's last statement was answered from.
    Stamp,
}

/// What they are called, and the name that the engine sees.
const NAMES: [(Meta, &str, &str); 3] = [
    (Meta::Metrics, "seam_metrics", "seam_metrics"),
    (Meta::Metrics, "metrics", "seam_metrics"),
    (Meta::Stamp, "seam_stamp", "seam_stamp"),
];

impl Meta {
    /// The table of that name.
    pub fn find(schema: Option<&str>, name: &str) -> Option<Meta> {
        let found = NAMES.iter().find(|(_, known, _)| *known == name && schema.is_none_or(|schema| schema == "public"));
        found.map(|(meta, ..)| *meta)
    }
    /// What the engine calls it.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(meta, ..)| *meta == self).map_or("", |(.., internal)| internal)
    }
    /// Its rows.
    pub fn frame(self, catalog: &Catalog, stamps: &[Stamp]) -> Frame {
        match self {
            Meta::Metrics => metrics(catalog),
            Meta::Stamp => stamp(stamps),
        }
    }
}

fn ints(name: &str, cells: impl IntoIterator<Item = i64>) -> Column {
    Column { name: name.to_owned(), cells: Cells::Int(cells.into_iter().map(Some).collect()) }
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
