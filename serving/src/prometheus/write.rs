//! Results in Prometheus' JSON: numbers as text, times in seconds.
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use seam_shared::time::Timestamp;
use seam_shared::view::value::Value as Number;

use super::Told;
use super::evaluate::{Value, number_text};
use super::failure::Failure;
use super::labels::Labels;
use crate::json::Json;

/// A response from data that `write` writes.
pub fn respond<T>(result: Result<Told<T>, Failure>, write: impl FnOnce(&mut Json, T)) -> Response {
    let mut json = Json::with_capacity(1_024);
    let status = match result {
        Ok(Told { data, warnings, infos }) => {
            json.open('{').key("status").text("success").key("data");
            write(&mut json, data);
            list(&mut json, "warnings", &warnings);
            list(&mut json, "infos", &infos);
            StatusCode::OK
        }
        Err(failure) => {
            let (status, error_type) = failure.status();
            if status == StatusCode::INTERNAL_SERVER_ERROR {
                tracing::error!(detail = %failure.text, "a query failed");
            }
            json.open('{').key("status").text("error").key("errorType").text(error_type);
            json.key("error").text(&failure.text);
            status
        }
    };
    json.close('}');
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, json.into_bytes()).into_response()
}

fn list(json: &mut Json, name: &'static str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    json.key(name).open('[');
    for text in texts {
        json.text(text);
    }
    json.close(']');
}

/// A list of texts.
pub fn texts<'a>(json: &mut Json, texts: impl IntoIterator<Item = &'a str>) {
    json.open('[');
    for text in texts {
        json.text(text);
    }
    json.close(']');
}

/// Labels as an object.
pub fn labels(json: &mut Json, labels: &Labels) {
    json.open('{');
    for (name, value) in labels.iter() {
        json.named(name).text(value);
    }
    json.close('}');
}

/// What a query came to, as `resultType` and `result`.
pub fn result(json: &mut Json, plan_grid: super::source::Grid, is_range: bool, value: &Value) {
    let grid = plan_grid;
    json.open('{').key("resultType");
    match value {
        Value::Text(text) => {
            json.text("string").key("result").open('[');
            time(json, grid.first).text(text).close(']');
        }
        Value::Scalar(values) if !is_range => {
            json.text("scalar").key("result");
            point(json, grid.first, values.first().copied().unwrap_or(f64::NAN));
        }
        Value::Scalar(values) => {
            json.text("matrix").key("result").open('[').open('{').key("metric").open('{').close('}');
            json.key("values").open('[');
            grid.iter().zip(values).for_each(|(at, value)| point(json, at, *value));
            json.close(']').close('}').close(']');
        }
        Value::Vector(series) => {
            json.text(if is_range { "matrix" } else { "vector" }).key("result").open('[');
            for series in series {
                labels(json.open('{').key("metric"), &series.labels);
                let mut points = grid.iter().zip(&series.values).filter_map(|(at, value)| Some((at, (*value)?)));
                if is_range {
                    json.key("values").open('[');
                    points.for_each(|(at, value)| point(json, at, value));
                    json.close(']');
                } else if let Some((at, value)) = points.next() {
                    point(json.key("value"), at, value);
                }
                json.close('}');
            }
            json.close(']');
        }
        Value::Samples(series) => {
            json.text("matrix").key("result").open('[');
            for series in series {
                labels(json.open('{').key("metric"), &series.labels);
                json.key("values").open('[');
                series.list.iter().for_each(|(at, value)| point(json, *at, *value));
                json.close(']').close('}');
            }
            json.close(']');
        }
    }
    json.close('}');
}

fn point(json: &mut Json, at: Timestamp, value: f64) {
    time(json.open('['), at).text(&number_text(value)).close(']');
}

/// A moment in seconds, to the millisecond.
fn time(json: &mut Json, at: Timestamp) -> &mut Json {
    let millis = at.0.div_euclid(1_000);
    if millis % 1_000 == 0 {
        return json.value(&Number::Int(millis / 1_000));
    }
    json.value(&Number::Float(millis as f64 / 1_000.0))
}
