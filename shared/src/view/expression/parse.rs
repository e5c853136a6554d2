//! From text to a typed condition, and literals back to text.
use crate::view::expression::{Comparison, Expression, ExpressionError};
use crate::view::field::Field;
use crate::view::value::{FieldType, Value, parse_decimal};

/// How deep parentheses and `not` may nest.
const DEPTH_MAX: usize = 64;
const KEYWORDS: [&str; 8] = ["and", "or", "not", "in", "is", "null", "true", "false"];

type Parsed<T> = Result<T, ExpressionError>;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A field or a keyword; quoted with backticks it is a field in any case.
    Word {
        text: String,
        quoted: bool,
    },
    Text(String),
    Number(String),
    Compare(Comparison),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    End,
}

pub fn parse(text: &str, fields: &[Field]) -> Parsed<Expression> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, next: 0, fields, depth: 0 };
    let expression = parser.any()?;
    match parser.peek() {
        Token::End => Ok(expression),
        _ => Err(parser.wrong("expected `and`, `or` or the end")),
    }
}

/// A field's name as it is written: in backticks if it would be read as something else.
pub fn name_text(name: &str) -> String {
    let plain = name.starts_with(starts_word) && name.chars().all(continues_word);
    if plain && !KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(name)) { name.to_owned() } else { format!("`{name}`") }
}

/// A literal as it is written.
pub fn literal_text(value: &Value) -> String {
    match value {
        Value::Str(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        Value::Float(number) => format!("{number:?}"),
        other => other.to_string(),
    }
}

fn error(at: usize, message: impl Into<String>, suggestion: Option<String>) -> ExpressionError {
    ExpressionError { at, message: message.into(), suggestion, unknown: None }
}

fn starts_word(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn continues_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

/// The tokens and the byte where each starts; the last is `End`.
fn tokens(text: &str) -> Parsed<Vec<(Token, usize)>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let while_of = |good: fn(char) -> bool| rest.find(|c| !good(c)).unwrap_or(rest.len());
        let (token, length) = match c {
            _ if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '[' => (Token::OpenList, 1),
            ']' => (Token::CloseList, 1),
            ',' => (Token::Comma, 1),
            '"' | '\'' => quoted(rest, c, at)?,
            '`' => {
                let length = rest[1..].find('`').ok_or_else(|| error(at, "this ` has no second", None))?;
                (Token::Word { text: rest[1..=length].to_owned(), quoted: true }, length + 2)
            }
            '0'..='9' | '-' | '.' => {
                let length = number_length(rest);
                (Token::Number(rest[..length].to_owned()), length)
            }
            _ if starts_word(c) => {
                let length = while_of(continues_word);
                (Token::Word { text: rest[..length].to_owned(), quoted: false }, length)
            }
            _ => comparison(rest, at)?,
        };
        out.push((token, at));
        at += length;
    }
    out.push((Token::End, text.len()));
    Ok(out)
}

fn comparison(rest: &str, at: usize) -> Parsed<(Token, usize)> {
    use Comparison as C;
    let symbols = [
        ("==", C::Eq),
        ("!=", C::Ne),
        ("<>", C::Ne),
        ("<=", C::Le),
        (">=", C::Ge),
        ("=", C::Eq),
        ("<", C::Lt),
        (">", C::Gt),
    ];
    if let Some((symbol, comparison)) = symbols.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
        return Ok((Token::Compare(*comparison), symbol.len()));
    }
    let words = [("&&", "and"), ("||", "or"), ("!", "not"), ("&", "and"), ("|", "or")];
    if let Some((symbol, word)) = words.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
        return Err(error(at, format!("`{symbol}` means nothing here"), Some(format!("did you mean `{word}`?"))));
    }
    let c = rest.chars().next().unwrap_or_default();
    Err(error(at, format!("`{c}` means nothing here"), None))
}

