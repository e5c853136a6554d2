//! Recommendations: what a user's interest, an item's popularity and its recency come to, from two views at one pin.
//!
//! `http/recommendations.rs` asks; [`question`] checks what is asked, [`ranking`] and [`score`] say what it comes to, [`write`] how it is
//! written. What is counted is merged from both layers as for any answer, so that all that is promised of answers holds.
mod collect;
mod question;
mod ranking;
mod score;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use seam_shared::lake::view_file::by_key::Slice;
use seam_shared::time::Timestamp;
use seam_shared::view::value::Value;
use seam_shared::{Error, Kind};

use crate::Serving;
use crate::answer::Answer;
use crate::answer::kept::Body;
use crate::cache::lru::Lru;
use crate::deadline::within;
use crate::pin::pinned::PinnedView;
use crate::pin::{Pin, etag};
use crate::query::Refusal;

pub use question::{PARAMETERS, Question, question};
pub use ranking::ITEMS_MAX;

use ranking::{Ranking, Tally};
use score::{Amount, Formula};

/// Bytes of rankings that are kept: about 150 an item of a generation.
const RANKINGS_BYTES: usize = 512 << 20;
/// Bytes of answers that are kept for users who ask again too soon.
const ANSWERS_BYTES: usize = 16 << 20;

/// What is sent to whoever has the answer.
const NOTHING: Body = Body { bytes: bytes::Bytes::new(), next: None };

/// What is kept from one recommendation to the next.
#[derive(Debug)]
pub struct Advice {
    rankings: Lru<[u8; 32], Arc<Ranking>>,
    /// One is made at a time.
    making: tokio::sync::Mutex<()>,
    /// The same of those of other moments, which nobody else waits for.
    looking_back: tokio::sync::Mutex<()>,
    /// The last answer to a question, and when it was made.
    given: Lru<Vec<u8>, (Timestamp, Arc<Given>)>,
}

/// An answer that may be given again.
#[derive(Debug)]
struct Given {
    tag: String,
    body: Body,
    coverage: String,
}

impl Default for Advice {
    fn default() -> Advice {
        Advice {
            rankings: Lru::new(RANKINGS_BYTES),
            making: tokio::sync::Mutex::default(),
            looking_back: tokio::sync::Mutex::default(),
            given: Lru::new(ANSWERS_BYTES),
        }
    }
}

/// A recommended item, its parts in millionths.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recommended {
    pub(crate) item: Value,
    pub(crate) category: Value,
    pub(crate) score: u64,
    pub(crate) interest: u64,
    pub(crate) popularity: u64,
    pub(crate) recency: u64,
}

/// What a user is interested in, by category.
type Interests = BTreeMap<Value, Amount>;

impl Serving {
    /// Answers what is recommended to a user; with `known` that names the answer's tag, nothing is computed.
    ///
    /// # Errors
    /// As [`Serving::answer`].
    pub async fn recommend(self: &Arc<Self>, question: &Arc<Question>, known: Option<&str>) -> Result<Answer, Refusal> {
        let (moment, interval) = (self.clock.now(), question.recommendation.min_interval);
        let interval = interval.filter(|_| question.is_of_now);
        if let (Some(interval), Some((made, given))) = (interval, self.advice.given.get(&question.asked))
            && made <= moment
            && moment < made.plus(interval)
        {
            return Ok(answer(question, &given.tag, given.body.clone(), given.coverage.clone(), known));
        }
        let made = within(question.query.timeout, self.recommended(question, known)).await?;
        if let (Some(_), Some(body)) = (interval, &made.body) {
            let bytes = body.len() + question.asked.len();
            let body = Body { bytes: body.clone(), next: None };
            let given = Given { tag: made.tag.clone(), body, coverage: made.coverage.clone() };
            self.advice.given.insert(question.asked.clone(), (moment, Arc::new(given)), bytes);
        }
        Ok(made)
    }

    async fn recommended(self: &Arc<Self>, question: &Arc<Question>, known: Option<&str>) -> Result<Answer, Refusal> {
        let queries = std::slice::from_ref(&question.query);
        let keep = self.door.knock(&question.spelling);
        let mut attempts = 0;
        loop {
            let pin = self.pin_for(queries, &question.views, attempts > 0).await?;
            let tag = etag::tag(&question.spelling, &pin.digest);
            let is_known = known.is_some_and(|header| etag::matches(header, &tag));
            let kept = if is_known { Some(NOTHING) } else { self.kept(&tag) };
            let is_new = kept.is_none();
            let made = match kept {
                Some(body) => Ok(body),
                None => self.body(question, &pin).await,
            };
            match made {
                Ok(body) => {
                    if is_new && keep {
                        self.keep(&tag, &body);
                    }
                    let answer = answer(question, &tag, body, pin.stamp.coverage.clone(), known);
                    let (lag, building) = (pin.lag.clone(), pin.building.clone());
                    return Ok(Answer { lag, building, pinned: Some(pin.digest), ..answer });
                }
                Err(error) => {
                    attempts += 1;
                    self.look_again(error, attempts, &question.views).await?;
                }
            }
        }
    }

