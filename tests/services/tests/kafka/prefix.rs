//! Deployments that share a cluster: with prefixes of their own, neither sees anything of the other.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use seam_shared::config::{KafkaStorage, SinkTopic};
use seam_shared::log::group::{Groups, Membership};
use seam_shared::log::kafka::{KafkaLog, KafkaOutlet};
use seam_shared::log::{EventLog, NewRecord, Offset, Partition};
use seam_shared::outlet::{Outlet, Record};

use crate::world::{self, PATIENCE, read_all};

/// Both are called the same, which is the worst case.
const NAME: &str = "twin";
const PREFIXES: [&str; 2] = ["left.", "right-"];

fn storage(bootstrap: &str, prefix: &str) -> KafkaStorage {
    KafkaStorage { prefix: prefix.to_owned(), ..KafkaStorage::at(bootstrap) }
}

fn log(bootstrap: &str, prefix: &str) -> KafkaLog {
    let topics = BTreeMap::from([("clicks".to_owned(), "twin-clicks".to_owned())]);
    KafkaLog::new(&storage(bootstrap, prefix), NAME, topics).expect("a log needs no broker to be made")
}

async fn has(member: &mut Membership, wanted: &BTreeSet<Partition>) {
    let begun = Instant::now();
    while *member.partitions() != *wanted {
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", member.partitions());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployments_of_one_name_do_not_meet() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    world::create(&bootstrap, "twin-clicks", 2, &[]).await;
    let logs = PREFIXES.map(|prefix| log(&bootstrap, prefix));
    let mut members = Vec::new();
    let sources = ["clicks".to_owned(), "twin-orders".to_owned()];
    for (log, said) in logs.iter().zip(PREFIXES) {
        for (source, partitions) in [("clicks", 9), ("twin-orders", 1), ("twin-orders.dlq", 1)] {
            let found = log.open(source, partitions).await.expect("open").partitions;
            assert_eq!(found, if source == "clicks" { 2 } else { 1 });
        }
        let record = NewRecord { partition: 0, value: Bytes::from(said) };
        log.append("twin-orders", vec![record]).await.expect("append");
        members.push(log.join("speed", &sources).await.expect("join"));
    }
    for (log, said) in logs.iter().zip(PREFIXES) {
        let (found, _) = read_all(log, &Partition::new("twin-orders", 0), Offset(0)).await;
        assert_eq!(found, [(0, said.to_owned())], "its own record alone");
    }
    // What others write is read by both, whole.
    let all = [("clicks", 0), ("clicks", 1), ("twin-orders", 0)].map(|(source, n)| Partition::new(source, n));
    for member in &mut members {
        has(member, &BTreeSet::from(all.clone())).await;
    }
    let admin = world::admin(&bootstrap);
    let known = admin.inner().fetch_metadata(None, PATIENCE).expect("metadata");
    let topics: BTreeSet<&str> = known.topics().iter().map(|topic| topic.name()).collect();
    let groups = admin.inner().fetch_group_list(None, PATIENCE).expect("groups");
    let groups: BTreeSet<&str> = groups.groups().iter().map(|group| group.name()).collect();
    for prefix in PREFIXES {
        for own in ["twin-orders", "twin-orders.dlq"] {
            assert!(topics.contains(format!("{prefix}{own}").as_str()) && !topics.contains(own), "{topics:?}");
        }
        assert!(groups.contains(format!("{prefix}seam-twin-speed").as_str()), "{groups:?}");
    }
    assert!(!groups.contains("seam-twin-speed"), "{groups:?}");
    for member in members {
        member.leave().await;
    }
}

/// A writer that claims takes the place of the one before it. Those of two deployments are not the same writer, and have their own marks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sinks_of_one_name_do_not_fence_each_other() {
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    let outlet = |prefix: &str| {
        // The file says the whole name of what a sink writes.
        let topic = SinkTopic { name: format!("twin-out-{prefix}"), partitions: 1, compact: false };
        KafkaOutlet::new(&storage(&bootstrap, prefix), NAME, topic, "by_region", "sink".to_owned()).expect("known")
    };
    let record = |value: &str| Record { key: Bytes::from("k"), value: Bytes::copy_from_slice(value.as_bytes()) };
    let outlets = PREFIXES.map(outlet);
    for outlet in &outlets {
        assert_eq!(outlet.claim().await.expect("claimed"), None);
    }
    for (outlet, prefix) in outlets.iter().zip(PREFIXES) {
        outlet.write(&[record(prefix)], prefix.as_bytes()).await.expect("nobody has taken it over");
    }
    for (outlet, prefix) in PREFIXES.map(outlet).iter().zip(PREFIXES) {
        assert_eq!(outlet.claim().await.expect("claimed").as_deref(), Some(prefix.as_bytes()));
        assert_eq!(outlet.newest(10).await.expect("read"), [prefix]);
    }
    let known = world::admin(&bootstrap);
    let known = known.inner().fetch_metadata(None, PATIENCE).expect("metadata");
    let topics: BTreeSet<&str> = known.topics().iter().map(|topic| topic.name()).collect();
    for topic in ["left.seam.twin.sinks", "right-seam.twin.sinks", "twin-out-left.", "twin-out-right-"] {
        assert!(topics.contains(topic), "{topics:?}");
    }
}
