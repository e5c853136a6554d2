//! `GET /api/analytics/generations/{view}?limit=`: the generations of a view, newest first, and what is being built to follow it.
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use seam_shared::Kind;
use seam_shared::access::Caller;
use seam_shared::view::definition::View;

use super::{parameters, problem};
use crate::Serving;
use crate::answer::history::Entry;
use crate::json::Json;
use crate::query::Refusal;

/// Generations listed unless the query says otherwise, and at most.
const LIMITS: (u64, u64) = (100, 10_000);

/// The list of one view.
pub async fn list(
    State(serving): State<Arc<Serving>>,
    Extension(caller): Extension<Caller>,
    view: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Response {
    let listed = async {
        let Path(name) = view.map_err(|error| Refusal::parameter("view", error.to_string()))?;
        let limit = limit(&uri)?;
        let shown = shown(&serving, &name)?;
        caller.admit(&shown)?;
        let entries = serving.generations(&shown, limit).await?;
        Ok::<_, Refusal>(write(&serving, &shown, &entries))
    };
    match listed.await {
        Ok(body) => {
            ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], body).into_response()
        }
        Err(refusal) => problem::respond(&uri, &refusal),
    }
}

/// The definition that answers under a view's name.
///
/// # Errors
/// `NotFound` with the nearest name.
pub fn shown(serving: &Serving, name: &str) -> Result<Arc<View>, Refusal> {
    serving.config().view(name).map(|view| serving.shown(view)).ok_or_else(|| unknown(serving, name))
}

fn unknown(serving: &Serving, name: &str) -> Refusal {
    let known = serving.config().views.iter().map(|view| view.name.as_str());
    let suggestion = crate::query::nearest(name, known).map(str::to_owned);
    let detail = format!("there is no view `{name}`");
    Refusal { kind: Kind::NotFound, problem: "unknown-view", detail, parameter: None, suggestion }
}

fn limit(uri: &Uri) -> Result<u64, Refusal> {
    let given = parameters(uri)?;
    if let Some((name, _)) = given.iter().find(|(name, _)| name != "limit") {
        return Err(Refusal::parameter(name, format!("there is no parameter `{name}`")).named("unknown-parameter"));
    }
    let (default, most) = LIMITS;
    let Some((_, text)) = given.first() else { return Ok(default) };
    let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| Refusal::parameter("limit", format!("limit=`{text}` is no number from 1 to {most}")))
}

fn write(serving: &Serving, view: &View, entries: &[Entry]) -> Vec<u8> {
    let source = &view.source.name;
    let mut json = Json::with_capacity(4_096);
    json.open('{').key("view").text(&view.name).key("id").text(&view.id).key("building");
    match serving.names.building().get(&view.name) {
        None => {
            json.null();
        }
        Some(building) => {
            let reached = building.reached.as_ref().map(|reached| reached.to_text(source));
            json.open('{').key("id").text(&building.next).key("reached").optional_text(reached.as_deref());
            json.key("goal").text(&building.goal.to_text(source)).close('}');
        }
    }
    json.key("generations").open('[');
    for Entry { generation, available } in entries {
        json.open('{').key("generation").number(generation.number);
        json.key("covers").text(&generation.cut.to_text(source)).key("published").time(generation.published);
        json.key("rows").number(generation.files.iter().map(|file| file.rows).sum());
        json.key("files").number(generation.files.len() as u64);
        json.key("bytes").number(generation.files.iter().map(|file| file.bytes).sum());
        for said in ["drift", "parent", "rollback_to"] {
            json.key(said).tree(generation.info.get(said));
        }
        json.key("available").bool(*available).close('}');
    }
    json.close(']').close('}');
    json.into_bytes()
}