    async fn body(self: &Arc<Self>, question: &Arc<Question>, pin: &Arc<Pin>) -> Result<Body, Error> {
        let interests = self.interests(question, pinned(pin, &question.interest.id)?).await?;
        let ranking = if question.is_current {
            // What is begun is made, also if whoever asked first does not wait for it: who asks again finds it.
            let (serving, asked, of) = (self.clone(), question.clone(), pin.clone());
            let made = tokio::spawn(async move { serving.ranking(&asked, pinned(&of, &asked.items.id)?).await });
            made.await.map_err(|error| Error::internal("a ranking failed").because(error))??
        } else {
            // There is no end of other moments: theirs is made for whoever waits for it, and not kept.
            let _one_at_a_time = self.advice.looking_back.lock().await;
            self.ranking(question, pinned(pin, &question.items.id)?).await?
        };
        let best = best(question, &interests, &ranking);
        let bytes = write::body(question, &best, &ranking, &pin.stamp)?.into();
        Ok(Body { bytes, next: None })
    }

    /// What the user is interested in: the amounts of its events by category.
    async fn interests(&self, question: &Question, pinned: &PinnedView) -> Result<Interests, Error> {
        let range = (question.interest_of.after, question.interest_of.decay.until);
        let slice: Slice = (question.user_dimension, vec![question.user.clone()]);
        let halves = self.halves(std::slice::from_ref(pinned), &[vec![slice]], range, false).await?;
        let mut interests = Interests::new();
        for block in halves.iter().flat_map(|halves| halves.blocks()) {
            question.interest_of.visit(block, |row| {
                let category = row.value(question.interest_dimension);
                if *row.value(question.user_dimension) == question.user && *category != Value::Null {
                    row.add_to(interests.entry(category.clone()).or_default());
                }
            });
        }
        Ok(interests)
    }
}

fn pinned<'p>(pin: &'p Pin, id: &str) -> Result<&'p PinnedView, Error> {
    let found = pin.views.iter().find(|pinned| *pinned.view.id == *id);
    found.ok_or_else(|| Error::internal("a view was not pinned"))
}

fn answer(question: &Question, tag: &str, body: Body, coverage: String, known: Option<&str>) -> Answer {
    let is_known = known.is_some_and(|header| etag::matches(header, tag));
    Answer {
        tag: tag.to_owned(),
        pinned: None,
        body: (!is_known).then_some(body.bytes),
        lag: None,
        building: None,
        coverage,
        next: None,
        format: question.query.format,
    }
}

/// The items with the highest scores; of equal ones, those that come first in the order of their values.
fn best(question: &Question, interests: &Interests, ranking: &Ranking) -> Vec<Recommended> {
    let by_item = question.category_dimension.is_none();
    let most = interests.values().max().copied().unwrap_or_default();
    let of_category: HashMap<u32, u64> =
        interests.iter().filter_map(|(name, amount)| Some((ranking.category(name)?, amount.of(most)))).collect();
    let codes: Vec<u32> = of_category.keys().copied().collect();
    let interest = |item: &Value, tally: &Tally| match by_item {
        true => interests.get(item).map_or(0, |amount| amount.of(most)),
        false => tally.categories.iter().filter_map(|code| of_category.get(code)).max().copied().unwrap_or(0),
    };
    let formula = Formula { weights: question.recommendation.weights, most: ranking.most() };
    let decay = question.items_of.decay;
    let candidates = ranking.candidates(&codes, interests.keys().filter(|_| by_item), question.limit);
    let scored = candidates.into_iter().map(|(item, tally)| {
        let (interest, recency) = (interest(item, tally), decay.recency(tally.last));
        (formula.score(interest, tally.amount, recency), item, tally, interest, recency)
    });
    let mut scored: Vec<_> = scored.collect();
    scored.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.truncate(question.limit);
    let recommended = scored.into_iter().map(|(score, item, tally, interest, recency)| {
        // of several categories, the one that interests most
        let order = |code: &&u32| (std::cmp::Reverse(of_category.get(*code)), ranking.name(**code));
        let category = tally.categories.iter().min_by_key(order).map(|code| ranking.name(*code).clone());
        Recommended {
            item: item.clone(),
            category: category.unwrap_or(Value::Null),
            score: formula.shown(score),
            interest,
            popularity: tally.amount.of(ranking.most()),
            recency,
        }
    });
    recommended.collect()
}

/// The refusal of what the definitions before the newest, which still answer, cannot say.
fn being_built(view: &str) -> Refusal {
    let detail = format!("view {view} is being built; the one before it has other dimensions");
    Refusal::from(Error::new(Kind::Unavailable, detail)).named("being-built")
}

#[cfg(test)]
mod tests;
