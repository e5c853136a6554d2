//! The state of one key of a view: every measure side by side, over all time or over windows. It is asked for by the queries that
//! metrics are asked with, one a measure, so that both say the same. Pure, but for the list of keys.
use std::sync::Arc;

use seam_shared::access::Caller;
use seam_shared::config::{Config, MeasureOf, Metric, MetricKind};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;
use seam_shared::view::value::Value;

use crate::Serving;
use crate::block::Block;
use crate::percent::{decoded, encoded};
use crate::pin::Pin;
use crate::pin::halves::Halves;
use crate::query::inquiry::Inquiry;
use crate::query::{self, Catalog, Format, Layer, Query, Refusal, Request, Times, value_of};

/// Parameters of a metric that say what the key says already, or that are about one value.
pub const NOT_HERE: [&str; 4] = ["dimension", "order", "top", "per"];
/// Parameters with which a window is asked for; without them, it is all time.
const WINDOWS: [&str; 7] = ["window", "cumulative", "final", "from", "to", "at", "step"];
/// Names of an answer's own columns.
const COLUMNS: [&str; 3] = ["time", "start", "partial"];

/// A key as it is asked for: values of some of the view's dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Key(pub Vec<(usize, Value)>);

impl Key {
    /// The key that the parts of a path name: the dimensions from the first on, each part percent-encoded.
    ///
    /// # Errors
    /// A refusal when a part is no value of its dimension, or there are too many.
    pub fn of_path(view: &View, path: &str) -> Result<Key, Refusal> {
        let parts: Vec<&str> = path.split('/').collect();
        let names: Vec<&str> = view.dimensions.iter().map(|d| d.name.as_str()).collect();
        if parts.len() > names.len() {
            let detail = format!(
                "the key has {} parts; view {} has the dimensions {}. A / within a value is written %2F",
                parts.len(),
                view.name,
                names.join(", ")
            );
            return Err(Refusal::parameter("key", detail));
        }
        let value = |(d, part): (usize, &str)| {
            let text = decoded(part);
            let text = text.ok_or_else(|| Refusal::parameter("key", format!("`{part}` is no percent-encoded text")))?;
            Ok((d, value_of(&view.dimensions[d], &text).map_err(|refusal| refusal.about("key"))?))
        };
        parts.into_iter().enumerate().map(value).collect::<Result<_, Refusal>>().map(Key)
    }
    /// Takes the parameters that are named like dimensions out of those of a URL, as a key; empty if there are none.
    ///
    /// # Errors
    /// A refusal when one is no value of its dimension, or is given twice.
    pub fn of_parameters(view: &View, parameters: &mut Vec<(String, String)>) -> Result<Key, Refusal> {
        let is_own = |name: &str| query::PARAMETERS.contains(&name);
        let mut key = Vec::new();
        for (name, text) in parameters.iter() {
            let Some(d) = view.dimension(name).filter(|_| !is_own(name)) else { continue };
            if key.iter().any(|(other, _)| *other == d) {
                return Err(Refusal::parameter(name, format!("`{name}` is given more than once")));
            }
            key.push((d, value_of(&view.dimensions[d], text).map_err(|refusal| refusal.about(name))?));
        }
        parameters.retain(|(name, _)| is_own(name) || view.dimension(name).is_none());
        key.sort_by_key(|(d, _)| *d);
        Ok(Key(key))
    }
    /// The key as the parts of a path.
    pub fn to_path(values: &[Value]) -> String {
        let part = |value: &Value| match value {
            Value::Null => "null".to_owned(),
            Value::Str(text) if **text == *"null" || text.is_empty() || text.starts_with('"') => {
                encoded(&serde_json::Value::from(text.as_ref()).to_string())
            }
            Value::Str(text) => encoded(text),
            other => encoded(&other.to_string()),
        };
        values.iter().map(part).collect::<Vec<_>>().join("/")
    }
}

/// The measures of a view as metrics.
fn metrics(view: &Arc<View>) -> impl Iterator<Item = Metric> + '_ {
    view.measures.iter().enumerate().map(move |(i, measure)| {
        let is_taken = COLUMNS.contains(&measure.name.as_str()) || view.dimension(&measure.name).is_some();
        Metric {
            name: if is_taken { format!("measure.{}", measure.name) } else { measure.name.clone() },
            kind: MetricKind::Measure(MeasureOf { view: view.clone(), measure: i, filter: None }),
            help: None,
            unit: None,
            per: None,
        }
    })
}

/// What is asked of a key.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// Of which view.
    pub view: &'a Arc<View>,
    /// Of which key.
    pub key: &'a Key,
    /// The other parameters: those of a metric, but for what the key says.
    pub parameters: &'a [(String, String)],
    /// How it is answered.
    pub format: Format,
}

