//! The tables that a caller may see: one a view, and their columns with types.
use std::sync::Arc;

use seam_serving::query::nearest;
use seam_shared::access::{Admission, Caller};
use seam_shared::config::{Config, MetricKind};
use seam_shared::view::aggregate::partial::Aggregate;
use seam_shared::view::aggregate::unit::Unit;
use seam_shared::view::definition::{Figure, Measure, StateKind, View};
use seam_shared::view::value::FieldType;

use crate::error::{SqlError, state};
use crate::frame::Type;

/// The end of a row's pane.
pub const TIME: &str = "time";
/// Its start.
pub const PANE_START: &str = "pane_start";

/// What a column of a view's table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The end of the pane.
    Time,
    /// Its start.
    PaneStart,
    /// A dimension of the view.
    Dimension(usize),
    /// A measure of the view.
    Measure(usize),
}

/// A column of a view's table.
#[derive(Debug, Clone)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// What it shows.
    pub origin: Origin,
}

/// A view as a table: one row a pane and key.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The view.
    pub view: Arc<View>,
    /// Which of its rows are shown.
    pub admission: Admission,
    /// Its columns in order.
    pub columns: Vec<ColumnDefinition>,
}

/// The tables of a configuration that a caller may see.
#[derive(Debug)]
pub struct Catalog {
    /// What is configured.
    pub config: Arc<Config>,
    /// The tables in the order of the views.
    pub tables: Vec<Table>,
}

impl Catalog {
    /// The tables of `config`; those that `caller` may not see do not exist for it.
    pub fn new(config: Arc<Config>, caller: &Caller) -> Catalog {
        let mut tables: Vec<Table> = Vec::with_capacity(config.views.len());
        for view in &config.views {
            let Ok(admission) = caller.admit(view) else { continue };
            let name = free_name(&view.name, |name| tables.iter().any(|table| table.name == name));
            tables.push(Table { name, columns: columns(view), view: view.clone(), admission });
        }
        Catalog { config, tables }
    }
    /// A table by name.
    pub fn table(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.name == name)
    }
    /// Whether all views of a metric are among the tables.
    pub fn shows(&self, metric: &MetricKind) -> bool {
        let mut views = metric.measures().into_iter().map(|measure| &measure.view.id);
        views.all(|id| self.tables.iter().any(|table| table.view.id == *id))
    }
    /// There is no table of that name.
    pub fn unknown(&self, name: &str) -> SqlError {
        let known = self.tables.iter().map(|table| table.name.as_str());
        let error = SqlError::new(state::NO_TABLE, format!("relation \"{name}\" does not exist"));
        match nearest(name, known.clone()) {
            Some(nearest) => error.did_you_mean(Some(nearest)),
            None => error.hint(format!("The tables are {}.", known.collect::<Vec<_>>().join(", "))),
        }
    }
}

impl Table {
    /// A column by name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// A name that needs no quotes in SQL.
fn plain(name: &str) -> String {
    name.replace('.', "_")
}

fn free_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let name = plain(name);
    if !is_taken(&name) {
        return name;
    }
    let mut numbered = (2..).map(|number| format!("{name}_{number}"));
    numbered.find(|name| !is_taken(name)).unwrap_or(name)
}

fn columns(view: &View) -> Vec<ColumnDefinition> {
    let mut columns: Vec<ColumnDefinition> = Vec::new();
    let mut add = |name: &str, kind, origin| {
        let name = free_name(name, |name| columns.iter().any(|column| column.name == name));
        columns.push(ColumnDefinition { name, kind, origin });
    };
    add(TIME, Type::Time, Origin::Time);
    add(PANE_START, Type::Time, Origin::PaneStart);
    for (d, dimension) in view.dimensions.iter().enumerate() {
        add(&dimension.name, of_field(dimension.field_type), Origin::Dimension(d));
    }
    for (m, measure) in view.measures.iter().enumerate() {
        add(&measure.name, of_measure(view, measure), Origin::Measure(m));
    }
    columns
}

fn of_field(field_type: FieldType) -> Type {
    match field_type {
        FieldType::String => Type::Text,
        FieldType::Bool => Type::Bool,
        FieldType::Int | FieldType::Decimal(0) => Type::Int,
        FieldType::Decimal(scale) => Type::Decimal(scale),
        FieldType::Float => Type::Float,
    }
}

fn of_measure(view: &View, measure: &Measure) -> Type {
    let state = &view.states[measure.state];
    match (measure.figure, state.kind) {
        (Figure::Count | Figure::Distinct | Figure::Histogram, _) => Type::Int,
        (Figure::Value, _) => state.field.map_or(Type::Text, |field| of_field(view.source.fields[field].field_type)),
        (Figure::Sum, StateKind::Partial(Aggregate::Net, Unit::Scaled(scale))) => of_field(FieldType::Decimal(scale)),
        (Figure::Sum | Figure::Min | Figure::Max, StateKind::Fixed { scale: 0 }) => Type::Int,
        (Figure::Sum | Figure::Min | Figure::Max, StateKind::Fixed { scale }) => Type::Decimal(scale),
        _ => Type::Float,
    }
}
