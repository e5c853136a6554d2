//! Tokens as issuers make them, with keys that openssl makes.
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::json;

use super::*;

struct Issuer {
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Jwk,
}

/// A new key pair; `None` without openssl.
fn issuer(algorithm: Algorithm, name: &str) -> Option<Issuer> {
    let arguments: &[&str] = match algorithm {
        Algorithm::RS256 => &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        Algorithm::ES256 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        _ => &["-algorithm", "ed25519"],
    };
    let made = std::process::Command::new("openssl").arg("genpkey").args(arguments).output().ok();
    let Some(made) = made.filter(|made| made.status.success()) else {
        assert!(std::env::var_os("CI").is_none(), "no openssl");
        eprintln!("SKIPPED: there is no openssl to make keys with");
        return None;
    };
    let key = match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(&made.stdout),
        Algorithm::ES256 => EncodingKey::from_ec_pem(&made.stdout),
        _ => EncodingKey::from_ed_pem(&made.stdout),
    };
    let key = key.expect("a key");
    let mut jwk = Jwk::from_encoding_key(&key, algorithm).expect("its public half");
    jwk.common.key_id = Some(name.to_owned());
    Some(Issuer { algorithm, key, jwk })
}

impl Issuer {
    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: self.jwk.common.key_id.clone(), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).expect("signed")
    }
}

fn settings(jwks: &str) -> JwtSettings {
    let (jwks, issuer, audience) = (jwks.to_owned(), "https://issuer".to_owned(), "seam".to_owned());
    JwtSettings { jwks, issuer, audience, refresh: Duration::from_secs(300) }
}

fn claims() -> Value {
    json!({ "sub": "ann", "iss": "https://issuer", "aud": ["seam", "other"], "exp": get_current_timestamp() + 600,
        "scope": "openid query:by_route", "filter": {"region": ["eu"]} })
}

#[tokio::test]
async fn tokens_of_every_algorithm_are_checked() {
    let mut issuers = Vec::new();
    for (algorithm, name) in [(Algorithm::RS256, "r"), (Algorithm::ES256, "e"), (Algorithm::EdDSA, "d")] {
        let Some(issuer) = issuer(algorithm, name) else { return };
        issuers.push(issuer);
    }
    let path = std::env::temp_dir().join(format!("seam-jwks-{}.json", std::process::id()));
    let set = JwkSet { keys: issuers.iter().map(|issuer| issuer.jwk.clone()).collect() };
    std::fs::write(&path, serde_json::to_string(&set).unwrap()).unwrap();
    let tokens = Tokens::new(settings(&path.display().to_string())).expect("readable");
    let _ = std::fs::remove_file(&path);
    let now = get_current_timestamp();
    for issuer in &issuers {
        let known = tokens.identify(&issuer.sign(&claims())).await.expect("a good token").caller;
        assert_eq!(known.name(), "ann");
        assert!(known.may_query("by_route") && !known.may_query("by_carrier") && known.is_filtered());
        let bad = [
            ("exp", json!(now - 120)),
            ("exp", Value::Null),
            ("nbf", json!(now + 120)),
            ("iss", json!("https://other")),
            ("iss", Value::Null),
            ("aud", json!("other")),
            ("aud", Value::Null),
            ("filter", json!({"region": [["eu"]]})),
            ("filter", json!("eu")),
        ];
        for (claim, value) in bad {
            let mut claims = claims();
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
                value => claims[claim] = value,
            }
            assert!(tokens.identify(&issuer.sign(&claims)).await.is_none(), "{claims}");
        }
        let good = issuer.sign(&claims());
        let (head, signature) = good.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { 'B' } else { 'A' };
        assert!(tokens.identify(&format!("{head}.{other}{}", &signature[1..])).await.is_none(), "a wrong signature");
        assert!(tokens.identify(&format!("{head}.")).await.is_none(), "no signature");
    }
    let no_scope = json!({ "iss": "https://issuer", "aud": "seam", "exp": now + 60 });
    let nobody = tokens.identify(&issuers[0].sign(&no_scope)).await.expect("a good token").caller;
    assert!(!nobody.may_query_some() && !nobody.is_admin());
    // The public key of one algorithm is no secret of another.
    let secret = EncodingKey::from_secret(serde_json::to_string(&issuers[0].jwk).unwrap().as_bytes());
    let header = Header { kid: Some("r".to_owned()), ..Header::new(Algorithm::HS256) };
    assert!(tokens.identify(&encode(&header, &claims(), &secret).unwrap()).await.is_none());
    let header = Header { kid: Some("e".to_owned()), ..Header::new(Algorithm::EdDSA) };
    assert!(tokens.identify(&encode(&header, &claims(), &issuers[2].key).unwrap()).await.is_none());
    for nonsense in ["", ".", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", &"x".repeat(LONGEST + 1)] {
        assert!(tokens.identify(nonsense).await.is_none());
    }
}

#[tokio::test]
async fn unknown_keys_are_asked_for_once() {
    let (Some(first), Some(second)) = (issuer(Algorithm::EdDSA, "1"), issuer(Algorithm::EdDSA, "2")) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let (counter, text) = (asked.clone(), serde_json::to_string(&JwkSet { keys: vec![first.jwk.clone()] }).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4_096]);
            counter.fetch_add(1, Ordering::SeqCst);
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
        }
    });
    let tokens = Tokens::new(settings(&url)).expect("it is asked later");
    let good = first.sign(&claims());
    let all = futures::future::join_all((0..8).map(|_| tokens.identify(&good))).await;
    assert!(all.iter().all(Option::is_some));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "all wait for one");
    for _ in 0..5 {
        assert!(tokens.identify(&second.sign(&claims())).await.is_none());
    }
    tokens.look().await;
    assert_eq!(asked.load(Ordering::SeqCst), 1, "strangers cannot make us ask again and again");
}
