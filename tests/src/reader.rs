//! A reader: asks serving something, and compares what it is told with the oracle at the answer's own stamp.
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use seam_serving::Serving;
use seam_serving::query::{Query, Question};
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::oracle::Oracle;
use seam_shared::view::value::Value;
use serde_json::Value as Json;

use crate::dice::Dice;
use crate::fault::has_paused;
use crate::generate;

/// How often a reader is polled before it gives up; those that wait for better times are not waited for.
const PATIENCE: u64 = 400;
/// How often a reader looks whether another thread has done its part.
const WAITS: u32 = 15;

/// What a reader has come to.
#[derive(Debug)]
pub enum Answered {
    /// It still reads.
    NotYet,
    /// It had nothing to be told.
    Done,
    /// It was refused, or waited too long.
    GaveUp(String),
    /// It was told this.
    With(Box<Told>),
}

/// An answer.
#[derive(Debug)]
pub struct Told {
    query: Arc<Query>,
    body: Json,
    /// How far it says it reaches.
    pub coverage: OffsetVector,
}

type Asking = Pin<Box<dyn Future<Output = Answered>>>;

/// A question under way.
pub struct Reader {
    asking: Asking,
    patience: u64,
}

impl Reader {
    /// Makes serving look for new generations.
    pub fn refreshing(serving: Arc<Serving>) -> Reader {
        let asking = Box::pin(async move {
            let _: seam_shared::Result<()> = serving.refresh().await;
            Answered::Done
        });
        Reader { asking, patience: PATIENCE }
    }

    /// Asks one of the metrics for one window.
    pub fn asking(serving: Arc<Serving>, dice: &Dice) -> Option<Reader> {
        let metric = dice.pick(&["events", "spend", "delay", "pricey"]);
        let window = dice.pick(&["1m", "5m", "7m"]);
        let at = Timestamp(generate::START).floor(Span::MINUTE).minus(Span(dice.below(6) as i64 * Span::MINUTE.0));
        let mut parameters = vec![("window".to_owned(), window.to_owned()), ("at".to_owned(), at.to_rfc3339())];
        if metric != "pricey" && dice.one_in(2) {
            parameters.push(("dimension".to_owned(), "page".to_owned()));
        }
        let question = Question::from(serving.parse(metric, &parameters).ok()?);
        let asking = Box::pin(async move {
            let body = match serving.answer(&question, None).await {
                Ok(answer) => answer.body.expect("no tag was known"),
                Err(refusal) => return Answered::GaveUp(refusal.detail),
            };
            let body: Json = serde_json::from_slice(&body).expect("answers are JSON");
            let positions = body["meta"]["stamp"]["views"][0]["coverage"]["positions"].as_object();
            let mut coverage = OffsetVector::default();
            for (number, position) in positions.into_iter().flatten() {
                let number = number.parse().expect("a partition's number");
                coverage.set(number, Offset(position.as_u64().expect("a position")));
            }
            Answered::With(Box::new(Told { query: question.query, body, coverage }))
        });
        Some(Reader { asking, patience: PATIENCE })
    }

    /// Goes on for some turns. Serving decodes files on other threads; those are waited for, timers are not.
    pub fn go_on(&mut self, turns: u64) -> Answered {
        self.go_on_waiting(turns, WAITS)
    }

    /// Goes on until there is an answer, waiting for threads and timers as a client does.
    pub fn finish(&mut self) -> Answered {
        self.go_on_waiting(10_000, 40_000)
    }

    fn go_on_waiting(&mut self, turns: u64, most_waits: u32) -> Answered {
        let (mut turn, mut waits) = (0, 0);
        while turn < turns {
            has_paused();
            if let Poll::Ready(answered) = self.asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return answered;
            }
            if has_paused() {
                turn += 1;
            } else if waits < most_waits {
                waits += 1;
                std::thread::sleep(Duration::from_micros(50));
            } else {
                return Answered::GaveUp("it waited for better times".to_owned());
            }
        }
        self.patience = self.patience.saturating_sub(turns);
        if self.patience == 0 { Answered::GaveUp("it took too long".to_owned()) } else { Answered::NotYet }
    }
}

impl Told {
    /// Compares with what the oracle says at the same coverage.
    ///
    /// # Errors
    /// Both, where they differ.
    pub fn check(&self, oracle: &Oracle) -> Result<(), String> {
        let term = &self.query.terms[0];
        let end = self.query.times.last();
        let start = end.minus(self.query.window);
        let kept = oracle.answer(&term.view, &term.dimensions, (start, end), &self.coverage);
        let expected: BTreeMap<Vec<String>, String> = (kept.into_iter())
            .map(|(key, figures)| {
                let figures = &figures[term.state];
                let all = [&figures.sum, &figures.avg, &figures.min, &figures.max].map(as_read).join(" ");
                let detail = if term.view.states[term.state].field.is_some() { all } else { String::new() };
                (key.iter().map(as_read).collect(), format!("{} {detail}", figures.count))
            })
            .collect();
        let told: BTreeMap<Vec<String>, String> = (self.body["points"].as_array().into_iter().flatten())
            .map(|point| {
                let key = self.query.dimensions.iter().map(|name| point[name].to_string()).collect();
                let count = point.get("count").unwrap_or(&point["value"]);
                let all = ["sum", "avg", "min", "max"].map(|name| point[name].to_string()).join(" ");
                let detail = if point.get("count").is_some() { all } else { String::new() };
                (key, format!("{count} {detail}"))
            })
            .collect();
        if told == expected {
            return Ok(());
        }
        let stamp = &self.body["meta"]["stamp"]["views"][0];
        Err(format!(
            "{} over {} to {end}: told {told:?}, the oracle says {expected:?}, at {stamp}",
            self.query.metric.name, self.query.window
        ))
    }
}

/// A value as the reader of its JSON prints it: `2.50` as `2.5`.
fn as_read(value: &Value) -> String {
    serde_json::from_str::<Json>(&value.to_json()).expect("values print as JSON").to_string()
}
