//! Who reads: every partition is with one member, also after one joins, leaves, or is killed.
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use seam_shared::log::group::{Groups, Membership};
use seam_shared::log::{EventLog, Partition};

use crate::world;

const ROLE: &str = "speed";

/// Waits until the members share all of `count` partitions of topic `shared`, each having some.
async fn settled(members: &mut [Membership], count: u32, within: Duration) -> Duration {
    let wanted: BTreeSet<Partition> = (0..count).map(|number| Partition::new("shared", number)).collect();
    let begun = Instant::now();
    loop {
        let parts: Vec<BTreeSet<Partition>> = members.iter_mut().map(|m| (*m.partitions()).clone()).collect();
        let all: Vec<&Partition> = parts.iter().flatten().collect();
        let once = all.len() == wanted.len() && all.into_iter().cloned().collect::<BTreeSet<_>>() == wanted;
        if once && parts.iter().all(|part| !part.is_empty()) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < within, "after {within:?} the members have {parts:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_all_partitions_whatever_happens_to_one() {
    let sources = ["shared".to_owned()];
    // This very test again, as a process that is a member until it is killed.
    if let Ok(bootstrap) = std::env::var("SEAM_TEST_GROUP") {
        let _member = world::log(&bootstrap).join(ROLE, &sources).await.expect("join");
        tokio::time::sleep(Duration::from_secs(300)).await;
        return;
    }
    let Some(kafka) = world::broker() else { return };
    let bootstrap = kafka.bootstrap();
    let log = world::log(&bootstrap);
    log.open("shared", 6).await.expect("open");
    let long = Duration::from_secs(30);
    let mut members = vec![log.join(ROLE, &sources).await.expect("join")];
    println!("one member after {:?}", settled(&mut members, 6, long).await);
    members.push(world::log(&bootstrap).join(ROLE, &sources).await.expect("join"));
    println!("two members after {:?}", settled(&mut members, 6, long).await);
    let mut child = Command::new(std::env::current_exe().expect("a program"));
    child.args(["--exact", "groups::members_share_all_partitions_whatever_happens_to_one"]);
    let mut child =
        child.env("SEAM_TEST_GROUP", &bootstrap).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a child");
    let held = async |members: &mut [Membership]| members.iter_mut().map(|m| m.partitions().len()).sum::<usize>();
    let begun = Instant::now();
    while held(&mut members).await != 4 {
        assert!(begun.elapsed() < long, "the third member gets its share");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("three members after {:?}", begun.elapsed());
    child.kill().expect("kill");
    child.wait().expect("wait");
    println!("a killed member's partitions are taken over after {:?}", settled(&mut members, 6, long).await);
    world::add_partitions(&bootstrap, "shared", 8).await;
    println!("new partitions are taken up after {:?}", settled(&mut members, 8, long).await);
    members.remove(0).leave().await;
    let took = settled(&mut members, 8, long).await;
    println!("a member that left is replaced after {took:?}");
    assert!(took < Duration::from_secs(5), "leaving hands over quickly");
    members.push(world::log(&bootstrap).join(ROLE, &sources).await.expect("join"));
    settled(&mut members, 8, long).await;
    drop(members.remove(0));
    let took = settled(&mut members, 8, long).await;
    println!("a member that was dropped is replaced after {took:?}");
    assert!(took < Duration::from_secs(5), "dropping hands over quickly");
}
