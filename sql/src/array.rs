//! PostgreSQL's arrays, as clients bind them for `= ANY ($1)`: in text and in binary.
use bytes::{Buf, Bytes};

/// Elements of the longest array.
const LENGTH_MAX: usize = 100_000;

/// The elements of `{a,"b,c",NULL}`; `None` if it is no array of one dimension.
pub fn from_text(text: &str) -> Option<Vec<Option<String>>> {
    let mut letters = text.trim().strip_prefix('{')?.strip_suffix('}')?.chars().peekable();
    let mut items = Vec::new();
    while letters.peek().is_some_and(|letter| letter.is_whitespace()) {
        letters.next();
    }
    if letters.peek().is_none() {
        return Some(items);
    }
    loop {
        let (mut item, mut is_quoted, mut is_open) = (String::new(), false, false);
        let ended = loop {
            match letters.next() {
                Some('\\') => item.push(letters.next()?),
                Some('"') if !is_quoted && item.trim().is_empty() => {
                    (item, is_quoted, is_open) = (String::new(), true, true)
                }
                Some('"') => (is_quoted, is_open) = (true, !is_open),
                Some(',') if !is_open => break false,
                Some('{' | '}') if !is_open => return None,
                Some(letter) if is_quoted && !is_open && letter.is_whitespace() => {}
                Some(letter) => item.push(letter),
                None if is_open => return None,
                None => break true,
            }
        };
        let item = if is_quoted { item } else { item.trim().to_owned() };
        items.push((is_quoted || !item.eq_ignore_ascii_case("null")).then_some(item));
        if ended || items.len() > LENGTH_MAX {
            return ended.then_some(items);
        }
    }
}

/// The type of the elements, and their bytes; `None` if it is no array of one dimension.
pub fn from_binary(bytes: &Bytes) -> Option<(u32, Vec<Option<Bytes>>)> {
    let mut rest = bytes.clone();
    let dimensions = rest.try_get_i32().ok()?;
    let (_has_null, kind) = (rest.try_get_i32().ok()?, rest.try_get_u32().ok()?);
    if dimensions == 0 {
        return Some((kind, Vec::new()));
    }
    let (length, _first) = (usize::try_from(rest.try_get_i32().ok()?).ok()?, rest.try_get_i32().ok()?);
    if dimensions != 1 || length > LENGTH_MAX {
        return None;
    }
    let mut items = Vec::new();
    for _ in 0..length {
        items.push(match usize::try_from(rest.try_get_i32().ok()?) {
            Ok(length) if length <= rest.remaining() => Some(rest.split_to(length)),
            Ok(_) => return None,
            Err(_) => None,
        });
    }
    (!rest.has_remaining()).then_some((kind, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_clients_write_them() {
        let read = |text| {
            from_text(text).map(|items| items.into_iter().map(|item| item.unwrap_or("-".into())).collect::<Vec<_>>())
        };
        assert_eq!(read("{}"), Some(vec![]));
        assert_eq!(read("{in,out}"), Some(vec!["in".into(), "out".into()]));
        assert_eq!(
            read(r#"{"x,y", "a\"b" ,NULL,"NULL",}"#),
            Some(vec!["x,y".into(), "a\"b".into(), "-".into(), "NULL".into(), String::new()])
        );
        assert_eq!(read("{{1},{2}}"), None);
        assert_eq!(read("in"), None);
        assert_eq!(read(r#"{"open}"#), None);

        let bytes = |parts: &[&[u8]]| Bytes::from(parts.concat());
        let head = [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1];
        let two = bytes(&[&head, &[0, 0, 0, 2], b"in", &[255, 255, 255, 255]]);
        assert_eq!(from_binary(&two), Some((25, vec![Some(Bytes::from("in")), None])));
        assert_eq!(from_binary(&two.slice(..two.len() - 1)), None);
        let long = bytes(&[&head, &[0, 0, 9, 2], b"in", &[255, 255, 255, 255]]);
        assert_eq!(from_binary(&long), None);
    }
}