/// Text in quotes, with `\` before a quote, a `\`, n, r or t.
fn quoted(rest: &str, quote: char, at: usize) -> Parsed<(Token, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((i, c)) = characters.next() {
        match c {
            '\\' => text.push(match characters.next() {
                Some((_, c @ ('"' | '\'' | '\\'))) => c,
                Some((_, 'n')) => '\n',
                Some((_, 'r')) => '\r',
                Some((_, 't')) => '\t',
                _ => return Err(error(at + i, "after `\\` comes a quote, `\\`, n, r or t", None)),
            }),
            c if c == quote => return Ok((Token::Text(text), i + 1)),
            c => text.push(c),
        }
    }
    Err(error(at, format!("the text is not closed with {quote}"), None))
}

/// What looks like a number: digits, points, letters, and signs at the start or after e.
fn number_length(rest: &str) -> usize {
    let mut last = ' ';
    let mut inside = |(i, c): (usize, char)| {
        let good =
            c.is_ascii_alphanumeric() || c == '.' || matches!(c, '+' | '-') && (i == 0 || matches!(last, 'e' | 'E'));
        last = c;
        good
    };
    rest.char_indices().find(|&place| !inside(place)).map_or(rest.len(), |(i, _)| i)
}

struct Parser<'a> {
    tokens: Vec<(Token, usize)>,
    next: usize,
    fields: &'a [Field],
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].0
    }
    fn at(&self) -> usize {
        self.tokens[self.next].1
    }
    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }
    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word { text, quoted: false } if text.eq_ignore_ascii_case(word))
    }
    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.take();
        }
        found
    }
    fn wrong(&self, message: impl Into<String>) -> ExpressionError {
        error(self.at(), message, None)
    }
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH_MAX {
            return Err(self.wrong(format!("the condition nests deeper than {DEPTH_MAX}")));
        }
        self.depth += 1;
        let out = inner(self);
        self.depth -= 1;
        out
    }
    fn any(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.all()?];
        while self.take_word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::Or(parts) })
    }
    fn all(&mut self) -> Parsed<Expression> {
        let mut parts = vec![self.one()?];
        while self.take_word("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expression::And(parts) })
    }
    fn one(&mut self) -> Parsed<Expression> {
        if self.take_word("not") {
            return Ok(Expression::Not(Box::new(self.deeper(Self::one)?)));
        }
        if *self.peek() == Token::Open {
            self.take();
            let inner = self.deeper(Self::any)?;
            return match self.peek() {
                Token::Close => {
                    self.take();
                    Ok(inner)
                }
                _ => Err(self.wrong("expected `)`, `and` or `or`")),
            };
        }
        self.condition()
    }
    fn condition(&mut self) -> Parsed<Expression> {
        let field = self.field()?;
        if let Token::Compare(comparison) = *self.peek() {
            let at = self.at();
            self.take();
            let orders = !matches!(comparison, Comparison::Eq | Comparison::Ne);
            if orders && self.fields[field].field_type == FieldType::Bool {
                return Err(error(at, "true and false have no order", Some("compare with = or !=".to_owned())));
            }
            return Ok(Expression::Compare(field, comparison, self.literal(field)?));
        }
        if self.take_word("is") {
            let negated = self.take_word("not");
            if !self.take_word("null") {
                return Err(self.wrong("expected `null`"));
            }
            return Ok(negate(Expression::IsNull(field), negated));
        }
        let negated = self.take_word("not");
        if self.take_word("in") {
            return Ok(negate(Expression::In(field, self.list(field)?), negated));
        }
        Err(self.wrong("expected =, !=, <, <=, >, >=, `in` or `is`"))
    }
    fn field(&mut self) -> Parsed<usize> {
        let at = self.at();
        let Token::Word { text, quoted } = self.peek().clone() else {
            return Err(self.wrong("expected a field"));
        };
        if !quoted && KEYWORDS.iter().any(|k| k.eq_ignore_ascii_case(&text)) {
            return Err(self.wrong(format!("expected a field, not `{text}`")));
        }
        self.take();
        self.fields.iter().position(|f| f.name == text).ok_or_else(|| {
            let nearest =
                self.fields.iter().map(|f| (strsim::damerau_levenshtein(&text, &f.name), f)).min_by_key(|n| n.0);
            let near = nearest.filter(|(distance, f)| *distance <= 1 + f.name.chars().count() / 4);
            let suggestion = match near {
                Some((_, field)) => Some(format!("did you mean `{}`?", field.name)),
                None if self.fields.is_empty() => None,
                None => {
                    let names: Vec<&str> = self.fields.iter().take(12).map(|f| f.name.as_str()).collect();
                    Some(format!("the fields are {}", names.join(", ")))
                }
            };
            let error = error(at, format!("there is no field `{text}`"), suggestion);
            ExpressionError { unknown: Some(text), ..error }
        })
    }
    fn list(&mut self, field: usize) -> Parsed<Vec<Value>> {
        let close = match self.peek() {
            Token::OpenList => Token::CloseList,
            Token::Open => Token::Close,
            _ => return Err(self.wrong("expected a list like [\"a\", \"b\"]")),
        };
        self.take();
        let mut literals = vec![self.literal(field)?];
        while *self.peek() == Token::Comma {
            self.take();
            literals.push(self.literal(field)?);
        }
        if *self.peek() != close {
            return Err(self.wrong("expected a comma or the list's end"));
        }
        self.take();
        Ok(literals)
    }
    /// A literal of exactly the field's type.
    fn literal(&mut self, field: usize) -> Parsed<Value> {
        let at = self.at();
        let Field { name, field_type, .. } = &self.fields[field];
        let token = self.peek().clone();
        let unfit = |what: String, suggestion: Option<String>| Err(error(at, what, suggestion));
        let value = match (field_type, &token) {
            (_, Token::Word { text, quoted: false }) if text.eq_ignore_ascii_case("null") => {
                return unfit("nothing compares with null".to_owned(), Some(format!("write `{name} is null`")));
            }
            (FieldType::String, Token::Text(text)) => Value::text(text),
            (FieldType::String, Token::Word { text, .. } | Token::Number(text)) => {
                return unfit(
                    format!("`{name}` is text, which stands in quotes"),
                    Some(format!("did you mean \"{text}\"?")),
                );
            }
            (FieldType::Bool, Token::Word { text, quoted: false }) if text.eq_ignore_ascii_case("true") => {
                Value::Bool(true)
            }
            (FieldType::Bool, Token::Word { text, quoted: false }) if text.eq_ignore_ascii_case("false") => {
                Value::Bool(false)
            }
            (FieldType::Bool, Token::Word { .. } | Token::Text(_) | Token::Number(_)) => {
                return unfit(format!("`{name}` is true or false"), None);
            }
            (FieldType::Int | FieldType::Decimal(_) | FieldType::Float, Token::Number(text)) => {
                number(*field_type, text).map_err(|what| error(at, format!("`{name}` is {what}"), None))?
            }
            (_, Token::Word { .. } | Token::Text(_)) => return unfit(format!("`{name}` is a number"), None),
            _ => return unfit("expected a literal".to_owned(), None),
        };
        self.take();
        Ok(value)
    }
}

fn negate(expression: Expression, negated: bool) -> Expression {
    if negated { Expression::Not(Box::new(expression)) } else { expression }
}

/// A number as exactly the field's type; the error says what the field is and why the number is not.
fn number(field_type: FieldType, text: &str) -> Result<Value, String> {
    match field_type {
        FieldType::Int => {
            let whole = parse_decimal(text, 0).and_then(|number| i64::try_from(number).ok());
            whole.map(Value::Int).ok_or_else(|| format!("a whole number of 64 bits, which {text} is not"))
        }
        FieldType::Decimal(scale) => parse_decimal(text, scale)
            .map(|number| Value::Decimal(number, scale))
            .ok_or_else(|| format!("a decimal with {scale} digits after the point, which {text} is not")),
        FieldType::Float => {
            let double = text.parse().ok().filter(|double: &f64| double.is_finite() && !text.ends_with(is_letter));
            let double = double.ok_or_else(|| format!("a double, which {text} is not"))?;
            match text.parse::<i128>() {
                Ok(whole) if double as i128 != whole => Err(format!("a double, which cannot hold {text} exactly")),
                _ => Ok(Value::Float(double + 0.0)),
            }
        }
        FieldType::String | FieldType::Bool => Err("no number".to_owned()),
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
}
