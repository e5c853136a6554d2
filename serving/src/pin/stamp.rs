//! The stamp: the proof in every answer. It holds nothing but what the answer is a function of: no clock, no lag.
use std::sync::Arc;

use seam_shared::event::batch::Excluded;
use seam_shared::log::OffsetVector;
use seam_shared::view::definition::{StateDefinition, View};

use crate::json::Json;
use crate::pin::pinned::PinnedView;
use crate::query::Layer;
use crate::scan::Share;

/// What each half put into one view's part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shares {
    /// From the generation.
    pub batch: Share,
    /// From the speed layer.
    pub speed: Share,
}

/// What an answer reaches in every view: the smaller position in each partition.
pub fn common_coverage(pinned: &[PinnedView]) -> Vec<(String, OffsetVector)> {
    let mut out: Vec<(String, OffsetVector)> = Vec::new();
    for view in pinned {
        let (source, coverage) = (&view.view.source.name, view.coverage());
        match out.iter_mut().find(|(name, _)| name == source) {
            Some((_, common)) => {
                for (&number, &position) in &coverage.0 {
                    common.set(number, common.get(number).min(position));
                }
            }
            None => out.push((source.clone(), coverage)),
        }
    }
    out
}

/// Vectors of several sources in the spelling of the HTTP API.
pub fn coverage_text(coverage: &[(String, OffsetVector)]) -> String {
    let texts: Vec<String> = coverage.iter().map(|(source, vector)| vector.to_text(source)).collect();
    texts.join(",")
}

/// The stamp of all answers from one pin, but for the shares.
#[derive(Debug)]
pub struct Stamp {
    /// How far its answers reach: `flights/0@12`.
    pub coverage: String,
    before_views: Json,
    /// Each view and its part.
    views: Vec<(Arc<View>, Json)>,
}

impl Stamp {
    /// The stamp of what was pinned.
    pub fn new(layer: Layer, pinned: &[PinnedView]) -> Stamp {
        let mut json = Json::with_capacity(256);
        json.open('{').key("layer").text(layer.name());
        let coverage = coverage_text(&common_coverage(pinned));
        json.key("coverage").text(&coverage);
        let missing = || {
            let speed = pinned.iter().filter(|_| layer != Layer::Batch);
            speed.flat_map(|view| {
                view.parts.iter().filter(|(_, p)| p.held.is_none()).map(move |(n, p)| (view, *n, p.away))
            })
        };
        json.key("complete").bool(missing().next().is_none());
        json.key("stale").bool(missing().any(|(.., away)| away));
        json.key("missing").open('[');
        for (view, number, away) in missing() {
            json.open('{').key("view").text(&view.view.id);
            json.key("partition").text(&format!("{}/{number}", view.view.source.name));
            let why = if away { "the state store cannot be reached" } else { "the speed layer holds no state of it" };
            json.key("part").text("speed").key("why").text(why).close('}');
        }
        json.close(']').key("views").open('[');
        let views = pinned.iter().map(|pinned| (pinned.view.clone(), of_view(layer, pinned))).collect();
        Stamp { coverage, before_views: json, views }
    }
    /// Writes it for an answer into which each view put its shares; without them for one of several figures.
    pub fn write(&self, json: &mut Json, shares: Option<&[Shares]>) {
        json.copy(&self.before_views);
        for (i, (view, part)) in self.views.iter().enumerate() {
            json.copy(part);
            if let Some(shares) = shares.and_then(|shares| shares.get(i)) {
                json.key("shares").open('{');
                shares.write(json, view);
                json.close('}');
            }
            json.close('}');
        }
        json.close(']').close('}');
    }
}

impl Shares {
    /// Writes both, what they are of `view`, as members of the object that is open.
    pub fn write(&self, json: &mut Json, view: &View) {
        let counts_events = view.states.iter().any(StateDefinition::counts_events);
        for (is_batch, share) in [(true, self.batch), (false, self.speed)] {
            json.key(if is_batch { "batch" } else { "speed" }).open('{').key("rows").number(share.rows);
            if counts_events {
                json.key("events").number(share.events);
            }
            json.close('}');
        }
    }
}

/// A view's part of the stamp, still open.
fn of_view(layer: Layer, pinned: &PinnedView) -> Json {
    let view = &pinned.view;
    let source = &view.source.name;
    let definition = view.id.rsplit_once('@').map_or("", |(_, hash)| hash);
    let mut json = Json::with_capacity(512);
    json.open('{').key("view").text(&view.name).key("id").text(&view.id).key("definition").text(definition);
    if let Some(successor) = &pinned.successor {
        json.key("building").text(successor);
    }
    json.key("source").text(source);
    json.key("generation");
    match &pinned.generation {
        Some(generation) => json.number(generation.number),
        None => json.null(),
    };
    json.key("batch");
    match &pinned.generation {
        Some(generation) => write_vector(&mut json, source, &generation.cut),
        None => json.null(),
    };
    json.key("speed");
    match layer {
        Layer::Batch => json.null(),
        Layer::Merged | Layer::Speed => write_vector(&mut json, source, &pinned.positions()),
    };
    if layer == Layer::Speed {
        let from = pinned.parts.iter().map(|(&number, part)| (number, part.from)).collect();
        write_vector(json.key("speed_from"), source, &OffsetVector(from));
    }
    write_vector(json.key("coverage"), source, &pinned.coverage());
    json.key("excluded");
    match pinned.excluded() {
        Some(Excluded { invalid, duplicates }) => {
            json.open('{').key("invalid").number(invalid).key("duplicates").number(duplicates).close('}')
        }
        None => json.null(),
    };
    json
}

fn write_vector<'a>(json: &'a mut Json, source: &str, vector: &OffsetVector) -> &'a mut Json {
    json.open('{').key("text").text(&vector.to_text(source)).key("positions").open('{');
    for (number, position) in &vector.0 {
        json.named(&number.to_string()).number(position.0);
    }
    json.close('}').close('}')
}
