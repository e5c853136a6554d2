//! `seam diff`: how a view's numbers change under another definition, before it takes the name over.
//!
//! Old is the definition that runs (the newest edition of the lake's register with another one), new the configuration's. Both are
//! asked at one cut, that of the old one's newest generation: what has no generation there is computed from the archive, into memory.
//! The lake is only read.
mod compare;

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use seam_batch::compute;
use seam_serving::{Serving, Settings, Stores};
use seam_shared::access::Caller;
use seam_shared::clock::{Clock, SystemClock};
use seam_shared::config::{Config, MeasureOf, Metric, MetricKind};
use seam_shared::lake::archive::{ArchiveFile, ArchiveTable};
use seam_shared::lake::editions::Editions;
use seam_shared::lake::views::{Generation, Publication, ViewTable};
use seam_shared::log::OffsetVector;
use seam_shared::state::memory::MemoryState;
use seam_shared::telemetry::Telemetry;
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;
use seam_shared::{Error, Result};

use self::compare::{Difference, Numbers, Point, Points};
use crate::args;
use crate::command::batch::refuse_kappa;
use crate::configuration;
use crate::output::say;
use crate::runtime::runtime;
use crate::wire;

/// Rows of one page of an answer.
const PAGE: &str = "10000";
/// What a measure is asked as.
const METRIC: &str = "m";
/// The exit code where nothing could be compared: 1 says that something differs.
const TROUBLE: u8 = 2;

/// One of both definitions, and where its numbers lie.
struct Side {
    view: Arc<View>,
    lake: Arc<dyn ObjectStore>,
    generation: u64,
    /// How its numbers came about.
    from: String,
    /// The first pane's start and the last one's end, if there are any.
    span: Option<(Timestamp, Timestamp)>,
}

/// Compares every view, or one. Exit code 0 where nothing differs, 1 where something does, 2 after an error.
pub fn run(config: Config, command: &args::Diff) -> u8 {
    compare(config, command).map(u8::from).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        TROUBLE
    })
}

/// Whether anything differs.
fn compare(config: Config, command: &args::Diff) -> Result<bool> {
    refuse_kappa(&config)?;
    if let Some(name) = &command.view {
        configuration::view(&config, name)?;
    }
    let found = runtime()?.block_on(differences(&config, command))?;
    say!("{}", compare::written(&found, command)?);
    if command.output == args::Output::Csv {
        found.iter().for_each(|difference| eprintln!("{}", difference.summary()));
    }
    Ok(found.iter().any(Difference::is_one))
}

async fn differences(config: &Config, command: &args::Diff) -> Result<Vec<Difference>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lake = wire::lake(config)?;
    let others = Editions::new(lake.clone(), clock.clone()).others(config).await?;
    let mut found = Vec::new();
    for view in config.views.iter().filter(|view| command.view.as_ref().is_none_or(|name| *name == view.name)) {
        let earlier = others.iter().filter_map(|edition| edition.view(&view.name)).find(|old| old.id != view.id);
        let Some(old) = earlier else {
            let known = others.iter().any(|edition| edition.view(&view.name).is_some());
            let why = if known { "its definition is the one that runs" } else { "no other definition of it runs" };
            found.push(Difference::none(view, why));
            continue;
        };
        if old.source.name != view.source.name {
            let message = format!("view {} is of another source now: their offsets cannot be compared", view.name);
            return Err(Error::invalid(message));
        }
        let archive = ArchiveTable::existing(lake.clone(), &view.source, clock.clone()).await?;
        let nothing = || Error::not_found(format!("nothing of source {} is archived yet", view.source.name));
        let (archive, incarnation) = archive.ok_or_else(nothing)?;
        let both = Both { lake: &lake, clock: &clock, archive: &archive, incarnation: &incarnation };
        found.push(both.compare(config, old, view, command).await?);
    }
    Ok(found)
}

/// What both definitions are computed from.
struct Both<'a> {
    lake: &'a Arc<dyn ObjectStore>,
    clock: &'a Arc<dyn Clock>,
    archive: &'a ArchiveTable,
    incarnation: &'a str,
}

