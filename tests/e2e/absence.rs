//! What becomes of what the repository no longer names.

use trimtab::api::types::UnitHealth;

use super::bed::Bed;
use super::documents::{UNIT, app, environment, release, web};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_to_be_pruned_is_kept_and_says_so_after_a_restart_too() {
    let (environment, app) = (environment("dev"), app("web", "rolling") + "  prune: false\n");
    let documents = [("env.yaml", &*environment), ("app.yaml", &*app), ("release.yaml", &web("1.0.0", ""))];
    let mut bed = Bed::new(&documents).start();
    let before = bed.verified(UNIT, "1.0.0").await;
    // The app's document goes too: what it said last still counts.
    bed.push("gone", &[("release.yaml", ""), ("app.yaml", "")]);
    for _ in 0..2 {
        let status = bed.wait(UNIT, "it is held", |status| status.health == UnitHealth::Held).await;
        assert_eq!(status.held[0].reason, "notPruned");
        assert_eq!(status.groups[0].instances, before.groups[0].instances);
        assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
        bed.kill_daemon();
        bed.start_daemon();
    }
    bed.wait(UNIT, "it is held", |status| status.health == UnitHealth::Held).await;
    let status = bed.told(&["status", "web"]);
    assert!(status.contains("held") && status.contains("it is kept because `prune` is false"), "{status}");
    let why = bed.told(&["why", "web"]);
    assert!(why.contains("web/dev/default is held") && why.contains("push its Release again"), "{why}");
    let plan = bed.told(&["plan", "web"]);
    assert!(!plan.contains("nothing runs"), "{plan}");
    bed.push("back", &[("release.yaml", &web("1.0.0", "")), ("app.yaml", &app)]);
    let after = bed.verified(UNIT, "1.0.0").await;
    assert_eq!(before.groups[0].instances, after.groups[0].instances, "nothing was started anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_environment_orphans_what_runs_in_it() {
    let (dev, staging, app) = (environment("dev"), environment("staging"), app("web", "rolling"));
    let bed = Bed::new(&[
        ("env/dev.yaml", &dev),
        ("env/staging.yaml", &staging),
        ("app.yaml", &app),
        ("releases/dev.yaml", &web("1.0.0", "")),
        ("releases/staging.yaml", &release("web", "staging", "1.0.0", "")),
    ])
    .start();
    bed.verified(UNIT, "1.0.0").await;
    bed.verified("web/staging/default", "1.0.0").await;
    bed.push("dev is gone", &[("env/dev.yaml", ""), ("releases/dev.yaml", "")]);
    let status = bed.wait(UNIT, "it is held", |status| status.health == UnitHealth::Held).await;
    assert_eq!(status.held[0].reason, "notPruned");
    assert!(status.message.contains("its environment is gone too"), "{}", status.message);
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    // The others go on.
    bed.push("staging", &[("releases/staging.yaml", &release("web", "staging", "1.1.0", ""))]);
    bed.verified("web/staging/default", "1.1.0").await;
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
}
