//! A view's dashboard: each measure by any of its dimensions, over the data source of answers.
use std::sync::Arc;

use seam_shared::config::{Config, MeasureOf, MetricKind};
use seam_shared::view::definition::{Figure, Measure, View};
use serde_json::{Value, json};

use super::panel::{Panel, arrange, data_source, interval};
use super::{ANSWERS, Page, dashboard, view_uid};
use crate::prometheus::catalogue::{Catalogue, Definition, Shape, plain};

/// The dashboard of a view.
pub fn dashboard_of(config: &Config, catalogue: &Catalogue, view: &Arc<View>) -> Value {
    let names = Names { catalogue, view, matchers: matchers(view) };
    let mut panels = Vec::new();
    let counters: Vec<&Measure> =
        view.measures.iter().filter(|m| m.figure == Figure::Count && !m.name.contains('.')).collect();
    for measure in &counters {
        let expression = format!("sum(increase({}[$window]))", names.series(&format!("{}_total", base(view, measure))));
        panels.push(Panel::stat(format!("{} in $window", measure.name), "short", expression));
    }
    for measure in &view.measures {
        panels.extend(names.chart(measure));
    }
    for metric in &config.metrics {
        if let MetricKind::Ratio(numerator, denominator) = &metric.kind
            && numerator.view.id == view.id
        {
            panels.extend(names.ratio(&metric.name, metric.help.as_deref(), numerator, denominator));
        }
    }
    if let Some(measure) = counters.first().filter(|_| !view.dimensions.is_empty()) {
        let name = names.series(&format!("{}_total", base(view, measure)));
        let expression = format!("topk(10, sum by ($by) (increase({name}[$window])))");
        panels.push(Panel::bars(format!("{}: the ten largest in $window", measure.name), "short", expression, ""));
    }
    let step = interval(view.pane);
    let panels: Vec<Panel> = panels.into_iter().map(|panel| panel.every(step)).collect();
    let title = format!("Seam: {}", view.name);
    let uid = view_uid(&view.name);
    let page = Page { uid: &uid, title: &title, tags: &["seam", "seam-view"], view: Some(&view.name) };
    dashboard(&page, variables(&names), arrange(ANSWERS, &panels))
}

struct Names<'a> {
    catalogue: &'a Catalogue,
    view: &'a View,
    /// Between braces: what the variables select.
    matchers: String,
}

fn base(view: &View, measure: &Measure) -> String {
    plain(&format!("{}_{}", view.name, measure.name))
}

fn matchers(view: &View) -> String {
    let of = view
        .dimensions
        .iter()
        .map(|dimension| plain(&dimension.name))
        .map(|name| format!("{name}=~\"${{{name}:regex}}\""));
    of.collect::<Vec<_>>().join(",")
}

