//! What recovers without a push goes on without a push.

use trimtab::api::types::UnitHealth;

use super::bed::Bed;
use super::documents::{UNIT, app, environment, web};
use crate::support::TRIMTAB;

/// A command that serves only while a file is there, as an app does that needs its database.
fn needs(database: &std::path::Path) -> String {
    let script = format!(
        "test -e {} || {{ echo 'the database does not answer' >&2; exit 1; }}; exec {TRIMTAB} demo-app --port $PORT",
        database.display()
    );
    format!("  set: {{ workload: {{ process: {{ command: [/bin/sh, -c, \"{script}\"] }} }} }}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_install_that_crash_loops_goes_on_when_its_database_comes_back() {
    let (environment, app) = (environment("dev"), app("web", "rolling"));
    let mut bed = Bed::new(&[("env.yaml", &environment), ("app.yaml", &app)]);
    let database = bed.path("database");
    bed.push("install", &[("release.yaml", &web("1.0.0", &needs(&database)))]);
    bed = bed.start();
    let stuck = bed.wait(UNIT, "it stops and tells", |status| status.health == UnitHealth::Stuck).await;
    assert!(stuck.message.contains("restarted 3 times"), "{}", stuck.message);
    assert!(stuck.message.contains("the database does not answer"), "{}", stuck.message);
    assert!(stuck.message.contains("goes on by itself once it is healthy"), "{}", stuck.message);
    let why = bed.cli(&["why", "web"]);
    let why = String::from_utf8(why.stdout).unwrap();
    assert!(why.contains("web/dev/default is stuck") && why.contains("the database does not answer"), "{why}");
    assert!(why.contains("trimtab logs web"), "{why}");
    let logs = bed.cli(&["logs", "web"]);
    assert!(String::from_utf8_lossy(&logs.stdout).contains("the database does not answer"), "{logs:?}");
    let rollout = stuck.rollout.unwrap().summary.id;

    std::fs::write(&database, "").unwrap();
    let status = bed.verified(UNIT, "1.0.0").await;
    assert_eq!(status.rollout.unwrap().summary.id, rollout, "the same rollout went on");
    assert_eq!(bed.log().len(), 2, "nobody pushed");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
}
