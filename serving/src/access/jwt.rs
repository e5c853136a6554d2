//! Tokens (RFC 7519) that somebody else signs: RS256, ES256 or EdDSA, checked against the issuer's public keys.
use std::sync::Mutex;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use seam_shared::access::{Caller, RowFilter, Scope};
use seam_shared::config::JwtSettings;
use seam_shared::lock::lock;
use seam_shared::time::Timestamp;
use seam_shared::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Known;

/// No algorithm with a shared secret, and not `none`: whoever can check those could sign.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 30;
/// Tokens longer than this are not looked at.
const LONGEST: usize = 16 << 10;
/// Keys that are not known are looked for again no more often than this, whatever tokens say.
const AGAIN: Duration = Duration::from_secs(10);
/// The largest set of keys, and how long it may take to come.
const SET_BYTES: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// The issuer, and its public keys.
#[derive(Debug)]
pub struct Tokens {
    settings: JwtSettings,
    keys: ArcSwap<JwkSet>,
    /// When the keys were last asked for.
    asked: Mutex<Option<Instant>>,
    /// One asks at a time; whoever waits then looks at what came.
    asking: tokio::sync::Mutex<()>,
}

/// What a token says of whom it is given to. `exp`, `nbf`, `aud` and `iss` are checked before anything is read here.
#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    exp: u64,
    /// Scopes, separated by spaces (RFC 8693), or as a list.
    #[serde(default)]
    scope: Value,
    /// The rows that may be seen.
    #[serde(default)]
    filter: Option<Map<String, Value>>,
}

impl Tokens {
    /// The issuer's keys, read now if they are in a file; an issuer that cannot be reached yet is asked again when a token comes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(settings: JwtSettings) -> Result<Tokens> {
        let is_url = is_url(&settings.jwks);
        let keys = if is_url { JwkSet { keys: Vec::new() } } else { fetched(&settings.jwks)? };
        let asked = Mutex::new((!is_url).then(Instant::now));
        Ok(Tokens { settings, keys: ArcSwap::from_pointee(keys), asked, asking: tokio::sync::Mutex::default() })
    }
    /// Asks for the keys again once they are old.
    pub async fn look(&self) {
        self.refresh(self.settings.refresh).await;
    }
    /// Whose token it is.
    pub async fn identify(&self, token: &str) -> Option<Known> {
        if token.len() > LONGEST {
            return None;
        }
        let header = decode_header(token).ok().filter(|header| ALGORITHMS.contains(&header.alg))?;
        let mut key = self.key(header.kid.as_deref());
        if key.is_none() {
            // The issuer may have begun to sign with another one.
            self.refresh(AGAIN).await;
            key = self.key(header.kid.as_deref());
        }
        let key = DecodingKey::from_jwk(&key?).ok()?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[&self.settings.audience]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        let claims = decode::<Claims>(token, &key, &validation).ok()?.claims;
        claims.caller().map(|caller| Known { caller, limit: None })
    }

    /// The key of that name; without a name, the only one.
    fn key(&self, name: Option<&str>) -> Option<Jwk> {
        let keys = self.keys.load();
        match (name, &keys.keys[..]) {
            (Some(name), _) => keys.find(name).cloned(),
            (None, [only]) => Some(only.clone()),
            (None, _) => None,
        }
    }
    /// Asks for the keys unless they were asked for within `age`. What cannot be had leaves them as they are.
    async fn refresh(&self, age: Duration) {
        let _one_asks = self.asking.lock().await;
        {
            let mut asked = lock(&self.asked);
            if asked.is_some_and(|asked| asked.elapsed() < age) {
                return;
            }
            *asked = Some(Instant::now());
        }
        let place = self.settings.jwks.clone();
        match tokio::task::spawn_blocking(move || fetched(&place)).await {
            Ok(Ok(keys)) => self.keys.store(keys.into()),
            Ok(Err(error)) => tracing::warn!(%error, "the issuer's keys stay as they were"),
            Err(error) => tracing::error!(%error, "the issuer's keys stay as they were"),
        }
    }
}

impl Claims {
    /// Scopes of other programs are passed over; a filter that cannot be understood lets nobody in.
    fn caller(self) -> Option<Caller> {
        let words: Vec<&str> = match &self.scope {
            Value::String(words) => words.split(' ').collect(),
            Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let scopes = words.into_iter().filter_map(|word| Scope::parse(word).ok()).collect();
        let rows = RowFilter::from_json(&self.filter.unwrap_or_default()).ok()?;
        let seconds = i64::try_from(self.exp.saturating_add(LEEWAY)).ok()?;
        Some(Caller::new(self.sub, scopes, rows, Some(Timestamp(seconds.checked_mul(1_000_000)?))))
    }
}

fn is_url(place: &str) -> bool {
    place.starts_with("https://") || place.starts_with("http://")
}

fn fetched(place: &str) -> Result<JwkSet> {
    let unreadable = |e: String| Error::unavailable(format!("the keys at {place} cannot be read: {e}"));
    let text = if is_url(place) {
        let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).max_redirects(0).build();
        let mut reply = ureq::Agent::from(config).get(place).call().map_err(|e| unreadable(e.to_string()))?;
        let read = reply.body_mut().with_config().limit(SET_BYTES).read_to_string();
        read.map_err(|e| unreadable(e.to_string()))?
    } else {
        std::fs::read_to_string(place).map_err(|e| unreadable(e.to_string()))?
    };
    let set: JwkSet = serde_json::from_str(&text).map_err(|e| unreadable(e.to_string()))?;
    Ok(set)
}

#[cfg(test)]
mod tests;
