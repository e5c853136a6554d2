//! The contract of the state port on one server, on a cluster, by TLS, and for a user who may do only what is needed.
use std::process::Command;
use std::sync::Arc;

use seam_services::{Redis, RedisCluster};
use seam_shared::config::RedisSettings;
use seam_shared::state::redis::RedisState;
use seam_shared::state::{StateStore, contract};

use crate::world::{fresh, namespace};

#[tokio::test(flavor = "multi_thread")]
async fn one_server_keeps_the_contract() {
    let Some(redis) = Redis::start(&[]) else { return };
    contract::run(async || fresh(&redis.url()) as Arc<dyn StateStore>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_contract() {
    let Some(cluster) = RedisCluster::start(&[]) else { return };
    let url = cluster.urls()[1].replace("redis://", "redis+cluster://");
    contract::run(async || fresh(&url) as Arc<dyn StateStore>).await;
}

/// What `infra/redis/README.md` tells people to write.
const RULES: &str = "~metrics:{* +eval +evalsha +hget +hmget +hset +hlen +hstrlen +get +set +strlen +unlink";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_needed_commands_keeps_the_contract() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut words = vec!["ACL", "SETUSER", "seam", "on", ">se:cr@t"];
    words.extend(RULES.split(' '));
    redis.command(&words).unwrap();
    let url = redis.url().replace("redis://", "redis://seam:se%3Acr%40t@");
    contract::run(async || fresh(&url) as Arc<dyn StateStore>).await;
    let found = fresh(&url).check().await;
    assert!(!found.is_empty() && !format!("{found:?}").contains("cr@t"), "{found:?}");
    let wrong = fresh(&redis.url().replace("redis://", "redis://seam:other@"));
    let error = wrong.snapshot(&seam_shared::log::Partition::new("s", 0), &["v".into()]).await.unwrap_err();
    assert!(error.to_string().contains("refuses the user or the password"), "{error}");
    assert!(!format!("{error:?}{wrong:?}").contains("other"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_keeps_the_contract() {
    if !seam_services::installed("redis") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
    let made = openssl.args(["-keyout", &file("key"), "-out", &file("cert")]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = seam_services::free_port();
    let lines = [
        format!("tls-port {port}"),
        format!("tls-cert-file {}", file("cert")),
        format!("tls-key-file {}", file("key")),
        "tls-auth-clients no".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let _redis = Redis::start(&lines).unwrap();
    let settings = || RedisSettings {
        certificates: Some(file("cert").into()),
        ..RedisSettings::parse(&format!("rediss://127.0.0.1:{port}"), &namespace()).unwrap()
    };
    contract::run(async || Arc::new(RedisState::open(settings())) as Arc<dyn StateStore>).await;
    let stranger = RedisState::open(RedisSettings { certificates: None, ..settings() });
    let found = stranger.check().await;
    assert!(found[0].message.contains("does not answer"), "a certificate that nobody vouches for: {found:?}");
}
