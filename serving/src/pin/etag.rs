//! Entity tags: an answer is a function of definition, generation, coverage and query, so its tag is a hash of those, known
//! before anything is computed.
use std::hash::Hash;

use seam_shared::log::Offset;

use crate::pin::pinned::PinnedView;
use crate::query::{Layer, Spelling};

/// Raised when the same inputs begin to be written as other bytes.
const FORMAT: &str = concat!("seam-answer-6 ", env!("CARGO_PKG_VERSION"));

/// The strong tag, in quotes, of what a question in that spelling is answered with from what was `pinned`, by its hash.
pub fn tag(question: &[u8], pinned: &[u8; 32]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(question).update(pinned);
    let mut tag = String::with_capacity(34);
    tag.push('"');
    tag.push_str(&hasher.finalize().to_hex()[..32]);
    tag.push('"');
    tag
}

/// The hash of what was pinned, as far as an answer depends on it: equal hashes, equal contents.
pub fn digest(layer: Layer, pinned: &[PinnedView]) -> [u8; 32] {
    *blake3::hash(&spelling(layer, pinned)).as_bytes()
}

fn spelling(layer: Layer, pinned: &[PinnedView]) -> Vec<u8> {
    let mut out = Spelling::default();
    (FORMAT, layer).hash(&mut out);
    for view in pinned {
        (&view.view.id, &view.successor, view.excluded()).hash(&mut out);
        view.generation.as_ref().map(|g| (g.number, &g.incarnation, &g.cut.0)).hash(&mut out);
        for (number, part) in &view.parts {
            let held = part.held.as_ref().map(|held| held.progress.position);
            // Where the speed layer begins matters only to an answer from it alone; else B decides.
            let from = if layer == Layer::Speed { part.from } else { Offset(0) };
            (number, held, from, part.coverage, part.segments.is_some(), part.away).hash(&mut out);
        }
    }
    out.0
}

/// Whether an `If-None-Match` header names `tag`. The suffix of a compressed representation is looked through.
pub fn matches(header: &str, tag: &str) -> bool {
    let wanted = tag.trim_matches('"');
    header.split(',').map(str::trim).any(|given| {
        let given = given.strip_prefix("W/").unwrap_or(given).trim_matches('"');
        given == "*" || plain(given) == wanted
    })
}

/// The encodings that a representation may have. A tag ends with its name: other bytes, another tag.
const ENCODINGS: [&str; 2] = ["gzip", "zstd"];

/// A tag without quotes and without what an encoding added.
fn plain(tag: &str) -> &str {
    let of = |encoding: &&str| tag.strip_suffix(*encoding)?.strip_suffix('-');
    ENCODINGS.iter().find_map(of).unwrap_or(tag)
}

/// The tag of a representation in that encoding; of one without an encoding, the tag itself.
pub fn encoded(tag: &str, encoding: &str) -> String {
    if ENCODINGS.contains(&encoding) {
        return format!("{}-{encoding}\"", tag.trim_end_matches('"'));
    }
    tag.to_owned()
}

/// The tag of the representation that a caller has, if its `If-None-Match` header names `tag` in any encoding.
pub fn known_as(header: &str, tag: &str) -> String {
    let wanted = tag.trim_matches('"');
    let given = header.split(',').map(|given| given.trim().trim_start_matches("W/").trim_matches('"'));
    let mut named = given.filter(|given| plain(given) == wanted);
    named.next().map_or_else(|| tag.to_owned(), |name| format!("\"{name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_matches_any_of_them() {
        assert!(matches("\"abc\"", "\"abc\""));
        assert!(matches("\"x\", W/\"abc-gzip\"", "\"abc\""));
        assert!(matches("\"abc-zstd\"", "\"abc\""));
        assert_eq!(known_as("\"x\", \"abc-zstd\"", "\"abc\""), encoded("\"abc\"", "zstd"));
        assert_eq!(known_as("*", "\"abc\""), "\"abc\"");
        assert!(matches("*", "\"abc\""));
        assert!(!matches("\"abcd\", \"x\"", "\"abc\""));
        assert!(!matches("", "\"abc\""));
    }
}
