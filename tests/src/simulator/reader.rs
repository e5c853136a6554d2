//! A reader: asks serving something, and compares what it is told with the oracle at the answer's own stamp.
use std::collections::BTreeMap;
use std::sync::Arc;

use seam_serving::Serving;
use seam_serving::query::{Query, Question};
use seam_shared::event::batch::Excluded;
use seam_shared::log::{Offset, OffsetVector};
use seam_shared::time::{Span, Timestamp};
use seam_shared::view::definition::StateKind;
use seam_shared::view::oracle::Oracle;
use seam_shared::view::value::Value;
use serde_json::Value as Json;

use super::generate;
use super::truth::Truth;
use super::turn::{Turn, Turns, turn};
use crate::dice::Dice;

/// Turns after which a reader gives up.
const PATIENCE: u64 = 400;

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

/// A question under way.
pub struct Reader {
    asking: Turns<Answered>,
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

    /// Asks one of the metrics for one window; of the batch layer alone only if `any_layer`.
    pub fn asking(serving: Arc<Serving>, dice: &Dice, any_layer: bool) -> Option<Reader> {
        let metric = dice.pick(&["events", "spend", "delay", "pricey", "delays", "more"]);
        let window = dice.pick(&["1m", "5m", "7m"]);
        let at = Timestamp(generate::START).floor(Span::MINUTE).minus(Span(dice.below(6) as i64 * Span::MINUTE.0));
        let mut parameters = vec![("window".to_owned(), window.to_owned()), ("at".to_owned(), at.to_rfc3339())];
        if !matches!(metric, "pricey" | "delays") && dice.one_in(2) {
            parameters.push(("dimension".to_owned(), "page".to_owned()));
        }
        let counted = serving.config().view("pricey").is_some_and(|view| view.count_window.is_some());
        if metric == "pricey" && counted && !dice.one_in(4) {
            let asked = dice.pick(&["page,partition,count_window", "count_window", "page,count_window"]);
            parameters.push(("dimension".to_owned(), asked.to_owned()));
        }
        if any_layer && dice.one_in(10) {
            parameters.push(("layer".to_owned(), "batch".to_owned()));
        }
        let question =
            Question::from(serving.parse(&seam_shared::access::Caller::trusted(), metric, &parameters).ok()?);
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

    /// Goes on for some turns, or until another reader holds what it needs.
    pub fn go_on(&mut self, turns: u64) -> Answered {
        for _ in 0..turns {
            match turn(&mut self.asking) {
                Turn::Done(answered) => return answered,
                Turn::Paused => {}
                Turn::Waiting => break,
            }
        }
        self.patience = self.patience.saturating_sub(turns);
        if self.patience == 0 { Answered::GaveUp("it took too long".to_owned()) } else { Answered::NotYet }
    }

    /// Goes on until there is an answer; no other reader must be under way.
    pub fn finish(&mut self) -> Answered {
        self.go_on(100 * PATIENCE)
    }
}

impl Told {
    /// Compares with what is true at the same coverage: the numbers with the oracle's, and what counts nowhere, where the answer knows
    /// it. Answers with whether it knew of any.
    ///
    /// # Errors
    /// Both, where they differ.
    pub fn check(&self, truth: &Truth) -> Result<bool, String> {
        self.check_numbers(&truth.oracle)?;
        let told = &self.body["meta"]["stamp"]["views"][0]["excluded"];
        let Excluded { invalid, duplicates } = truth.excluded(&self.coverage);
        if !told.is_null() && (told["invalid"] != invalid || told["duplicates"] != duplicates) {
            return Err(format!(
                "{told} count nowhere, in truth {invalid} and {duplicates}, at {}",
                self.body["meta"]["stamp"]
            ));
        }
        Ok(!told.is_null() && invalid + duplicates > 0)
    }

    fn check_numbers(&self, oracle: &Oracle) -> Result<(), String> {
        let term = &self.query.terms[0];
        let is_partial = matches!(term.definition().kind, StateKind::Partial(..));
        let (start, end) = self.query.times.span();
        let kept = oracle.answer(&term.view, &term.dimensions, (start, end), &self.coverage);
        let expected: BTreeMap<Vec<String>, String> = (kept.into_iter())
            .map(|(key, figures)| {
                let figures = &figures[term.state];
                if is_partial {
                    return (key.iter().map(as_read).collect(), as_read(&figures.get(term.figure)));
                }
                let all = [&figures.sum, &figures.avg, &figures.min, &figures.max].map(as_read).join(" ");
                let detail = if term.view.states[term.state].field.is_some() { all } else { String::new() };
                (key.iter().map(as_read).collect(), format!("{} {detail}", figures.count))
            })
            .collect();
        let told: BTreeMap<Vec<String>, String> = (self.body["points"].as_array().into_iter().flatten())
            .map(|point| {
                let key = self.query.dimensions.iter().map(|name| point[name].to_string()).collect();
                if is_partial {
                    return (key, point["value"].to_string());
                }
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
