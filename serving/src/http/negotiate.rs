//! Which format an `Accept` header asks for (RFC 9110, §12.5.1). Pure.
use axum::http::{HeaderMap, header};
use seam_shared::Kind;

use crate::query::{Format, Refusal};

/// One range of an `Accept` header.
struct Accepted<'h> {
    /// `*` for any.
    kind: &'h str,
    subtype: &'h str,
    /// From 0, for never, to 1000.
    quality: u32,
}

/// The format that suits `headers` best: of the highest quality, then the one named first, then in the order of [`Format::NAMES`].
///
/// # Errors
/// A refusal, as 406, when none suits.
pub fn format(headers: &HeaderMap) -> Result<Format, Refusal> {
    if !headers.contains_key(header::ACCEPT) {
        return Ok(Format::Json);
    }
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<Accepted<'_>> = lines.flat_map(|line| line.split(',')).filter_map(accepted).collect();
    if ranges.is_empty() {
        return Ok(Format::Json);
    }
    let mut best: Option<(u32, usize, Format)> = None;
    for (format, _, media_type) in Format::NAMES {
        let Some((place, quality)) = quality(&ranges, media_type).filter(|(_, quality)| *quality > 0) else { continue };
        if best.is_none_or(|(highest, first, _)| quality > highest || (quality == highest && place < first)) {
            best = Some((quality, place, format));
        }
    }
    best.map(|(.., format)| format).ok_or_else(|| {
        let known: Vec<&str> = Format::NAMES.iter().map(|(.., media_type)| *media_type).collect();
        Refusal {
            kind: Kind::Invalid,
            problem: "not-acceptable",
            detail: format!("none of the media types that are accepted can be had; there are {}", known.join(", ")),
            parameter: None,
            suggestion: None,
        }
    })
}

/// The place of the range that fits a media type most closely, and its quality.
fn quality(ranges: &[Accepted<'_>], media_type: &str) -> Option<(usize, u32)> {
    let (kind, subtype) = media_type.split_once('/')?;
    let closeness = |range: &Accepted<'_>| match (range.kind, range.subtype) {
        (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(subtype) => Some(2),
        (k, "*") if k.eq_ignore_ascii_case(kind) => Some(1),
        ("*", "*") => Some(0),
        _ => None,
    };
    let fitting =
        ranges.iter().enumerate().filter_map(|(place, range)| Some((closeness(range)?, place, range.quality)));
    let closest = fitting.max_by_key(|(closeness, place, _)| (*closeness, std::cmp::Reverse(*place)));
    closest.map(|(_, place, quality)| (place, quality))
}

fn accepted(text: &str) -> Option<Accepted<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let quality = q.map_or(Some(1.0), |q| q.parse::<f64>().ok().filter(|q| (0.0..=1.0).contains(q)))?;
    Some(Accepted { kind, subtype, quality: (quality * 1_000.0).round() as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn asked(accept: &'static str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        format(&headers).ok()
    }

    #[test]
    fn the_best_of_what_is_accepted_is_chosen() {
        assert_eq!(format(&HeaderMap::new()).ok(), Some(Format::Json));
        assert_eq!(asked("*/*"), Some(Format::Json));
        assert_eq!(asked("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Some(Format::Json));
        assert_eq!(asked("text/csv, application/json"), Some(Format::Csv));
        assert_eq!(asked("text/csv;q=0.5, application/json"), Some(Format::Json));
        assert_eq!(asked("application/json;q=0, */*"), Some(Format::Lines));
        assert_eq!(asked("text/*"), Some(Format::Csv));
        assert_eq!(asked("application/*;q=0.1, application/vnd.apache.arrow.stream; q=0.9"), Some(Format::Arrow));
        assert_eq!(asked("Application/VND.apache.parquet"), Some(Format::Parquet));
        assert_eq!(asked("image/png"), None);
        assert_eq!(asked("application/json;q=0"), None);
        assert_eq!(asked("nonsense"), Some(Format::Json), "what is no range asks for nothing");
    }
}
