//! `/api/analytics/views`: the views; `…/{view}`: its keys, page by page; `…/{view}/{key}`: the state of one key.
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use seam_shared::access::Caller;
use seam_shared::view::definition::View;
use seam_shared::view::value::{FieldType, Value};
use tokio::time::Instant;

use super::{generations, known, metrics, negotiate, parameters, problem};
use crate::Serving;
use crate::answer::Answer;
use crate::answer::by_key::{Asked, Key, Keys, inquiry};
use crate::answer::page::write_table;
use crate::deadline::within;
use crate::json::Json;
use crate::pin::etag;
use crate::present::table::{Cells, Table};
use crate::query::{Format, LIMIT_DEFAULT, LIMIT_MAX, Refusal};

type Given = Vec<(String, String)>;

/// Every view that the caller may see.
pub async fn list(State(serving): State<Arc<Serving>>, Extension(caller): Extension<Caller>, uri: Uri) -> Response {
    match parameters(&uri).map(|given| given.into_iter().next()) {
        Ok(None) => {}
        Ok(Some((name, _))) => return problem::respond(&uri, &unknown(&name)),
        Err(refusal) => return problem::respond(&uri, &refusal),
    }
    let mut json = Json::with_capacity(4_096);
    json.open('{').key("views").open('[');
    for configured in &serving.config().views {
        let view = serving.shown(configured);
        if caller.admit(&view).is_ok() {
            write_view(&mut json, &serving, &view);
        }
    }
    json.close(']').close('}');
    as_json(json)
}

fn write_view(json: &mut Json, serving: &Serving, view: &Arc<View>) {
    json.open('{').key("view").text(&view.name).key("id").text(&view.id).key("source").text(&view.source.name);
    json.key("keyed").bool(view.keyed).key("dimensions").open('[');
    for dimension in &view.dimensions {
        json.open('{').key("name").text(&dimension.name);
        json.key("type").text(&dimension.field_type.to_string()).close('}');
    }
    json.close(']').key("measures").open('[');
    for measure in &view.measures {
        json.text(&measure.name);
    }
    json.close(']').key("pane").text(&view.pane.to_string());
    metrics::write_windows(json, view);
    let generation = serving.batch_view(view).pin();
    let sum = |of: fn(&seam_shared::lake::views::ViewFile) -> u64| {
        generation.as_ref().map(|generation| generation.files.iter().map(of).sum::<u64>())
    };
    for (name, number) in [
        ("generation", generation.as_ref().map(|generation| generation.number)),
        ("rows", sum(|file| file.rows)),
        ("bytes", sum(|file| file.bytes)),
    ] {
        json.key(name);
        match number {
            Some(number) => json.number(number),
            None => json.null(),
        };
    }
    json.close('}');
}

/// The state of the key that the parameters name; without one, a page of keys.
pub async fn keys(
    State(serving): State<Arc<Serving>>,
    Extension(caller): Extension<Caller>,
    view: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let begun = Instant::now();
    let found = async {
        let Path(name) = view.map_err(|error| Refusal::parameter("view", error.to_string()))?;
        let mut given = parameters(&uri)?;
        let view = generations::shown(&serving, &name)?;
        let key = Key::of_parameters(&view, &mut given)?;
        Ok::<_, Refusal>((view, key, given))
    };
    match found.await {
        Err(refusal) => problem::respond(&uri, &refusal),
        Ok((view, key, given)) if key.0.is_empty() => {
            let known = known(&headers);
            let answered = page(&serving, &caller, &view, &given, &headers).await;
            metrics::finish(&serving, "keys", begun, &uri, answered, known)
        }
        Ok((view, key, given)) => state(&serving, &caller, (&view, &key, &given), begun, &uri, &headers).await,
    }
}

/// The state of the key that the rest of the path names.
pub async fn answer(
    State(serving): State<Arc<Serving>>,
    Extension(caller): Extension<Caller>,
    view: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let begun = Instant::now();
    let found = async {
        let Path((name, _)) = view.map_err(|error| Refusal::parameter("key", error.to_string()))?;
        let view = generations::shown(&serving, &name)?;
        // as it was sent: decoded, a / within a value could not be told from one between two
        let path = uri.path().splitn(6, '/').nth(5).unwrap_or_default();
        let key = Key::of_path(&view, path)?;
        Ok::<_, Refusal>((view, key, parameters(&uri)?))
    };
    match found.await {
        Ok((view, key, given)) => state(&serving, &caller, (&view, &key, &given), begun, &uri, &headers).await,
        Err(refusal) => problem::respond(&uri, &refusal),
    }
}

