//! The normal form of URLs, so that one page is counted under one name. A pure function of the text, and of nothing else: no host is
//! looked up, no version of a table takes part.
//!
//! What RFC 3986 §6 calls equal becomes equal: scheme and host in lower case, the scheme's own port left out, percent-encoded letters,
//! digits and `-._~` decoded, all other percent-encodings in upper case, what may not stand in a URL percent-encoded, `.` and `..`
//! resolved. Beyond it, as pages are meant: no fragment, no trailing slash but the root's, parameters sorted by name (those of one
//! name keep their order), and none that only says where a visitor came from. Any text has a normal form, and it is its own.
use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What becomes of the query of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UrlRule {
    /// Its parameters are sorted, and those for tracking dropped.
    Keep,
    /// It is dropped.
    Drop,
}

/// Parameters that say where a visitor came from and nothing of the page; besides all that begin with `utm_`.
const TRACKING: [&str; 17] = [
    "_ga",
    "_gl",
    "dclid",
    "fbclid",
    "gad_source",
    "gbraid",
    "gclid",
    "gclsrc",
    "igshid",
    "li_fat_id",
    "mc_cid",
    "mc_eid",
    "msclkid",
    "ttclid",
    "twclid",
    "wbraid",
    "yclid",
];

/// Schemes and the ports that they mean.
const PORTS: [(&str, u16); 5] = [("http", 80), ("https", 443), ("ws", 80), ("wss", 443), ("ftp", 21)];

/// The normal form of a URL, absolute or not.
pub fn normalized(text: &str, rule: UrlRule) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let spelled = spelled(text.trim_matches(|c: char| c.is_ascii_whitespace()));
    let whole = spelled.split_once('#').map_or(spelled.as_str(), |(whole, _fragment)| whole);
    let (scheme, rest) = split_scheme(whole);
    let mut out = String::with_capacity(whole.len() + 1);
    if let Some(scheme) = scheme {
        out.extend(scheme.chars().map(|c| c.to_ascii_lowercase()));
        out.push(':');
        if !rest.starts_with("//") {
            out.push_str(rest); // mailto: and the like have no hierarchy
            return Cow::Owned(out);
        }
    }
    let (hierarchy, query) = rest.split_once('?').map_or((rest, None), |(h, query)| (h, Some(query)));
    let path = match hierarchy.strip_prefix("//") {
        Some(from_authority) => {
            let end = from_authority.find('/').unwrap_or(from_authority.len());
            let (authority, path) = from_authority.split_at(end);
            let scheme = out.trim_end_matches(':').to_owned();
            out.push_str("//");
            push_authority(&mut out, authority, &scheme);
            let path = without_dots(path);
            if path.is_empty() { "/".to_owned() } else { path }
        }
        None if hierarchy.starts_with('/') => {
            let path = without_dots(hierarchy);
            // two slashes would begin a host
            format!("/{}", path.trim_start_matches('/'))
        }
        None => hierarchy.to_owned(),
    };
    let trimmed = path.trim_end_matches('/');
    out.push_str(if trimmed.is_empty() && path.starts_with('/') { "/" } else { trimmed });
    if let (Some(query), UrlRule::Keep) = (query, rule) {
        push_query(&mut out, query);
    }
    Cow::Owned(out)
}

/// Whether a text is a path that is its own normal form, as most are: found without copying.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let simple = |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'/');
    bytes.first() == Some(&b'/')
        && bytes.iter().all(simple)
        && (bytes.len() == 1 || bytes.last() != Some(&b'/'))
        && !bytes.windows(2).any(|pair| pair == b"//")
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether a byte has a meaning of its own somewhere in a URL.
fn is_reserved(byte: u8) -> bool {
    b":/?#[]@!$&'()*+,;=".contains(&byte)
}

/// The text with each character percent-encoded if it must be, and not if it need not be.
fn spelled(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len() + 8);
    let encode = |out: &mut String, byte: u8| {
        out.push('%');
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    };
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte != b'%' {
            if is_unreserved(byte) || is_reserved(byte) {
                out.push(char::from(byte));
            } else {
                encode(&mut out, byte);
            }
            continue;
        }
        let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
        match digit(at).zip(digit(at + 1)) {
            Some((high, low)) => {
                at += 2;
                let byte = (high * 16 + low) as u8;
                if is_unreserved(byte) { out.push(char::from(byte)) } else { encode(&mut out, byte) }
            }
            None => encode(&mut out, b'%'),
        }
    }
    out
}

/// A scheme, if there is one, and what is behind its colon.
fn split_scheme(text: &str) -> (Option<&str>, &str) {
    let Some((scheme, rest)) = text.split_once(':') else { return (None, text) };
    let mut bytes = scheme.bytes();
    let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if begins && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) {
        return (Some(scheme), rest);
    }
    (None, text)
}

fn push_authority(out: &mut String, authority: &str, scheme: &str) {
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if let Some(user) = user {
        out.push_str(user);
        out.push('@');
    }
    let end_of_name = host.rfind(']').map_or(0, |end| end + 1);
    let port = host[end_of_name..].rsplit_once(':').filter(|(before, _)| !before.contains(':'));
    let (name, port) = match port {
        Some((before, port)) if port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (&host[..end_of_name + before.len()], Some(port))
        }
        _ => (host, None),
    };
    let mut digits = 0_u8; // of a percent-encoding: they stay in upper case
    for c in name.chars() {
        out.push(if digits > 0 { c } else { c.to_ascii_lowercase() });
        digits = if c == '%' { 2 } else { digits.saturating_sub(1) };
    }
    let number = port.and_then(|port| port.parse::<u32>().ok());
    let own = PORTS.iter().find(|(name, _)| *name == scheme).map(|(_, port)| u32::from(*port));
    if let Some(number) = number.filter(|number| Some(*number) != own) {
        out.push_str(&format!(":{number}"));
    }
}

/// A path without `.` and `..` (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let Some(inner) = path.strip_prefix('/') else { return path.to_owned() };
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in inner.split('/') {
        ends_open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if ends_open || kept.is_empty() {
        out.push('/');
    }
    out
}

fn push_query(out: &mut String, query: &str) {
    let name = |parameter: &&str| parameter.split_once('=').map_or(*parameter, |(name, _)| name).to_owned();
    let is_tracking = |parameter: &&str| {
        let name = name(parameter).to_ascii_lowercase();
        name.starts_with("utm_") || TRACKING.contains(&name.as_str())
    };
    let mut parameters: Vec<&str> =
        query.split('&').filter(|parameter| !parameter.is_empty() && !is_tracking(parameter)).collect();
    parameters.sort_by_key(name);
    for (i, parameter) in parameters.iter().enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        out.push_str(parameter);
    }
}

#[cfg(test)]
mod tests;
