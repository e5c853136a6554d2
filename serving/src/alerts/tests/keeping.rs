//! What is kept, and when it is told.
use seam_shared::lake::faulty::FaultyStore;

use super::*;

/// The same rule in two groups, each of which fires at once.
const TWICE: &str = r#"
alerts:
  - { name: one, rules: [ { alert: First, expr: vector(1), labels: { severity: critical } } ] }
  - { name: two, rules: [ { alert: Second, expr: vector(1), labels: { severity: critical } } ] }
"#;

/// A delivery of a group's alert that fires.
fn delivery(group: &str, receiver: &str) -> Delivery {
    let labels = [("alertname".to_owned(), "A".to_owned())].into_iter().collect();
    let phase = Phase::Firing { active: NOW, fired: NOW, missing: None };
    let alert = Alert { labels, annotations: Default::default(), value: 1.0, phase, evidence: None, corrected: None };
    Delivery { receiver: receiver.to_owned(), group: group.to_owned(), alert, ready: false }
}

#[tokio::test]
async fn a_group_lets_nothing_be_told_that_another_has_not_kept_yet() {
    let scene = Scene::new(TWICE).await;
    let (board, post) = (scene.alerts.board(), &scene.alerts.posts[0]);
    // The second group has entered something, and is about to keep it.
    board.with(|book| book.add(delivery("two", &post.name)));
    scene.alerts.tick(&board.groups[0], NOW).await;
    let told = board.next(&post.name).expect("the first group's");
    assert_eq!(told.group, "one");
    board.done(&told);
    assert_eq!(board.next(&post.name), None);
    scene.alerts.tick(&board.groups[1], NOW).await;
    assert_eq!(board.next(&post.name).expect("kept by now").group, "two");
}

#[tokio::test]
async fn what_the_lake_did_not_take_is_kept_by_the_next_tick() {
    let mut scene = Scene::new(TWICE).await;
    // By this seed the first requests are lost.
    let lake = Arc::new(FaultyStore::new(scene.world.lake.clone(), 46, 256));
    scene.alerts.keep = Keep::new(lake.clone());
    scene.tick(0).await;
    lake.set_faults(0);
    let kept = Keep::new(scene.world.lake.clone());
    assert!(kept.load().await.expect("read").alerts.is_empty(), "the lake is away");
    scene.tick(15).await;
    assert_eq!(kept.load().await.expect("read"), scene.alerts.board().with(|book| book.clone()), "nothing has moved");
}

#[tokio::test]
async fn what_waits_for_a_receiver_that_is_gone_is_given_up() {
    let mut scene = Scene::new(TWICE).await;
    let name = scene.alerts.posts[0].name.clone();
    let waiting = vec![delivery("one", "webhook gone 0123abcd"), delivery("one", &name)];
    Keep::new(scene.world.lake.clone()).save(&Book { waiting, ..Book::default() }).await.expect("kept");
    scene.restart().await;
    let left = scene.alerts.board().with(|book| book.waiting.clone());
    assert_eq!(left.iter().map(|delivery| &delivery.receiver).collect::<Vec<_>>(), [&name]);
    let printed = scene.alerts.serving.telemetry.encode();
    let counted = "data_pipeline_alert_notifications_total{receiver=\"webhook gone 0123abcd\",outcome=\"given up\"} 1";
    assert!(printed.contains(counted), "{printed}");
}

#[tokio::test]
async fn when_the_last_rule_is_gone_its_alerts_are_over() {
    let slash = TWICE.replace("name: two", "name: one/two");
    let mut scene = Scene::new(&slash).await;
    assert_eq!(scene.tick(0).await.len(), 2);
    let mut config = (*scene.world.config).clone();
    config.alerts.clear();
    scene.world.config = Arc::new(config);
    scene.restart().await;
    assert!(scene.alerts.has_work().await, "something is to be told");
    let told = scene.tick(15).await;
    let groups: Vec<_> = told.iter().map(|(_, body)| body["groupKey"].as_str().expect("a text")).collect();
    assert!(groups[0].starts_with("one:") && groups[1].starts_with("one/two:"), "{groups:?}");
    assert!(told.iter().all(|(_, body)| body["status"] == "resolved"), "{told:?}");
    scene.restart().await;
    assert!(!scene.alerts.has_work().await && scene.tick(30).await.is_empty());
}

#[tokio::test]
async fn what_an_alertmanager_is_told_is_counted() {
    let (url, told) = receiver(Arc::new(Mutex::new(200))).await;
    let world = World::of(&format!("{CONFIG}{TWICE}notify: [ {{ alertmanager: \"{url}\" }} ]\n"), 7);
    let (alerts, _) = started(&world).await;
    let post = &alerts.posts[0];
    alerts.tell(post).await.expect("there is nothing to tell");
    alerts.tick(&alerts.board().groups[0], NOW).await;
    alerts.tell(post).await.expect("told");
    let counted = format!("data_pipeline_alert_notifications_total{{receiver=\"{}\",outcome=\"told\"}} 1", post.name);
    let printed = alerts.serving.telemetry.encode();
    assert!(printed.contains(&counted), "{printed}");
    let told = told.lock().expect("whole");
    assert_eq!((told.len(), &told[0].1[0]["labels"]["alertname"]), (1, &json!("First")));
}
