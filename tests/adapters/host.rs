//! The host platform with a real supervisor.

use serde_json::json;
use trimtab::adapters::platform::host::HostPlatform;
use trimtab::domain::capabilities::Split;
use trimtab::domain::hook::ScriptSpec;
use trimtab::domain::id::{Epoch, GroupId, RunId};
use trimtab::domain::observed::{ObservedGroup, ObservedRun, Seen};
use trimtab::ports::platform::{EnsureGroup, Platform, PlatformError};
use trimtab::ports::scripts::RunRequest;

use super::world::{INSTALLATION, Process, ask, desired, unit};
use crate::support::{PATIENCE, eventually_async};

fn ensure(version: &str, replicas: u32) -> EnsureGroup {
    let desired = desired(version, &json!({}));
    EnsureGroup {
        rendered: desired.digest(),
        group: desired.group_id(0),
        restarts: 0,
        replicas,
        artifact: None,
        secrets: Default::default(),
        desired,
    }
}

fn script(id: &str, command: &[&str]) -> RunRequest {
    let script: ScriptSpec = serde_json::from_value(json!({
        "command": command, "timeout": "60s", "outputLimit": 10_000,
    }))
    .unwrap();
    RunRequest {
        secrets: Default::default(),
        id: RunId::from(id),
        unit: unit(),
        rendered: desired("1", &json!({})).digest(),
        version: "1".into(),
        script,
        artifact: None,
    }
}

async fn known(platform: &HostPlatform) -> Result<Vec<ObservedGroup>, String> {
    match platform.observe(&unit()).await {
        Seen::Known(groups) => Ok(groups),
        Seen::Unknown(reason) => Err(reason),
    }
}

