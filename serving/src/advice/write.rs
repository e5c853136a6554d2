//! How recommendations are written: rows of items with the parts of their scores, in every format of answers. Pure.
use seam_shared::Result;
use seam_shared::view::value::{FieldType, Value};

use super::ranking::Ranking;
use super::score::DIGITS;
use super::{Question, Recommended};
use crate::answer::page::write_table;
use crate::json::Json;
use crate::pin::stamp::Stamp;
use crate::present::table::{Cells, Table};
use crate::query::{Format, Zone};

/// The body of an answer.
///
/// # Errors
/// `Internal` when a value does not fit its column.
pub(super) fn body(question: &Question, best: &[Recommended], ranking: &Ranking, stamp: &Stamp) -> Result<Vec<u8>> {
    let table = table(question, best);
    let recommendation = &question.recommendation;
    let format = question.query.format;
    if format != Format::Json {
        let mut json = Json::with_capacity(1_024);
        stamp.write(&mut json, None);
        let stamp_text = String::from_utf8(json.into_bytes()).unwrap_or_default();
        let notes = vec![
            ("seam.recommendation", recommendation.name.clone()),
            ("seam.user", question.user.to_string()),
            ("seam.coverage", stamp.coverage.clone()),
            ("seam.stamp", stamp_text),
        ];
        return write_table(&table, 0..table.len(), format, notes);
    }
    let mut json = Json::with_capacity(1_024 + best.len() * 160);
    json.open('{').key("recommendation").text(&recommendation.name);
    json.key("user").value(&question.user).key("points").open('[');
    table.write_rows(&mut json, 0..table.len(), true);
    json.close(']').key("meta").open('{');
    let (from, to) = (question.items_of.after, question.items_of.decay.until);
    json.key("from").time_in(Zone::UTC, from).key("to").time_in(Zone::UTC, to);
    json.key("half_life").text(&recommendation.half_life.to_string());
    let weights = recommendation.weights;
    json.key("weights").open('{');
    for (name, weight) in
        [("interest", weights.interest), ("popularity", weights.popularity), ("recency", weights.recency)]
    {
        json.key(name).decimal(i128::from(weight), seam_shared::config::WEIGHT_DIGITS.into());
    }
    json.close('}').key("layers").text(question.query.layer.name());
    json.key("limit").number(question.limit as u64).key("items").number(ranking.count() as u64);
    stamp.write(json.key("stamp"), None);
    json.close('}').close('}');
    Ok(json.into_bytes())
}

fn table(question: &Question, best: &[Recommended]) -> Table {
    let mut table = Table::new(best.len());
    let type_of = |d: usize| question.items.dimensions[d].field_type;
    let mut push = |name: &str, field_type: FieldType, value: &dyn Fn(&Recommended) -> Value| {
        table.push(name, Cells::Values(field_type, best.iter().map(value).collect()));
    };
    let part = |part: u64| Value::Decimal(i128::from(part), DIGITS);
    push("item", type_of(question.item_dimension), &|one| one.item.clone());
    if let Some(d) = question.category_dimension {
        push("category", type_of(d), &|one| one.category.clone());
    }
    push("score", FieldType::Decimal(DIGITS), &|one| part(one.score));
    push("interest", FieldType::Decimal(DIGITS), &|one| part(one.interest));
    push("popularity", FieldType::Decimal(DIGITS), &|one| part(one.popularity));
    push("recency", FieldType::Decimal(DIGITS), &|one| part(one.recency));
    table
}
