//! What is asked for, checked: whose recommendations, how many, of which moment and layers. Pure.
use std::hash::Hash;
use std::sync::Arc;

use seam_shared::Kind;
use seam_shared::access::{Admission, Caller};
use seam_shared::config::{Config, MeasureOf, Metric, MetricKind, RECOMMENDED_MAX, Recommendation};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::{StateKind, View};
use seam_shared::view::expression::{Comparison, Expression};
use seam_shared::view::value::Value;

use super::being_built;
use super::ranking::Counting;
use super::score::Decay;
use crate::query::{self, Catalog, Format, Query, Refusal, Request, Spelling, nearest, value_of};
use crate::scan;

/// The parameters of a request for recommendations.
pub const PARAMETERS: [&str; 6] = ["name", "limit", "at", "layer", "min_position", "timeout"];
/// Parameters without which the newest is asked for.
const OF_THEN: [&str; 2] = ["at", "min_position"];
/// What one event weighs in thousandths where nothing is said of its type.
const ONE: u64 = 1_000;

/// A checked request for recommendations.
#[derive(Debug)]
pub struct Question {
    /// What is recommended, and how.
    pub recommendation: Recommendation,
    /// The views as they are shown now, by id.
    pub views: Vec<Arc<View>>,
    /// The query that the moment, the layers and the patience are those of.
    pub query: Arc<Query>,
    /// Who asks for something.
    pub user: Value,
    /// The most items of the answer.
    pub limit: usize,
    /// Whether the newest is asked for, so that what was answered shortly before will do.
    pub is_of_now: bool,
    /// Whether the window is the one that ends now, which others ask for, too.
    pub is_current: bool,
    /// All that the answer depends on besides the stored data, hashed.
    pub spelling: [u8; 32],
    /// The question without the moment: equal for the same question asked again.
    pub asked: Vec<u8>,
    pub(super) interest: Arc<View>,
    pub(super) items: Arc<View>,
    pub(super) interest_of: Counting,
    pub(super) items_of: Arc<Counting>,
    pub(super) user_dimension: usize,
    /// The dimension of `interest` that it is told by.
    pub(super) interest_dimension: usize,
    pub(super) item_dimension: usize,
    pub(super) category_dimension: Option<usize>,
}

impl Question {
    pub(super) fn items_dimensions(&self) -> (usize, Option<usize>) {
        (self.item_dimension, self.category_dimension)
    }
}

/// Reads and checks a request. `shown` says what answers under a view's name now, `now` what `now` means.
///
/// # Errors
/// A refusal that names the parameter; `Denied` if the caller may not see the views.
pub fn question(
    config: &Arc<Config>,
    shown: impl Fn(&Arc<View>) -> Arc<View>,
    (caller, user): (&Caller, &str),
    parameters: &[(String, String)],
    (now, format): (Timestamp, Format),
) -> Result<Question, Refusal> {
    check(parameters)?;
    let one = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, text)| text.as_str());
    let recommendation = named(config, one("name"))?.clone();
    let (interest, items) = (shown(&recommendation.interest), shown(&recommendation.items));
    // How often items occur is told of all users, also to a caller who sees the interest of some of them only.
    let (of_interest, of_items) = (caller.admit(&interest)?, caller.admit_over(&items, &recommendation.user)?);
    let dimension = |view: &View, name: &str| view.dimension(name).ok_or_else(|| being_built(&view.name));
    let user_dimension = dimension(&interest, &recommendation.user)?;
    let told_by = recommendation.category.as_ref().unwrap_or(&recommendation.item);
    let interest_dimension = dimension(&interest, told_by)?;
    let item_dimension = dimension(&items, &recommendation.item)?;
    let category_dimension = recommendation.category.as_ref().map(|name| dimension(&items, name)).transpose()?;
    let user = value_of(&interest.dimensions[user_dimension], user).map_err(|refusal| refusal.about("user"))?;
    let limit = one("limit").map(limit).transpose()?.unwrap_or(recommendation.top);
    let mut query = window(config, &recommendation, &interest, caller, parameters, (now, format))?;
    if let Some(term) = query.terms.first_mut() {
        term.slices = vec![(user_dimension, vec![user.clone()])];
    }
    let (after, until) = scan::range(&query);
    let decay = Decay { until, half_life: recommendation.half_life };
    let counting = |view: &View, admission: Admission| {
        let states = states(view, &recommendation);
        Counting { states, after, decay, by_amount: recommendation.weights.popularity > 0, admission }
    };
    let (interest_of, items_of) = (counting(&interest, of_interest), Arc::new(counting(&items, of_items)));
    let mut spelling = Spelling::default();
    ("recommend", &recommendation.name, recommendation.weights, &query, limit).hash(&mut spelling);
    (&interest_of, &items_of, &items.id, item_dimension, category_dimension, interest_dimension).hash(&mut spelling);
    let mut asked = Spelling::default();
    (&recommendation.name, &user, limit, query.layer, format, caller.fingerprint()).hash(&mut asked);
    let mut views = vec![interest.clone(), items.clone()];
    views.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Question {
        views,
        query: Arc::new(query),
        user,
        limit,
        is_of_now: !parameters.iter().any(|(name, _)| OF_THEN.contains(&name.as_str())),
        is_current: until == now.ceil(interest.pane),
        spelling: *blake3::hash(&spelling.0).as_bytes(),
        asked: asked.0,
        interest,
        items,
        interest_of,
        items_of,
        user_dimension,
        interest_dimension,
        item_dimension,
        category_dimension,
        recommendation,
    })
}

