//! Generation upon generation over adversarial streams: however the days were recomputed, the files are the same bytes.
use std::time::Instant;

use seam_batch::audit::Drift;
use seam_batch::job::Status;

use crate::layers::{World, setting};

/// Several rounds of records, each folded, archived and recomputed by an incremental run; then one full run. The full run gives
/// the files that the incremental ones gave, to the byte; speed and batch agree in every audit; both equal the oracle.
#[tokio::test]
async fn restarts_full_and_incremental_runs_give_the_same_bytes_on_adversarial_streams() {
    let (first, seeds) = (setting("SEAM_FIRST_SEED", 0), setting("SEAM_RESTART_SEEDS", 40));
    let (started, mut published, mut audited, mut files, mut kept) = (Instant::now(), 0, 0, 0, 0);
    for seed in first..first + seeds {
        let mut world = World::new(seed).await;
        for _ in 0..2 + world.dice.below(3) {
            let records = 10 + world.dice.below(80);
            world.produce(records).await;
            world.fold().await;
            world.archive().await;
            for outcome in world.pipeline.recompute(false).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"))
            {
                match outcome.status {
                    Status::Published => published += 1,
                    Status::Skipped => continue,
                    Status::Lost | Status::Held | Status::Failed => {
                        panic!("seed {seed}: nobody else is at work, and nothing fails: {outcome:?}")
                    }
                }
                match outcome.drift {
                    Some(Drift::Groups(0)) => audited += 1,
                    Some(Drift::NotAudited(_)) if outcome.generation == Some(1) => {}
                    drift => panic!("seed {seed}, {}: {drift:?}", outcome.view),
                }
            }
        }
        let mut incremental = Vec::new();
        for view in &world.pipeline.views {
            let (rows, cut) = world.pipeline.batch_rows(view).await.unwrap();
            world.check(view, &rows, &cut, &format!("seed {seed}, {}", view.id));
            incremental.push(world.pipeline.view_table(view).latest().await.unwrap());
        }
        world.pipeline.recompute(true).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for (view, before) in world.pipeline.views.iter().zip(incremental) {
            let Some(before) = before else { continue };
            let after = world.pipeline.view_table(view).latest().await.unwrap().unwrap();
            assert_eq!((after.number, &after.cut), (before.number + 1, &before.cut), "seed {seed}, {}", view.id);
            assert_eq!(after.files, before.files, "seed {seed}, {}", view.id);
            files += after.files.len();
            kept += usize::from(before.number > 1);
        }
    }
    println!(
        "{seeds} worlds in {:.1} s: {published} generations, {audited} audited, {files} files the same",
        started.elapsed().as_secs_f64()
    );
    assert!(published as u64 > 4 * seeds && audited as u64 > 2 * seeds && files as u64 > seeds && kept as u64 > seeds);
}
