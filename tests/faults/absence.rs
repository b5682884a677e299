//! Much that is gone at once may be a mistake.

use std::fs;

use trimtab::api::types::UnitHealth;

use crate::e2e::bed::Bed;
use crate::e2e::documents::{app, environment, release};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_12_a_mass_removal_waits_for_an_acknowledgement_and_an_empty_tree_removes_nothing() {
    let mut documents = vec![("env.yaml".to_owned(), environment("dev"))];
    for name in ["web", "api", "worker"] {
        documents.push((format!("apps/{name}.yaml"), app(name, "rolling")));
        documents.push((format!("releases/{name}.yaml"), release(name, "dev", "1.0.0", "")));
    }
    let documents: Vec<_> = documents.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut bed = Bed::new(&documents).start();
    let units = ["web/dev/default", "api/dev/default", "worker/dev/default"];
    for unit in units {
        bed.verified(unit, "1.0.0").await;
    }
    bed.push("two of three", &[("releases/web.yaml", ""), ("releases/api.yaml", "")]);
    for unit in &units[..2] {
        let status = bed.wait(unit, "it is held", |status| status.health == UnitHealth::Held).await;
        assert_eq!(status.held[0].reason, "massRemoval");
    }
    assert_eq!(bed.unit(units[2]).await.unwrap().health, UnitHealth::InSync);
    assert!(bed.told(&["status"]).contains("removes so much of the environment"));
    let why = bed.told(&["why", "web"]);
    assert!(why.contains("may be a mistake") && why.contains("`trimtab ack` lets it happen"), "{why}");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    // A daemon that can't read any commit since its start does not know either what is a mistake.
    bed.kill_daemon();
    fs::rename(bed.repo(), bed.path("away.git")).unwrap();
    fs::remove_dir_all(bed.path("state/daemon/mirror.git")).unwrap();
    bed.start_daemon();
    bed.source_error().await;
    for unit in &units[..2] {
        bed.wait(unit, "it has looked", |status| !status.groups.is_empty()).await;
    }
    fs::rename(bed.path("away.git"), bed.repo()).unwrap();
    crate::support::eventually_async(crate::support::PATIENCE, "the source is read again", async || {
        bed.api().daemon().await.is_ok_and(|daemon| daemon.head.is_some() && daemon.source_error.is_none())
    })
    .await;
    for unit in &units[..2] {
        let status = bed.unit(unit).await.unwrap();
        assert_eq!(status.held[0].reason, "massRemoval", "{status:#?}");
    }
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    // One is let go; the other was a mistake.
    let acknowledged = bed.told(&["ack", "web"]);
    assert!(acknowledged.contains("web/dev/default goes on") && !acknowledged.contains("api"), "{acknowledged}");
    crate::support::eventually_async(crate::support::PATIENCE, "web is gone", async || {
        bed.unit(units[0]).await.is_err()
    })
    .await;
    assert_eq!(bed.get("api.dev.localhost").await.unwrap().1, "1.0.0");
    bed.push("api again", &[("releases/api.yaml", &release("api", "dev", "1.0.0", ""))]);
    bed.verified(units[1], "1.0.0").await;

    bed.push("a folder that is not there", &[("README.md", "the documents have moved\n")]);
    bed.configure("poll = '1s'", "poll = '1s'\npath = 'nowhere'");
    bed.kill_daemon();
    bed.start_daemon();
    for unit in &units[1..] {
        let status = bed.wait(unit, "it is held", |status| status.health == UnitHealth::Held).await;
        assert_eq!(status.held[0].reason, "notPruned", "{status:#?}");
    }
    for host in ["api.dev.localhost", "worker.dev.localhost"] {
        assert_eq!(bed.get(host).await.unwrap().1, "1.0.0");
    }
    bed.configure("path = 'nowhere'", "");
    bed.kill_daemon();
    bed.start_daemon();
    bed.verified(units[1], "1.0.0").await;
    let paths: Vec<&str> =
        documents.iter().map(|(path, _)| *path).filter(|path| *path != "releases/web.yaml").collect();
    let nothing: Vec<(&str, &str)> = paths.iter().map(|path| (*path, "")).collect();
    bed.push("an empty tree", &nothing);
    for unit in &units[1..] {
        let status = bed.wait(unit, "it is held", |status| status.health == UnitHealth::Held).await;
        assert_eq!(status.held[0].reason, "notPruned", "{status:#?}");
    }
    assert_eq!(bed.get("worker.dev.localhost").await.unwrap().1, "1.0.0");
}
