//! Functions of PostgreSQL that questions about catalogs use.
use super::relations::{OWNER, TYPES, World, type_of};
use super::value::Value;
use crate::error::SqlError;
use crate::frame::Type;
use crate::session::unknown_setting;

/// Functions that tell of the server and not of any row.
const SYSTEM: [&str; 21] = [
    "current_catalog",
    "current_database",
    "current_role",
    "current_schema",
    "current_schemas",
    "current_setting",
    "current_user",
    "format_type",
    "inet_server_addr",
    "inet_server_port",
    "col_description",
    "obj_description",
    "session_user",
    "set_config",
    "shobj_description",
    "to_regclass",
    "to_regtype",
    "txid_current",
    "user",
    "version",
    "_pg_expandarray",
];
/// Further ones, of values.
const OF_VALUES: [&str; 31] = [
    "array_length",
    "array_lower",
    "array_position",
    "array_to_string",
    "array_upper",
    "btrim",
    "cardinality",
    "coalesce",
    "concat",
    "format",
    "greatest",
    "least",
    "length",
    "lower",
    "ltrim",
    "nullif",
    "parse_ident",
    "quote_ident",
    "quote_literal",
    "regexp_replace",
    "replace",
    "row_number",
    "rtrim",
    "split_part",
    "starts_with",
    "string_to_array",
    "strpos",
    "substr",
    "substring",
    "trim",
    "upper",
];
const AGGREGATES: [&str; 11] =
    ["array_agg", "bool_and", "bool_or", "count", "every", "json_agg", "jsonb_agg", "max", "min", "string_agg", "sum"];

/// Words that are no names without quotes.
const RESERVED: [&str; 20] = [
    "all", "and", "any", "as", "case", "column", "desc", "do", "end", "for", "from", "group", "in", "limit", "not",
    "order", "select", "table", "user", "where",
];

/// Whether a function tells of the server.
pub fn tells_of_system(name: &str) -> bool {
    SYSTEM.contains(&name)
        || name.starts_with("pg_") && name != "pg_sleep"
        || name.starts_with("has_") && name.ends_with("_privilege")
}

/// Whether a function is known here.
pub fn is_known(name: &str) -> bool {
    OF_VALUES.contains(&name) || is_aggregate(name)
}

/// Whether a function is over rows.
pub fn is_aggregate(name: &str) -> bool {
    AGGREGATES.contains(&name)
}

/// What an aggregate makes of the arguments of each row.
pub fn aggregate(name: &str, rows: Vec<Vec<Value>>) -> Value {
    let counted = i64::try_from(rows.iter().filter(|row| row.first().is_none_or(|value| !value.is_null())).count());
    let last = rows.first().and_then(|row| row.get(1)).and_then(Value::text).unwrap_or_default();
    let values: Vec<Value> = rows.into_iter().filter_map(|row| row.into_iter().next()).collect();
    let mut known = values.iter().filter(|value| !value.is_null());
    match name {
        "count" => counted.map_or(Value::Null, Value::Int),
        "array_agg" | "json_agg" | "jsonb_agg" => {
            if values.is_empty() {
                Value::Null
            } else {
                Value::List(values)
            }
        }
        "string_agg" => {
            let texts: Vec<String> = known.filter_map(Value::text).collect();
            if texts.is_empty() { Value::Null } else { Value::Text(texts.join(&last)) }
        }
        "bool_or" => Value::Bool(known.any(|value| value.bool() == Some(true))),
        "bool_and" | "every" => Value::Bool(known.all(|value| value.bool() == Some(true))),
        "sum" => known.try_fold(0_i64, |sum, value| sum.checked_add(value.int()?)).map_or(Value::Null, Value::Int),
        _ => {
            let chosen = known.reduce(|a, b| {
                let wanted = if name == "max" { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater };
                if a.compare(b) == Some(wanted) { b } else { a }
            });
            chosen.cloned().unwrap_or(Value::Null)
        }
    }
}

