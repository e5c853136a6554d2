//! The contract of the port, unchanged; and what a log of Kafka shows of itself.
use std::sync::Arc;
use std::time::Duration;

use seam_services::Kafka;
use seam_shared::config::{KafkaStorage, Secret};
use seam_shared::error::Kind;
use seam_shared::log::kafka::KafkaLog;
use seam_shared::log::{EventLog, contract};

use crate::world::{self, delete};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let Some(kafka) = world::broker() else { return };
    let make = async || {
        for topic in ["clicks", "views"] {
            delete(&kafka.bootstrap(), topic).await;
        }
        Arc::new(world::log(&kafka.bootstrap())) as Arc<dyn EventLog>
    };
    contract::run(make).await;
}

#[test]
fn a_wrong_property_is_named_and_no_secret_is_shown() {
    let mut storage = KafkaStorage::at("127.0.0.1:1");
    storage.properties.insert("sasl.password".to_owned(), Secret::new("canary"));
    let log = KafkaLog::new(&storage, "test", Default::default()).expect("the properties are known");
    assert!(!format!("{log:?} {storage:?}").contains("canary"));
    storage.properties.insert("security.protocol".to_owned(), Secret::new("canary"));
    let error = KafkaLog::new(&storage, "test", Default::default()).expect_err("no such protocol");
    assert_eq!(error.kind(), Kind::Invalid);
    let text = format!("{error} {error:?}");
    assert!(text.contains("security.protocol") && !text.contains("canary"), "{text}");
}

/// Name and password over SASL: the right ones work, with wrong ones nothing is appended and the error says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_passwords_is_used() {
    let users = "required username=\"broker\" password=\"inner\" user_broker=\"inner\" user_seam=\"right\";";
    let login = format!(
        "listener.name.plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule {users}"
    );
    let Some(kafka) = Kafka::start(&[
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms=PLAIN",
        "sasl.mechanism.inter.broker.protocol=PLAIN",
        &login,
    ]) else {
        return;
    };
    let mut storage = KafkaStorage::at(kafka.bootstrap());
    let mut set = |key: &str, value: &str| storage.properties.insert(key.to_owned(), Secret::new(value));
    set("security.protocol", "SASL_PLAINTEXT");
    set("sasl.mechanism", "PLAIN");
    set("sasl.username", "seam");
    set("sasl.password", "right");
    let log = KafkaLog::new(&storage, "test", Default::default()).expect("a log");
    log.open("logins", 1).await.expect("open");
    log.append("logins", contract::records(0, "in", 3)).await.expect("append");
    let found = contract::everything(&log, &seam_shared::log::Partition::new("logins", 0)).await;
    assert_eq!(found.len(), 3);
    storage.properties.insert("sasl.password".to_owned(), Secret::new("wrong"));
    let log = KafkaLog::new(&storage, "test", Default::default()).expect("a log");
    let refused = tokio::time::timeout(Duration::from_secs(20), log.open("logins", 1)).await.expect("in time");
    assert_eq!(refused.expect_err("the password is wrong").kind(), Kind::Unavailable);
}
