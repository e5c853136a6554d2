//! TLS, certificates of clients, and passwords over TLS; whatever is wrong with them is told, with what to do.
use std::time::Duration;

use seam_services::SecureKafka;
use seam_shared::advice::Severity;
use seam_shared::config::{KafkaStorage, Secret};
use seam_shared::error::Kind;
use seam_shared::log::group::Groups;
use seam_shared::log::kafka::KafkaLog;
use seam_shared::log::{EventLog, Offset, Partition, contract};

use crate::world::read_all;

fn log(brokers: &str, properties: &[(&str, &str)]) -> KafkaLog {
    let mut storage = KafkaStorage::at(brokers);
    for (key, value) in properties {
        storage.properties.insert((*key).to_owned(), Secret::new(*value));
    }
    KafkaLog::new(&storage, "test", Default::default()).expect("the properties are known")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_with_tls_are_used_and_what_is_wrong_is_told() {
    let Some(kafka) = SecureKafka::start("right") else { return };
    let file = |name: &str| kafka.certificates.path(name);
    let (ca, other, key, certificate) = (file("ca.crt"), file("other.crt"), file("client.key"), file("client.crt"));
    let tls = format!("localhost:{}", kafka.tls_port());
    let sasl = format!("localhost:{}", kafka.sasl_port());
    let client = [("ssl.key.location", key.as_str()), ("ssl.certificate.location", certificate.as_str())];
    let trusted = [("security.protocol", "SSL"), ("ssl.ca.location", ca.as_str())];
    let login = |password| {
        let over = [("security.protocol", "SASL_SSL"), ("ssl.ca.location", ca.as_str())];
        let who = [("sasl.mechanism", "SCRAM-SHA-256"), ("sasl.username", "seam"), ("sasl.password", password)];
        [&over[..], &who].concat()
    };

    // What is right works: topics, appends, reads and groups, on both ports alike.
    let partition = Partition::new("secret", 0);
    for (number, log) in [log(&tls, &[trusted, client].concat()), log(&sasl, &login("right"))].into_iter().enumerate() {
        log.open("secret", 1).await.expect("open");
        log.append("secret", contract::records(0, "in", 3)).await.expect("append");
        assert_eq!(read_all(&log, &partition, Offset(0)).await.0.len(), 3 * (number + 1));
        let mut member = log.join("speed", &["secret".to_owned()]).await.expect("join");
        let mine = async {
            while member.partitions().is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), mine).await.expect("the partition is assigned");
        member.leave().await;
    }

    let misnamed = format!("127.0.0.1:{}", kafka.tls_port());
    let stranger = [("security.protocol", "SSL"), ("ssl.ca.location", other.as_str())];
    let wrong = [
        ("another authority", log(&tls, &[stranger, client].concat()), "is not signed by `", "ssl.ca.location"),
        (
            "another name",
            log(&misnamed, &[trusted, client].concat()),
            "is for another name than 127.0.0.1",
            "subjectAltName",
        ),
        ("no certificate of the client", log(&tls, &trusted), "TLS fails", "ssl.certificate.location"),
        ("no TLS", log(&tls, &[]), "speak TLS there", "security.protocol"),
        ("another password", log(&sasl, &login("wrong")), "do not accept who we are", "sasl.password"),
    ];
    let refusals = wrong.into_iter().map(|(what, log, said, advice)| {
        tokio::spawn(async move {
            let error = log.open("secret", 1).await.expect_err(what);
            assert_eq!(error.kind(), Kind::Unavailable, "{what}: {error}");
            let error = error.to_string();
            println!("{what}: {error}");
            assert!(error.contains(said) && error.contains(advice), "{what}: {error}");
            assert!(!error.contains("wrong\""), "no password is shown");
            what
        })
    });
    for refusal in refusals.collect::<Vec<_>>() {
        refusal.await.expect("each is refused as it should be");
    }
    // The doctor says the same.
    let told = log(&misnamed, &[trusted, client].concat()).check(&["secret"]).await;
    let refused = told.iter().find(|advice| advice.severity == Severity::Refuse).expect("it is refused");
    assert!(refused.message.contains("another name"), "{}", refused.message);
}
