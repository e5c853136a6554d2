//! The fast way to find members: one pass over the bytes of the common kinds of events, eight at a time.
//!
//! It finds what [`super::layout`]'s full parser finds, or says nothing at all: escaped names, deep nesting and whatever is
//! not well-formed are left to the full parser, which then decides and explains. So there is one set of rules.
use super::wanted::{Found, Member, Node, same};

/// Objects and arrays inside one another beyond this are left to the full parser.
const DEPTH_MAX: u32 = 32;

/// Members whose order is remembered, and events that had another order before it is learnt anew.
const ORDER_MAX: usize = 64;
const SURPRISES_MAX: u32 = 256;

/// The order in which the members of events came so far: most events of a source are written by one program, so each name is compared
/// with the one that is expected before it is looked for. It makes nothing but speed.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    /// Each name with its quotes and the colon, and which of the wanted members it is.
    names: Vec<(Box<[u8]>, Option<usize>)>,
    surprises: u32,
}

impl Order {
    /// What is expected in place `i`, if it stands at the beginning of `bytes`: its length, and which member it is.
    #[inline(always)]
    fn expected(&self, i: usize, bytes: &[u8]) -> Option<(usize, Option<usize>)> {
        let (name, member) = self.names.get(i)?;
        same(name, bytes.get(..name.len())?).then_some((name.len(), *member))
    }

    /// Another name stood in place `i`.
    #[cold]
    fn learn(&mut self, i: usize, name: &[u8], member: Option<usize>) {
        if i == self.names.len() && i < ORDER_MAX {
            self.names.push(([b"\"", name, b"\":"].concat().into(), member));
            return;
        }
        self.surprises += 1;
        if self.surprises > SURPRISES_MAX {
            *self = Order::default();
        }
    }
}

/// Fills the slots of `node` from `text`, one JSON object; `None` if the full parser must look at it. `order` is of events scanned with
/// the same node.
pub(super) fn scan<'a>(node: &Node, order: &mut Order, text: &'a str, found: &mut Found<'a>) -> Option<()> {
    Cursor::whole(text, |cursor| cursor.event(node, order, found))
}

/// The same for a single event.
pub(super) fn scan_one<'a>(node: &Node, text: &'a str, found: &mut Found<'a>) -> Option<()> {
    Cursor::whole(text, |cursor| cursor.object(node, found, 0))
}

struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Reads one object and what is around it.
    #[inline(always)]
    fn whole(text: &'a str, object: impl FnOnce(&mut Cursor<'a>) -> Option<()>) -> Option<()> {
        let mut cursor = Cursor { text, bytes: text.as_bytes(), at: 0 };
        cursor.space();
        cursor.expect(b'{')?;
        object(&mut cursor)?;
        cursor.space();
        (cursor.at == text.len()).then_some(())
    }

    /// The next byte; 0, which no JSON holds outside of strings, at the end.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek() == byte).then(|| self.at += 1)
    }

    #[inline(always)]
    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// The members of an event, whose brace is behind us.
    fn event(&mut self, node: &Node, order: &mut Order, found: &mut Found<'a>) -> Option<()> {
        self.space();
        if self.peek() == b'}' {
            self.at += 1;
            return Some(());
        }
        for i in 0.. {
            let member = match order.expected(i, &self.bytes[self.at..]) {
                Some((length, member)) => {
                    self.at += length;
                    self.space();
                    member
                }
                None => {
                    let name = self.name()?;
                    let member = node.place(name);
                    order.learn(i, name, member);
                    member
                }
            };
            self.member(member.map(|at| node.at(at)), found, 0)?;
            if !self.goes_on(b'}')? {
                break;
            }
        }
        Some(())
    }

    /// The members of an object whose brace is behind us.
    fn object(&mut self, node: &Node, found: &mut Found<'a>, depth: u32) -> Option<()> {
        self.space();
        if self.peek() == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let name = self.name()?;
            self.member(node.member(name), found, depth)?;
            if !self.goes_on(b'}')? {
                return Some(());
            }
        }
    }

    /// A member's value; what is wanted of it goes into its slots.
    #[inline(always)]
    fn member(&mut self, member: Option<&Member>, found: &mut Found<'a>, depth: u32) -> Option<()> {
        let Some(member) = member else { return self.value(depth) };
        let start = self.at;
        match &member.inner {
            None => self.value(depth)?,
            Some(inner) => {
                inner.clear(found);
                match self.peek() {
                    b'{' if depth < DEPTH_MAX => {
                        self.at += 1;
                        self.object(inner, found, depth + 1)?;
                    }
                    b'n' => self.literal(b"null")?,
                    _ => return None,
                }
            }
        }
        let text = self.text.get(start..self.at)?;
        let value = (text != "null").then_some(text);
        for &slot in &member.slots {
            found[slot] = value;
        }
        Some(())
    }

    /// A member's name, with the colon behind it.
    #[inline(always)]
    fn name(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        let plain = self.string()?;
        let name = &self.bytes[start..self.at - 1];
        self.space();
        self.expect(b':')?;
        self.space();
        plain.then_some(name)
    }

    /// Behind a member or element: whether another one follows, or `end` was there.
    #[inline(always)]
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        self.space();
        let byte = self.peek();
        self.at += 1;
        match byte {
            b',' => {
                self.space();
                Some(true)
            }
            _ => (byte == end).then_some(false),
        }
    }

    /// Passes over one value of any kind.
    #[inline(always)]
    fn value(&mut self, depth: u32) -> Option<()> {
        match self.peek() {
            b'"' => {
                self.at += 1;
                self.string().map(drop)
            }
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            open @ (b'{' | b'[') if depth < DEPTH_MAX => self.nested(open, depth + 1),
            _ => None,
        }
    }

    /// An object or array that nobody looks into.
    fn nested(&mut self, open: u8, depth: u32) -> Option<()> {
        // In ASCII, both closing brackets stand two behind their opening ones.
        let end = open + 2;
        self.at += 1;
        self.space();
        if self.peek() == end {
            self.at += 1;
            return Some(());
        }
        loop {
            if open == b'{' {
                self.name()?;
            }
            self.value(depth)?;
            if !self.goes_on(end)? {
                return Some(());
            }
        }
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        let end = self.at + word.len();
        let same = self.bytes.get(self.at..end)? == word;
        self.at = end;
        same.then_some(())
    }

    /// A number by JSON's grammar.
    #[inline(always)]
    fn number(&mut self) -> Option<()> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    #[inline(always)]
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// A string whose first quote is behind us, up to behind its last one; says whether it holds no escapes.
    #[inline(always)]
    fn string(&mut self) -> Option<bool> {
        let mut plain = true;
        loop {
            let byte = match self.bytes.get(self.at..self.at + 8) {
                Some(eight) => {
                    let marks = specials(u64::from_le_bytes(eight.try_into().expect("eight bytes were taken")));
                    if marks == 0 {
                        self.at += 8;
                        continue;
                    }
                    self.at += marks.trailing_zeros() as usize / 8;
                    self.peek()
                }
                None => self.peek(),
            };
            match byte {
                b'"' => {
                    self.at += 1;
                    return Some(plain);
                }
                b'\\' => {
                    plain = false;
                    self.escape()?;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    /// An escape, from its backslash on. Whether it makes a character is asked where its string is read.
    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }
}

/// Marks, by its high bit, the first of eight bytes that is a quote, a backslash or a control character; bytes behind it may
/// be marked wrongly, for borrows go upwards.
#[inline(always)]
fn specials(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let quotes = zeros(word ^ (ONES * u64::from(b'"')));
    let backslashes = zeros(word ^ (ONES * u64::from(b'\\')));
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quotes | backslashes | controls) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::super::layout::Layout;
    use super::*;

    fn layout() -> Layout {
        let paths: Vec<Vec<String>> =
            ["a", "b", "c.d", "c"].iter().map(|p| p.split('.').map(str::to_owned).collect()).collect();
        Layout::new(paths.iter().map(Vec::as_slice))
    }

    /// Every text of up to four pieces: what the scan finds, the full parser finds too.
    #[test]
    fn agrees_with_the_full_parser_wherever_it_speaks() {
        let pieces: Vec<&str> = concat!(
            r#"{|}|[|]|:|,|"a"|"c"|"d"|"x\n"|"\u00e9"|"\ud800"|"\q"|"é long enough for words"|"#,
            "\"\u{1}\"|0|-|01|1.|1.5|-0|1e400|2E+3|1e|true|nul|null| |\n|x"
        )
        .split('|')
        .collect();
        let layout = layout();
        let mut order = Order::default();
        let (mut spoke, mut silent, mut soundly_silent) = (0, 0, 0);
        let mut state = 1u64;
        for round in 0..400_000 {
            let mut pick = |n: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % n
            };
            let mut text = String::from("{");
            // Mostly well-formed members, sometimes any pieces.
            for member in 0..pick(5) {
                if round % 4 == 0 {
                    text.push_str(pieces[pick(pieces.len())]);
                } else {
                    let comma = if member == 0 { "" } else { "," };
                    let name = ["\"a\"", "\"b\"", "\"c\"", "\"x\"", "\"\\u0061\""][pick(5)];
                    let value = match pick(4) {
                        0 => format!("{{\"d\":{}}}", pieces[15 + pick(12)]),
                        1 => format!("[{} , {}]", pieces[8 + pick(19)], pieces[15 + pick(12)]),
                        _ => pieces[8 + pick(19)].to_owned(),
                    };
                    text.push_str(&format!("{comma}{name}: {value}"));
                }
            }
            text.push('}');
            let (mut fast, mut full) = (layout.slots(), Found::new());
            let heard = scan(layout.root(), &mut order, &text, &mut fast);
            let mut alone = layout.slots();
            assert_eq!(heard, scan_one(layout.root(), &text, &mut alone), "{text}");
            assert!(heard.is_none() || fast == alone, "whatever order is remembered: {text}");
            let sound = layout.parse(&text, &mut full).is_ok();
            match heard {
                Some(()) => {
                    spoke += 1;
                    assert!(sound, "only the scan takes {text}");
                    assert_eq!(fast, full, "{text}");
                }
                None => {
                    silent += 1;
                    soundly_silent += i32::from(sound);
                }
            }
        }
        assert!(spoke > 40_000 && silent > 40_000, "{spoke} {silent}");
        assert!(soundly_silent < silent / 2, "{soundly_silent} of {silent} were left to the full parser for no reason");
    }

    #[test]
    fn the_first_special_byte_is_found_anywhere() {
        for at in 0..8 {
            for byte in 0..=255u8 {
                let mut word = *b"abcdefgh";
                word[at] = byte;
                let marks = specials(u64::from_le_bytes(word));
                let special = matches!(byte, b'"' | b'\\' | 0..0x20);
                assert_eq!(marks != 0, special, "{byte} at {at}");
                assert!(!special || marks.trailing_zeros() as usize / 8 == at, "{byte} at {at}");
            }
        }
    }
}
