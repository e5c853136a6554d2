//! Panels: what each kind needs, and their places on the grid.
use seam_shared::time::Span;
use serde_json::{Value, json};

/// The widths that Grafana rounds intervals to.
const INTERVALS: [Span; 16] = [
    Span(1_000_000),
    Span(5_000_000),
    Span(10_000_000),
    Span(15_000_000),
    Span(20_000_000),
    Span(30_000_000),
    Span::MINUTE,
    Span(2 * Span::MINUTE.0),
    Span(5 * Span::MINUTE.0),
    Span(10 * Span::MINUTE.0),
    Span(15 * Span::MINUTE.0),
    Span(20 * Span::MINUTE.0),
    Span(30 * Span::MINUTE.0),
    Span::HOUR,
    Span(6 * Span::HOUR.0),
    Span::DAY,
];

/// The least interval from which on all that Grafana chooses are multiples of the pane; so is `$__rate_interval` then.
pub fn interval(pane: Span) -> Span {
    let bad = INTERVALS.iter().rposition(|interval| interval.0 % pane.0 != 0);
    let least = bad.map_or(INTERVALS[0], |at| INTERVALS.get(at + 1).copied().unwrap_or(Span::DAY));
    Span(least.0.max(pane.0))
}

/// A data source by its uid.
pub fn data_source(uid: &str) -> Value {
    json!({ "type": "prometheus", "uid": uid })
}

/// What a panel shows.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// For the curious.
    pub description: String,
    /// Grafana's name of its kind.
    pub kind: &'static str,
    /// Grafana's name of the unit.
    pub unit: String,
    /// Expressions and their legends.
    pub targets: Vec<(String, String)>,
    /// The least step, of a range; `None` for the value now.
    pub interval: Option<Span>,
    /// Columns of 24, and rows.
    pub size: (u64, u64),
}

impl Panel {
    /// A chart over time.
    pub fn chart(
        title: impl Into<String>,
        unit: impl Into<String>,
        expression: impl Into<String>,
        legend: &str,
    ) -> Panel {
        Panel {
            title: title.into(),
            description: String::new(),
            kind: "timeseries",
            unit: unit.into(),
            targets: vec![(expression.into(), legend.to_owned())],
            interval: Some(Span::MINUTE),
            size: (12, 8),
        }
    }
    /// A number now.
    pub fn stat(title: impl Into<String>, unit: impl Into<String>, expression: impl Into<String>) -> Panel {
        let chart = Panel::chart(title, unit, expression, "");
        Panel { kind: "stat", interval: None, size: (6, 4), ..chart }
    }
    /// Bars, the longest first.
    pub fn bars(
        title: impl Into<String>,
        unit: impl Into<String>,
        expression: impl Into<String>,
        legend: &str,
    ) -> Panel {
        Panel { kind: "bargauge", interval: None, ..Panel::chart(title, unit, expression, legend) }
    }
    /// The same with a description.
    #[must_use]
    pub fn about(mut self, description: impl Into<String>) -> Panel {
        self.description = description.into();
        self
    }
    /// The same with one more expression.
    #[must_use]
    pub fn and(mut self, expression: impl Into<String>, legend: &str) -> Panel {
        self.targets.push((expression.into(), legend.to_owned()));
        self
    }
    /// The same with steps of at least that.
    #[must_use]
    pub fn every(mut self, interval: Span) -> Panel {
        self.interval = self.interval.map(|_| interval);
        self
    }
    fn json(&self, id: u64, source: &str, (x, y): (u64, u64)) -> Value {
        let targets = self.targets.iter().zip('A'..='Z').map(|((expression, legend), letter)| {
            json!({
                "refId": letter.to_string(),
                "datasource": data_source(source),
                "editorMode": "code",
                "expr": expression,
                "legendFormat": if legend.is_empty() { "__auto" } else { legend },
                "range": self.interval.is_some(),
                "instant": self.interval.is_none(),
                "interval": self.interval.map_or(String::new(), |interval| interval.to_string()),
            })
        });
        let custom = json!({ "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false });
        let options = match self.kind {
            "timeseries" => json!({
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
            "bargauge" => json!({
                "displayMode": "basic", "orientation": "horizontal", "valueMode": "text",
                "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
            }),
            _ => json!({
                "colorMode": "value", "graphMode": "none", "textMode": "auto",
                "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
            }),
        };
        let mut defaults = json!({ "unit": self.unit, "color": { "mode": "palette-classic" } });
        if self.kind == "timeseries" {
            defaults["custom"] = custom;
        }
        json!({
            "id": id,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": data_source(source),
            "gridPos": { "x": x, "y": y, "w": self.size.0, "h": self.size.1 },
            "fieldConfig": { "defaults": defaults, "overrides": [] },
            "options": options,
            "targets": targets.collect::<Vec<_>>(),
        })
    }
}

/// Panels from left to right, in rows of 24 columns.
pub fn arrange(source: &str, panels: &[Panel]) -> Vec<Value> {
    let (mut x, mut y, mut height) = (0, 0, 0);
    let mut out = Vec::with_capacity(panels.len());
    for (panel, id) in panels.iter().zip(1..) {
        let (width, tall) = panel.size;
        if x + width > 24 {
            (x, y, height) = (0, y + height, 0);
        }
        out.push(panel.json(id, source, (x, y)));
        x += width;
        height = height.max(tall);
    }
    out
}
