//! What there is: names of labels, their values, and the labels of series.
use std::collections::BTreeSet;
use std::sync::Arc;

use promql_parser::label::Matcher;
use promql_parser::parser::Expr;
use seam_shared::access::Caller;
use seam_shared::time::Timestamp;
use tokio::time::Instant;

use super::parameters::{Parameters, bad};
use crate::prometheus::catalogue::Definition;
use crate::prometheus::failure::Failure;
use crate::prometheus::labels::{Labels, NAME};
use crate::prometheus::panes::{Ask, Panes, Seen, keys};
use crate::prometheus::plan::{matchers, parse};
use crate::prometheus::source::{Grid, Leaf, Reads};
use crate::prometheus::{Prometheus, Told, join, missing, told};

/// What one `match[]` means: series by name, and matchers of their other labels.
struct Meant {
    definitions: Vec<Arc<Definition>>,
    matchers: Vec<Matcher>,
}

impl Meant {
    fn has_labels(&self) -> bool {
        self.matchers.iter().any(|matcher| matcher.name != NAME)
    }
}

impl Prometheus {
    /// The names of labels of the series meant.
    pub(super) fn label_names(&self, caller: &Caller, parameters: &Parameters) -> Result<Told<Vec<String>>, Failure> {
        let mut names = BTreeSet::new();
        for meant in self.meant(caller, parameters)? {
            for definition in meant.definitions {
                names.insert(NAME.to_owned());
                names.extend(definition.labels.iter().map(|(label, _)| label.to_string()));
            }
        }
        let mut told = told(names.into_iter().collect());
        parameters.limit_list(&mut told)?;
        Ok(told)
    }
    /// The values of a label of the series meant, in the range asked for.
    pub(super) async fn label_values(
        &self,
        caller: &Caller,
        name: &str,
        parameters: &Parameters,
    ) -> Result<Told<Vec<String>>, Failure> {
        let range = self.range(parameters)?;
        let (mut values, mut needed) = (BTreeSet::new(), Vec::new());
        let mut views = Vec::new();
        for meant in self.meant(caller, parameters)? {
            let by_data = name != NAME || meant.has_labels();
            for definition in &meant.definitions {
                if !by_data {
                    values.insert(definition.name.clone());
                    continue;
                }
                if name != NAME && definition.label(name).is_none() {
                    continue;
                }
                // Without matchers, all series of a view have the same values.
                let view = (definition.view().id.clone(), definition.metric.starts_with("measure "));
                if name != NAME && !meant.has_labels() && view.1 {
                    if views.contains(&view.0) {
                        continue;
                    }
                    views.push(view.0);
                }
                needed.extend(keys(self.seen(caller), definition, &meant.matchers, range, Some(name))?);
            }
        }
        let mut told = self.labels_of(caller, needed).await?;
        values.extend(told.data.iter().map(|labels| labels.get(name)).filter(|v| !v.is_empty()).map(str::to_owned));
        let mut out = Told {
            data: values.into_iter().collect(),
            warnings: std::mem::take(&mut told.warnings),
            infos: told.infos,
        };
        parameters.limit_list(&mut out)?;
        Ok(out)
    }
    /// The labels of the series meant, in the range asked for.
    pub(super) async fn series(&self, caller: &Caller, parameters: &Parameters) -> Result<Told<Vec<Labels>>, Failure> {
        if parameters.one("match[]").is_none() {
            return Err(Failure::bad_data("no match[] parameter provided"));
        }
        let range = self.range(parameters)?;
        let mut needed = Vec::new();
        for meant in self.meant(caller, parameters)? {
            for definition in &meant.definitions {
                needed.extend(keys(self.seen(caller), definition, &meant.matchers, range, None)?);
            }
        }
        let mut told = self.labels_of(caller, needed).await?;
        told.data.sort();
        told.data.dedup();
        parameters.limit_list(&mut told)?;
        Ok(told)
    }
    fn range(&self, parameters: &Parameters) -> Result<(Option<Timestamp>, Timestamp), Failure> {
        let (start, end) = (parameters.time("start")?, parameters.time("end")?);
        let end = end.unwrap_or_else(|| self.serving.clock.now());
        if start.is_some_and(|start| end < start) {
            return Err(bad("end", "end timestamp must not be before start time"));
        }
        Ok((start, end))
    }
    /// What each `match[]` means; without one, everything.
    fn meant(&self, caller: &Caller, parameters: &Parameters) -> Result<Vec<Meant>, Failure> {
        let mut out = Vec::new();
        for text in parameters.all("match[]") {
            let Expr::VectorSelector(selector) = parse(text).map_err(|failure| bad("match[]", &failure.text))? else {
                return Err(bad("match[]", "it is no series selector"));
            };
            let matchers = matchers(&selector)?;
            let grid = Grid::instant(Timestamp(0));
            let leaf = Leaf { matchers, grid, reads: Reads::Value, folded: None };
            let definitions = self.seen(caller).select(&leaf);
            out.push(Meant { definitions, matchers: leaf.matchers });
        }
        if out.is_empty() {
            out.push(Meant { definitions: self.seen(caller).listed().cloned().collect(), matchers: Vec::new() });
        }
        Ok(out)
    }
    async fn labels_of(&self, caller: &Caller, needed: Vec<Ask>) -> Result<Told<Vec<Labels>>, Failure> {
        let (longest, series_max) = self.limits();
        let deadline = Instant::now() + longest;
        let (views, halves, pin) = self.read(&needed, deadline).await?;
        let warnings = pin.map_or(Vec::new(), |pin| missing(&pin));
        let (catalogue, serving, caller) = (self.catalogue.clone(), self.serving.clone(), caller.clone());
        let work = move || {
            let (cache, seen) = (serving.cache(), Seen { catalogue: &catalogue, caller: &caller });
            let panes = Panes { seen, views, halves, cache, marks: Vec::new(), series_max };
            let mut out = Vec::new();
            for ask in &needed {
                out.append(&mut panes.read(ask)?.into_labels());
            }
            Ok(out)
        };
        let data = join(tokio::task::spawn_blocking(work).await)?;
        Ok(Told { data, warnings, infos: Vec::new() })
    }
}
