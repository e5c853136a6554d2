//! Hostile sources, views and streams from a seed. What an event says is known from the making, not from any decoder.
pub mod views;

pub use seam_proof::hostile::{events, values};

use std::sync::Arc;

use seam_shared::segment::SegmentRule;
use seam_shared::time::Span;
use seam_shared::view::definition::{DuplicateRule, Field, Source};
use seam_shared::view::value::FieldType;

use crate::dice::Dice;

/// A source with some fields of every type, small segments, and mostly with ids and a duplicate rule.
pub fn source(dice: &Dice) -> Arc<Source> {
    let mut types = vec![FieldType::String, FieldType::Bool, FieldType::Int, FieldType::Float];
    types.extend([FieldType::Decimal(2), FieldType::Decimal(dice.below(19) as u8), FieldType::String]);
    let field = |(i, field_type): (usize, FieldType)| {
        let name = format!("f{i}");
        let path = if dice.one_in(4) { vec!["inner".to_owned(), name.clone()] } else { vec![name.clone()] };
        Field::new(name, path, field_type)
    };
    let rule = || DuplicateRule {
        horizon: Span(Span::SECOND.0 * (1 + dice.below(60) as i64)),
        max_records: 1 + dice.below(40),
    };
    Arc::new(Source {
        name: "events".to_owned(),
        id: (!dice.one_in(6)).then(|| vec!["id".to_owned()]),
        time: vec!["time".to_owned()],
        fields: types.into_iter().enumerate().map(field).collect(),
        duplicates: (!dice.one_in(6)).then(rule),
        segments: SegmentRule {
            max_events: 1 + dice.below(40),
            interval: Span(Span::SECOND.0 * (10 + dice.below(60) as i64)),
        },
        partitions: 1 + dice.below(2) as u32,
    })
}
