//! `/api/analytics/explain/{metric}`: how an answer comes about; `…/rows`: the raw events behind one cell of it.
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use seam_shared::access::Caller;

use super::metrics::{Metric, name};
use super::{parameters, problem};
use crate::Serving;
use crate::answer::raw::{self, Asked, Place};
use crate::deadline::within;
use crate::query::Refusal;

/// Parameters in order.
type Given = Vec<(String, String)>;

/// How an answer comes about: the parameters of the metric, and `rows`, how many of the raw events to show beside it.
pub async fn answer(
    State(serving): State<Arc<Serving>>,
    Extension(caller): Extension<Caller>,
    metric: Metric,
    uri: Uri,
) -> Response {
    let explained = async {
        let (metric, mut given) = (name(metric)?, parameters(&uri)?);
        let rows = take(&mut given, "rows")?;
        let query = Arc::new(serving.parse(&caller, &metric, &given)?);
        within(query.timeout, async {
            let rows = match rows {
                Some(text) => {
                    let asked = Asked { query: query.clone(), term: 0, limit: limit("rows", &text)?, cursor: None };
                    Some(serving.raw_rows(&caller, &asked).await?)
                }
                None => None,
            };
            serving.explain(&query, rows.as_deref()).await
        })
        .await
    };
    respond(&uri, explained.await)
}

/// The raw events: the parameters of the metric, but `limit` and `cursor` are of these rows; `of` says which part of a ratio.
pub async fn rows(
    State(serving): State<Arc<Serving>>,
    Extension(caller): Extension<Caller>,
    metric: Metric,
    uri: Uri,
) -> Response {
    let found = async {
        let (metric, mut given) = (name(metric)?, parameters(&uri)?);
        let limit = take(&mut given, "limit")?.map_or(Ok(raw::LIMIT_DEFAULT), |text| limit("limit", &text))?;
        let cursor = take(&mut given, "cursor")?.map(|text| {
            let wrong = || Refusal::parameter("cursor", "this is no cursor of raw events; `meta.next` holds one");
            Place::parse(&text).ok_or_else(wrong)
        });
        let term = match take(&mut given, "of")?.as_deref() {
            None | Some("numerator") => 0,
            Some("denominator") => 1,
            Some(_) => return Err(Refusal::parameter("of", "`of` is numerator or denominator")),
        };
        let query = Arc::new(serving.parse(&caller, &metric, &given)?);
        let asked = Asked { query: query.clone(), term, limit, cursor: cursor.transpose()? };
        within(query.timeout, serving.raw_rows(&caller, &asked)).await
    };
    respond(&uri, found.await)
}

/// Takes a parameter out of those that are the metric's.
fn take(given: &mut Given, name: &str) -> Result<Option<String>, Refusal> {
    let Some(at) = given.iter().position(|(other, _)| other == name) else { return Ok(None) };
    let (_, text) = given.remove(at);
    if given.iter().any(|(other, _)| other == name) {
        return Err(Refusal::parameter(name, format!("`{name}` is given more than once")));
    }
    Ok(Some(text))
}

fn limit(name: &str, text: &str) -> Result<usize, Refusal> {
    let limit = text.parse().ok().filter(|n| (1..=raw::LIMIT_MAX).contains(n));
    limit.ok_or_else(|| Refusal::parameter(name, format!("{name}=`{text}` is no number from 1 to {}", raw::LIMIT_MAX)))
}

fn respond(uri: &Uri, answered: Result<Vec<u8>, Refusal>) -> Response {
    match answered {
        Ok(body) => {
            ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
        }
        Err(refusal) => problem::respond(uri, &refusal),
    }
}