/// What a function says.
///
/// # Errors
/// A setting that does not exist.
pub fn call(name: &str, values: &[Value], world: World<'_>) -> Result<Value, SqlError> {
    let text = |at: usize| values.get(at).and_then(Value::text);
    let int = |at: usize| values.get(at).and_then(Value::int);
    let facts = world.facts;
    Ok(match name {
        "version" => Value::Text(facts.version()),
        "current_database" | "current_catalog" => Value::of(&facts.database),
        "current_schema" => Value::of("public"),
        "current_schemas" => Value::List(match values.first().and_then(Value::bool) {
            Some(true) => vec![Value::of("pg_catalog"), Value::of("public")],
            _ => vec![Value::of("public")],
        }),
        "current_user" | "session_user" | "user" | "current_role" => Value::of(&facts.user),
        "current_setting" => match facts.setting(&text(0).unwrap_or_default()) {
            Some(value) => Value::Text(value),
            None if values.len() > 1 => Value::Null,
            None => return Err(unknown_setting(&text(0).unwrap_or_default())),
        },
        "set_config" => values.get(1).cloned().unwrap_or(Value::Null),
        "format_type" => int(0).map_or(Value::Null, |oid| Value::Text(format_type(oid, int(1).unwrap_or(-1)))),
        "to_regclass" => values.first().map_or(Value::Null, |name| to_regclass(name, world)),
        "to_regtype" => values.first().map_or(Value::Null, to_regtype),
        "pg_get_userbyid" => Value::of(OWNER),
        "pg_encoding_to_char" => Value::of("UTF8"),
        "pg_is_in_recovery" | "pg_is_other_temp_schema" => Value::Bool(false),
        "pg_backend_pid" => Value::Int(1),
        "pg_my_temp_schema" => Value::Int(0),
        "pg_size_pretty" => Value::of("0 bytes"),
        "pg_get_expr" | "pg_get_constraintdef" | "pg_get_indexdef" | "pg_get_viewdef" => Value::Null,
        _ if name.starts_with("pg_") && name.ends_with("_size") => Value::Int(0),
        _ if name.starts_with("pg_") && name.ends_with("_is_visible") => Value::Bool(true),
        _ if name.starts_with("has_") => {
            let wanted = values.last().and_then(Value::text).unwrap_or_default().to_lowercase();
            Value::Bool(["select", "usage", "connect", "member"].iter().any(|may| wanted.contains(may)))
        }
        _ => of_values(name, values),
    })
}

/// What a function of values alone says.
fn of_values(name: &str, values: &[Value]) -> Value {
    let text = |at: usize| values.get(at).and_then(Value::text);
    let int = |at: usize| values.get(at).and_then(Value::int);
    let told = |found: Option<String>| found.map_or(Value::Null, Value::Text);
    let number = |found: Option<usize>| found.and_then(|n| i64::try_from(n).ok()).map_or(Value::Null, Value::Int);
    match name {
        "quote_ident" => told(text(0).map(quoted)),
        "quote_literal" => told(text(0).map(|text| format!("'{}'", text.replace('\'', "''")))),
        "parse_ident" => {
            let parts = |text: String| text.split('.').map(|part| Value::of(part.trim_matches('"'))).collect();
            text(0).map_or(Value::Null, |text| Value::List(parts(text)))
        }
        "array_length" | "array_upper" | "cardinality" => {
            number(values.first().and_then(Value::list).map(|list| list.len()).filter(|length| *length > 0))
        }
        "array_lower" => number(values.first().and_then(Value::list).filter(|list| !list.is_empty()).map(|_| 1)),
        "array_to_string" => {
            let joined = |list: Vec<Value>| {
                list.iter().filter_map(Value::text).collect::<Vec<_>>().join(&text(1).unwrap_or_default())
            };
            told(values.first().and_then(Value::list).map(joined))
        }
        "array_position" => {
            let list = values.first().and_then(Value::list).unwrap_or_default();
            let is_it = |item: &Value| values.get(1).and_then(|value| value.equals(item)) == Some(true);
            number(list.iter().position(is_it).map(|place| place + 1))
        }
        "string_to_array" => {
            let parts = |(text, by): (String, String)| text.split(by.as_str()).map(Value::of).collect();
            text(0).zip(text(1)).map_or(Value::Null, |both| Value::List(parts(both)))
        }
        "lower" => told(text(0).map(|text| text.to_lowercase())),
        "upper" => told(text(0).map(|text| text.to_uppercase())),
        "btrim" | "trim" => told(text(0).map(|text| text.trim().to_owned())),
        "ltrim" => told(text(0).map(|text| text.trim_start().to_owned())),
        "rtrim" => told(text(0).map(|text| text.trim_end().to_owned())),
        "length" => number(text(0).map(|text| text.chars().count())),
        "concat" => Value::Text((0..values.len()).filter_map(text).collect()),
        "format" => told(text(0).map(|pattern| formatted(&pattern, &values[1..]))),
        "replace" => told(text(0).zip(text(1)).map(|(whole, from)| whole.replace(&from, &text(2).unwrap_or_default()))),
        "split_part" => {
            let place = int(2).and_then(|place| usize::try_from(place).ok()?.checked_sub(1));
            told(text(0).zip(text(1)).map(|(whole, by)| {
                place.and_then(|place| whole.split(by.as_str()).nth(place)).unwrap_or_default().to_owned()
            }))
        }
        "strpos" => {
            let found = |whole: &str, part: &str| whole.find(part).map_or(0, |at| whole[..at].chars().count() + 1);
            number(text(0).zip(text(1)).map(|(whole, part)| found(&whole, &part)))
        }
        "starts_with" => {
            text(0).zip(text(1)).map_or(Value::Null, |(whole, start)| Value::Bool(whole.starts_with(&start)))
        }
        "substring" | "substr" => {
            let from = usize::try_from(int(1).unwrap_or(1) - 1).unwrap_or(0);
            let length = int(2).map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(0));
            told(text(0).map(|text| text.chars().skip(from).take(length).collect()))
        }
        "nullif" => match values {
            [a, b] if a.equals(b) == Some(true) => Value::Null,
            _ => values.first().cloned().unwrap_or(Value::Null),
        },
        "greatest" => aggregate("max", values.iter().map(|value| vec![value.clone()]).collect()),
        "least" => aggregate("min", values.iter().map(|value| vec![value.clone()]).collect()),
        _ => Value::Null,
    }
}

