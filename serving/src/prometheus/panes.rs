//! Series out of merged panes: what a leaf asks of the serving layer, and how its states become values.
mod ask;
mod table;

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashMap;
use seam_shared::access::Caller;
use seam_shared::time::Span;
use seam_shared::view::definition::View;
use seam_shared::view::rows::Rows;

use super::catalogue::{Catalogue, Definition};
use super::evaluate::{extreme, windows};
use super::failure::{Failure, Reason};
use super::source::{Leaf, Mark, Reads, Samples, Series, Source};
use crate::cache::BlockCache;
use crate::pin::halves::Halves;
use crate::query::{Query, Spelling};
use crate::scan::{Access, Piece, Scan};

pub use ask::{Ask, Extent, asks, keys};
pub use table::Table;

/// The names, as far as a caller may see what stands behind them.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The names.
    pub catalogue: &'a Catalogue,
    /// Who asks.
    pub caller: &'a Caller,
}

impl Seen<'_> {
    /// Whether the caller may see all views of a series.
    pub fn shows(&self, definition: &Definition) -> bool {
        definition.measures.iter().all(|measure| self.caller.admit(&measure.view).is_ok())
    }
    /// The series that are listed, by name.
    pub fn listed(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.catalogue.listed().iter().filter(|definition| self.shows(definition))
    }
    /// The series that a leaf means by their names.
    pub fn select(&self, leaf: &Leaf) -> Vec<Arc<Definition>> {
        self.catalogue.select(leaf).into_iter().filter(|definition| self.shows(definition)).collect()
    }
}

/// What each query scans, by its spelling: of all views, in their order.
pub type Halved = HashMap<Vec<u8>, Vec<Halves>>;

/// A query's spelling.
pub fn spelled(query: &Query) -> Vec<u8> {
    let mut spelling = Spelling::default();
    query.hash(&mut spelling);
    spelling.0
}

/// Views at one moment, as a source of series.
pub struct Panes<'a> {
    /// The names.
    pub seen: Seen<'a>,
    /// The views that were read, by id.
    pub views: Vec<Arc<View>>,
    /// What was read of them.
    pub halves: Halved,
    /// Roll-ups.
    pub cache: &'a BlockCache,
    /// What there is beside the views.
    pub marks: Vec<Mark>,
    /// Series of the largest leaf.
    pub series_max: usize,
}

impl Panes<'_> {
    fn rows(&self, query: &Query) -> Result<Rows, Failure> {
        let mut scan = Scan::new(query);
        let asked = |view: &Arc<View>| query.terms.iter().any(|term| term.view.id == view.id);
        // A name that went to another definition in between is asked for in other words.
        let halves = self.halves.get(&spelled(query)).ok_or_else(|| Failure {
            reason: Reason::Unavailable,
            text: "a view has changed while it was read; ask again".to_owned(),
        })?;
        for (view, halves) in self.views.iter().zip(halves).filter(|(view, _)| asked(view)) {
            let access = Access::new(query, view);
            for Piece { block, part } in &halves.batch {
                scan.add_part(&access, block, *part, self.cache)?;
            }
            for block in &halves.speed {
                scan.add(&access, block, self.cache)?;
            }
        }
        Ok(scan.finish()?)
    }
    /// What an ask comes to.
    ///
    /// # Errors
    /// As the scan, and when there are too many series.
    pub fn read<'a>(&self, ask: &'a Ask) -> Result<Table<'a>, Failure> {
        let mut table = Table::new(ask, self.series_max);
        if let Some(before) = &ask.before {
            table.add_before(&self.rows(before)?)?;
        }
        if let Some(query) = &ask.query {
            table.add(&self.rows(query)?)?;
        }
        Ok(table)
    }
}

impl Source for Panes<'_> {
    fn values(&self, leaf: &Leaf) -> Result<Vec<Series>, Failure> {
        let mut out: Vec<Series> = self.marks.iter().filter_map(|mark| mark.series(leaf)).collect();
        if !out.is_empty() && leaf.reads != Reads::Value {
            return Err(Failure::outside("ALERTS in a window", "ask for it as it is; query_range shows it over time"));
        }
        for ask in asks(self.seen, leaf)? {
            let table = self.read(&ask)?;
            match leaf.reads.window().filter(|_| ask.extent == Extent::Samples) {
                Some(window) => out.extend(over_samples(leaf, window, table.samples())),
                None => out.extend(table.series(&leaf.grid, leaf.reads == Reads::When)),
            }
        }
        Ok(out)
    }
    fn samples(&self, leaf: &Leaf, _: Span) -> Result<Vec<Samples>, Failure> {
        let mut out = Vec::new();
        for ask in asks(self.seen, leaf)? {
            out.extend(self.read(&ask)?.samples());
        }
        Ok(out)
    }
}

/// What is read of a window, from its samples.
fn over_samples(leaf: &Leaf, window: Span, samples: Vec<Samples>) -> impl Iterator<Item = Series> {
    samples.into_iter().map(move |Samples { labels, list }| {
        let of_window = |samples: &[(_, f64)]| match leaf.reads {
            Reads::Lowest(_) => extreme(samples, false),
            Reads::Highest(_) => extreme(samples, true),
            _ => Some(samples.last()?.1 - samples.first()?.1),
        };
        let values = windows(&list, &leaf.grid, window).map(of_window).collect();
        Series { labels, values }
    })
}