/// The inquiry for a key: all measures at one moment.
///
/// # Errors
/// A refusal that names the parameter.
pub fn inquiry(config: &Arc<Config>, asked: Asked<'_>, now: Timestamp) -> Result<Inquiry, Refusal> {
    let Asked { caller, view, key, parameters, format } = asked;
    if let Some((name, _)) = parameters.iter().find(|(name, _)| NOT_HERE.contains(&name.as_str())) {
        let detail = format!("`{name}` does not go with a key; ask for a metric");
        return Err(Refusal::parameter(name, detail).named("unknown-parameter"));
    }
    let is_whole = !parameters.iter().any(|(name, _)| WINDOWS.contains(&name.as_str()));
    let catalog = Catalog::of(config.clone(), metrics(view));
    let dimensions = view.dimensions.iter().map(|d| ("dimension".to_owned(), d.name.clone()));
    let parameters: Vec<_> = parameters.iter().cloned().chain(dimensions).collect();
    let one = |metric: Metric| {
        let request = Request { caller, metric: &metric.name, parameters: &parameters, now, format };
        let mut query = query::parse(&catalog, request)?;
        for term in &mut query.terms {
            term.slices = key.0.iter().map(|(d, value)| (*d, vec![value.clone()])).collect();
        }
        if is_whole {
            query = Query { times: Times::all(), ..query };
        }
        Ok(Arc::new(query))
    };
    let queries = metrics(view).map(one).collect::<Result<Vec<_>, Refusal>>()?;
    Ok(Inquiry { queries, order: Vec::new(), format, view: Some(view.name.clone()) })
}

/// A page of a view's keys, and where the next one begins.
#[derive(Debug)]
pub struct Keys {
    /// The keys, in the order of their values.
    pub keys: Vec<Vec<Value>>,
    /// Whether there are more.
    pub more: bool,
    /// What they are from.
    pub pin: Arc<Pin>,
}

impl Serving {
    /// The keys of a view behind `after` that the caller may see, at most `most`.
    ///
    /// # Errors
    /// As [`Serving::answer`].
    pub async fn keys(
        &self,
        caller: &Caller,
        view: &Arc<View>,
        after: Option<&[Value]>,
        most: usize,
    ) -> Result<Keys, Refusal> {
        let admission = caller.admit(view)?;
        let admits = |key: &[Value]| admission.admits(&|d| key.get(d).cloned().unwrap_or(Value::Null));
        let mut fresh = false;
        for attempt in 1.. {
            let pin = self.pin(std::slice::from_ref(view), Layer::Merged, fresh).await?;
            match self.pinned_keys(&pin, after, most + 1, &admits).await {
                Ok(mut keys) => {
                    keys.sort();
                    keys.dedup();
                    let more = keys.len() > most;
                    keys.truncate(most);
                    return Ok(Keys { keys, more, pin });
                }
                Err(error) if error.kind() == seam_shared::Kind::NotFound && attempt < 4 => {
                    self.batch_view(view).refresh().await?;
                    fresh = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn pinned_keys(
        &self,
        pin: &Pin,
        after: Option<&[Value]>,
        most: usize,
        admits: &(dyn Fn(&[Value]) -> bool + Sync),
    ) -> Result<Vec<Vec<Value>>, seam_shared::Error> {
        let pinned = pin.views.first().ok_or_else(|| seam_shared::Error::internal("the view was not pinned"))?;
        let view = &pinned.view;
        let mut keys = Vec::new();
        let mut parts = Halves::default();
        if let (true, Some(generation)) = (view.keyed, &pinned.generation) {
            let batch_view = self.batch_view(view);
            for file in generation.files.iter().filter(|file| file.rows > 0) {
                let opened = batch_view.footer(file, &self.footers).await?;
                keys.extend(opened.keys_after(batch_view.store().as_ref(), view, after, most, admits).await?);
                keys.sort();
                keys.dedup();
                keys.truncate(most);
            }
            self.for_each_segment(pinned, |block| behind(block, after, most, admits, &mut keys)).await?;
        } else {
            let all = (Timestamp(i64::MIN), Timestamp(i64::MAX));
            parts = self.halves(&pin.views, &[Vec::new()], all, false).await?.pop().unwrap_or_default();
        }
        parts.blocks().for_each(|block| behind(block, after, most, admits, &mut keys));
        Ok(keys)
    }
}

/// Adds the keys of a block, keeping the first ones.
fn behind(
    block: &Block,
    after: Option<&[Value]>,
    most: usize,
    admits: &(dyn Fn(&[Value]) -> bool + Sync),
    keys: &mut Vec<Vec<Value>>,
) {
    let (dimensions, rows) = match block {
        Block::ByKey(by_key) => (&by_key.dimensions, by_key.keys()),
        Block::AsHeld(rows) => (&rows.dimensions, rows.len()),
    };
    for row in 0..rows {
        let value = |d: &seam_shared::view::rows::Dimension| d.values[d.codes[row] as usize].clone();
        let key: Vec<Value> = dimensions.iter().map(value).collect();
        if after.is_none_or(|after| key.as_slice() > after) && admits(&key) {
            keys.push(key);
        }
        if keys.len() > 2 * most {
            keys.sort();
            keys.dedup();
            keys.truncate(most);
        }
    }
    keys.sort();
    keys.dedup();
    keys.truncate(most);
}

#[cfg(test)]
mod tests;
