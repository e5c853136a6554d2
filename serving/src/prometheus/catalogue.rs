//! The names under which measures and metrics are series: counters, gauges by pane, gauges by window.
use std::sync::Arc;

use hashbrown::HashMap;
use seam_shared::config::{Config, MeasureOf, Metric, MetricKind};
use seam_shared::time::Span;
use seam_shared::view::definition::{Figure, View};

use super::labels::NAME;
use super::source::Leaf;
use crate::query::{Catalog, nearest};

/// What a series' value at a moment t means, with t on the grid of the panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All up to t.
    Counter,
    /// Of the pane that ends at t.
    Pane,
    /// Of (t - window, t].
    Window(Span),
}

/// What stands behind a name.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The series' name.
    pub name: String,
    /// The name in the catalogue of queries.
    pub metric: String,
    /// What it is made of: one measure, or numerator and denominator.
    pub measures: Vec<MeasureOf>,
    /// What a value means.
    pub shape: Shape,
    /// For people.
    pub help: String,
    /// The unit, if it has one.
    pub unit: String,
    /// Labels, and the dimensions that they show.
    pub labels: Vec<(Arc<str>, String)>,
    /// The grid of its moments.
    pub pane: Span,
}

impl Definition {
    /// The figure, where it is one measure's.
    pub fn figure(&self) -> Option<Figure> {
        match &self.measures[..] {
            [measure] => Some(measure.definition().figure),
            _ => None,
        }
    }
    /// Whether figures of groups add up.
    pub fn is_additive(&self) -> bool {
        matches!(self.figure(), Some(Figure::Count | Figure::Sum))
    }
    /// The place of a label.
    pub fn label(&self, name: &str) -> Option<usize> {
        self.labels.iter().position(|(label, _)| **label == *name)
    }
    /// Its view, or that of the numerator.
    pub fn view(&self) -> &Arc<View> {
        &self.measures[0].view
    }
    /// counter or gauge.
    pub fn type_name(&self) -> &'static str {
        if self.shape == Shape::Counter { "counter" } else { "gauge" }
    }
}

/// All names of a configuration.
#[derive(Debug)]
pub struct Catalogue {
    /// What queries are read with.
    pub queries: Catalog,
    /// The series that are listed, by name.
    listed: Vec<Arc<Definition>>,
    index: HashMap<String, usize>,
    /// By the name before the colon, what any window may be asked of.
    bases: HashMap<String, Arc<Definition>>,
}