/// The type of what a function says; `first` is that of its first argument with one.
pub fn kind(name: &str, first: impl FnOnce() -> Option<Type>) -> Option<Type> {
    match name {
        "count" | "row_number" | "rank" | "dense_rank" | "length" | "strpos" | "array_length" | "array_upper"
        | "array_lower" | "array_position" | "cardinality" | "pg_backend_pid" | "pg_my_temp_schema"
        | "txid_current" | "sum" => Some(Type::Int),
        "bool_or" | "bool_and" | "every" | "starts_with" | "pg_is_in_recovery" | "pg_is_other_temp_schema" => {
            Some(Type::Bool)
        }
        "coalesce" | "nullif" | "greatest" | "least" | "min" | "max" => first(),
        _ if name.starts_with("pg_") && name.ends_with("_size") => Some(Type::Int),
        _ if name.starts_with("has_") || name.ends_with("_is_visible") => Some(Type::Bool),
        _ => Some(Type::Text),
    }
}

/// How a type is spelt: decimals with precision and scale.
pub fn format_type(oid: i64, modifier: i64) -> String {
    let Some(name) = type_of(oid).map(|row| row.2) else {
        let of = TYPES.iter().find(|row| row.5 == oid && oid != 0);
        return of.map_or_else(|| "???".to_owned(), |row| format!("{}[]", row.2));
    };
    match (oid, modifier) {
        (1_700, 4..) => format!("numeric({},{})", (modifier - 4) >> 16, (modifier - 4) & 0x7ff),
        (1_042 | 1_043, 5..) => format!("{name}({})", modifier - 4),
        _ => name.to_owned(),
    }
}

/// The table of that name.
pub fn to_regclass(name: &Value, world: World<'_>) -> Value {
    let found = name.text().and_then(|name| Some((world.class_named(&name)?, name)));
    found.map_or(Value::Null, |(oid, name)| Value::Named(oid, world.class_name(oid).unwrap_or(name)))
}

/// The type of that name.
pub fn to_regtype(name: &Value) -> Value {
    let Some(name) = name.text() else { return Value::Null };
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name).to_lowercase();
    let item = name.strip_prefix('_').or_else(|| name.strip_suffix("[]"));
    if let Some(row) = item.and_then(|item| TYPES.iter().find(|row| row.1 == item || row.2 == item)) {
        return Value::Named(row.5, format!("{}[]", row.2));
    }
    let found = TYPES.iter().find(|row| row.1 == name || row.2 == name);
    found.map_or(Value::Null, |row| Value::Named(row.0, row.2.to_owned()))
}

/// A text with `%s`, `%I` and `%L` in it replaced by values in order.
fn formatted(pattern: &str, values: &[Value]) -> String {
    let (mut out, mut letters, mut values) = (String::new(), pattern.chars(), values.iter());
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let kind = letters.next();
        if kind == Some('%') {
            out.push('%');
            continue;
        }
        let value = values.next().and_then(Value::text).unwrap_or_default();
        out.push_str(&match kind {
            Some('I') => quoted(value),
            Some('L') => format!("'{}'", value.replace('\'', "''")),
            _ => value,
        });
    }
    out
}

/// A name as it must be written.
fn quoted(name: String) -> String {
    let is_plain =
        |(at, byte): (usize, u8)| byte.is_ascii_lowercase() || byte == b'_' || at > 0 && byte.is_ascii_digit();
    if !name.is_empty() && !RESERVED.contains(&name.as_str()) && name.bytes().enumerate().all(is_plain) {
        name
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}
