//! `server.access`: who may ask. Keys are known by their hashes alone, inline or in a file of their own that is read again when it
//! changes; tokens by the keys of who issues them.
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::keys::KEYS_FILE;
use super::report::{Problems, Report, nearest};
use super::secret::KEY_PREFIX;
use super::tree::{self, Content, Node};
use super::{Config, environment, shape};
use crate::access::{Names, RowFilter, Scope};
use crate::time::{Span, Timestamp};

const REFRESH: Duration = Duration::from_secs(5 * 60);
const FAILURES: Rate = Rate { count: 30, per: Span::MINUTE };
const HASH_PREFIX: &str = "blake3:";

/// Who may ask, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// The keys.
    pub keys: Keys,
    /// Tokens that are taken beside keys.
    pub jwt: Option<JwtSettings>,
    /// Wrong keys and tokens that one address may show before it has to wait; `None`: any number. 30 a minute by default.
    pub failures: Option<Rate>,
}

/// Where keys are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// Here.
    Inline(Vec<Key>),
    /// In a file, which is read again when it changes.
    File(PathBuf),
}

/// A key as it is kept: not the key itself, which nobody can tell from this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What it is called in lists and logs.
    pub name: String,
    /// The hash of the key.
    pub hash: KeyHash,
    /// What it is for.
    pub scopes: Vec<Scope>,
    /// The rows that it may see.
    pub rows: RowFilter,
    /// When it ends; `None`: never.
    pub expires: Option<Timestamp>,
    /// How many requests it may send.
    pub rate: Option<Rate>,
}

/// The hash of a key. A key is 256 random bits: a fast hash is enough, as there is no list of likely keys to try, and each request
/// has to compute it. The context keeps hashes of the same bytes for another purpose apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(blake3::Hash); // whose equality takes a time that does not depend on where two hashes differ

impl KeyHash {
    /// The hash of a key.
    pub fn of(key: &str) -> KeyHash {
        KeyHash(blake3::derive_key("seam 2026 hash of API keys at rest", key.as_bytes()).into())
    }
    /// Reads `blake3:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<KeyHash> {
        blake3::Hash::from_hex(text.strip_prefix(HASH_PREFIX)?).ok().map(KeyHash)
    }
}

impl std::fmt::Display for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{HASH_PREFIX}{}", self.0.to_hex())
    }
}

/// So many of something in a time; that many at once are fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 1.
    pub count: u32,
    /// In which time.
    pub per: Span,
}

