//! Recommendations: each is two views over its source, which both layers compute as they do any other, and how the two make a score.
//!
//! The views are put into the file's tree before it is compiled, so that whatever is known of views holds of them.
use std::sync::Arc;

use super::report::{Place, Problems};
use super::tree::{Content, Key, Node, Scalar};
use crate::time::Span;
use crate::view::definition::{Field, View};
use crate::view::expression::{Comparison, Expression};
use crate::view::value::{FieldType, Value, parse_decimal};

/// What the views of recommendations are called before the recommendation's name.
pub const PREFIX: &str = "recommend.";
/// Weights are whole numbers of thousandths.
pub const WEIGHT_DIGITS: u8 = 3;
/// The largest weight.
const WEIGHT_MAX: i128 = 1_000;
/// The most items of an answer.
pub const LIMIT_MAX: usize = 100;
/// Items of an answer unless file or request say otherwise.
const TOP: usize = 10;
/// After so long an event counts half, unless the file says otherwise.
const HALF_LIFE: Span = Span(7 * Span::DAY.0);
/// Older events do not count, unless the file says otherwise.
const WINDOW: Span = Span(30 * Span::DAY.0);
/// The most panes of a window.
const PANES_MAX: i64 = 400;
/// Letters of a recommendation's name, so that those of its views are names.
const NAME_MAX: usize = 63 - PREFIX.len() - ".interest".len();
/// A score's weights unless the file says otherwise.
const WEIGHTS: Weights = Weights { interest: 600, popularity: 300, recency: 100 };

/// A recommendation.
#[derive(Debug, Clone)]
pub struct Recommendation {
    /// Its name.
    pub name: String,
    /// User and category -> events by type. Keyed: it is read one user at a time.
    pub interest: Arc<View>,
    /// Item (and category) -> events by type.
    pub items: Arc<View>,
    /// The dimension of `interest` that names the user.
    pub user: String,
    /// The dimension of `items` that names the item.
    pub item: String,
    /// The dimension of both that interest is told by; `None`: the item itself.
    pub category: Option<String>,
    /// The types of the events that count, ascending, and how much each does, in thousandths; empty: all count 1.
    pub events: Vec<(String, u64)>,
    /// What the parts of a score weigh.
    pub weights: Weights,
    /// After so long an event counts half.
    pub half_life: Span,
    /// Events that are older do not count.
    pub window: Span,
    /// Items of an answer to a request that does not say.
    pub top: usize,
    /// A user's answer is given again for so long, if the file says so.
    pub min_interval: Option<Span>,
}

/// What the parts of a score weigh, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weights {
    /// The user's interest in the item's category.
    pub interest: u64,
    /// How often the item occurs.
    pub popularity: u64,
    /// How lately it did.
    pub recency: u64,
}

/// Puts the views of the file's recommendations among those that it declares.
pub(super) fn expand(root: &mut Node, problems: &mut Problems) {
    let mut made = Vec::new();
    for (key, node) in root.get("recommend").map_or(&[][..], Node::entries) {
        if key.name.len() > NAME_MAX {
            problems.add(key.place, format!("the name of a recommendation has at most {NAME_MAX} letters"));
            continue;
        }
        made.extend([interest(key, node), items(key, node)].into_iter().flatten());
    }
    let Content::Mapping(parts) = &mut root.content else { return };
    let views = parts.iter_mut().find(|(key, _)| key.name == "views").map(|(_, views)| views);
    let Some(Node { content: Content::Mapping(views), .. }) = views else { return };
    for (key, view) in made {
        match views.iter().find(|(other, _)| other.name == key.name) {
            Some((other, _)) => {
                let message = format!("`{}` is the name of a view that a recommendation has", other.name);
                problems.suggest(other.place, message, Some("name this view otherwise".to_owned()));
            }
            None => views.push((key, view)),
        }
    }
}

/// The names of the views of a recommendation: of interest, and of items.
fn names(recommendation: &str) -> [String; 2] {
    ["interest", "items"].map(|part| format!("{PREFIX}{recommendation}.{part}"))
}

/// The recommendations whose parts are all right, in the file's order.
pub(super) fn compile(root: &Node, views: &[Arc<View>], problems: &mut Problems) -> Vec<Recommendation> {
    let entries = root.get("recommend").map_or(&[][..], Node::entries);
    entries.iter().filter_map(|(key, node)| recommendation(root, key, node, views, problems)).collect()
}

