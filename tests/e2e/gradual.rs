//! A canary that goes back step by step.

use trimtab::api::types::UnitCommand;

use super::bed::Bed;
use super::documents::{UNIT, app, environment, web};
use super::strategies::{load, share};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_walk_back_through_the_steps_and_no_request_is_lost() {
    let steps = "{ canary: { steps: [ { weight: 20 }, { pause: 300ms }, { weight: 40 }, { pause: 1h }, { weight: 60 }, \
                 { analysis: errors } ] } }";
    let rules = "gradual: { on: [analysis], pause: 500ms }, window";
    // A step that does not come about in time goes back at once, and the machine may be busy.
    let app = app("web", steps)
        .replace("rollback: { on: [unhealthy, analysis, hook], window", &format!("rollback: {{ {rules}"))
        .replace("unhealthyAfter: 2 }, within: 15s", "unhealthyAfter: 50 }, within: 5m");
    assert!(app.contains("gradual") && app.contains("within: 5m"), "{app}");
    let bed =
        Bed::new(&[("env.yaml", &environment("dev")), ("app.yaml", &app), ("release.yaml", &web("1.0.0", ""))]).start();
    bed.verified(UNIT, "1.0.0").await;
    let load = load(&bed);
    let failing = format!(
        "  set: {{ workload: {{ process: {{ command: [{}, demo-app, --port, \"{{{{ port }}}}\", --version, \"{{{{ version }}}}\", \
         --fail-rate, \"0.5\"] }} }} }}\n",
        crate::support::TRIMTAB
    );
    bed.push("bad", &[("release.yaml", &web("2.0.0", &failing))]);
    bed.wait(UNIT, "it pauses at 40%", |status| share(status, "2.0.0") > 39.0).await;
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: false }).await.unwrap();
    let status = bed
        .wait(UNIT, "the revert is adopted", |status| {
            status.rollback.is_none()
                && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.0.0")
                && status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
        })
        .await;
    let rollout = status.rollout.unwrap();
    let phases: Vec<_> = rollout.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(
        phases,
        [
            "canary at 20%, 1 instance",
            "canary at 40%, 1 instance",
            "canary at 60%, 2 instances",
            "back at 40%",
            "back at 20%",
            "back to 1.0.0",
        ]
    );
    // As long as the step paused, but no longer than the rules allow on the way back.
    for (name, least) in [("back at 40%", 500), ("back at 20%", 300)] {
        let phase = rollout.phases.iter().find(|phase| phase.name == name).unwrap();
        let stayed = phase.left.unwrap().duration_since(phase.entered.unwrap()).as_millis();
        assert!(stayed >= least, "{name}: {stayed} ms");
    }
    bed.verified(UNIT, "1.0.0").await;
    let report = load.stop().await;
    assert_eq!(report.lost(), 0, "{report}");
    assert_eq!(report.versions["1.0.0"].errors, 0, "{report}");
    assert!(report.versions["2.0.0"].errors > 0, "{report}");
    assert!(bed.log()[0].contains("Roll back web in dev"), "{:?}", bed.log());
    assert_eq!(bed.log().len(), 3);
}
