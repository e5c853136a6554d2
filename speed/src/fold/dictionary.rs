//! The values of one field as small integers, for all views of a source and for as long as a segment is open.
use hashbrown::HashMap;

use seam_shared::event::batch::Column;
use seam_shared::view::rows::Dimension;
use seam_shared::view::value::Value;

const UNSEEN: u32 = u32::MAX;

/// Values by code, and codes by value. Codes stay valid until [`Dictionary::clear`].
#[derive(Debug, Default)]
pub struct Dictionary {
    values: Vec<Value>,
    codes: HashMap<Value, u32>,
    /// From the decoder's code of a text to ours.
    texts: Vec<u32>,
    /// Of each value, where [`Dictionary::dimension`] last put it, and in which call.
    placed: Vec<(u32, u32)>,
    calls: u32,
}

impl Dictionary {
    /// How many values there are.
    pub fn size(&self) -> usize {
        self.values.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Must be called when the decoder starts its dictionaries anew.
    pub fn forget_texts(&mut self) {
        self.texts.clear();
    }

    /// The value that a code stands for.
    pub fn value(&self, code: u32) -> &Value {
        &self.values[code as usize]
    }

    /// The code of a value.
    pub fn code(&mut self, value: &Value) -> u32 {
        if let Some(&code) = self.codes.get(value) {
            return code;
        }
        let code = u32::try_from(self.values.len()).expect("a segment holds fewer than 2^32 records");
        self.values.push(value.clone());
        self.placed.push((0, 0));
        self.codes.insert(value.clone(), code);
        code
    }

    /// The codes of a column's entries in `range`; what an entry outside `counting` gets is meaningless.
    pub fn encode(&mut self, column: &Column, texts: &[Value], first: usize, counting: &[u32], out: &mut Vec<u32>) {
        let last = counting.last().map_or(first, |&last| last as usize + 1);
        out.clear();
        out.resize(last - first, 0);
        match column {
            Column::Str(codes) => {
                self.texts.resize(self.texts.len().max(texts.len()), UNSEEN);
                for &event in counting {
                    let text = codes[event as usize] as usize;
                    if self.texts[text] == UNSEEN {
                        self.texts[text] = self.code(&texts[text]);
                    }
                    out[event as usize - first] = self.texts[text];
                }
            }
            Column::Bool(values, valid) => self.intern(values, valid, |v| Value::Bool(*v), first, counting, out),
            Column::Int(values, valid) => self.intern(values, valid, |v| Value::Int(*v), first, counting, out),
            Column::Decimal(values, valid, scale) => {
                self.intern(values, valid, |v| Value::Decimal(*v, *scale), first, counting, out);
            }
            Column::Float(values, valid) => self.intern(values, valid, |v| Value::Float(*v), first, counting, out),
        }
    }

    fn intern<T: PartialEq + Copy>(
        &mut self,
        values: &[T],
        valid: &[bool],
        lift: impl Fn(&T) -> Value,
        first: usize,
        counting: &[u32],
        out: &mut [u32],
    ) {
        // Runs of one value are common, so the last code is tried before the table.
        let mut last: Option<(T, u32)> = None;
        for &event in counting {
            let i = event as usize;
            out[i - first] = match last {
                _ if !valid[i] => self.code(&Value::Null),
                Some((value, code)) if value == values[i] => code,
                _ => {
                    let code = self.code(&lift(&values[i]));
                    last = Some((values[i], code));
                    code
                }
            };
        }
    }

    /// A dimension column for rows with these codes, with only the values that occur.
    pub fn dimension(&mut self, codes: impl Iterator<Item = u32>) -> Dimension {
        self.calls += 1;
        let mut dimension = Dimension::default();
        dimension.codes.extend(codes.map(|code| {
            let placed = &mut self.placed[code as usize];
            if placed.0 != self.calls {
                *placed = (self.calls, u32::try_from(dimension.values.len()).expect("no more than all values"));
                dimension.values.push(self.values[code as usize].clone());
            }
            placed.1
        }));
        dimension
    }
}