async fn state(
    serving: &Serving,
    caller: &Caller,
    (view, key, given): (&Arc<View>, &Key, &Given),
    begun: Instant,
    uri: &Uri,
    headers: &HeaderMap,
) -> Response {
    let known = known(headers);
    let answered = async {
        let format = negotiate::format(headers)?;
        let asked = Asked { caller, view, key, parameters: given, format };
        let inquiry = inquiry(serving.config(), asked, serving.now())?;
        serving.sheet(&inquiry, known).await
    };
    metrics::finish(serving, "view", begun, uri, answered.await, known)
}

async fn page(
    serving: &Serving,
    caller: &Caller,
    view: &Arc<View>,
    given: &Given,
    headers: &HeaderMap,
) -> Result<Answer, Refusal> {
    let format = negotiate::format(headers)?;
    let (mut limit, mut after): (usize, Option<Vec<Value>>) = (LIMIT_DEFAULT, None);
    for (name, text) in given {
        match name.as_str() {
            "limit" => {
                let number = text.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
                let wrong =
                    || Refusal::parameter("limit", format!("limit=`{text}` is no number from 1 to {LIMIT_MAX}"));
                limit = number.ok_or_else(wrong)?;
            }
            "cursor" => {
                let Key(key) = Key::of_path(view, text).map_err(|refusal| refusal.about("cursor"))?;
                if key.len() != view.dimensions.len() {
                    return Err(Refusal::parameter("cursor", "this is no cursor of keys; `next` of a page holds one"));
                }
                after = Some(key.into_iter().map(|(_, value)| value).collect());
            }
            other => {
                let dimensions = view.dimensions.iter().map(|d| d.name.as_str());
                let near = crate::query::nearest(other, dimensions.chain(["limit", "cursor"])).map(str::to_owned);
                return Err(unknown(other).suggest(near));
            }
        }
    }
    let timeout = serving.config().server.query_timeout;
    let found = within(timeout, serving.keys(caller, view, after.as_deref(), limit)).await?;
    let next = found.keys.last().filter(|_| found.more).map(|key| Key::to_path(key));
    let body = match format {
        Format::Json => page_as_json(view, &found, next.as_deref()),
        _ => page_as_table(view, &found, next.as_deref(), format)?,
    };
    let tag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..32]);
    let body = Some(Bytes::from(body)).filter(|_| !known(headers).is_some_and(|header| etag::matches(header, &tag)));
    let coverage = found.pin.stamp.coverage.clone();
    Ok(Answer { tag, body, lag: None, building: None, coverage, pinned: None, next, format })
}

fn page_as_json(view: &View, found: &Keys, next: Option<&str>) -> Vec<u8> {
    let mut json = Json::with_capacity(1_024 + found.keys.len() * 64);
    json.open('{').key("view").text(&view.name).key("keys").open('[');
    for key in &found.keys {
        json.open('{').key("key").text(&Key::to_path(key));
        for (dimension, value) in view.dimensions.iter().zip(key) {
            json.named(&dimension.name).value(value);
        }
        json.close('}');
    }
    json.close(']').key("next").optional_text(next);
    found.pin.stamp.write(json.key("stamp"), None);
    json.close('}');
    json.into_bytes()
}

fn page_as_table(view: &View, found: &Keys, next: Option<&str>, format: Format) -> Result<Vec<u8>, Refusal> {
    let mut table = Table::new(found.keys.len());
    let paths = found.keys.iter().map(|key| Value::Str(Key::to_path(key).into()));
    table.push("key", Cells::Values(FieldType::String, paths.collect()));
    for (d, dimension) in view.dimensions.iter().enumerate() {
        let values = found.keys.iter().map(|key| key[d].clone());
        table.push(&dimension.name, Cells::Values(dimension.field_type, values.collect()));
    }
    let mut stamp = Json::with_capacity(1_024);
    found.pin.stamp.write(&mut stamp, None);
    let stamp = String::from_utf8(stamp.into_bytes()).unwrap_or_default();
    let coverage = found.pin.stamp.coverage.clone();
    let mut notes = vec![("seam.view", view.name.clone()), ("seam.coverage", coverage), ("seam.stamp", stamp)];
    notes.extend(next.map(|next| ("seam.next", next.to_owned())));
    Ok(write_table(&table, 0..table.len(), format, notes)?)
}

fn unknown(name: &str) -> Refusal {
    Refusal::parameter(name, format!("there is no parameter `{name}`")).named("unknown-parameter")
}

fn as_json(json: Json) -> Response {
    let media_type = Format::Json.media_type();
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "no-cache")], json.into_bytes()).into_response()
}
