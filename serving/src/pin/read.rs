//! Reads what answers are made of: of each pinned view the blocks of its generation and those of the speed layer.
use std::sync::Arc;

use seam_shared::lake::view_file::by_key::{Slice, Wanted};
use seam_shared::time::Timestamp;
use seam_shared::view::definition::View;
use seam_shared::{Error, Kind};

use crate::Serving;
use crate::cache::BlockCache;
use crate::pin::halves::Halves;
use crate::pin::keyed;
use crate::pin::pinned::PinnedView;
use crate::query::Query;
use crate::scan::levels::{self, files_in};
use crate::scan::sessions;
use crate::scan::{self, Access, Cells, Piece};

/// Rows to merge beyond which the merge leaves the threads that serve requests: about a millisecond of work.
pub const INLINE_ROWS: usize = 60_000;

/// About how much work it is to merge what was read of a view, in rows.
fn effort(query: &Query, access: &Access<'_>, halves: &Halves, cache: &BlockCache) -> usize {
    let all = halves.rows();
    if all <= INLINE_ROWS {
        return all;
    }
    let of_all = |pieces: &[Piece]| pieces.iter().map(|piece| access.effort(query, piece, cache)).sum::<usize>();
    let speed: usize = halves.speed.iter().map(|block| access.effort(query, &Piece::whole(block.clone()), cache)).sum();
    match of_all(&halves.batch) + speed {
        plain if plain <= INLINE_ROWS => plain,
        _ => of_all(&access.joined_as_held(&Cells::new(&query.times), &halves.batch, cache)) + speed,
    }
}

/// How often an answer starts again because what it had pinned was retired under it.
const ATTEMPTS: u32 = 4;

impl Serving {
    /// After what was pinned could not be read, for the `attempts`th time: if it was retired meanwhile, looks for newer generations, so that
    /// whoever reads can pin again.
    ///
    /// # Errors
    /// What could not be read; `Unavailable` when something was retired under every attempt.
    pub(crate) async fn look_again(&self, error: Error, attempts: u32, views: &[Arc<View>]) -> Result<(), Error> {
        if error.kind() != Kind::NotFound {
            return Err(error);
        }
        if attempts >= ATTEMPTS {
            return Err(Error::unavailable(error.to_string()));
        }
        for view in views {
            self.batch_view(view).refresh().await?;
        }
        Ok(())
    }
    /// The blocks of what was pinned that hold panes in `range`; of a keyed view of which `slices` names keys, only their rows.
    ///
    /// # Errors
    /// `NotFound` when a file or segment was retired since it was pinned.
    pub(crate) async fn halves(
        &self,
        pinned: &[PinnedView],
        slices: &[Vec<Slice>],
        range: (Timestamp, Timestamp),
        with_begin: bool,
    ) -> Result<Vec<Halves>, Error> {
        let whole = || pinned.iter().zip(slices).filter(|(_, slices)| slices.is_empty()).map(|(view, _)| view);
        let files = whole().filter_map(|view| view.generation.as_ref()).flat_map(|g| files_in(g, range));
        self.check_rows(files.map(|file| file.rows))?;
        let mut out = Vec::with_capacity(pinned.len());
        for (view, keys) in pinned.iter().zip(slices) {
            if !keys.is_empty() {
                out.push(self.keyed_halves(view, Wanted { keys, range }, with_begin).await?);
                continue;
            }
            self.check_keyed(view, range)?;
            let mut halves = self.speed_half(view).await?;
            if let Some(generation) = &view.generation {
                let blocks = self.batch_view(&view.view).blocks(generation, range, self.cache()).await?;
                halves.batch = blocks.into_iter().map(Piece::whole).collect();
            }
            if with_begin {
                halves.begin = self.begin(view, &halves, range).await?;
            }
            out.push(halves);
        }
        Ok(out)
    }