impl Names<'_> {
    fn series(&self, name: &str) -> String {
        let name = if self.catalogue.find(name).is_none() { name.trim_end_matches("_total") } else { name };
        format!("{name}{{{}}}", self.matchers)
    }
    /// An aggregation by the dimension chosen, where there are dimensions.
    fn by(&self, aggregation: &str, inner: &str) -> String {
        let by = if self.view.dimensions.is_empty() { "" } else { " by ($by)" };
        format!("{aggregation}{by} ({inner})")
    }
    fn chart(&self, measure: &Measure) -> Option<Panel> {
        let base = base(self.view, measure);
        let by = if self.view.dimensions.is_empty() { "" } else { " by $by" };
        let counter = self.series(&format!("{base}_total"));
        let rate = |series: &str| self.by("sum", &format!("rate({series}[$__rate_interval])"));
        Some(match measure.figure {
            // How many values a field has is the other counters' business, but for its average.
            Figure::Count if measure.name.contains('.') => return None,
            Figure::Count => Panel::chart(format!("{} a second{by}", measure.name), "cps", rate(&counter), "")
                .about("The exact number of events in each step, divided by its seconds."),
            Figure::Sum => Panel::chart(format!("{} a second{by}", measure.name), "short", rate(&counter), "")
                .about("The exact sum in each step, divided by its seconds."),
            Figure::Min => {
                let inner = format!("min_over_time({}[$__rate_interval])", self.series(&base));
                Panel::chart(format!("{}{by}", measure.name), "short", self.by("min", &inner), "")
            }
            Figure::Max => {
                let inner = format!("max_over_time({}[$__rate_interval])", self.series(&base));
                Panel::chart(format!("{}{by}", measure.name), "short", self.by("max", &inner), "")
            }
            _ => return self.mean(measure, by),
        })
    }
    /// The average as sum by count, where both are kept by name; else the measure by window.
    fn mean(&self, measure: &Measure, by: &str) -> Option<Panel> {
        let title = format!("{}{by}", measure.name);
        let sibling = |figure: &str| {
            let name = format!("{}_{}_{figure}_total", self.view.name, measure.name.trim_end_matches(".avg"));
            self.catalogue.find(&plain(&name)).map(|definition| self.series(&definition.name))
        };
        if let (Figure::Avg, Some(sum), Some(count)) = (measure.figure, sibling("sum"), sibling("count")) {
            let rate = |series: &str| self.by("sum", &format!("increase({series}[$__rate_interval])"));
            return Some(Panel::chart(title, "short", format!("{} / {}", rate(&sum), rate(&count)), ""));
        }
        self.view.windows.first()?;
        let expression = format!("topk(20, {})", self.series(&format!("{}:$window", base(self.view, measure))));
        Some(Panel::chart(format!("{} in $window", measure.name), "short", expression, ""))
    }
    /// A ratio of sums, where its parts have names of their own.
    fn ratio(&self, name: &str, help: Option<&str>, above: &MeasureOf, below: &MeasureOf) -> Option<Panel> {
        let counter = |measure: &MeasureOf| {
            let same = |definition: &&Arc<Definition>| {
                matches!(&definition.measures[..], [own] if own.view.id == measure.view.id && own.measure == measure.measure && own.filter == measure.filter)
                    && definition.shape == Shape::Counter
            };
            self.catalogue.listed().iter().find(same).map(|definition| definition.name.clone())
        };
        let (above_name, below_name) = (counter(above)?, counter(below)?);
        // The other view may have other dimensions: only what both have can be chosen.
        let shared = |name: &str| below.view.dimension(name).is_some();
        let kept: Vec<&str> =
            self.view.dimensions.iter().map(|d| d.name.as_str()).filter(|name| shared(name)).collect();
        let matchers = kept.iter().map(|name| plain(name)).map(|name| format!("{name}=~\"${{{name}:regex}}\""));
        let matchers = matchers.collect::<Vec<_>>().join(",");
        let by = kept.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ");
        let part = |name: &str| format!("sum by ({by}) (increase({name}{{{matchers}}}[$window]))");
        let expression = format!("{} / {}", part(&above_name), part(&below_name));
        let panel =
            Panel::chart(format!("{name} in $window by {by}"), "percentunit", format!("topk(20, {expression})"), "");
        Some(panel.about(help.unwrap_or_default()))
    }
}

fn variables(names: &Names<'_>) -> Vec<Value> {
    let view = names.view;
    let windows: Vec<String> = view.windows.iter().map(ToString::to_string).collect();
    let mut out = vec![custom("window", "Window", &windows, 0)];
    let dimensions: Vec<String> = view.dimensions.iter().map(|dimension| plain(&dimension.name)).collect();
    if !dimensions.is_empty() {
        out.push(custom("by", "By", &dimensions, 0));
    }
    let series = names.catalogue.listed().iter().find(|definition| definition.view().id == view.id);
    let Some(series) = series else { return out };
    for name in dimensions {
        let query = format!("label_values({}, {name})", series.name);
        out.push(json!({
            "type": "query",
            "name": name,
            "label": name,
            "datasource": data_source(ANSWERS),
            "query": { "qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery" },
            "definition": query,
            "refresh": 2,
            "sort": 1,
            "multi": true,
            "includeAll": true,
            "allValue": ".*",
            "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
            "options": [],
        }));
    }
    out
}

fn custom(name: &str, label: &str, values: &[String], chosen: usize) -> Value {
    let option = |(i, value): (usize, &String)| json!({ "text": value, "value": value, "selected": i == chosen });
    let options: Vec<Value> = values.iter().enumerate().map(option).collect();
    json!({
        "type": "custom",
        "name": name,
        "label": label,
        "query": values.join(","),
        "multi": false,
        "includeAll": false,
        "current": options.get(chosen),
        "options": options,
    })
}
