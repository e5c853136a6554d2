//! The members of an event that are wanted, as a tree of names: made to be asked a dozen times an event.

/// The texts found in one record, by slot: each a JSON value as written, without white space around it.
pub type Found<'a> = Vec<Option<&'a str>>;

/// The wanted members of one object.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    members: Vec<Member>,
    /// By [`bucket`] of a name: 1 + the first member with it, 0 if there is none.
    first: Vec<u16>,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    name: Box<[u8]>,
    /// The slots that want this very member.
    pub(super) slots: Vec<usize>,
    /// The members wanted from inside it.
    pub(super) inner: Option<Node>,
    /// 1 + the next member with the same bucket, 0 if there is none.
    next: u16,
}

const BUCKETS: usize = 64;

/// Spreads the names of one object well enough that most are told apart without comparing bytes.
#[inline]
fn bucket(name: &[u8]) -> usize {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
    (name.len() * 5 + usize::from(*first) * 3 + usize::from(*last) * 11) % BUCKETS
}

/// Whether two short texts are equal, without a call: names and keys are compared a dozen times an event.
#[inline(always)]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were taken"))
    }
    match a.len() {
        length if length != b.len() => false,
        0..8 => a.iter().zip(b).all(|(a, b)| a == b),
        // Two words that overlap cover them all.
        length @ 8..=16 => word(a, 0) == word(b, 0) && word(a, length - 8) == word(b, length - 8),
        _ => a == b,
    }
}

impl Node {
    pub(super) fn want(&mut self, path: &[String], slot: usize) {
        let Some((name, rest)) = path.split_first() else { return };
        let at = self.members.iter().position(|m| *m.name == *name.as_bytes()).unwrap_or_else(|| {
            self.members.push(Member { name: name.as_bytes().into(), slots: Vec::new(), inner: None, next: 0 });
            self.members.len() - 1
        });
        let member = &mut self.members[at];
        if rest.is_empty() {
            member.slots.push(slot);
        } else {
            member.inner.get_or_insert_default().want(rest, slot);
        }
    }

    pub(super) fn index(&mut self) {
        self.first = vec![0; BUCKETS];
        for (at, member) in self.members.iter_mut().enumerate() {
            let head = &mut self.first[bucket(&member.name)];
            member.next = *head;
            *head = u16::try_from(at + 1).expect("a source has fewer than 65,536 fields");
            if let Some(inner) = &mut member.inner {
                inner.index();
            }
        }
    }

    #[inline]
    pub(super) fn member(&self, name: &[u8]) -> Option<&Member> {
        self.place(name).map(|place| self.at(place))
    }

    /// Which member has this name.
    #[inline]
    pub(super) fn place(&self, name: &[u8]) -> Option<usize> {
        let mut at = self.first[bucket(name)];
        while at != 0 {
            let place = usize::from(at) - 1;
            if same(&self.members[place].name, name) {
                return Some(place);
            }
            at = self.members[place].next;
        }
        None
    }

    /// The member at a place.
    #[inline]
    pub(super) fn at(&self, place: usize) -> &Member {
        &self.members[place]
    }

    /// Empties the slots below this node: an earlier member of the same name does not count.
    pub(super) fn clear(&self, found: &mut Found<'_>) {
        for member in &self.members {
            for &slot in &member.slots {
                found[slot] = None;
            }
            if let Some(inner) = &member.inner {
                inner.clear(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_is_equality() {
        for length in 0..20 {
            let text: Vec<u8> = (0..length).collect();
            assert!(same(&text, &text.clone()));
            assert!(!same(&text, &[&text[..], b"x"].concat()));
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] ^= 64;
                assert!(!same(&text, &other), "{length} {at}");
            }
        }
    }
}
