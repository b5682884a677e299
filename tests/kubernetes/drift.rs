//! What somebody changes, scales or deletes beside Git is put back, or told where the manifest says so.

use serde_json::json;

use super::cluster::Namespace;
use super::documents::{UNIT, config, deployment};
use super::installation::Installation;
use crate::support::{PATIENCE, eventually};

fn start(more: &str) -> Option<Installation> {
    let (deployment, settings) = (deployment("1"), config("settings", "one"));
    let manifests = [("deploy/web.yaml", &*deployment), ("deploy/config.yaml", &settings)];
    Some(Installation::of(more, &manifests, Namespace::new()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_scaling_and_deletions_are_healed_without_a_push() {
    let Some(installation) = start("") else { return };
    installation.verified(UNIT, "1").await;
    let namespace = &installation.namespace;

    namespace.must(&["patch", "configmap/settings", "--type", "merge", "--patch", r#"{"data":{"word":"two"}}"#]);
    eventually(PATIENCE, "the edited value is put back", || {
        let settings = namespace.object("configmap/settings");
        if settings["data"] == json!({ "word": "one" }) { Ok(()) } else { Err(settings.to_string()) }
    });

    namespace.must(&["scale", "deployment/web", "--replicas", "4"]);
    eventually(PATIENCE, "it is scaled back", || {
        let web = namespace.object("deployment/web");
        if web["spec"]["replicas"] == 2 { Ok(()) } else { Err(web.to_string()) }
    });

    let before = namespace.object("configmap/settings")["metadata"]["uid"].clone();
    namespace.must(&["delete", "configmap/settings"]);
    eventually(PATIENCE, "the deleted object is there again", || {
        namespace
            .get("configmap/settings")
            .and_then(|now| if now["metadata"]["uid"] == before { Err("still the old one".to_owned()) } else { Ok(()) })
    });
    installation.verified(UNIT, "1").await;
    let told = installation.told(&["rollout", "history", "web", "-o", "json"]);
    for words in [".data.word", ".spec.replicas", "changed", "kubectl", "ConfigMap/settings: it is not there"] {
        assert!(told.contains(words), "it stays told what was healed and who had done it ({words}): {told}");
    }
    assert_eq!(installation.log().len(), 1, "nothing of it is a matter for Git");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_that_shall_only_be_told_is_told_with_who_did_it() {
    let Some(installation) = start(", drift: report") else { return };
    installation.verified(UNIT, "1").await;
    let namespace = &installation.namespace;
    let edit = ["patch", "configmap/settings", "--type", "merge", "--field-manager", "mallory", "--patch"];
    namespace.must(&[&edit[..], &[r#"{"data":{"word":"two"}}"#]].concat());
    let told = |status: &trimtab::api::types::UnitStatus| {
        status.groups.iter().flat_map(|group| &group.instances).any(|one| {
            one.id == "ConfigMap/settings" && one.message.as_deref().is_some_and(|message| message.contains("mallory"))
        })
    };
    installation.wait(UNIT, "it is told who changed it", told).await;
    let plan = installation.told(&["plan"]);
    assert!(plan.contains("left as it is: ConfigMap/settings: mallory changed .data.word"), "{plan}");
    assert_eq!(namespace.object("configmap/settings")["data"]["word"], "two", "it is left as it is");
}
