//! A revert of what is shared with units that keep it: the one document of the unit that went back is edited.

use trimtab::api::types::{UnitCommand, UnitHealth};

use super::bed::{Bed, git};
use super::documents::{UNIT, app, environment, release};
use crate::support::TRIMTAB;

const STAGING: &str = "web/staging/default";

/// What dev sets so that it keeps what breaks staging, and stops half-way.
fn ours() -> String {
    format!(
        "  set: # dev alone\n    workload:\n      process:\n        \
         command: [{TRIMTAB}, demo-app, --port, \"{{{{ port }}}}\", --version, \"{{{{ version }}}}\"]\n    \
         strategy: {{ canary: {{ steps: [{{ weight: 50 }}, {{ pause: {{}} }}] }} }}\n"
    )
}

fn two_environments(files: &[(&str, &str)]) -> Bed {
    let (dev, staging) = (environment("dev"), environment("staging"));
    Bed::new(&[&[("dev.yaml", dev.as_str()), ("staging.yaml", staging.as_str())], files].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_sets_what_the_app_said_before_while_another_environment_keeps_the_change() {
    let text = app("web", "rolling");
    let (dev, staging) = (release("web", "dev", "1.0.0", &ours()), release("web", "staging", "1.0.0", ""));
    let files = [("apps/app.yaml", text.as_str()), ("releases/dev.yaml", &dev), ("releases/staging.yaml", &staging)];
    let bed = two_environments(&files).start();
    bed.verified(UNIT, "1.0.0").await;
    let good = bed.verified(STAGING, "1.0.0").await.last_verified.unwrap();
    let command = text.lines().find(|line| line.contains("command:")).unwrap();
    let bad = text.replace(command, "      command: [/bin/false]\n      env: { NEW: \"1\" }");
    let pushed = bed.push("breaks staging, and dev keeps it", &[("apps/app.yaml", &bad)]);
    // As long as it is not known whether dev goes back too, nothing is written: it could be one commit for both.
    bed.wait(UNIT, "it pauses half-way", |status| status.health == UnitHealth::Paused).await;
    let held = bed
        .wait(STAGING, "its revert waits for dev", |status| {
            status.rollback.as_ref().is_some_and(|rollback| rollback.status == "held")
        })
        .await;
    let reason = held.rollback.unwrap().message;
    assert!(reason.contains("web/dev/default still rolls that out"), "{reason}");
    assert_eq!(bed.log().len(), 2, "{:#?}", bed.log());
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: true }).await.unwrap();
    let settled = |status: &trimtab::api::types::UnitStatus| {
        status.health == UnitHealth::InSync && status.rollback.is_none() && status.held.is_empty()
    };
    let back = bed.wait(STAGING, "it is reverted, and Git asks for it", settled).await;
    assert_eq!(back.last_verified.unwrap().rendered, good.rendered);
    assert_eq!(back.candidate.unwrap().rendered, good.rendered);
    assert_eq!(bed.log().len(), 3, "{:#?}", bed.log());
    let changed = git(&bed.repo(), &["diff", "--name-only", &pushed, "main"]);
    assert_eq!(changed.trim(), "releases/staging.yaml");
    let edited = git(&bed.repo(), &["show", "main:releases/staging.yaml"]);
    let expected = format!(
        "{staging}  set:\n    workload:\n      process:\n        \
         command: [{TRIMTAB}, demo-app, --port, \"{{{{ port }}}}\", --version, \"{{{{ version }}}}\"]\n        env: null\n"
    );
    assert_eq!(edited, expected);
    let message = git(&bed.repo(), &["log", "-1", "--format=%B", "main"]);
    assert!(message.contains("- workload.process.command\n- workload.process.env\n"), "{message}");
    // Dev kept it all the time.
    let kept = bed.wait(UNIT, "it keeps the change", settled).await;
    assert_eq!(kept.last_verified.unwrap().rendered, kept.candidate.unwrap().rendered);
    // Once the App is mended the set is removed again: staging follows.
    let mended = text.replace(command, &format!("{command}\n      env: {{ NEW: \"2\" }}"));
    bed.push("mended", &[("apps/app.yaml", &mended), ("releases/staging.yaml", &staging)]);
    let follows = bed
        .wait(STAGING, "it follows the App again", |status| {
            settled(status) && status.last_verified.as_ref().is_some_and(|verified| verified.rendered != good.rendered)
        })
        .await;
    assert_eq!(follows.last_verified.unwrap().rendered, follows.candidate.unwrap().rendered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_takes_one_environment_back() {
    let text = app("web", "rolling");
    let releases = format!("{}---\n{}", release("web", "dev", "1.0.0", ""), release("web", "staging", "1.0.0", ""));
    let bed = two_environments(&[("app.yaml", &text), ("releases.yaml", &releases)]).start();
    for unit in [UNIT, STAGING] {
        bed.verified(unit, "1.0.0").await;
    }
    let next = text.replace("replicas: 2", "replicas: 1");
    bed.push("fewer", &[("app.yaml", &next), ("releases.yaml", &releases.replace("1.0.0", "1.1.0"))]);
    for unit in [UNIT, STAGING] {
        bed.verified(unit, "1.1.0").await;
    }
    bed.api().command(&STAGING.parse().unwrap(), &UnitCommand::Rollback { to: None }).await.unwrap();
    bed.wait(STAGING, "it is back, in Git too", |status| {
        status.health == UnitHealth::InSync
            && status.rollback.is_none()
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.0.0")
    })
    .await;
    assert_eq!(bed.log().len(), 3, "{:#?}", bed.log());
    let expected = format!(
        "{}---\n{}",
        release("web", "dev", "1.1.0", ""),
        release("web", "staging", "1.0.0", "  set:\n    replicas: 2\n")
    );
    assert_eq!(git(&bed.repo(), &["show", "main:releases.yaml"]), expected);
    assert_eq!(git(&bed.repo(), &["show", "main:app.yaml"]), next);
    assert_eq!(bed.unit(UNIT).await.unwrap().last_verified.unwrap().version, "1.1.0");
}
