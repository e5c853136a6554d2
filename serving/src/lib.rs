//! Serving: generation ⊕ speed state -> answer. What comes in is a query; what goes out is a merged answer with its stamp.
//!
//! Promises: an answer counts each event below its coverage exactly once, or there is no answer; the same entity tag means the
//! same bytes; nothing here writes to log or state, and into the lake nothing but [`alerts`] the state of its rules.

// the way of an answer: what is asked, what it is asked of, what is read of that, what it comes to, and how it leaves
pub mod query;

pub mod pin;

pub mod block;
mod cache;
pub mod scan;

pub mod present;

pub mod answer;

pub mod advice;

// how it is asked for, and by whom
pub mod access;
pub mod http;
pub mod prometheus;

// who is told of what
pub mod alerts;

mod deadline;
pub mod json;
mod percent;
pub mod problem;
#[cfg(test)]
mod testing;

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use object_store::ObjectStore;
use seam_shared::Result;
use seam_shared::access::Caller;
use seam_shared::clock::Clock;
use seam_shared::config::{Config, Metric};
use seam_shared::lake::archive::ArchiveTable;
use seam_shared::lake::editions::Editions;
use seam_shared::lock;
use seam_shared::log::EventLog;
use seam_shared::state::{StateStore, ViewId};
use seam_shared::telemetry::Telemetry;
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::View;
use tokio_util::sync::CancellationToken;

use advice::Advice;
use answer::again::Asked;
use answer::kept::Body;
use answer::page::{PAGES_BYTES, Page};
use answer::sheet::Sheet;
use cache::BlockCache;
use cache::door::Door;
use cache::lru::Lru;
use pin::Pins;
use pin::batch_view::BatchView;
use pin::keyed::Footers;
use pin::names::Names;
use pin::speed_view::SpeedView;
use pin::topics::Topics;
use query::inquiry::Inquiry;
use query::{Catalog, Format, Query, Refusal, Request};

pub use http::router;

/// Bytes of questions that are kept as they were read.
const QUESTIONS_BYTES: usize = 8 * 1024 * 1024;

/// What may be tuned.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bytes of decoded batch files and closed segments to keep.
    pub cache_bytes: usize,
    /// Bytes of finished answers to keep.
    pub answer_bytes: usize,
    /// How old a snapshot of the state store may be when queries share it.
    pub share_snapshots_for: Duration,
    /// Rows of batch files that one query may read.
    pub query_rows: u64,
    /// Rows of a keyed view's files that one query may hold.
    pub keyed_rows: usize,
    /// Points that one query may have, where that is known before they are computed.
    pub query_points: usize,
    /// How often new generations and the log's ends are looked for in the background.
    pub refresh_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_bytes: 512 * 1024 * 1024,
            answer_bytes: 64 * 1024 * 1024,
            share_snapshots_for: Duration::from_millis(2),
            query_rows: 500_000_000,
            keyed_rows: 2_000_000,
            query_points: query::POINTS_MAX,
            refresh_every: Duration::from_secs(1),
        }
    }
}

/// Where things are kept, as the wiring chose it.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The log, for lag and readiness; answers do without it.
    pub log: Option<Arc<dyn EventLog>>,
    /// The speed layer's state.
    pub state: Arc<dyn StateStore>,
    /// The lake.
    pub lake: Arc<dyn ObjectStore>,
}

/// The serving layer of one configuration.
#[derive(Debug)]
pub struct Serving {
    catalog: Catalog,
    lake: Arc<dyn ObjectStore>,
    /// The configured views, and those of earlier definitions that were asked for.
    batch: RwLock<HashMap<ViewId, Arc<BatchView>>>,
    names: Names,
    speed: SpeedView,
    pins: Pins,
    cache: Arc<BlockCache>,
    /// What is known of keyed views' files.
    footers: Footers,
    /// Finished answers by tag.
    answers: Lru<String, Body>,
    /// Lists of which there are further pages, by tag.
    pages: Lru<String, Arc<Page>>,
    /// The same of several metrics.
    sheets: Lru<String, Arc<Sheet>>,
    /// Questions by URL and who asks.
    questions: Lru<String, Arc<Asked>>,
    /// What is kept of recommendations.
    advice: Advice,
    door: Door,
    /// What is known of alerts.
    alerts: alerts::Board,
    topics: Topics,
    /// The archives that were found in it, by source.
    archives: Mutex<HashMap<String, Arc<ArchiveTable>>>,
    /// Views whose answers have reached what the log held when serving began.
    caught_up: Mutex<HashSet<ViewId>>,
    clock: Arc<dyn Clock>,
    telemetry: Arc<Telemetry>,
    settings: Settings,
}

