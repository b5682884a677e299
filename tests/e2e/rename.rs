//! `moved`: what was renamed is taken over as it runs.

use std::collections::BTreeMap;

use trimtab::adapters::journal::sqlite::SqliteJournal;
use trimtab::api::types::{EnvironmentCommand, UnitCommand, UnitHealth, UnitStatus};
use trimtab::domain::unit::event::UnitEvent;
use trimtab::net::client::Client;
use trimtab::ports::journal::{Journal, NewEvent};
use trimtab::protocol::supervisor::GroupList;

use super::bed::Bed;
use super::documents::{UNIT, app, environment, release};
use super::strategies::load;
use crate::support::{PATIENCE, eventually_async};

const SHOP: &str = "shop/dev/default";
const PAUSED: &str = "{ canary: { steps: [ { weight: 30 }, { pause: {} } ], scaleDownDelay: 500ms } }";

/// An app whose route does not hang on its name.
fn fixed(name: &str, strategy: &str, host: &str) -> String {
    app(name, strategy).replace(&format!("{name}.{{{{ environment }}}}.localhost"), host)
}

fn moved(document: &str, name: &str, from: &str) -> String {
    document.replace(
        &format!("metadata: {{ name: {name} }}"),
        &format!("metadata: {{ name: {name}, moved: {{ from: {from} }} }}"),
    )
}

fn shop(strategy: &str) -> String {
    moved(&fixed("shop", strategy, "web.dev.localhost"), "shop", "web")
}

fn bed(strategy: &str) -> Bed {
    let (environment, release) = (environment("dev"), release("web", "dev", "1.0.0", ""));
    let app = fixed("web", strategy, "web.dev.localhost");
    Bed::new(&[("env.yaml", &environment), ("app.yaml", &app), ("release.yaml", &release)]).start()
}

/// The processes of all instances, by unit.
async fn pids(bed: &Bed) -> BTreeMap<String, Vec<Option<u32>>> {
    let list: GroupList = Client::new(bed.path("supervisor.sock")).get("/v1/groups").await.unwrap();
    let living = list.groups.into_iter().filter(|group| !group.retiring);
    let one = |group: &trimtab::protocol::supervisor::GroupStatus| group.instances.iter().map(|one| one.pid).collect();
    living.map(|group| (group.markers.unit.to_string(), one(&group))).collect()
}

