//! Sinks: where a view's changes go, how often, and in which of the three modes.
use std::sync::Arc;

use super::report::{Place, Problems};
use super::tree::Node;
use super::{Intake, LogStorage, OWN_STREAM};
use crate::time::Span;
use crate::view::aggregate::partial::Aggregate;
use crate::view::definition::{StateKind, View};

/// How often a sink writes unless the file says otherwise.
const TRIGGER: Span = Span::MINUTE;
/// The shortest trigger: each one reads a snapshot.
const TRIGGER_MIN: Span = Span(100_000);

/// A view's sink.
#[derive(Debug, Clone)]
pub struct Sink {
    /// The view.
    pub view: Arc<View>,
    /// Where its records go.
    pub target: Target,
    /// Which groups are written.
    pub mode: OutputMode,
    /// How often, aligned to multiples of it in wall time.
    pub trigger: Span,
    /// The length of its tumbling windows, a multiple of the view's pane; the pane by default.
    pub window: Span,
    /// Of the windows that there are before the first output (in mode `complete`, at each), only those that end within so much
    /// time before are written; all of them by default.
    pub last: Option<Span>,
}

/// Where a sink's records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A topic of the log: of Kafka, or of the embedded one.
    Topic(SinkTopic),
    /// Standard output, one JSON object a line.
    Lines,
}

/// A topic that a sink writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkTopic {
    /// Its name.
    pub name: String,
    /// Its partitions when it is created.
    pub partitions: u32,
    /// Whether it is created as a compacted topic, which keeps the last record of each key.
    pub compact: bool,
}

/// Which groups an output holds. A group is a key in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// All of them.
    Complete,
    /// Each once, when its window is complete.
    Append,
    /// Those that changed since the last output.
    Update,
}

impl OutputMode {
    /// The word in the file.
    pub fn name(self) -> &'static str {
        match self {
            OutputMode::Complete => "complete",
            OutputMode::Append => "append",
            OutputMode::Update => "update",
        }
    }
}

impl Sink {
    /// The topic that it writes, if it writes one.
    pub fn topic(&self) -> Option<&SinkTopic> {
        match &self.target {
            Target::Topic(topic) => Some(topic),
            Target::Lines => None,
        }
    }
    /// What tells its outputs from those of any other: a sink that is changed in one of these begins anew.
    pub fn identity(&self) -> String {
        let target = self.topic().map_or("stdout", |topic| topic.name.as_str());
        format!("{}/{target}/{}/{}", self.view.name, self.mode.name(), self.window)
    }
}

/// The sinks of all views, in the file's order.
pub(super) fn compile(
    root: &Node,
    views: &[Arc<View>],
    intake: &[Intake],
    log: &LogStorage,
    problems: &mut Problems,
) -> Vec<Sink> {
    let mut sinks: Vec<Sink> = Vec::new();
    for (key, node) in root.get("views").map_or(&[][..], Node::entries) {
        let Some(node) = node.get("sink") else { continue };
        let target = target(node, intake, log, problems);
        // A view that is wrong itself has said so.
        let Some(view) = views.iter().find(|view| view.name == key.name) else { continue };
        refuse_sessions(view, node, problems);
        let Some(sink) = sink(view, target, node, problems) else { continue };
        if let Some(topic) = sink.topic()
            && let Some(other) = sinks.iter().find(|other| other.topic().is_some_and(|o| o.name == topic.name))
        {
            let message = format!(
                "the view `{}` writes the topic `{}` already: their records would take each other's place",
                other.view.name, topic.name
            );
            problems.add(place_of(node, "topic"), message);
        }
        sinks.push(sink);
    }
    sinks
}

fn place_of(node: &Node, key: &str) -> Place {
    node.get(key).map_or(node.place, |value| value.place)
}