impl Serving {
    /// Serving of `config` from `stores`. Nothing is read before [`Serving::refresh`].
    pub fn new(
        config: Arc<Config>,
        stores: Stores,
        clock: Arc<dyn Clock>,
        telemetry: Arc<Telemetry>,
        settings: Settings,
    ) -> Serving {
        let batch_view = |view: &Arc<View>| Arc::new(BatchView::new(stores.lake.clone(), view.clone(), clock.clone()));
        Serving {
            batch: RwLock::new(config.views.iter().map(|view| (view.id.clone(), batch_view(view))).collect()),
            names: Names::new(Editions::new(stores.lake.clone(), clock.clone())),
            lake: stores.lake,
            topics: Topics::new(stores.log, &config),
            alerts: alerts::Board::new(&config),
            catalog: Catalog::new(config),
            speed: SpeedView::new(stores.state),
            archives: Mutex::default(),
            pins: Pins::default(),
            cache: Arc::new(BlockCache::new(settings.cache_bytes)),
            footers: Footers::new(pin::keyed::FOOTERS_BYTES),
            answers: Lru::new(settings.answer_bytes),
            pages: Lru::new(PAGES_BYTES),
            sheets: Lru::new(PAGES_BYTES),
            questions: Lru::new(QUESTIONS_BYTES),
            caught_up: Mutex::default(),
            advice: Advice::default(),
            door: Door::default(),
            clock,
            telemetry,
            settings,
        }
    }
    /// Looks for new generations, partitions and log ends once; the first call makes serving ready to answer.
    ///
    /// # Errors
    /// What log or lake answered; what could be refreshed is.
    pub async fn refresh(&self) -> Result<()> {
        let (topics, views) = self.look().await;
        let names = self.settle_names().await;
        views.and(topics).and(names)
    }
    /// The log and the lake, looked at side by side: neither has to wait for the other if that is away.
    pub(crate) async fn look(&self) -> (Result<()>, Result<()>) {
        let views = futures::future::join_all(
            self.batch_views().into_iter().map(|view| async move { view.refresh_ready(&self.cache).await }),
        );
        let (topics, views) = futures::future::join(self.topics.refresh(self.clock.now()), views).await;
        (topics, views.into_iter().collect::<Result<Vec<bool>>>().map(|_| ()))
    }
    /// Refreshes until cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut failing = false;
        loop {
            match self.refresh().await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    tracing::warn!(%error, "serving cannot refresh; it goes on with what it knows");
                    failing = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(self.settings.refresh_every) => {}
            }
        }
    }
    /// Reads and checks a metric query, with `now` from the clock; the answer is JSON.
    ///
    /// # Errors
    /// A refusal that names the parameter.
    pub fn parse(&self, caller: &Caller, metric: &str, parameters: &[(String, String)]) -> Result<Query, Refusal> {
        query::parse(&self.catalog, Request { caller, metric, parameters, now: self.now(), format: Format::Json })
    }
    /// The same for a metric whose name may end with a format; else the answer is in `format`.
    pub(crate) fn parse_as(
        &self,
        caller: &Caller,
        metric: &str,
        parameters: &[(String, String)],
        format: Format,
    ) -> Result<Query, Refusal> {
        let (metric, asked) = self.catalog.split_extension(metric);
        let format = asked.unwrap_or(format);
        query::parse(&self.catalog, Request { caller, metric, parameters, now: self.now(), format })
    }
    /// Reads and checks the body of a caller's inquiry, with `now` from the clock.
    ///
    /// # Errors
    /// A refusal that points to the member at fault.
    pub fn inquire(&self, caller: &Caller, body: &[u8], format: Format) -> Result<Inquiry, Refusal> {
        query::inquiry::parse(&self.catalog, caller, body, self.now(), format)
    }
    /// Whether a metric's name ends with the extension of a format.
    pub(crate) fn names_a_format(&self, metric: &str) -> bool {
        self.catalog.split_extension(metric).1.is_some()
    }
    /// What can be asked for now, in the file's order: while a changed view is being built, its metrics are those of the definition
    /// before.
    pub fn metrics(&self) -> Vec<Arc<Metric>> {
        self.catalog.metrics()
    }
    /// The configuration.
    pub fn config(&self) -> &Arc<Config> {
        self.catalog.config()
    }

    /// What `now` means: the end of this second. Panes are whole seconds, so that no window depends on less.
    fn now(&self) -> Timestamp {
        self.clock.now().ceil(Span::SECOND)
    }
    fn batch_view(&self, view: &Arc<View>) -> Arc<BatchView> {
        if let Some(known) = lock::read(&self.batch).get(&view.id) {
            return known.clone();
        }
        let new = || Arc::new(BatchView::new(self.lake.clone(), view.clone(), self.clock.clone()));
        lock::write(&self.batch).entry(view.id.clone()).or_insert_with(new).clone()
    }
    fn batch_views(&self) -> Vec<Arc<BatchView>> {
        lock::read(&self.batch).values().cloned().collect()
    }
    fn speed(&self) -> &SpeedView {
        &self.speed
    }
    fn cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }
}