fn recommendation(
    root: &Node,
    key: &Key,
    node: &Node,
    views: &[Arc<View>],
    problems: &mut Problems,
) -> Option<Recommendation> {
    let events = events(node, problems);
    let weights = weights(node, problems);
    let window = node.duration("window").unwrap_or(WINDOW);
    let pane = pane(node);
    if window.0 / pane.0 > PANES_MAX {
        let message = format!("the window {window} has more than {PANES_MAX} panes of {pane}");
        problems.add(place_of(node, if node.get("pane").is_some() { "pane" } else { "window" }), message);
    }
    not_the_same(node, problems);
    if let Some(from) = node.get("from")
        && let Some(source) = from.text()
        && root.get("sources").and_then(|sources| sources.get(source)).is_some_and(|s| s.get("retract").is_some())
    {
        let message = format!("the events of `{source}` can be taken back, and what was last seen of an item cannot");
        problems.add(from.place, message);
    }
    let [interest, items] = names(&key.name).map(|name| views.iter().find(|view| view.name == name).cloned());
    let text = |name: &str| node.text_of(name).map(str::to_owned);
    Some(Recommendation {
        name: key.name.clone(),
        interest: interest?,
        items: items?,
        user: text("user")?,
        item: text("item")?,
        category: text("category"),
        events,
        weights,
        half_life: node.duration("half_life").unwrap_or(HALF_LIFE),
        window,
        top: node.number("top").and_then(|top| usize::try_from(top).ok()).unwrap_or(TOP),
        min_interval: node.duration("min_interval"),
    })
}

/// A user is no item. That a category is neither, the views say.
fn not_the_same(node: &Node, problems: &mut Problems) {
    if let (Some(user), Some(item)) = (node.text_of("user"), node.get("item"))
        && item.text() == Some(user)
        && node.get("category").is_some()
    {
        problems.add(item.place, format!("`{user}` is the user already; an item is something else"));
    }
}

fn place_of(node: &Node, key: &str) -> Place {
    node.get(key).map_or(node.place, |value| value.place)
}

/// How finely the age of events is told.
fn pane(node: &Node) -> Span {
    let half_life = node.duration("half_life").unwrap_or(HALF_LIFE);
    let by_itself = if half_life >= Span::DAY { Span::DAY } else { Span::HOUR };
    node.duration("pane").unwrap_or(by_itself)
}

fn weights(node: &Node, problems: &mut Problems) -> Weights {
    let Some(score) = node.get("score") else { return WEIGHTS };
    let mut weight = |name: &str| score.get(name).map_or(0, |value| weight(value, problems).unwrap_or(1));
    let weights =
        Weights { interest: weight("interest"), popularity: weight("popularity"), recency: weight("recency") };
    if weights == (Weights { interest: 0, popularity: 0, recency: 0 }) {
        problems.add(score.place, "a score of which no part weighs anything is 0 for every item");
    }
    weights
}

/// A weight in thousandths.
fn weight(node: &Node, problems: &mut Problems) -> Option<u64> {
    let unit = 10_i128.pow(WEIGHT_DIGITS.into());
    let number = node.text().and_then(|text| parse_decimal(text, WEIGHT_DIGITS));
    let weight = number.filter(|number| (0..=WEIGHT_MAX * unit).contains(number)).and_then(|n| u64::try_from(n).ok());
    if weight.is_none() {
        let message = format!(
            "{} is no weight; write a number from 0 to {WEIGHT_MAX}, at most {WEIGHT_DIGITS} digits after the point",
            node.describe()
        );
        problems.add(node.place, message);
    }
    weight
}

