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