fn sink(view: &Arc<View>, target: Option<Target>, node: &Node, problems: &mut Problems) -> Option<Sink> {
    let mode = match node.text_of("mode") {
        Some("complete") => OutputMode::Complete,
        Some("append") => OutputMode::Append,
        _ => OutputMode::Update,
    };
    let trigger = node.duration("trigger").unwrap_or(TRIGGER);
    if trigger < TRIGGER_MIN {
        problems.add(place_of(node, "trigger"), format!("a trigger is at least {TRIGGER_MIN}, not {trigger}"));
    }
    let window = node.duration("window").unwrap_or(view.pane);
    if window.0 % view.pane.0 != 0 {
        let below = Span(window.0 / view.pane.0 * view.pane.0);
        let above = Span(below.0 + view.pane.0);
        let near = if below.0 == 0 { format!("{above}") } else { format!("{below} or {above}") };
        let message = format!("the window {window} is no multiple of the view's pane {}", view.pane);
        problems.suggest(place_of(node, "window"), message, Some(format!("did you mean {near}?")));
    }
    Some(Sink { view: view.clone(), target: target?, mode, trigger, window, last: node.duration("last") })
}

/// A session can begin in another window than that of the event which changes it.
fn refuse_sessions(view: &View, node: &Node, problems: &mut Problems) {
    let is_session = |kind: StateKind| matches!(kind, StateKind::Partial(Aggregate::Sessions(_), _));
    if view.kinds().into_iter().any(is_session) {
        let message =
            "a view of sessions has no sink: one event can change, join or move sessions of windows before its own";
        problems.suggest(
            node.place,
            message,
            Some("ask for them over HTTP, or write the other measures from a view of their own".to_owned()),
        );
    }
}

fn target(node: &Node, intake: &[Intake], log: &LogStorage, problems: &mut Problems) -> Option<Target> {
    let (topic, lines) = (node.get("topic"), node.get("stdout"));
    let of_topics = ["partitions", "compact"].iter().filter_map(|key| node.get(key).map(|value| (*key, value.place)));
    match (topic, lines) {
        (Some(_), Some(lines)) => {
            problems.add(lines.place, "a sink writes to a topic or to standard output, not to both");
            None
        }
        (None, None) => {
            let hint = Some("write `topic: <name>` or `stdout: ndjson`".to_owned());
            problems.suggest(node.place, "the sink does not say where its records go", hint);
            None
        }
        (None, Some(_)) => {
            for (key, place) in of_topics {
                problems.add(place, format!("`{key}` is said of topics; this sink writes to standard output"));
            }
            Some(Target::Lines)
        }
        (Some(topic), None) => {
            if matches!(log, LogStorage::Embedded) {
                for (key, place) in of_topics {
                    let message = format!(
                        "`{key}` is said of Kafka's topics; one of the embedded log has one partition and keeps everything"
                    );
                    problems.add(place, message);
                }
            }
            let name = topic.text()?;
            check_topic(name, topic.place, intake, log, problems);
            let partitions = node.number("partitions").and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
            let compact = node.text_of("compact") == Some("true");
            Some(Target::Topic(SinkTopic { name: name.to_owned(), partitions, compact }))
        }
    }
}

/// A topic that a source reads would feed the view with its own answers.
fn check_topic(name: &str, place: Place, intake: &[Intake], log: &LogStorage, problems: &mut Problems) {
    if let Err(message) = super::sources::topic_name(name) {
        problems.add(place, message);
    }
    let prefix = match log {
        LogStorage::Kafka(storage) => storage.prefix.as_str(),
        LogStorage::Embedded => "",
    };
    let is_own = |source: &str| name.strip_prefix(prefix) == Some(source);
    let reads = |intake: &&Intake| intake.topic.as_deref().map_or(is_own(&intake.source), |topic| topic == name);
    if let Some(reader) = intake.iter().find(reads) {
        let message = format!(
            "the source `{}` reads the topic `{name}`: what the view writes would come back to it as events, without end",
            reader.source
        );
        problems.suggest(place, message, Some("name another topic".to_owned()));
    } else if is_own(OWN_STREAM) {
        problems.add(place, format!("`{name}` is the topic of Seam's own stream"));
    }
}
