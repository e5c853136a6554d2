//! Values of every type, often extreme ones, and the many ways to spell them in JSON.
use seam_shared::view::value::{FieldType, Value};

use crate::dice::Dice;

const TEXTS: [&str; 20] = [
    "",
    "a",
    "b",
    "null",
    "NULL",
    "a:b",
    "a:b:c",
    "b:c",
    ":",
    "\u{0}",
    "a\u{0}",
    "exactly12byt",
    "thirteen_byte",
    "é",
    "e\u{301}",
    "\u{FEFF}a",
    "\u{1D11E}",
    "\u{10FFFF}",
    "\"quoted\\\" and\nbroken\tup",
    "a text that is far longer than twelve bytes, and ends in another pla\u{E7}e",
];
const FLOATS: [f64; 22] = [
    0.0,
    1.0,
    -1.0,
    0.1,
    0.2,
    0.3,
    1e308,
    -1e308,
    1e300,
    f64::MAX,
    f64::MIN,
    5e-324,
    -5e-324,
    2.225_073_858_507_201e-308,
    f64::MIN_POSITIVE,
    9_007_199_254_740_993.0,
    f64::NAN,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    1e-20,
    3.5,
];

/// A value of the type, null now and then.
pub fn value(dice: &Dice, field_type: FieldType) -> Value {
    if dice.one_in(6) {
        return Value::Null;
    }
    match field_type {
        FieldType::String => text(dice),
        FieldType::Bool => Value::Bool(dice.one_in(2)),
        FieldType::Int if dice.one_in(4) => Value::Int(
            [i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1, 1 << 53, (1 << 53) + 1, -(1 << 40)]
                [dice.below(7) as usize],
        ),
        FieldType::Int => Value::Int(dice.below(7) as i64 - 3),
        FieldType::Decimal(scale) => {
            let huge = 10i128.pow(28) - 1;
            let number = if dice.one_in(4) {
                [huge, -huge, huge - 1, 1][dice.below(4) as usize]
            } else {
                dice.below(2001) as i128 - 1000
            };
            Value::Decimal(number, scale)
        }
        FieldType::Float if dice.one_in(4) => {
            let any = f64::from_bits(dice.below(u64::MAX));
            Value::Float(if any.is_finite() { any + 0.0 } else { 0.5 })
        }
        FieldType::Float => Value::Float(FLOATS[dice.below(FLOATS.len() as u64) as usize]),
    }
}

fn text(dice: &Dice) -> Value {
    if !dice.one_in(8) {
        return Value::text(dice.pick(&TEXTS));
    }
    let character = |_| loop {
        if let Some(c) = char::from_u32(dice.below(0x11_0000) as u32) {
            return c;
        }
    };
    let any: String = (0..dice.below(9)).map(character).collect();
    Value::text(&any)
}

/// The value as JSON, in one of the spellings that mean it; `None` leaves the member out.
pub fn spell(dice: &Dice, value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return dice.one_in(2).then(|| "null".to_owned()),
        Value::Bool(value) => value.to_string(),
        Value::Int(0) if dice.one_in(3) => "-0".to_owned(),
        Value::Int(number) => match dice.below(4) {
            0 => format!("{number}.0"),
            1 => format!("{number}e0"),
            _ => number.to_string(),
        },
        Value::Decimal(number, scale) => match dice.below(3) {
            0 => format!("{number}e-{scale}"),
            _ => decimal(*number, usize::from(*scale)),
        },
        Value::Float(number) => float(dice, *number),
        Value::Str(text) if dice.one_in(4) => {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            format!("\"{units}\"")
        }
        Value::Str(text) => serde_json::Value::from(text.as_ref()).to_string(),
    })
}

fn decimal(number: i128, scale: usize) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn float(dice: &Dice, number: f64) -> String {
    if number.is_nan() {
        return "\"NaN\"".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "\"Infinity\"".to_owned() } else { "\"-Infinity\"".to_owned() };
    }
    match dice.below(4) {
        0 if number == 0.0 => "-0.0".to_owned(),
        0 => format!("{number:.20e}"),
        1 => format!("{number}"), // all digits, no exponent
        _ => format!("{number:e}"),
    }
}