impl Both<'_> {
    async fn compare(
        &self,
        config: &Config,
        old: &Arc<View>,
        new: &Arc<View>,
        command: &args::Diff,
    ) -> Result<Difference> {
        let published = self.table(self.lake, old).latest().await?.filter(|g| g.incarnation == self.incarnation);
        let archive = self.archive.latest().await?;
        let cut = published.map_or_else(|| archive.positions.clone(), |generation| generation.cut);
        let files: Vec<Arc<ArchiveFile>> =
            archive.files.iter().filter(|file| file.to <= cut.get(file.partition)).cloned().collect();
        let (before, after) = (self.side(old, &cut, &files).await?, self.side(new, &cut, &files).await?);
        let common = |view: &View, name: &String| view.dimensions.iter().any(|d| d.name == *name);
        let unknown = command.by.iter().find(|name| !common(old, name) || !common(new, name));
        if let Some(unknown) = unknown {
            return Err(Error::not_found(format!("`{unknown}` is no dimension of both definitions of {}", new.name)));
        }
        let shared = old.dimensions.iter().map(|d| d.name.clone()).filter(|name| common(new, name));
        let dimensions = if command.by.is_empty() { shared.collect() } else { command.by.clone() };
        let span = [before.span, after.span].into_iter().flatten().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let question = span.map(|span| Question { config, command, dimensions: &dimensions, span });
        let mut numbers = [Numbers::new(), Numbers::new()];
        for (side, numbers) in [&before, &after].into_iter().zip(&mut numbers) {
            for measure in old.measures.iter().filter(|m| new.measures.iter().any(|n| n.name == m.name)) {
                let Some(question) = &question else { continue };
                for Point { key, value } in self.ask(side, &measure.name, question).await? {
                    numbers.entry(key).or_default().insert(measure.name.clone(), value);
                }
            }
        }
        let [old_numbers, new_numbers] = numbers;
        let names = |view: &View| view.measures.iter().map(|measure| measure.name.clone()).collect();
        Ok(Difference::new(
            new,
            [(old.id.to_string(), before.from, names(old)), (new.id.to_string(), after.from, names(new))],
            cut.to_text(&new.source.name),
            dimensions,
            (old_numbers, new_numbers),
        ))
    }

    fn table(&self, lake: &Arc<dyn ObjectStore>, view: &Arc<View>) -> ViewTable {
        ViewTable::new(lake.clone(), view.clone(), self.clock.clone())
    }

    /// A definition's numbers at the cut: its generation there, or one computed into memory.
    async fn side(&self, view: &Arc<View>, cut: &OffsetVector, files: &[Arc<ArchiveFile>]) -> Result<Side> {
        let newest = self.table(self.lake, view).latest().await?;
        let found = newest.filter(|generation| generation.cut == *cut && generation.incarnation == self.incarnation);
        let (lake, generation, from) = match found {
            Some(generation) => {
                let from = format!("generation {}", generation.number);
                (self.lake.clone(), generation, from)
            }
            None => {
                let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
                let generation = self.computed(&memory, view, cut, files).await?;
                (memory, generation, "computed from the archive".to_owned())
            }
        };
        let start = generation.files.iter().map(|file| file.slice_start).min();
        let end = generation.files.iter().map(|file| file.slice_end).max();
        Ok(Side { view: view.clone(), lake, generation: generation.number, from, span: start.zip(end) })
    }

    async fn computed(
        &self,
        memory: &Arc<dyn ObjectStore>,
        view: &Arc<View>,
        cut: &OffsetVector,
        files: &[Arc<ArchiveFile>],
    ) -> Result<Generation> {
        let table = Arc::new(self.table(memory, view));
        let days: BTreeSet<Timestamp> = files.iter().flat_map(|file| file.days.keys().copied()).collect();
        let counted = compute::counted(self.lake, &table, None, files.to_vec()).await?.map(Arc::new);
        let (mut made, settings) = (Vec::new(), compute::Settings::default());
        for day in days {
            made.extend(compute::day(self.lake, &table, files, counted.as_ref(), day, settings).await?);
        }
        let publication = Publication {
            parent: None,
            cut: cut.clone(),
            incarnation: self.incarnation.to_owned(),
            files: made,
            info: serde_json::Map::new(),
        };
        table.publish(publication).await
    }

    /// What one definition says of a measure in every bucket and group.
    async fn ask(&self, side: &Side, measure: &str, question: &Question<'_>) -> Result<Vec<Point>> {
        let serving = self.serving(side, measure, question.config)?;
        let mut points = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut asked = question.parameters(side);
            asked.extend(cursor.take().map(|cursor| ("cursor".to_owned(), cursor)));
            let refused = |refusal: seam_serving::query::Refusal| Error::new(refusal.kind, refusal.detail);
            let query = serving.parse(&Caller::trusted(), METRIC, &asked).map_err(refused)?;
            let answer = serving.answer(&query.into(), None).await.map_err(refused)?;
            let body = answer.body.unwrap_or_default();
            let read: Points =
                serde_json::from_slice(&body).map_err(|e| Error::internal("an answer has no points").because(e))?;
            points.extend(read.split(question.dimensions));
            match answer.next {
                Some(next) => cursor = Some(next),
                None => return Ok(points),
            }
        }
    }

    /// Answers from one definition's generation, with the measure as its only metric.
    fn serving(&self, side: &Side, measure: &str, config: &Config) -> Result<Serving> {
        let unknown = || Error::internal(format!("{} has no measure {measure}", side.view.id));
        let place = side.view.measures.iter().position(|m| m.name == measure).ok_or_else(unknown)?;
        let of = MeasureOf { view: side.view.clone(), measure: place, filter: None };
        let kind = MetricKind::Measure(of);
        let metric = Metric { name: METRIC.to_owned(), kind, help: None, unit: None, per: None };
        let (views, sources) = (vec![side.view.clone()], vec![side.view.source.clone()]);
        let config = Arc::new(Config { views, sources, metrics: vec![metric], ..config.clone() });
        let stores = Stores { log: None, state: Arc::new(MemoryState::default()), lake: side.lake.clone() };
        Ok(Serving::new(config, stores, self.clock.clone(), Arc::new(Telemetry::new()), Settings::default()))
    }
}

/// What both definitions are asked.
struct Question<'a> {
    config: &'a Config,
    command: &'a args::Diff,
    dimensions: &'a [String],
    span: (Timestamp, Timestamp),
}

impl Question<'_> {
    fn parameters(&self, side: &Side) -> Vec<(String, String)> {
        let Question { command, span: (start, end), .. } = self;
        let mut asked = vec![
            ("from", command.from.clone().unwrap_or_else(|| start.to_rfc3339())),
            ("to", command.to.clone().unwrap_or_else(|| end.to_rfc3339())),
            ("step", command.step.clone()),
            ("window", command.step.clone()),
            ("tz", command.tz.clone()),
            ("layer", "batch".to_owned()),
            ("fill", "none".to_owned()),
            ("generation", side.generation.to_string()),
            ("limit", PAGE.to_owned()),
        ];
        asked.extend(self.dimensions.iter().map(|name| ("dimension", name.clone())));
        asked.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
