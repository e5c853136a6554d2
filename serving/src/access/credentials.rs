//! What a request shows: `Authorization: Bearer <key>`, `Basic` with the key as user or password, or `?token=` where a browser's
//! feed cannot send headers.
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Uri, header};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use seam_shared::config::KEY_PREFIX;

/// RFC 7617 asks for padding; not every client writes it.
const LOGIN: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The parameter that holds a key.
const PARAMETER: &str = "token";

/// The key or token in the headers.
pub fn of_headers(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let login = String::from_utf8(LOGIN.decode(rest).ok()?).ok()?;
    let (user, password) = login.split_once(':').unwrap_or((&login, ""));
    // Collectors send the key as the user, whatever they send as the password.
    let secret = if user.starts_with(KEY_PREFIX) || password.is_empty() { user } else { password };
    Some(secret.to_owned())
}

/// Takes `token` out of a URL, so that no handler and no log ever sees it.
pub fn take_parameter(uri: &mut Uri) -> Option<String> {
    let is_token =
        |part: &&str| part.strip_prefix(PARAMETER).is_some_and(|rest| rest.is_empty() || rest.starts_with('='));
    let query = uri.query().filter(|query| query.split('&').any(|part| is_token(&part)))?;
    let token =
        query.split('&').find(is_token).and_then(|part| part.split_once('=')).map(|(_, value)| value.to_owned());
    let rest: Vec<&str> = query.split('&').filter(|part| !is_token(part)).collect();
    let path = if rest.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), rest.join("&")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).expect("a part of what was a path and query"));
    *uri = Uri::from_parts(parts).expect("as the parts were");
    token.map(|token| crate::percent::decoded(&token).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> Option<String> {
        of_headers(&HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]))
    }

    #[test]
    fn keys_are_found_where_clients_put_them() {
        assert_eq!(shown("Bearer seam_1").as_deref(), Some("seam_1"));
        assert_eq!(shown("bearer  a.b.c ").as_deref(), Some("a.b.c"));
        // echo -n 'seam_1:' | base64, 'seam_1:x', 'anybody:seam_1', 'anybody:'
        assert_eq!(shown("Basic c2VhbV8xOg==").as_deref(), Some("seam_1"));
        assert_eq!(shown("Basic c2VhbV8xOng=").as_deref(), Some("seam_1"));
        assert_eq!(shown("basic YW55Ym9keTpzZWFtXzE").as_deref(), Some("seam_1"));
        assert_eq!(shown("Basic YW55Ym9keTo=").as_deref(), Some("anybody"));
        for nothing in ["Digest x", "Basic ***", "seam_1", "Basic /w=="] {
            assert_eq!(shown(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_token_leaves_the_url() {
        let take = |text: &str| {
            let mut uri: Uri = text.parse().unwrap();
            (take_parameter(&mut uri), uri.to_string())
        };
        let token = |token: &str| Some(token.to_owned());
        assert_eq!(take("/live?metric=a&token=k&x=1"), (token("k"), "/live?metric=a&x=1".to_owned()));
        assert_eq!(take("/live?token=a%2Eb"), (token("a.b"), "/live".to_owned()));
        assert_eq!(take("http://h/live?token=k"), (token("k"), "http://h/live".to_owned()));
        assert_eq!(take("/live?tokens=1&a=token"), (None, "/live?tokens=1&a=token".to_owned()));
        assert_eq!(take("/live?token"), (None, "/live".to_owned()));
        assert_eq!(take("/live?token=1&token=2").1, "/live");
    }
}
