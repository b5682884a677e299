//! Each strategy behind a Service under requests, of which none may be lost.

use std::sync::Arc;

use super::{alone, app, deployments, group_of, push, selected, start, uid, waits, waits_at, web};
use crate::kubernetes::counted::{Counted, Gates, address, answer};
use crate::kubernetes::documents::{UNIT, release};
use crate::kubernetes::installation::Installation;
use crate::support::{PATIENCE, eventually, eventually_async};

/// Four pods of a version.
fn four(gates: &Gates, version: &str) -> String {
    gates.guard(&web(version), version).replace("replicas: 2", "replicas: 4")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_green_loses_nothing_by_preview_promotion_and_scale_down_there_and_back() {
    let gates = Arc::new(Gates::closed());
    let two = |version: &str| gates.guard(&web(version), version);
    let manual = "{ blueGreen: { promote: manual, scaleDownDelay: 1s } }";
    let Some(installation) = start(manual, &two("1")) else { return };
    let status = installation.verified(UNIT, "1").await;
    assert_eq!(status.replicas, 2, "{status:#?}");
    let first = alone(&installation);
    assert_eq!(first, format!("web-{}", selected(&installation, "web")));
    let counted = Counted::start(&installation.namespace, &gates, 50.0).await;
    for (version, before) in [("2", "1"), ("1", "2")] {
        push(&installation, version, &two(version));
        installation.wait(UNIT, "the preview waits", |status| waits(status, version)).await;
        let preview = address(&installation.namespace, "web-preview");
        eventually_async(PATIENCE, "the preview answers", async || match answer(preview).await {
            Ok(answer) if answer == version => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        let (old, new) = (counted.answers(before), counted.answers(version));
        installation.told(&["rollout", "promote", "web"]);
        installation.verified(UNIT, version).await;
        assert_eq!(alone(&installation), format!("web-{}", selected(&installation, "web")));
        assert!(counted.answers(before) > old && counted.answers(version) > new, "{version}");
    }
    assert_eq!(alone(&installation), first, "the same version has the same name");
    for left in counted.lossless().await {
        assert!(!left.selected, "{} was told to end before its Service led elsewhere", left.pod);
        let others = left.ready.iter().filter(|(group, _)| **group != left.group);
        assert_eq!(others.map(|(_, ready)| ready).sum::<usize>(), 2, "{left:?}");
    }
}

/// argo-rollouts 3372 (a new commit while the stable version is small), 4390 (an overwritten canary), 1690 (an update during a pause),
/// 720 (a pause that is entered twice), 3926, 3333 and 2235 (the old version goes before the requests did), 4926 (what shrinks), and
/// pipecd 4710 (a promotion that deletes the canary).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_loses_nothing_by_its_steps_a_newer_commit_and_its_promotion() {
    let gates = Arc::new(Gates::closed());
    let steps = "[ { weight: 25 }, { pause: {} }, { weight: 75 }, { pause: {} } ]";
    let canary = format!("{{ canary: {{ steps: {steps}, scaleDownDelay: 1s }} }}");
    let Some(mut installation) = start(&canary, &four(&gates, "1")) else { return };
    installation.verified(UNIT, "1").await;
    let counted = Counted::start(&installation.namespace, &gates, 50.0).await;
    push(&installation, "2", &four(&gates, "2"));
    installation.wait(UNIT, "the canary waits", |status| waits_at(status, "2", 1)).await;
    eventually(PATIENCE, "the pod in its place is gone", || counted.left().len() == 1 && pods(&installation) == 4);
    let (all, new) = (counted.answered(), counted.answers("2"));
    eventually(PATIENCE, "enough requests were answered", || counted.answered() >= all + 500);
    let share = (counted.answers("2") - new) as f64 / (counted.answered() - all) as f64;
    // A quarter of 500: five standard deviations of a binomial are 0.097.
    assert!((share - 0.25).abs() < 0.1, "{share}; {}", installation.told(&["plan"]));

    installation.told(&["rollout", "promote", "web"]);
    let second = installation.wait(UNIT, "the second pause", |status| waits_at(status, "2", 3)).await;
    installation.kill_daemon();
    installation.start_daemon();
    installation.wait(UNIT, "it waits on", |status| waits_at(status, "2", 3)).await;
    let overwritten = group_of(&second, "2");
    push(&installation, "3", &four(&gates, "3"));
    let third = installation.wait(UNIT, "the newer canary waits", |status| waits_at(status, "3", 1)).await;
    assert_eq!(deployments(&installation).len(), 2, "the second version is gone");
    let (stable, newest) = (group_of(&third, "1"), group_of(&third, "3"));
    // Another process tells of them, and how it was then is asked of a server.
    let gone = eventually(PATIENCE, "all of the second version was told to end", || {
        let gone: Vec<_> = counted.left().into_iter().filter(|left| left.group == overwritten).collect();
        if gone.len() == 3 { Ok(gone) } else { Err(format!("{gone:?}")) }
    });
    for left in gone {
        assert!(!left.selected && left.ready.get(&stable) == Some(&4), "{left:?}");
    }

    let canary = format!("web-{newest}");
    let before = uid(&installation, &canary);
    installation.told(&["rollout", "promote", "web"]);
    installation.wait(UNIT, "the second pause", |status| waits_at(status, "3", 3)).await;
    installation.told(&["rollout", "promote", "web"]);
    installation.verified(UNIT, "3").await;
    assert_eq!((alone(&installation), selected(&installation, "web")), (canary.clone(), newest.clone()));
    assert_eq!(uid(&installation, &canary), before, "what was the canary serves");
    let left = counted.lossless().await;
    // Whoever looks at any time finds as many pods as asked for but one, the share of a step.
    assert!(left.iter().all(|left| left.ready.values().sum::<usize>() >= 4), "{left:#?}");
    let promoted = left.iter().filter(|left| left.group == stable && left.ready.get(&newest) == Some(&4));
    assert!(promoted.clone().count() == 1 && promoted.clone().all(|left| !left.selected), "{left:#?}");
}

fn pods(installation: &Installation) -> usize {
    installation.namespace.must(&["get", "pods", "--output", "name"]).lines().count()
}

/// argo-rollouts 4898 (an abort while the stable version is small), 4461 (an abort after a full promotion), 3120 (a retry after an
/// abort) and pipecd 4329 (an abort that is cut short).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_loses_nothing_through_a_kill_after_a_retry_and_after_a_full_promotion() {
    let gates = Arc::new(Gates::closed());
    let canary = "{ canary: { steps: [ { weight: 75 }, { pause: {} } ], scaleDownDelay: 10m } }";
    let Some(mut installation) = start(canary, &four(&gates, "1")) else { return };
    installation.verified(UNIT, "1").await;
    let first = alone(&installation);
    let counted = Counted::start(&installation.namespace, &gates, 50.0).await;
    push(&installation, "2", &four(&gates, "2"));
    let canary = installation.wait(UNIT, "the canary waits", |status| waits_at(status, "2", 3)).await;
    let second = group_of(&canary, "2");
    installation.told(&["rollout", "abort", "web"]);
    installation.kill_daemon();
    installation.start_daemon();
    installation.wait(UNIT, "it was aborted", |status| super::ended(status, "aborted")).await;
    assert_eq!(alone(&installation), first);
    eventually(PATIENCE, "it is whole", || counted.left().len() == 6 && pods(&installation) == 4);

    installation.told(&["rollout", "retry", "web"]);
    installation.wait(UNIT, "the canary is there again", |status| waits_at(status, "2", 3)).await;
    let before = counted.answers("2");
    eventually(PATIENCE, "it has requests again", || counted.answers("2") > before);
    installation.told(&["rollout", "promote", "web", "--full"]);
    eventually(PATIENCE, "it has all requests", || selected(&installation, "web") == second);
    installation.told(&["rollout", "abort", "web"]);
    installation.wait(UNIT, "it was aborted again", |status| super::ended(status, "aborted")).await;
    assert_eq!(format!("web-{}", selected(&installation, "web")), first);
    assert_eq!(alone(&installation), first);
    eventually(PATIENCE, "it is whole again", || pods(&installation) == 4);
    let left = counted.lossless().await;
    for left in left.iter().filter(|left| left.group == second) {
        assert!(!left.selected && left.ready.values().sum::<usize>() >= 4, "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_in_place_is_taken_over_and_back_without_losing_a_request() {
    let gates = Arc::new(Gates::closed());
    let two = |version: &str| gates.guard(&web(version), version);
    let Some(installation) = start("{ rolling: {} }", &two("1")) else { return };
    installation.verified(UNIT, "1").await;
    assert_eq!(alone(&installation), "web");
    let counted = Counted::start(&installation.namespace, &gates, 50.0).await;
    let strategy = |strategy: &str, version: &str| {
        let (app, release) = (app(strategy), release(version));
        installation.push(version, &[("app.yaml", &*app), ("release.yaml", &release)]);
    };
    strategy("{ blueGreen: { scaleDownDelay: 1s } }", "1.1");
    installation.verified(UNIT, "1.1").await;
    assert_eq!(alone(&installation), format!("web-{}", selected(&installation, "web")));
    push(&installation, "2", &two("2"));
    installation.verified(UNIT, "2").await;
    alone(&installation);
    strategy("{ rolling: {} }", "2.1");
    installation.verified(UNIT, "2.1").await;
    assert_eq!(alone(&installation), "web");
    assert_eq!(selected(&installation, "web"), "", "the selector is the written one again");
    assert!(counted.answers("1") > 0 && counted.answers("2") > 0);
    for left in counted.lossless().await {
        assert!(left.ready.values().sum::<usize>() >= 2, "{left:?}");
    }
}