async fn until_ready(platform: &HostPlatform, group: &GroupId, count: u32) -> ObservedGroup {
    eventually_async(PATIENCE, "the group is ready", || async {
        let groups = known(platform).await?;
        let found = groups.into_iter().find(|seen| seen.group == *group).ok_or("it is not there")?;
        if found.ready(u32::MAX) == count && found.instances.len() == count as usize {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_lives_from_its_first_instance_to_its_last() {
    let supervisor = Process::started("supervisor");
    let platform = HostPlatform::new(supervisor.socket(), INSTALLATION);
    eventually_async(PATIENCE, "the supervisor answers", || known(&platform)).await;
    let wanted = ensure("1", 2);
    let can = platform.capabilities(&wanted.desired).await;
    assert_eq!(can.known().map(|can| can.split), Some(Split::Weights(1_000_000)));

    platform.ensure_group(Epoch(3), &wanted).await.unwrap();
    let seen = known(&platform).await.unwrap();
    assert_eq!(seen.len(), 1, "what was asked for is seen at once");
    assert_eq!((&seen[0].group, seen[0].replicas, &seen[0].rendered), (&wanted.group, 2, &wanted.rendered));
    let ready = until_ready(&platform, &wanted.group, 2).await;
    assert_eq!(ask(ready.instances[1].address.unwrap(), "/").await.unwrap(), 200);
    assert_eq!(platform.units().await, Seen::Known(vec![unit()]));

    // A setting that only the daemon looks at changes, and with it the rendered digest: the same group.
    let mut changed = ensure("1", 2);
    let mut other = desired("1", &json!({}));
    other.health.within = trimtab::domain::span::Span::from_secs(7);
    (changed.rendered, changed.desired) = (other.digest(), other);
    platform.ensure_group(Epoch(3), &changed).await.unwrap();
    let adopted = until_ready(&platform, &wanted.group, 2).await;
    assert_eq!(adopted.rendered, changed.rendered);
    assert_eq!(adopted.instances[0].started, ready.instances[0].started, "nothing was restarted");

    let stranger = HostPlatform::new(supervisor.socket(), "another");
    assert_eq!(stranger.observe(&unit()).await, Seen::Known(vec![]));
    assert_eq!(stranger.units().await, Seen::Known(vec![]));

    platform.ensure_group(Epoch(3), &ensure("1", 1)).await.unwrap();
    until_ready(&platform, &wanted.group, 1).await;
    platform.logs(&unit(), &wanted.group, None, 10).await.unwrap();
    let nobody = platform.logs(&unit(), &wanted.group, Some("nobody"), 10).await.unwrap_err();
    assert!(matches!(nobody, PlatformError::Refused { .. }), "{nobody}");

    platform.retire_group(Epoch(3), &unit(), &wanted.group).await.unwrap();
    let seen = known(&platform).await.unwrap();
    assert!(seen.iter().all(|group| group.retiring), "{seen:?}");
    eventually_async(PATIENCE, "the group is gone", || async {
        known(&platform).await?.is_empty().then_some(()).ok_or("not yet".to_owned())
    })
    .await;
    platform.retire_group(Epoch(3), &unit(), &wanted.group).await.expect("again, harmlessly");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_is_gone_is_unknown_and_never_empty() {
    let mut supervisor = Process::new("supervisor");
    let platform = HostPlatform::new(supervisor.socket(), INSTALLATION);
    assert!(matches!(platform.observe(&unit()).await, Seen::Unknown(_)));
    let lost = platform.ensure_group(Epoch(1), &ensure("1", 1)).await.unwrap_err();
    assert!(matches!(lost, PlatformError::Unreachable { .. }), "{lost}");

    let mut changes = platform.changes();
    supervisor.start();
    changes.changed().await.unwrap();
    eventually_async(PATIENCE, "the supervisor answers", || known(&platform)).await;
    let wanted = ensure("1", 1);
    platform.ensure_group(Epoch(1), &wanted).await.unwrap();
    let before = until_ready(&platform, &wanted.group, 1).await;

    changes.mark_unchanged();
    supervisor.kill();
    changes.changed().await.unwrap();
    assert!(matches!(platform.observe(&unit()).await, Seen::Unknown(_)));
    supervisor.start();
    let after = until_ready(&platform, &wanted.group, 1).await;
    assert_eq!(after.instances[0].started, before.instances[0].started, "the instance was adopted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_epoch_is_stale() {
    let supervisor = Process::started("supervisor");
    let platform = HostPlatform::new(supervisor.socket(), INSTALLATION);
    eventually_async(PATIENCE, "the supervisor answers", || known(&platform)).await;
    assert_eq!(platform.epoch().await.unwrap(), Epoch(0));
    platform.start_run(Epoch(5), &script("first", &["true"])).await.unwrap();
    assert_eq!(platform.epoch().await.unwrap(), Epoch(5));
    for error in [
        platform.ensure_group(Epoch(4), &ensure("1", 1)).await.unwrap_err(),
        platform.start_run(Epoch(4), &script("second", &["true"])).await.unwrap_err(),
        platform.retire_group(Epoch(4), &unit(), &GroupId::from("0123456789ab")).await.unwrap_err(),
    ] {
        assert!(matches!(error, PlatformError::Stale { epoch: Epoch(4), .. }), "{error}");
    }
    assert_eq!(known(&platform).await.unwrap(), []);
    platform.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_have_outcomes() {
    let supervisor = Process::started("supervisor");
    let platform = HostPlatform::new(supervisor.socket(), INSTALLATION);
    eventually_async(PATIENCE, "the supervisor answers", || known(&platform)).await;
    assert_eq!(platform.run(&"never".into()).await, (Seen::Known(ObservedRun::NotStarted), String::new()));

    let ended = |id: &'static str| {
        let platform = &platform;
        eventually_async(PATIENCE, "the run has ended", move || async move {
            match platform.run(&id.into()).await {
                (Seen::Known(ObservedRun::Running), _) => Err("it runs".to_owned()),
                (Seen::Known(run), output) => Ok((run, output)),
                (Seen::Unknown(reason), _) => Err(reason),
            }
        })
    };
    let mut changes = platform.changes();
    platform.start_run(Epoch(1), &script("three", &["/bin/sh", "-c", "echo said; exit 3"])).await.unwrap();
    changes.changed().await.unwrap();
    assert_eq!(ended("three").await, (ObservedRun::Exited(3), "said\n".to_owned()));
    platform.start_run(Epoch(1), &script("three", &["/bin/sh", "-c", "exit 0"])).await.unwrap();
    assert_eq!(ended("three").await.0, ObservedRun::Exited(3), "the first run is found");

    platform.start_run(Epoch(1), &script("long", &["/bin/sleep", "600"])).await.unwrap();
    assert_eq!(platform.run(&"long".into()).await.0, Seen::Known(ObservedRun::Running));
    platform.kill_run(Epoch(1), &"long".into()).await.unwrap();
    assert!(matches!(ended("long").await.0, ObservedRun::Failed(_)));
    platform.kill_run(Epoch(1), &"never".into()).await.unwrap();
}
