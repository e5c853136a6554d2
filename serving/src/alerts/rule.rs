//! A rule, ready to be evaluated.
use std::collections::BTreeMap;
use std::sync::Arc;

use promql_parser::parser::Expr;
use seam_shared::access::Caller;
use seam_shared::config::{AlertGroup, AlertRule, Config, Severity};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;

use super::phase::Patience;
use super::template::Template;
use crate::prometheus::catalogue::Catalogue;
use crate::prometheus::failure::Failure;
use crate::prometheus::labels::{Labels, NAME};
use crate::prometheus::plan::{parse, plan};
use crate::prometheus::source::Grid;

/// Names and texts, in the order of the names.
pub type Texts = BTreeMap<String, String>;

/// Rules that are evaluated at one moment.
#[derive(Debug)]
pub struct Group {
    /// What it is called.
    pub name: String,
    /// How often.
    pub interval: Span,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// What tells it from all others, today and after a restart.
    pub key: String,
    /// The group's name.
    pub group: String,
    /// What its alerts are called.
    pub name: String,
    /// The expression as it was written.
    pub query: String,
    /// The expression; what is wrong with it, where the file was not checked.
    pub expression: Result<Expr, String>,
    /// How patient it is.
    pub patience: Patience,
    /// How bad it is.
    pub severity: Severity,
    /// The most alerts that it may have.
    pub limit: Option<usize>,
    /// The views that it reads.
    pub views: Vec<Arc<View>>,
    labels: Vec<(String, Template)>,
    annotations: Vec<(String, Template)>,
}

/// The groups of a configuration.
pub fn compile(config: &Config) -> Vec<Group> {
    if config.alerts.is_empty() {
        return Vec::new();
    }
    let catalogue = Catalogue::new(config);
    let of_group = |group: &AlertGroup| Group {
        name: group.name.clone(),
        interval: group.interval,
        rules: group.rules.iter().map(|rule| Rule::compile(group, rule, &catalogue)).collect(),
    };
    config.alerts.iter().map(of_group).collect()
}

impl Rule {
    fn compile(group: &AlertGroup, rule: &AlertRule, catalogue: &Catalogue) -> Rule {
        let query = rule.expr.text.clone();
        let expression = parse(&query).map_err(|failure| plainly(&failure));
        let template = |text: &str| Template::parse(text).unwrap_or_else(|_| Template::verbatim(text));
        let templates = |texts: &[(String, seam_shared::config::Written)]| {
            texts.iter().map(|(name, text)| (name.clone(), template(&text.text))).collect()
        };
        Rule {
            key: rule.key(&group.name),
            group: group.name.clone(),
            name: rule.name.clone(),
            views: expression.as_ref().map(|expression| views(expression, catalogue)).unwrap_or_default(),
            query,
            expression,
            patience: Patience { hold: rule.hold, keep: rule.keep_firing_for },
            severity: rule.severity,
            limit: group.limit,
            labels: templates(&rule.labels),
            annotations: templates(&rule.annotations),
        }
    }
    /// The labels of the alert of a series: the series' own, then the rule's, then what makes it an alert.
    pub fn labels(&self, series: &Labels, value: f64) -> Texts {
        let own = series.iter().filter(|(name, _)| *name != NAME);
        let mut labels: Texts = own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        labels.extend(rendered(&self.labels, series, value));
        labels.insert("alertname".to_owned(), self.name.clone());
        labels.insert("severity".to_owned(), self.severity.name().to_owned());
        // A label without a value is no label.
        labels.retain(|_, value| !value.is_empty());
        labels
    }
    /// What people are told of the alert of a series.
    pub fn annotations(&self, series: &Labels, value: f64) -> Texts {
        rendered(&self.annotations, series, value).collect()
    }
    /// The labels that the rule itself gives, as they were written.
    pub fn own_labels(&self) -> Texts {
        let own = self.labels.iter().map(|(name, template)| (name.clone(), template.to_string()));
        own.chain([("severity".to_owned(), self.severity.name().to_owned())]).collect()
    }
    /// Its annotations, as they were written.
    pub fn own_annotations(&self) -> Texts {
        self.annotations.iter().map(|(name, template)| (name.clone(), template.to_string())).collect()
    }
    /// Whether a caller may see all that it tells of: every view that it reads, and every row.
    pub fn is_shown_to(&self, caller: &Caller) -> bool {
        let whole = |view: &Arc<View>| caller.admit(view).is_ok_and(|admission| admission.rows().is_none());
        self.views.iter().all(whole)
    }
}

/// What is wrong with an expression, without the words of an API in front.
pub fn plainly(failure: &Failure) -> String {
    failure.text.replace("invalid parameter \"query\": ", "").replace('\n', " ")
}

fn rendered(templates: &[(String, Template)], series: &Labels, value: f64) -> impl Iterator<Item = (String, String)> {
    templates.iter().map(move |(name, template)| (name.clone(), template.render(|label| series.get(label), value)))
}

/// The views that stand behind an expression's series.
fn views(expression: &Expr, catalogue: &Catalogue) -> Vec<Arc<View>> {
    let leaves = plan(expression, Grid::instant(Timestamp(0))).map(|plan| plan.leaves).unwrap_or_default();
    let definitions = leaves.iter().flat_map(|leaf| catalogue.select(leaf));
    let mut views: Vec<Arc<View>> = definitions
        .flat_map(|found| found.measures.iter().map(|measure| measure.view.clone()).collect::<Vec<_>>())
        .collect();
    views.sort_by(|a, b| a.id.cmp(&b.id));
    views.dedup_by(|a, b| a.id == b.id);
    views
}
