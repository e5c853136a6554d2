//! Entity tags: an answer is a function of definition, generation, coverage and query, so its tag is a hash of those, known
//! before anything is computed.
use seam_shared::log::Offset;

use crate::pin::PinnedView;
use crate::query::Layer;

/// Raised when the same inputs begin to be written as other bytes.
const FORMAT: &str = concat!("seam-answer-1 ", env!("CARGO_PKG_VERSION"));

/// The strong tag, in quotes, of what `question` (in canonical spelling) is answered with from `pinned`.
pub fn tag(question: &str, layer: Layer, pinned: &[PinnedView]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(FORMAT.as_bytes());
    field(question.as_bytes());
    field(layer.name().as_bytes());
    for view in pinned {
        field(view.view.id.as_bytes());
        if let Some(generation) = &view.generation {
            field(&generation.number.to_le_bytes());
            field(generation.incarnation.as_bytes());
            field(generation.cut.to_text("").as_bytes());
        }
        for (number, part) in &view.parts {
            let held = part.held.as_ref().map(|held| held.progress.position);
            // Where the speed layer begins matters only to an answer from it alone; else B decides.
            let from = if layer == Layer::Speed { part.from } else { Offset(0) };
            let text = format!("{number} {held:?} {from} {} {}", part.coverage, part.segments.is_some());
            field(text.as_bytes());
        }
    }
    format!("\"{}\"", &hasher.finalize().to_hex()[..32])
}

/// Whether an `If-None-Match` header names `tag`. The suffix of a compressed representation is looked through.
pub fn matches(header: &str, tag: &str) -> bool {
    let wanted = tag.trim_matches('"');
    header.split(',').map(str::trim).any(|given| {
        let given = given.strip_prefix("W/").unwrap_or(given).trim_matches('"');
        given == "*" || given.strip_suffix(GZIP_SUFFIX).unwrap_or(given) == wanted
    })
}

/// What the tag of a gzip-compressed representation ends with: other bytes, another tag.
pub const GZIP_SUFFIX: &str = "-gzip";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_matches_any_of_them() {
        assert!(matches("\"abc\"", "\"abc\""));
        assert!(matches("\"x\", W/\"abc-gzip\"", "\"abc\""));
        assert!(matches("*", "\"abc\""));
        assert!(!matches("\"abcd\", \"x\"", "\"abc\""));
        assert!(!matches("", "\"abc\""));
    }
}