fn check(parameters: &[(String, String)]) -> Result<(), Refusal> {
    for (i, (name, _)) in parameters.iter().enumerate() {
        if !PARAMETERS.contains(&name.as_str()) {
            let refusal =
                Refusal::parameter(name, format!("there is no parameter `{name}`")).named("unknown-parameter");
            return Err(refusal.suggest(nearest(name, PARAMETERS.into_iter())));
        }
        if parameters[..i].iter().any(|(earlier, _)| earlier == name) {
            return Err(Refusal::parameter(name, format!("`{name}` is given more than once")));
        }
    }
    Ok(())
}

/// The recommendation of that name; the only one if none is named.
fn named<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c Recommendation, Refusal> {
    let all = &config.recommendations;
    let names = || all.iter().map(|recommendation| recommendation.name.as_str());
    let Some(name) = name else {
        return match all.as_slice() {
            [one] => Ok(one),
            [] => Err(unknown("nothing is recommended here; `recommend` of the configuration says what is".to_owned())),
            [_, ..] => {
                let detail = format!("say which recommendation: {}", names().collect::<Vec<_>>().join(", "));
                Err(Refusal::parameter("name", detail))
            }
        };
    };
    let near = nearest(name, names());
    let missing = || unknown(format!("there is no recommendation `{name}`")).about("name").suggest(near);
    all.iter().find(|recommendation| recommendation.name == name).ok_or_else(missing)
}

fn unknown(detail: String) -> Refusal {
    Refusal { kind: Kind::NotFound, problem: "unknown-recommendation", detail, parameter: None, suggestion: None }
}

fn limit(text: &str) -> Result<usize, Refusal> {
    let limit = text.parse().ok().filter(|limit| (1..=RECOMMENDED_MAX).contains(limit));
    limit.ok_or_else(|| Refusal::parameter("limit", format!("limit=`{text}` is no number from 1 to {RECOMMENDED_MAX}")))
}

/// The one window that counts, as a query: so moment, layers and patience are read as of any metric.
fn window(
    config: &Arc<Config>,
    recommendation: &Recommendation,
    interest: &Arc<View>,
    caller: &Caller,
    parameters: &[(String, String)],
    (now, format): (Timestamp, Format),
) -> Result<Query, Refusal> {
    let kind = MetricKind::Measure(MeasureOf { view: interest.clone(), measure: 0, filter: None });
    let metric = Metric { name: interest.name.clone(), kind, help: None, unit: None, per: None };
    let catalog = Catalog::of(config.clone(), std::iter::once(metric));
    let own = |(name, _): &&(String, String)| !["name", "limit"].contains(&name.as_str());
    let window = ("window".to_owned(), recommendation.window.to_string());
    let parameters: Vec<_> = parameters.iter().filter(own).cloned().chain([window]).collect();
    query::parse(&catalog, Request { caller, metric: &interest.name, parameters: &parameters, now, format })
}

/// The states of a view that count the types of events that count, with their weights. A definition before the newest may not know a
/// type yet.
fn states(view: &View, recommendation: &Recommendation) -> Vec<(usize, u64)> {
    if recommendation.events.is_empty() {
        return view.event_count().map(|state| (state, ONE)).into_iter().collect();
    }
    let is_of = |expression: &Expression, of_type: &str| match expression {
        Expression::Compare(field, Comparison::Eq, Value::Str(text)) => {
            view.source.fields[*field].name == "type" && **text == *of_type
        }
        _ => false,
    };
    let state = |of_type: &str| {
        let counts = |state: &seam_shared::view::definition::StateDefinition| {
            state.kind == StateKind::Count && state.filter.as_ref().is_some_and(|filter| is_of(filter, of_type))
        };
        view.states.iter().position(counts)
    };
    recommendation.events.iter().filter_map(|(of_type, weight)| Some((state(of_type)?, *weight))).collect()
}