async fn is_gone(bed: &Bed, unit: &str) {
    eventually_async(PATIENCE, "the old name is not shown", async || {
        let units = bed.api().units(&Default::default()).await.map_err(|error| error.to_string())?;
        let there = units.iter().any(|status| status.unit.to_string() == unit);
        if there { Err("it is there".to_owned()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_taken_over_under_load_and_the_old_name_is_free() {
    let mut bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    let before = pids(&bed).await[UNIT].clone();
    assert!(before.len() == 2 && before.iter().all(Option::is_some), "{before:?}");
    let load = load(&bed);
    let release_of = |version: &str| release("shop", "dev", version, "");
    bed.push("rename", &[("app.yaml", &shop("rolling")), ("release.yaml", &release_of("1.0.0"))]);
    // Wherever it is by now.
    bed.kill_daemon();
    bed.start_daemon();
    let status = bed.verified(SHOP, "1.0.0").await;
    bed.wait(SHOP, "what runs carries the new name", |status| status.groups.len() == 1).await;
    is_gone(&bed, UNIT).await;
    assert_eq!(pids(&bed).await, BTreeMap::from([(SHOP.to_owned(), before)]));
    assert_eq!(status.rollout.unwrap().summary.kind, "install");
    let history = bed.api().history(&SHOP.parse().unwrap(), 10).await.unwrap();
    assert_eq!(history.len(), 1, "{history:#?}");

    // The old name is taken by something else, which asks for the very same group.
    let again = [
        ("web.yaml", fixed("web", "rolling", "other.localhost")),
        ("web-release.yaml", release("web", "dev", "1.0.0", "")),
        ("app.yaml", fixed("shop", "rolling", "web.dev.localhost")),
        ("release.yaml", release_of("1.1.0")),
    ];
    let again: Vec<_> = again.iter().map(|(path, text)| (*path, text.as_str())).collect();
    bed.push("another web", &again);
    bed.verified(UNIT, "1.0.0").await;
    bed.verified(SHOP, "1.1.0").await;
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.1.0");
    assert_eq!(bed.get("other.localhost").await.unwrap().1, "1.0.0");
    assert_eq!(pids(&bed).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_under_way_is_ended_under_the_old_name() {
    let bed = bed(PAUSED);
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &release("web", "dev", "1.1.0", ""))]);
    bed.wait(UNIT, "the canary pauses", |status| super::strategies::share(status, "1.1.0") > 29.0).await;
    bed.push("rename", &[("app.yaml", &shop(PAUSED)), ("release.yaml", &release("shop", "dev", "1.1.0", ""))]);
    let status = bed.wait(UNIT, "it is held", |status| !status.held.is_empty()).await;
    assert_eq!(status.held[0].reason, "moving");
    assert!(status.held[0].message.contains(SHOP), "{status:#?}");
    assert!(bed.unit(SHOP).await.is_err());
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: false }).await.unwrap();
    let status = bed.verified(SHOP, "1.1.0").await;
    assert_eq!(status.rollout.unwrap().summary.kind, "rollout");
    is_gone(&bed, UNIT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_renamed_to_something_broken_stays() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    let before = pids(&bed).await;
    let broken = shop("rolling").replace("replicas: 2", "replicas: two");
    bed.push("rename", &[("app.yaml", &broken), ("release.yaml", &release("shop", "dev", "1.0.0", ""))]);
    let status = bed.wait(UNIT, "it is told", |status| !status.held.is_empty()).await;
    assert_eq!(status.held[0].reason, "configError");
    assert!(status.held[0].message.contains("renamed to shop in dev"), "{}", status.held[0].message);
    bed.push("mend", &[("app.yaml", &shop("rolling"))]);
    bed.verified(SHOP, "1.0.0").await;
    bed.wait(SHOP, "what runs carries the new name", |status| status.groups.len() == 1).await;
    assert_eq!(pids(&bed).await[SHOP], before[UNIT]);
}

/// Appends an event to the old name's stream, as a daemon that was killed right after it would have left it.
async fn append(bed: &Bed, event: &UnitEvent) {
    let journal = SqliteJournal::open(&bed.path("state/daemon/journal.db"), false).unwrap();
    let epoch = journal.claim("test").await.unwrap();
    let stream = format!("unit/{UNIT}");
    let expected = journal.streams(&stream).await.unwrap()[&stream];
    let event = NewEvent { version: 1, event: serde_json::to_value(event).unwrap() };
    journal.append(&stream, expected, epoch, jiff::Timestamp::now(), &[event]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_in_the_middle_completes_it_with_git_down() {
    const RENAMED: &str = "web/development/eu";
    let mut bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    let before = pids(&bed).await[UNIT].clone();
    bed.api().environment_command(&"dev".parse().unwrap(), &EnvironmentCommand::Suspend {}).await.unwrap();
    let development = moved(&environment("development"), "development", "dev").replace(
        "platform: { host: {} }",
        "targets: [ { name: eu, moved: { from: default }, platform: { host: {} } } ]",
    );
    bed.push("rename", &[("env.yaml", &development), ("release.yaml", &release("web", "development", "1.0.0", ""))]);
    let held = |status: &UnitStatus| status.held.iter().any(|held| held.reason == "moving");
    let status = bed.wait(UNIT, "it is held with its environment", held).await;
    assert!(status.held.iter().any(|held| held.message.contains("unsuspend -e dev")), "{status:#?}");
    bed.kill_daemon();
    std::fs::rename(bed.repo(), bed.path("away.git")).unwrap();
    let begun = UnitEvent::MoveBegun { id: "m".into(), to: RENAMED.parse().unwrap() };
    append(&bed, &begun).await;
    bed.start_daemon();
    bed.wait(RENAMED, "it is taken over", |status| status.groups.len() == 1).await;
    assert_eq!(pids(&bed).await, BTreeMap::from([(RENAMED.to_owned(), before.clone())]));
    // Killed once more, after the new name had everything and before the old one was told so.
    bed.kill_daemon();
    append(&bed, &begun).await;
    bed.start_daemon();
    is_gone(&bed, UNIT).await;
    std::fs::rename(bed.path("away.git"), bed.repo()).unwrap();
    let status = bed
        .wait(RENAMED, "it is what Git asks for", |status| {
            status.health == UnitHealth::InSync && status.candidate.as_ref().is_some_and(|one| one.version == "1.0.0")
        })
        .await;
    assert!(status.held.is_empty(), "{status:#?}");
    assert_eq!(pids(&bed).await, BTreeMap::from([(RENAMED.to_owned(), before)]));
}