    /// What each query scans of what was pinned: for each of them all views, one after another.
    pub(crate) async fn scanned(
        &self,
        queries: &[Arc<Query>],
        pinned: &[PinnedView],
        with_begin: bool,
    ) -> Result<Vec<Halves>, Error> {
        let wide: Vec<Option<Query>> = queries.iter().map(|query| sessions::widened(query)).collect();
        let queries: Vec<&Query> = queries.iter().zip(&wide).map(|(q, wide)| wide.as_ref().unwrap_or(q)).collect();
        let ranges = queries.iter().map(|query| scan::range(query));
        let range = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default();
        // Of each view its speed half; of one of which all queries name keys, the rows of these, once for all of them.
        let (mut speed, mut by_key) = (Vec::with_capacity(pinned.len()), Vec::with_capacity(pinned.len()));
        for view in pinned {
            let keys = keyed::slices(queries.iter().copied(), &view.view);
            if keys.is_empty() {
                self.check_keyed(view, range)?;
                speed.push(self.speed_half(view).await?);
                by_key.push(None);
            } else {
                speed.push(Halves::default());
                let wanted = Wanted { keys: &keys, range };
                by_key.push(Some(Box::pin(self.keyed_halves(view, wanted, with_begin)).await?));
            }
        }
        let mut out = Vec::with_capacity(pinned.len() * queries.len());
        for query in queries {
            let range = scan::range(query);
            for ((view, speed), by_key) in pinned.iter().zip(&speed).zip(&by_key) {
                let access = Access::new(query, &view.view);
                if access.is_empty() {
                    out.push(Halves::default());
                    continue;
                }
                if let Some(halves) = by_key {
                    out.push(Halves { effort: halves.rows(), ..halves.clone() });
                    continue;
                }
                let mut halves = speed.clone();
                if let Some(generation) = &view.generation {
                    let choices = levels::choose(generation, &Cells::new(&query.times), access.needed());
                    self.check_rows(choices.iter().map(|choice| choice.rows))?;
                    let batch = self.batch_view(&view.view);
                    halves.batch = batch.pieces(choices, &access, range, self.cache()).await?;
                }
                if with_begin {
                    halves.begin = Box::pin(self.begin(view, &halves, range)).await?;
                }
                halves.effort = effort(query, &access, &halves, self.cache());
                out.push(halves);
            }
        }
        Ok(out)
    }

    /// Refuses to read more of a keyed view than a look-up does.
    fn check_keyed(&self, view: &PinnedView, range: (Timestamp, Timestamp)) -> Result<(), Error> {
        let files = view.generation.iter().filter(|_| view.view.keyed).flat_map(|g| files_in(g, range));
        if files.map(|file| file.rows).sum::<u64>() > self.settings.keyed_rows as u64 {
            return Err(keyed::too_many(&view.view.name, self.settings.keyed_rows));
        }
        Ok(())
    }

    /// Refuses to read more rows of files than the settings say.
    pub(crate) fn check_rows(&self, files: impl Iterator<Item = u64>) -> Result<(), Error> {
        let (files, rows) = files.fold((0_u64, 0_u64), |(files, rows), file| (files + 1, rows + file));
        if rows > self.settings.query_rows {
            let most = self.settings.query_rows;
            let detail = format!(
                "the query reads about {rows} rows of {files} files; at most {most} are read: ask for less time"
            );
            return Err(Error::new(Kind::TooLarge, detail));
        }
        Ok(())
    }

    /// Where a pinned view's data begins: with its first pane. Where that is before `range`, any moment that is, too.
    ///
    /// # Errors
    /// `NotFound` when a file was retired since it was pinned.
    async fn begin(
        &self,
        pinned: &PinnedView,
        halves: &Halves,
        range: (Timestamp, Timestamp),
    ) -> Result<Option<Timestamp>, Error> {
        let mut first = halves.speed.iter().filter_map(|block| block.first_pane()).min();
        let files =
            pinned.generation.iter().flat_map(|g| g.files.iter().filter(|file| file.rows > 0).map(move |f| (g, f)));
        if let Some((generation, file)) = files.min_by_key(|(_, file)| file.slice_start) {
            if file.slice_end <= range.0 {
                return Ok(Some(file.slice_start));
            }
            let slice = (file.slice_start, file.slice_end);
            let blocks = self.batch_view(&pinned.view).blocks(generation, slice, self.cache()).await?;
            first = blocks.iter().filter_map(|block| block.first_pane()).chain(first).min();
        }
        Ok(first.map(|pane| pane.minus(pinned.view.pane)))
    }
}