impl Rate {
    /// Reads `100/s`, `600/m`, `1000/h`.
    pub fn parse(text: &str) -> Option<Rate> {
        let (count, unit) = text.split_once('/')?;
        let per = match unit {
            "s" => Span::SECOND,
            "m" => Span::MINUTE,
            "h" => Span::HOUR,
            _ => return None,
        };
        Some(Rate { count: count.parse().ok().filter(|count| *count > 0)?, per })
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = if self.per == Span::SECOND {
            "s"
        } else if self.per == Span::MINUTE {
            "m"
        } else {
            "h"
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// Tokens (RFC 7519) signed by somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// Where the issuer's public keys are: a URL, or a file that is read again when it changes.
    pub jwks: String,
    /// What the claim `iss` must be.
    pub issuer: String,
    /// What the claim `aud` must hold.
    pub audience: String,
    /// How long the public keys are kept before they are fetched again; 5 minutes by default.
    pub refresh: Duration,
}

/// A certificate and its private key, both PEM; the files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate, then those that lead from it to a trusted one.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Sources and views that scopes may name.
struct Known<'a> {
    sources: Vec<&'a str>,
    views: Vec<&'a str>,
}

/// `server.access`, if it is there.
pub(super) fn access(root: &Node, problems: &mut Problems) -> Option<AccessSettings> {
    let node = root.get("server")?.get("access")?;
    let names =
        |of: &str| root.get(of).map_or(&[][..], Node::entries).iter().map(|(key, _)| key.name.as_str()).collect();
    let known = Known { sources: names("sources"), views: names("views") };
    let keys = match node.get("keys") {
        Some(Node { content: Content::Sequence(items), .. }) => Keys::Inline(keys(items, Some(&known), problems)),
        Some(file) => Keys::File(PathBuf::from(file.text().unwrap_or_default())),
        None => Keys::Inline(Vec::new()),
    };
    if node.get("keys").is_none() && node.get("jwt").is_none() {
        let hint = Some("`seam keys create --help` says how to make keys".to_owned());
        problems.suggest(node.place, "`access` without `keys` and `jwt` would let nobody in", hint);
    }
    let failures = match node.get("failures") {
        Some(off) if off.text() == Some("off") => None,
        Some(given) => rate(given, problems),
        None => Some(FAILURES),
    };
    Some(AccessSettings { keys, jwt: node.get("jwt").and_then(|jwt| tokens(jwt, problems)), failures })
}

fn tokens(node: &Node, problems: &mut Problems) -> Option<JwtSettings> {
    if !cfg!(feature = "jwt") {
        problems.add(node.place, "this build knows no tokens: its feature `jwt` is off");
    }
    let jwks = node.get("jwks")?;
    if jwks.text().is_some_and(|url| url.starts_with("http://") && !url.starts_with("http://127.0.0.1")) {
        let hint = Some("write https://".to_owned());
        problems.suggest(jwks.place, "whoever can change what is fetched over http:// could issue tokens", hint);
    }
    let refresh = node.duration("refresh").map_or(REFRESH, |span| Duration::from_micros(span.0.unsigned_abs()));
    let text = |name: &str| node.text_of(name).map(str::to_owned);
    Some(JwtSettings { jwks: text("jwks")?, issuer: text("issuer")?, audience: text("audience")?, refresh })
}

fn keys(items: &[Node], known: Option<&Known<'_>>, problems: &mut Problems) -> Vec<Key> {
    let mut out: Vec<Key> = Vec::new();
    for item in items {
        let Some(key) = key(item, known, problems) else { continue };
        let twice = |name: &str| item.get(name).map_or(item.place, |node| node.place);
        if out.iter().any(|other| other.name == key.name) {
            problems.add(twice("name"), format!("there is a key called `{}` already", key.name));
        }
        if out.iter().any(|other| other.hash == key.hash) {
            problems.add(twice("hash"), "this key is there already");
        }
        out.push(key);
    }
    out
}

fn key(node: &Node, known: Option<&Known<'_>>, problems: &mut Problems) -> Option<Key> {
    let hash = node.get("hash")?;
    let read = hash.text().and_then(KeyHash::parse);
    if hash.text().is_some_and(|text| text.starts_with(KEY_PREFIX)) {
        problems.suggest(
            super::report::Place { length: 1, ..hash.place },
            "this is a key, not the hash of one; whoever reads the file could use it",
            Some("make another with `seam keys create` and forget this one".to_owned()),
        );
    } else if read.is_none() {
        problems.add(hash.place, "this is no hash of a key; `seam keys create` prints one");
    }
    let mut scopes = Vec::new();
    for (text, place) in node.get("scopes")?.texts() {
        match Scope::parse(text) {
            Err(message) => problems.add(place, message),
            Ok(scope) => {
                let (what, names) = match (&scope, known) {
                    (Scope::Ingest(Names::One(name)), Some(known)) => ("source", Some((name, &known.sources))),
                    (Scope::Query(Names::One(name)), Some(known)) => ("view", Some((name, &known.views))),
                    _ => ("", None),
                };
                // Seam's own stream is a view that no file names.
                if let Some((name, names)) = names.filter(|(name, _)| *name != super::OWN_STREAM)
                    && !names.contains(&name.as_str())
                {
                    problems.suggest(
                        place,
                        format!("there is no {what} `{name}`"),
                        nearest(name, names.iter().copied()),
                    );
                }
                scopes.push(scope);
            }
        }
    }
    let expires = node.get("expires").and_then(|end| {
        let read = end.text().and_then(Timestamp::parse_rfc3339);
        if read.is_none() {
            problems.add(end.place, "expected a time like 2027-01-01T00:00:00Z");
        }
        read
    });
    let mut filter = Map::new();
    for (dimension, values) in node.get("filter").map_or(&[][..], Node::entries) {
        let values = values.texts().into_iter().map(|(text, _)| Json::from(text));
        filter.insert(dimension.name.clone(), values.collect());
    }
    Some(Key {
        name: node.text_of("name")?.to_owned(),
        hash: read?,
        scopes,
        rows: RowFilter::from_json(&filter).ok()?,
        expires,
        rate: node.get("rate").and_then(|given| rate(given, problems)),
    })
}

fn rate(node: &Node, problems: &mut Problems) -> Option<Rate> {
    let read = node.text().and_then(Rate::parse);
    if read.is_none() {
        problems.add(node.place, "expected a rate like 100/s, 600/m or 1000/h");
    }
    read
}

/// Reads the text of a keys file, which is `file` in the report; scopes may name what `config` has, if that is known.
///
/// # Errors
/// Everything that is wrong with it.
pub fn keys_of(text: &str, file: &str, config: Option<&Config>) -> Result<Vec<Key>, Report> {
    let known = config.map(|config| Known {
        sources: config.sources.iter().map(|source| source.name.as_str()).collect(),
        views: config.views.iter().map(|view| view.name.as_str()).collect(),
    });
    let mut problems = Problems::default();
    let read = tree::parse(text, &mut problems).map(|mut root| {
        environment::substitute(&mut root, &|name| super::variable(name), &mut problems);
        problems.next_stage();
        // Whoever takes the last key away leaves `keys:` behind: that is no key, not no file.
        if root.get("keys").is_some_and(Node::is_null) {
            return Vec::new();
        }
        shape::check(&root, &KEYS_FILE, &mut problems);
        problems.next_stage();
        keys(root.get("keys").map_or(&[][..], Node::items), known.as_ref(), &mut problems)
    });
    problems.finish(read, file, text)
}

/// What the browser calls the place where a page comes from: a scheme, a host and perhaps a port.
pub(super) fn origins(root: &Node, problems: &mut Problems) -> Vec<String> {
    let list = root.get("server").and_then(|server| server.get("cors"));
    let mut origins = Vec::new();
    for (text, place) in list.map_or(Vec::new(), Node::texts) {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match host {
            Some(host) if !host.is_empty() && !host.contains(['/', '*', '?', '#', '@']) && host.is_ascii() => {
                origins.push(text.to_owned());
            }
            _ => problems.add(place, format!("`{text}` is no origin; write it like https://dashboards.example.com")),
        }
    }
    origins
}

/// The names that browsers know the server by.
pub(super) fn hosts(root: &Node, problems: &mut Problems) -> Vec<String> {
    let list = root.get("server").and_then(|server| server.get("hosts"));
    let mut hosts = Vec::new();
    for (text, place) in list.map_or(Vec::new(), Node::texts) {
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if text.split('.').all(is_label) {
            hosts.push(text.to_ascii_lowercase());
        } else {
            problems
                .add(place, format!("`{text}` is no name of a host; write it like seam.example.com, without a port"));
        }
    }
    hosts
}