impl Catalogue {
    /// The names of `config`.
    pub fn new(config: &Config) -> Catalogue {
        let mut catalogue = Catalogue {
            queries: Catalog::new(Arc::new(config.clone())),
            listed: Vec::new(),
            index: HashMap::new(),
            bases: HashMap::new(),
        };
        let mut with_measures = config.clone();
        // What is so much per time is `rate` here.
        for metric in config.metrics.iter().filter(|metric| metric.per.is_none()) {
            let measures: Vec<MeasureOf> = metric.kind.measures().into_iter().cloned().collect();
            let base = definition(plain(&metric.name), metric.name.clone(), measures, metric);
            catalogue.add(base, true, "");
        }
        for view in &config.views {
            for (measure, named) in view.measures.iter().enumerate() {
                let kind = MetricKind::Measure(MeasureOf { view: view.clone(), measure, filter: None });
                let help = Some(format!("{} of view {}", named.name, view.name));
                // No metric of the file has a space in its name.
                let name = format!("measure {}.{}", view.name, named.name);
                let metric = Metric { name: name.clone(), kind, help, unit: None, per: None };
                let measures = metric.kind.measures().into_iter().cloned().collect();
                let base = format!("{}_{}", view.name, named.name);
                let is_plain = matches!(named.figure, Figure::Count | Figure::Sum | Figure::Min | Figure::Max);
                catalogue.add(definition(plain(&base), name, measures, &metric), !is_plain, "_total");
                with_measures.metrics.push(metric);
            }
        }
        catalogue.queries = Catalog::new(Arc::new(with_measures));
        catalogue.listed.sort_by(|a, b| a.name.cmp(&b.name));
        catalogue.index = catalogue.listed.iter().enumerate().map(|(at, d)| (d.name.clone(), at)).collect();
        catalogue
    }
    /// Adds the series of a measure; the first of a name stays.
    fn add(&mut self, base: Definition, list_windows: bool, counter_suffix: &str) {
        let windows = base.view().windows.iter().filter(|window| window.0 % base.pane.0 == 0);
        let windows: Vec<Definition> = windows.map(|window| windowed(&base, *window)).collect();
        let may_fall = base.measures.iter().any(|of| of.view.states[of.definition().state].is_net());
        let list_windows = list_windows || may_fall;
        let own = match base.figure().filter(|_| !may_fall) {
            Some(Figure::Count | Figure::Sum) if base.name.ends_with("_total") => Some((Shape::Counter, "")),
            Some(Figure::Count | Figure::Sum) => Some((Shape::Counter, counter_suffix)),
            Some(Figure::Min | Figure::Max) => Some((Shape::Pane, "")),
            _ => None,
        };
        let own = own.map(|(shape, suffix)| Definition { name: base.name.clone() + suffix, shape, ..base.clone() });
        for definition in own.into_iter().chain(windows.into_iter().filter(|_| list_windows)) {
            if !self.listed.iter().any(|listed| listed.name == definition.name) {
                self.listed.push(Arc::new(definition));
            }
        }
        self.bases.entry(base.name.clone()).or_insert_with(|| Arc::new(base));
    }
    /// The series that are listed, by name.
    pub fn listed(&self) -> &[Arc<Definition>] {
        &self.listed
    }
    /// A series by name, its window in the name being any that fits the panes.
    pub fn find(&self, name: &str) -> Option<Arc<Definition>> {
        if let Some(&at) = self.index.get(name) {
            return Some(self.listed[at].clone());
        }
        let (base, window) = name.split_once(':')?;
        let base = self.bases.get(base)?;
        let window = Span::parse(window).ok().filter(|w| w.0 > 0 && w.0 % base.pane.0 == 0)?;
        Some(Arc::new(Definition { name: name.to_owned(), ..windowed(base, window) }))
    }
    /// The series that a leaf means by their names.
    pub fn select(&self, leaf: &Leaf) -> Vec<Arc<Definition>> {
        use promql_parser::label::MatchOp;
        let fixed = leaf.matchers.iter().find(|matcher| matcher.name == NAME && matcher.op == MatchOp::Equal);
        match fixed {
            Some(matcher) => self.find(&matcher.value).into_iter().filter(|d| leaf.matches_name(&d.name)).collect(),
            None => self.listed.iter().filter(|definition| leaf.matches_name(&definition.name)).cloned().collect(),
        }
    }
    /// What may have been meant by a name that there is not.
    pub fn hint(&self, name: &str, shows: impl Fn(&Definition) -> bool) -> String {
        let base = name.split(':').next().unwrap_or(name);
        if let Some(definition) = self.bases.get(base).filter(|definition| shows(definition)) {
            let prefix = format!("{base}:");
            let windows: Vec<&str> =
                self.listed.iter().map(|d| d.name.as_str()).filter(|name| name.starts_with(&prefix)).collect();
            return format!(
                "there is no series {name}; {base} is a gauge by window, any multiple of {}: {}",
                definition.pane,
                if windows.is_empty() { format!("{base}:{}", definition.pane) } else { windows.join(", ") }
            );
        }
        let shown = self.listed.iter().filter(|definition| shows(definition));
        match nearest(name, shown.map(|definition| definition.name.as_str())) {
            Some(near) => format!("there is no series {name}; did you mean {near}?"),
            None => format!("there is no series {name}"),
        }
    }
}

fn definition(name: String, catalogued: String, measures: Vec<MeasureOf>, metric: &Metric) -> Definition {
    let view = measures[0].view.clone();
    let in_all = |name: &str| measures.iter().all(|measure| measure.view.dimension(name).is_some());
    let shown = view.dimensions.iter().filter(|dimension| in_all(&dimension.name));
    let labels = shown.map(|dimension| (plain(&dimension.name).into(), dimension.name.clone())).collect();
    let pane = measures.iter().map(|measure| measure.view.pane).reduce(common_multiple).unwrap_or(view.pane);
    let help = metric.help.clone().unwrap_or_else(|| metric.name.clone());
    let unit = metric.unit.clone().unwrap_or_default();
    Definition { name, metric: catalogued, measures, shape: Shape::Pane, help, unit, labels, pane }
}

fn windowed(base: &Definition, window: Span) -> Definition {
    let help = format!("{} in {window}", base.help);
    Definition { name: format!("{}:{window}", base.name), shape: Shape::Window(window), help, ..base.clone() }
}

/// A name of letters, digits and underscores.
pub fn plain(name: &str) -> String {
    let mut out: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

fn common_multiple(a: Span, b: Span) -> Span {
    let (mut x, mut y) = (a.0, b.0);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    Span(a.0 / x * b.0)
}