/// The types of the events that count, ascending, with their weights in thousandths.
fn events(node: &Node, problems: &mut Problems) -> Vec<(String, u64)> {
    let Some(given) = node.get("events") else { return Vec::new() };
    let one = 10_u64.pow(WEIGHT_DIGITS.into());
    let mut events: Vec<(String, u64)> = Vec::new();
    let mut add = |name: &str, weight: u64, place: Place, problems: &mut Problems| {
        if events.iter().any(|(other, _)| other == name) {
            problems.add(place, format!("the type `{name}` is there already"));
        } else {
            events.push((name.to_owned(), weight));
        }
    };
    match &given.content {
        Content::Mapping(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                add(&key.name, weight(value, problems).unwrap_or(one), key.place, problems);
            }
        }
        Content::Sequence(items) if !items.is_empty() => {
            for item in items {
                match item.text() {
                    Some(name) => add(name, one, item.place, problems),
                    None => problems.add(item.place, format!("expected a type of events, found {}", item.describe())),
                }
            }
        }
        Content::Mapping(_) | Content::Sequence(_) | Content::Scalar(_) => {
            let better = "write [view, purchase], or { view: 1, purchase: 5 }; leave it out if all count".to_owned();
            let message = format!("expected types of events, found {}", given.describe());
            problems.suggest(given.place, message, Some(better));
        }
    }
    events.sort();
    events
}

/// The view of what a user is interested in.
fn interest(key: &Key, node: &Node) -> Option<(Key, Node)> {
    let [name, _] = names(&key.name);
    let category = node.get("category").or_else(|| node.get("item"))?;
    let dimensions = vec![node.get("user")?.clone(), category.clone()];
    let mut view = view(node, dimensions)?;
    view.push(entry("keyed", plain(node.place, "true")));
    Some((Key { name, place: key.place }, Node { place: node.place, content: Content::Mapping(view) }))
}

/// The view of how often items occur.
fn items(key: &Key, node: &Node) -> Option<(Key, Node)> {
    let [_, name] = names(&key.name);
    let dimensions = std::iter::once(node.get("item")?.clone()).chain(node.get("category").cloned()).collect();
    let view = view(node, dimensions)?;
    Some((Key { name, place: key.place }, Node { place: node.place, content: Content::Mapping(view) }))
}

/// What both views have.
fn view(node: &Node, dimensions: Vec<Node>) -> Option<Vec<(Key, Node)>> {
    let place = node.place;
    let window = node.duration("window").unwrap_or(WINDOW).to_string();
    let windows = vec![plain(place_of(node, "window"), &window)];
    let mut view = vec![
        entry("from", node.get("from")?.clone()),
        entry("dimensions", Node { place, content: Content::Sequence(dimensions) }),
        entry("pane", plain(place_of(node, "pane"), &pane(node).to_string())),
        entry("windows", Node { place, content: Content::Sequence(windows) }),
    ];
    // what is wrong with them is said when they are compiled
    let types = events(node, &mut Problems::default());
    let of_type = [Field::new("type", Vec::new(), FieldType::String)];
    let mut measures = Vec::new();
    for (name, _) in &types {
        let condition = Expression::Compare(0, Comparison::Eq, Value::text(name));
        let measure = format!("count() where {}", condition.display(&of_type));
        measures.push((Key { name: measure_name(name, &measures), place }, text(place, &measure)));
    }
    if measures.is_empty() {
        measures.push(entry("events", text(place, "count()")));
    } else {
        let among = Expression::In(0, types.iter().map(|(name, _)| Value::text(name)).collect());
        view.push(entry("where", text(place, &among.display(&of_type).to_string())));
    }
    view.push(entry("measures", Node { place, content: Content::Mapping(measures) }));
    Some(view)
}

/// A name for the measure of a type: the type itself, as far as its letters may stand in a name.
fn measure_name(of_type: &str, taken: &[(Key, Node)]) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let plain: String = of_type.chars().take(48).map(letter).collect();
    let plain = if plain.starts_with(|c: char| c.is_ascii_lowercase()) { plain } else { format!("type_{plain}") };
    let is_free = |name: &String| taken.iter().all(|(key, _)| key.name != *name);
    let numbered = (2..).map(|n| format!("{plain}_{n}"));
    std::iter::once(plain.clone()).chain(numbered).find(is_free).unwrap_or_default()
}

fn entry(name: &str, node: Node) -> (Key, Node) {
    (Key { name: name.to_owned(), place: node.place }, node)
}

/// A scalar as it stands without quotes.
fn plain(place: Place, text: &str) -> Node {
    Node { place, content: Content::Scalar(Scalar { text: text.to_owned(), plain: true, verbatim: None }) }
}

/// A scalar in quotes.
fn text(place: Place, text: &str) -> Node {
    Node { place, content: Content::Scalar(Scalar { text: text.to_owned(), plain: false, verbatim: None }) }
}
