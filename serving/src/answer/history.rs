//! Looking back: answers from an earlier generation, and the list of those there are.
use std::sync::Arc;

use futures::TryStreamExt;
use hashbrown::HashSet;
use object_store::ObjectStore;
use object_store::path::Path;
use seam_shared::lake::views::Generation;
use seam_shared::view::definition::View;
use seam_shared::{Error, Kind};
use tokio::time::Instant;

use crate::Serving;
use crate::pin::Pin;
use crate::pin::etag;
use crate::pin::pinned::PinnedView;
use crate::pin::stamp::Stamp;
use crate::query::{Query, Refusal, Which};

/// A generation of the list.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The generation.
    pub generation: Generation,
    /// Whether all of its files are still there, so that it can be asked.
    pub available: bool,
}

/// A refusal that says which generations there are.
fn no_such(view: &View, asked: &str, newest: Option<u64>) -> Refusal {
    let there_is = match newest {
        None => "it has none yet".to_owned(),
        Some(1) => "there is generation 1".to_owned(),
        Some(newest) => format!("there are generations 1 to {newest}"),
    };
    let detail = format!("view {} has no generation {asked}; {there_is}", view.id);
    Refusal { kind: Kind::NotFound, problem: "no-such-generation", detail, parameter: None, suggestion: None }
}

/// What a generation is made of is not kept any more.
pub(crate) fn retired(why: &Error) -> Refusal {
    let detail = format!(
        "what this answer is made of is not kept any more ({why}); GET /api/analytics/generations/<view> lists the generations that are"
    );
    Refusal { kind: Kind::NotFound, problem: "generation-retired", detail, parameter: None, suggestion: None }
}

impl Serving {
    /// Pins an earlier generation; by itself, or with all that the speed layer holds from its cut on.
    pub(crate) async fn pin_at(&self, query: &Query, views: &[Arc<View>], which: Which) -> Result<Arc<Pin>, Refusal> {
        let [view] = views else {
            let detail = "the metric is made of two views, each with generations of its own; ask for its parts";
            return Err(Refusal::parameter("generation", detail));
        };
        let taken = Instant::now();
        let generation = Arc::new(self.earlier(view, which).await?);
        let partitions = generation.cut.0.keys().last().map_or(0, |last| last + 1);
        let partitions = partitions.max(self.partitions_of(&view.source.name));
        let parts = self.parts_from(view, &generation, partitions, query.layer).await.map_err(|error| {
            let detail = format!("{error}; ask for it alone with layer=batch");
            Refusal { detail, problem: "generation-retired", ..Refusal::from(error) }
        })?;
        let successor = self.names.successor(view);
        let views = vec![PinnedView { view: view.clone(), generation: Some(generation), successor, parts }];
        if let Some(wanted) = query.min_position.as_ref().filter(|wanted| !views[0].coverage().covers(wanted)) {
            let (source, reached) = (query.source(), views[0].coverage());
            let detail = format!("the generation reaches {}, not {}", reached.to_text(source), wanted.to_text(source));
            return Err(Refusal::parameter("min_position", detail));
        }
        let (digest, stamp) = (etag::digest(query.layer, &views), Arc::new(Stamp::new(query.layer, &views)));
        Ok(Arc::new(Pin { lag: None, building: self.building_text(&views), views, taken, digest, stamp }))
    }

    async fn earlier(&self, view: &Arc<View>, which: Which) -> Result<Generation, Refusal> {
        let batch = self.batch_view(view);
        batch.refresh().await?;
        let newest = batch.pin().map(|generation| generation.number);
        match which {
            Which::Number(number) if newest.is_some_and(|newest| number <= newest) => Ok(batch.at(number).await?),
            Which::Number(number) => Err(no_such(view, &number.to_string(), newest)),
            Which::AsOf(moment) => {
                let all = batch.history(1).await?;
                let found = all.into_iter().rev().find(|generation| generation.published <= moment);
                found.ok_or_else(|| no_such(view, &format!("as of {moment}"), newest))
            }
        }
    }

    /// The newest generations of a view, at most that many, the newest first.
    ///
    /// # Errors
    /// `NotFound` for a name that is no view's; those of the lake.
    pub async fn generations(&self, view: &Arc<View>, limit: u64) -> Result<Vec<Entry>, Refusal> {
        let batch = self.batch_view(view);
        batch.refresh().await?;
        let Some(newest) = batch.pin() else { return Ok(Vec::new()) };
        let there = self.files_of(view).await?;
        let all = batch.history(newest.number.saturating_sub(limit - 1).max(1)).await?;
        let entry = |generation: Generation| {
            let available = generation.paths().all(|path| there.contains(path));
            Entry { generation, available }
        };
        Ok(all.into_iter().rev().map(entry).collect())
    }

    async fn files_of(&self, view: &View) -> Result<HashSet<Path>, Error> {
        let root = Path::from("views").join(view.id.as_ref());
        let found: Vec<_> = self.lake.list(Some(&root)).try_collect().await.map_err(Error::from)?;
        Ok(found.into_iter().map(|object| object.location).collect())
    }
}

#[cfg(test)]
mod tests;
