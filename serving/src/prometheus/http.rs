//! The endpoints: how parameters are read, and what each answers.
mod keys;
mod parameters;

use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use seam_shared::access::Caller;

use super::failure::{Failure, Reason};
use super::plan::{parse, plan};
use super::source::Grid;
use super::syntax::tree;
use super::write::{labels as write_labels, respond, result, texts};
use super::{Prometheus, STEPS_MAX, Told, told};
use parameters::{Given, Parameters};

type App = State<Arc<Prometheus>>;
type By = Extension<Caller>;

/// `query`: one moment.
pub async fn query(State(app): App, Extension(caller): By, given: Given) -> Response {
    let evaluated = async {
        let parameters = given.0?;
        let at = parameters.time("time")?.unwrap_or_else(|| app.serving.clock.now());
        let grid = Grid::instant(at);
        let plan = plan(&parse(parameters.needed("query")?)?, grid)?;
        let mut told = app.evaluate(&caller, plan, parameters.timeout()?).await?;
        parameters.limit(&mut told)?;
        Ok(Told { data: (grid, told.data), warnings: told.warnings, infos: told.infos })
    };
    respond(evaluated.await, |json, (grid, value)| result(json, grid, false, &value))
}

/// `query_range`: a range in steps.
pub async fn query_range(State(app): App, Extension(caller): By, given: Given) -> Response {
    let evaluated = async {
        let parameters = given.0?;
        let grid = range(&parameters)?;
        let expression = parse(parameters.needed("query")?)?;
        let kind = expression.value_type();
        use promql_parser::parser::value::ValueType;
        if matches!(kind, ValueType::Matrix | ValueType::String) {
            let name = if kind == ValueType::Matrix { "range vector" } else { "string" };
            return Err(Failure::bad_data(format!(
                "invalid parameter \"query\": invalid expression type {name:?} for range query, must be Scalar or instant Vector"
            )));
        }
        let mut told = app.evaluate(&caller, plan(&expression, grid)?, parameters.timeout()?).await?;
        parameters.limit(&mut told)?;
        Ok(Told { data: (grid, told.data), warnings: told.warnings, infos: told.infos })
    };
    respond(evaluated.await, |json, (grid, value)| result(json, grid, true, &value))
}

fn range(parameters: &Parameters) -> Result<Grid, Failure> {
    let needed =
        |name| parameters.time(name)?.ok_or_else(|| parameters::bad(name, "cannot parse \"\" to a valid timestamp"));
    let (start, end) = (needed("start")?, needed("end")?);
    let step =
        parameters.duration("step")?.ok_or_else(|| parameters::bad("step", "cannot parse \"\" to a valid duration"))?;
    if end < start {
        return Err(parameters::bad("end", "end timestamp must not be before start time"));
    }
    if step.0 <= 0 {
        let text = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(parameters::bad("step", text));
    }
    let steps = end.0.saturating_sub(start.0) / step.0;
    if steps > STEPS_MAX as i64 {
        return Err(Failure::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(Grid { first: start, step, count: steps as usize + 1 })
}

/// `labels`: the names of labels.
pub async fn labels(State(app): App, Extension(caller): By, given: Given) -> Response {
    let names = async { app.label_names(&caller, &given.0?) };
    respond(names.await, |json, names| texts(json, names.iter().map(String::as_str)))
}

/// `label/{name}/values`.
pub async fn label_values(State(app): App, Extension(caller): By, Path(name): Path<String>, given: Given) -> Response {
    let values = async { app.label_values(&caller, &name, &given.0?).await };
    respond(values.await, |json, values| texts(json, values.iter().map(String::as_str)))
}

/// `series`: the labels of series.
pub async fn series(State(app): App, Extension(caller): By, given: Given) -> Response {
    let series = async { app.series(&caller, &given.0?).await };
    respond(series.await, |json, series| {
        json.open('[');
        series.iter().for_each(|labels| write_labels(json, labels));
        json.close(']');
    })
}

/// `metadata`: type, help and unit of each metric.
pub async fn metadata(State(app): App, Extension(caller): By, given: Given) -> Response {
    let listed = async {
        let parameters = given.0?;
        let wanted = |name: &str| parameters.one("metric").is_none_or(|wanted| wanted.is_empty() || wanted == name);
        let most = parameters.count("limit")?.unwrap_or(usize::MAX);
        let seen = app.seen(&caller);
        let listed = seen.listed().filter(|definition| wanted(&definition.name));
        Ok(told(listed.take(most).cloned().collect::<Vec<_>>()))
    };
    respond(listed.await, |json, listed| {
        json.open('{');
        for definition in listed {
            json.named(&definition.name).open('[').open('{').key("type").text(definition.type_name());
            json.key("help").text(&definition.help).key("unit").text(&definition.unit).close('}').close(']');
        }
        json.close('}');
    })
}

/// An empty list, e.g. of exemplars.
pub async fn nothing() -> Response {
    respond(Ok(told(())), |json, ()| {
        json.open('[').close(']');
    })
}

/// `format_query`.
pub async fn format_query(given: Given) -> Response {
    let pretty = async { Ok(told(parse(given.0?.needed("query")?)?.prettify())) };
    respond(pretty.await, |json, text| {
        json.text(&text);
    })
}

/// `parse_query`: the tree of a query, for whoever draws or edits it; what Seam cannot answer is parsed too.
pub async fn parse_query(given: Given) -> Response {
    let parsed = async { Ok(told(tree(&parse(given.0?.needed("query")?)?))) };
    respond(parsed.await, |json, tree| {
        json.tree(Some(&tree));
    })
}

/// `-/healthy` and `-/ready`, as `promtool check` asks: whoever can ask can be answered.
pub async fn alive() -> &'static str {
    "Seam is up.\n"
}

/// `status/buildinfo`: the version of Prometheus' API that this is. No features: those would make Grafana think of Mimir.
pub async fn build_info() -> Response {
    respond(Ok(told(())), |json, ()| {
        json.open('{').key("version").text("2.55.0").key("revision").text(env!("CARGO_PKG_VERSION"));
        json.key("branch").text("seam").key("buildUser").text("").key("buildDate").text("");
        json.key("goVersion").text("").close('}');
    })
}

/// What Prometheus has and Seam does not.
pub async fn not_found() -> Response {
    let text = "Seam does not have this endpoint: it scrapes no targets".to_owned();
    respond::<()>(Err(Failure { reason: Reason::NotFound, text }), |_, ()| {})
}
