//! Conditions: what parses, what is refused and where, and that rows and columns agree.
use proptest::prelude::*;

use super::*;
use crate::event::batch::{Column, EventBatch};
use crate::log::Offset;
use crate::view::value::FieldType;

pub fn fields() -> Vec<Field> {
    let field = |name: &str, field_type| Field::new(name, vec![name.to_owned()], field_type);
    vec![
        field("type", FieldType::String),
        field("delay_min", FieldType::Int),
        field("price", FieldType::Decimal(2)),
        field("score", FieldType::Float),
        field("active", FieldType::Bool),
        field("in", FieldType::String),
    ]
}

fn parse(text: &str) -> Expression {
    Expression::parse(text, &fields()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> ExpressionError {
    match Expression::parse(text, &fields()) {
        Err(error) => error,
        Ok(expression) => panic!("{text} was read as {expression:?}"),
    }
}

#[test]
fn conditions_read_as_they_bind() {
    use Expression as E;
    let text = |t: &str| Value::text(t);
    let parsed =
        parse(r#"type in ["click", 'purchase'] and delay_min > 15 or not (`in` == "eu") and score is not null"#);
    let clicks = E::In(0, vec![text("click"), text("purchase")]);
    let late = E::Compare(1, Comparison::Gt, Value::Int(15));
    let abroad = E::Not(Box::new(E::Compare(5, Comparison::Eq, text("eu"))));
    let scored = E::Not(Box::new(E::IsNull(3)));
    assert_eq!(parsed, E::Or(vec![E::And(vec![clicks, late]), E::And(vec![abroad, scored])]));
    assert_eq!(parse("price >= 15"), E::Compare(2, Comparison::Ge, Value::Decimal(1500, 2)));
    assert_eq!(parse("price<>-0.5"), E::Compare(2, Comparison::Ne, Value::Decimal(-50, 2)));
    assert_eq!(parse("score < 3"), E::Compare(3, Comparison::Lt, Value::Float(3.0)));
    assert_eq!(parse("delay_min = 1e3"), E::Compare(1, Comparison::Eq, Value::Int(1000)));
    assert_eq!(parse("active = TRUE AND type not in ('a')"), parse("active=true and not (type in [\"a\"])"));
    assert_eq!(parse(r#"type = "a\"b\\\n""#), E::Compare(0, Comparison::Eq, text("a\"b\\\n")));
}

#[test]
fn refusals_name_the_place_and_what_would_be_right() {
    let cases: [(&str, usize, &str, Option<&str>); 24] = [
        ("", 0, "expected a field", None),
        ("typ = 'a'", 0, "there is no field `typ`", Some("did you mean `type`?")),
        ("active = true and dleay_min > 3", 18, "there is no field `dleay_min`", Some("did you mean `delay_min`?")),
        ("x = 1", 0, "there is no field `x`", Some("the fields are type, delay_min, price, score, active, in")),
        ("type = click", 7, "`type` is text, which stands in quotes", Some("did you mean \"click\"?")),
        ("type = 'click", 7, "the text is not closed with '", None),
        ("type = null", 7, "nothing compares with null", Some("write `type is null`")),
        ("delay_min > 1.5", 12, "`delay_min` is a whole number of 64 bits, which 1.5 is not", None),
        (
            "delay_min > 9223372036854775808",
            12,
            "`delay_min` is a whole number of 64 bits, which 9223372036854775808 is not",
            None,
        ),
        ("price = 0.001", 8, "`price` is a decimal with 2 digits after the point, which 0.001 is not", None),
        ("score = 9007199254740993", 8, "`score` is a double, which cannot hold 9007199254740993 exactly", None),
        ("score = 1e999", 8, "`score` is a double, which 1e999 is not", None),
        ("score = NaN", 8, "`score` is a number", None),
        ("active < true", 7, "true and false have no order", Some("compare with = or !=")),
        ("active = 1", 9, "`active` is true or false", None),
        ("delay_min", 9, "expected =, !=, <, <=, >, >=, `in` or `is`", None),
        ("delay_min = 1 type = 'a'", 14, "expected `and`, `or` or the end", None),
        ("(delay_min = 1", 14, "expected `)`, `and` or `or`", None),
        ("type in ['a' 'b']", 13, "expected a comma or the list's end", None),
        ("type in []", 9, "expected a literal", None),
        ("type in 'a'", 8, "expected a list like [\"a\", \"b\"]", None),
        ("in = 'a'", 0, "expected a field, not `in`", None),
        ("active = true && delay_min = 1", 14, "`&&` means nothing here", Some("did you mean `and`?")),
        (
            "type = 'é' and größe > 1",
            16,
            "there is no field `größe`",
            Some("the fields are type, delay_min, price, score, active, in"),
        ),
    ];
    for (text, at, message, suggestion) in cases {
        let unknown = message.strip_prefix("there is no field `").map(|name| name.trim_end_matches('`').to_owned());
        let (message, suggestion) = (message.to_owned(), suggestion.map(str::to_owned));
        let expected = ExpressionError { at, message, suggestion, unknown };
        assert_eq!(refusal(text), expected, "{text}");
    }
    let deep = format!("{}active = true{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(refusal(&deep).message, "the condition nests deeper than 64");
    assert_eq!(refusal(&"not ".repeat(10_000)).message, "the condition nests deeper than 64");
}

#[test]
fn null_is_unknown_and_only_truth_matches() {
    let matches = |text: &str, delay: Value| parse(text).matches(&|i| if i == 1 { delay.clone() } else { Value::Null });
    assert_eq!(matches("delay_min > 3", Value::Null), None);
    assert_eq!(matches("not (delay_min > 3)", Value::Null), None);
    assert_eq!(matches("delay_min != 3", Value::Null), None);
    assert_eq!(matches("delay_min not in [3]", Value::Null), None);
    assert_eq!(matches("delay_min is null", Value::Null), Some(true));
    assert_eq!(matches("type = 'a' and delay_min = 3", Value::Int(4)), Some(false));
    assert_eq!(matches("type = 'a' and delay_min = 3", Value::Int(3)), None);
    assert_eq!(matches("type = 'a' or delay_min = 3", Value::Int(3)), Some(true));
    assert_eq!(matches("type = 'a' or delay_min = 3", Value::Int(4)), None);
}

#[test]
fn nan_equals_nothing_smaller_and_is_above_all() {
    for nan in [f64::NAN, -f64::NAN] {
        let matches = |text: &str| parse(text).matches(&|_| Value::Float(nan));
        assert_eq!(matches("score > 1e308"), Some(true));
        assert_eq!(matches("score = 1"), Some(false));
        assert_eq!(matches("score <= 1e308"), Some(false));
        let both = Value::Float(f64::NAN);
        assert_eq!(Expression::In(3, vec![both]).matches(&|_| Value::Float(nan)), Some(true));
    }
}

fn literal(field: usize) -> BoxedStrategy<Value> {
    match fields()[field].field_type {
        FieldType::String => prop_oneof!["[ab]?", any::<String>()].prop_map(|s| Value::text(&s)).boxed(),
        FieldType::Int => prop_oneof![-2i64..3, any::<i64>()].prop_map(Value::Int).boxed(),
        FieldType::Decimal(scale) => (-200i128..300).prop_map(move |d| Value::Decimal(d, scale)).boxed(),
        FieldType::Float => prop_oneof![Just(0.1), Just(1e300), -2f64..3.0, proptest::num::f64::NORMAL]
            .prop_filter("whole numbers beyond 2^53 have no exact spelling", |f: &f64| {
                f.abs() < 9e15 || f.abs() >= 1e16
            })
            .prop_map(Value::Float)
            .boxed(),
        FieldType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
    }
}

pub fn expressions() -> impl Strategy<Value = Expression> {
    use Comparison as C;
    let comparison = prop::sample::select(vec![C::Eq, C::Ne, C::Lt, C::Le, C::Gt, C::Ge]);
    let leaf = (0usize..6).prop_flat_map(move |field| {
        let compare = (comparison.clone(), literal(field)).prop_map(move |(c, l)| {
            let unordered = matches!(l, Value::Bool(_)) && !matches!(c, C::Eq | C::Ne);
            Expression::Compare(field, if unordered { C::Eq } else { c }, l)
        });
        let among = prop::collection::vec(literal(field), 1..4).prop_map(move |l| Expression::In(field, l));
        prop_oneof![3 => compare, 2 => among, 1 => Just(Expression::IsNull(field))]
    });
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|e| Expression::Not(Box::new(e))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::And),
            prop::collection::vec(inner, 2..4).prop_map(Expression::Or),
        ]
    })
}

/// Records with a null now and then; text in a dictionary of its own for each field.
pub fn batches() -> impl Strategy<Value = EventBatch> {
    let value = |field: usize| prop_oneof![1 => Just(Value::Null), 4 => literal(field)];
    let row = (value(0), value(1), value(2), value(3), value(4), value(5));
    prop::collection::vec(row, 0..30).prop_map(|rows| {
        let rows: Vec<[Value; 6]> = rows.into_iter().map(|(a, b, c, d, e, f)| [a, b, c, d, e, f]).collect();
        let present = |field: usize| rows.iter().map(|row| row[field] != Value::Null).collect::<Vec<bool>>();
        let mut batch = EventBatch { offsets: (0..rows.len() as u64).map(Offset).collect(), ..EventBatch::default() };
        for field in 0..6 {
            let mut values = vec![Value::Null];
            let mut codes = Vec::new();
            for row in &rows {
                let known = values.iter().position(|v| *v == row[field]);
                codes.push(known.unwrap_or(values.len()) as u32);
                if known.is_none() {
                    values.push(row[field].clone());
                }
            }
            let at = |i: usize| values[codes[i] as usize].clone();
            let all = 0..rows.len();
            batch.columns.push(match fields()[field].field_type {
                FieldType::String => Column::Str(codes.clone()),
                FieldType::Int => {
                    Column::Int(all.map(|i| if let Value::Int(v) = at(i) { v } else { 7 }).collect(), present(field))
                }
                FieldType::Decimal(scale) => {
                    let numbers = all.map(|i| if let Value::Decimal(v, _) = at(i) { v } else { 7 }).collect();
                    Column::Decimal(numbers, present(field), scale)
                }
                FieldType::Float => Column::Float(
                    all.map(|i| if let Value::Float(v) = at(i) { v } else { 7.0 }).collect(),
                    present(field),
                ),
                FieldType::Bool => Column::Bool(all.map(|i| at(i) == Value::Bool(true)).collect(), present(field)),
            });
            batch.dictionaries.push(values.into());
        }
        batch
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_displayed_parses_to_the_same_condition(expression in expressions()) {
        let fields = fields();
        let text = expression.display(&fields).to_string();
        prop_assert_eq!(Expression::parse(&text, &fields), Ok(expression), "{}", text);
    }

    #[test]
    fn rows_and_columns_agree(expression in expressions(), batch in batches()) {
        let by_columns = expression.filter(&batch);
        let by_rows: Vec<bool> = (0..batch.offsets.len())
            .map(|row| expression.matches(&|field| batch.value(field, row)) == Some(true))
            .collect();
        prop_assert_eq!(by_columns, by_rows);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>(), soup in "([a-z=<>!()'\"`0-9e.+-]| and | or | not | in |type|price){0,20}") {
        let fields = fields();
        for text in [text, soup] {
            if let Err(error) = Expression::parse(&text, &fields) {
                prop_assert!(text.is_char_boundary(error.at), "{} at {}", text, error.at);
            }
        }
    }
}
