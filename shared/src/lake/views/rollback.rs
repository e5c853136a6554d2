//! Going back: a generation that carries the files of an earlier one, and its cut. The one way in which B decreases.
use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use serde_json::{Map, Value as Json};

use super::{Generation, Publication, ViewTable};
use crate::error::{Error, Result};
use crate::log::Offset;

/// What a generation that went back says of itself: the one whose files it carries.
const ROLLBACK_TO: &str = "rollback_to";

impl Generation {
    /// The generation whose files this one carries, where it was published to go back.
    pub fn rolled_back_to(&self) -> Option<u64> {
        self.info.get(ROLLBACK_TO).and_then(Json::as_u64)
    }
}

impl ViewTable {
    /// Publishes a generation that carries the files and the cut of generation `to`; by default of the one before what the newest
    /// generation carries. The speed layer holds nothing below the newest cut, so it has to begin again at this one; until then
    /// readers stay at the generation before. The caller holds the view's lease, so that no file is deleted meanwhile.
    ///
    /// # Errors
    /// `NotFound` naming the generations that one can go back to, when `to` is none of them; `Conflict` when another job
    /// published meanwhile; those of [`ViewTable::publish`].
    pub async fn roll_back(&self, to: Option<u64>, info: Map<String, Json>) -> Result<Generation> {
        let id = &self.view.id;
        let newest = self.latest().await?;
        let newest = newest.ok_or_else(|| Error::not_found(format!("view {id} has no generation yet")))?;
        let shown = newest.rolled_back_to().unwrap_or(newest.number);
        let to = to.unwrap_or_else(|| shown.saturating_sub(1));
        let earlier = self.history(1).await?;
        let there = self.objects().await?;
        let whole = |g: &&Generation| {
            let is_earlier = g.number < newest.number && g.incarnation == newest.incarnation;
            is_earlier && g.paths().all(|path| there.contains(path))
        };
        let whole: Vec<&Generation> = earlier.iter().filter(whole).collect();
        let Some(target) = whole.iter().find(|generation| generation.number == to) else {
            let numbers: Vec<String> = whole.iter().map(|generation| generation.number.to_string()).collect();
            let there_is = match &numbers[..] {
                [] => "no earlier one is kept whole".to_owned(),
                numbers => format!("all files are kept of {}", numbers.join(", ")),
            };
            return Err(Error::not_found(format!("view {id} cannot go back to generation {to}: {there_is}")));
        };
        let mut cut = target.cut.clone();
        // A position of the table cannot be taken away: a partition that was not known then is covered up to its start.
        let unknown = newest.cut.0.keys().filter(|number| !target.cut.0.contains_key(number));
        unknown.for_each(|number| cut.set(*number, Offset(0)));
        let mut info = info;
        info.insert(ROLLBACK_TO.to_owned(), to.into());
        info.insert("rewind".to_owned(), true.into());
        info.extend(target.info.get_key_value(super::EXCLUDED).map(|(key, value)| (key.clone(), value.clone())));
        let (parent, files) = (Some(newest.number), target.files.clone());
        let publication = Publication { parent, cut, incarnation: newest.incarnation.clone(), files, info };
        let commit = self.commit(Some(&newest), publication)?;
        self.table.commit(newest.number + 1, commit).await?;
        self.at(newest.number + 1).await
    }

    async fn objects(&self) -> Result<BTreeSet<Path>> {
        let found: Vec<ObjectMeta> = self.table.store().list(Some(self.table.root())).try_collect().await?;
        Ok(found.into_iter().map(|object| object.location).collect())
    }
}
