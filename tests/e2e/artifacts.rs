//! Of the folders that versions run from, those stay that something may still need.

use std::collections::BTreeSet;

use trimtab::api::types::{UnitCommand, UnitHealth};

use super::bed::{Bed, git};
use super::documents::{UNIT, app, environment, web};
use crate::support::{PATIENCE, TRIMTAB, eventually};

fn program(number: u32) -> String {
    format!("#!/bin/sh\n# {number}\nexec {TRIMTAB} demo-app \"$@\"\n")
}

fn kept(bed: &Bed) -> BTreeSet<String> {
    let folder = std::fs::read_dir(bed.path("state/daemon/artifacts")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("tree-")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_versions_go_and_the_way_back_stays_with_git_down() {
    let command = format!("command: [{TRIMTAB}, demo-app");
    let app = app("web", "rolling");
    assert!(app.contains(&command));
    let app = app.replace(&command, "artifact: { path: web }\n      command: [bin/web");
    let bed = Bed::new(&[
        ("env.yaml", &environment("dev")),
        ("app.yaml", &app),
        ("web/bin/web", &program(0)),
        ("release.yaml", &web("1.0.0", "")),
    ])
    .start();
    bed.verified(UNIT, "1.0.0").await;
    let mut trees = Vec::new();
    for number in 1..4 {
        let version = format!("1.{number}.0");
        bed.push(&version, &[("web/bin/web", &program(number)), ("release.yaml", &web(&version, ""))]);
        bed.verified(UNIT, &version).await;
        trees.push(format!("tree-{}", git(&bed.repo(), &["rev-parse", "main:web"]).trim()));
    }
    let needed: BTreeSet<String> = trees[1..].iter().cloned().collect();
    eventually(PATIENCE, "only the last two are kept", || {
        let kept = kept(&bed);
        if kept == needed { Ok(()) } else { Err(format!("{kept:?}")) }
    });
    std::fs::rename(bed.repo(), bed.path("away.git")).unwrap();
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Rollback { to: None }).await.unwrap();
    bed.wait(UNIT, "1.2.0 has the traffic", |status| status.groups.iter().all(|group| group.version == "1.2.0")).await;
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.2.0");
    std::fs::rename(bed.path("away.git"), bed.repo()).unwrap();
    bed.wait(UNIT, "the revert is adopted", |status| status.health == UnitHealth::InSync && status.rollback.is_none())
        .await;
}

/// Only what needs TLS needs to know authorities.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_authorities_rolls_out_what_is_its_own() {
    let (environment, app) = (environment("dev"), app("web", "rolling"));
    let mut bed = Bed::new(&[("env.yaml", &environment), ("app.yaml", &app), ("release.yaml", &web("1.0.0", ""))]);
    bed.configure("[source]\n", "[telemetry]\notlp_endpoint = 'https://127.0.0.1:1'\n[source]\n");
    bed.start_supervisor();
    bed.start_router();
    bed.start_daemon_with(&[("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")]);
    bed.verified(UNIT, "1.0.0").await;
    let log = std::fs::read_to_string(bed.path("daemon.log")).unwrap();
    assert!(log.contains("traces will not be taken") && log.contains("ca-certificates"), "{log}");
}
