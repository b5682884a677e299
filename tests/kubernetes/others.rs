//! Others who have a say in the same objects: autoscalers, tools that apply too, people who edit again and again, and fields that
//! the manifest leaves to somebody.

use serde_json::Value;
use trimtab::api::types::{UnitHealth, UnitStatus};

use super::cluster::Namespace;
use super::documents::{UNIT, app, config, deployment, release};
use super::installation::{Installation, tells};
use crate::support::{PATIENCE, eventually};

fn word(installation: &Installation, name: &str, key: &str) -> Value {
    installation.namespace.object(&format!("configmap/{name}"))["data"][key].clone()
}

fn edit(installation: &Installation, name: &str, manager: &str, word: &str) {
    let patch = format!(r#"{{"data":{{"word":"{word}"}}}}"#);
    let object = format!("configmap/{name}");
    installation.namespace.must(&["patch", &object, "--type", "merge", "--field-manager", manager, "--patch", &patch]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscalers_replicas_are_not_fought() {
    // One leaves them out of Git, the other names some.
    let one = |version: &str, name: &str, replicas: &str| {
        deployment(version)
            .replace("  replicas: 2\n", replicas)
            .replace("{ name: web }", &format!("{{ name: {name} }}"))
            .replace("app: web", &format!("app: {name}"))
    };
    let (web, api) = (|version| one(version, "web", ""), |version| one(version, "api", "  replicas: 2\n"));
    let manifests = [("deploy/web.yaml", &*web("1")), ("deploy/api.yaml", &api("1"))];
    let Some(installation) = Installation::start(&manifests) else { return };
    installation.verified(UNIT, "1").await;
    let namespace = &installation.namespace;
    for name in ["web", "api"] {
        namespace.must(&[
            "autoscale",
            &format!("deployment/{name}"),
            "--min",
            "3",
            "--max",
            "5",
            "--cpu-percent",
            "80",
        ]);
    }
    let spec = |name: &str, field: &str| namespace.object(&format!("deployment/{name}"))[field].clone();
    eventually(PATIENCE, "the autoscaler has scaled both", || {
        if ["web", "api"].iter().all(|name| spec(name, "status")["readyReplicas"] == 3) {
            Ok(())
        } else {
            Err(namespace.state())
        }
    });
    installation.verified(UNIT, "1").await;
    let files = [("deploy/web.yaml", &*web("2")), ("deploy/api.yaml", &api("2")), ("release.yaml", &release("2"))];
    installation.push("second", &files);
    installation.verified(UNIT, "2").await;
    for name in ["web", "api"] {
        assert_eq!(spec(name, "spec")["replicas"], 3, "{name}");
        // It was made, scaled, and given another image: nobody else changed it.
        assert_eq!(spec(name, "metadata")["generation"], 3, "{name}: {:#}", spec(name, "metadata"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_are_left_to_others_are_no_drift_and_are_not_applied() {
    let Some(namespace) = Namespace::new() else { return };
    let settings =
        |name: &str, word: &str| config(name, word).replace("\ndata: {", &format!("\ndata: {{ other: {word},"));
    let files = |word: &str| ["one", "two", "three"].map(|name| (format!("deploy/{name}.yaml"), settings(name, word)));
    let first = files("a");
    let first: Vec<_> = first.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let rules = ", ignore: [{ kind: ConfigMap, name: one, paths: [/data/word] }, { managers: [vpa] }]";
    let installation = Installation::of(rules, &first, namespace);
    installation.verified(UNIT, "1").await;
    assert_eq!(word(&installation, "one", "word"), Value::Null, "whoever it is left to sets it");
    edit(&installation, "one", "anybody", "theirs");
    edit(&installation, "two", "vpa", "theirs");
    edit(&installation, "three", "mallory", "theirs");
    eventually(PATIENCE, "what is nobody else's is put back", || word(&installation, "three", "word") == "a");
    installation.verified(UNIT, "1").await;
    let plan = installation.cli(&["plan"]);
    assert_eq!(plan.status.code(), Some(0), "nothing to do: {}", installation.told(&["plan"]));
    let mut second = files("b").to_vec();
    second.push(("release.yaml".into(), release("2")));
    let second: Vec<_> = second.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    installation.push("second", &second);
    installation.verified(UNIT, "2").await;
    for (name, expected) in [("one", "theirs"), ("two", "theirs"), ("three", "b")] {
        assert_eq!(
            (word(&installation, name, "word"), word(&installation, name, "other")),
            (expected.into(), "b".into()),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_applies_or_edits_the_same_field_again_and_again_is_named() {
    let Some(installation) = Installation::start(&[("deploy/settings.yaml", &config("settings", "one"))]) else {
        return;
    };
    installation.verified(UNIT, "1").await;
    let namespace = &installation.namespace;
    // Another tool that applies: its fields are not taken.
    let theirs = config("settings", "theirs");
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager", "helm", "--filename", "-"];
    namespace.pipe(&apply, &theirs).unwrap();
    let told = |status: &UnitStatus| tells(status, &["ConfigMap/settings", "helm has .data.word", "adopt: true"]);
    installation.wait(UNIT, "the other tool is named", told).await;
    assert_eq!(word(&installation, "settings", "word"), "theirs", "it is not taken from them");
    namespace.must(&["delete", "configmap/settings"]);
    eventually(PATIENCE, "it is made again", || {
        namespace.get("configmap/settings").is_ok_and(|settings| settings["data"]["word"] == "one")
    });
    installation.verified(UNIT, "1").await;

    // Somebody who edits: what is taken back is taken back so often and no more.
    let told = |status: &UnitStatus| tells(status, &["mallory changes .data.word again and again"]);
    let begun = std::time::Instant::now();
    while !told(&installation.unit(UNIT).await.unwrap()) {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", installation.unit(UNIT).await);
        if word(&installation, "settings", "word") == "one" {
            edit(&installation, "settings", "mallory", "mallory's");
        }
    }
    assert_eq!(word(&installation, "settings", "word"), "mallory's", "it is left as it is for now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_changed_is_made_again_only_with_leave() {
    let fixed = |word: &str| format!("{}immutable: true\n", config("settings", word));
    let Some(installation) = Installation::start(&[("deploy/settings.yaml", &fixed("one"))]) else { return };
    installation.verified(UNIT, "1").await;
    let uid = || installation.namespace.object("configmap/settings")["metadata"]["uid"].clone();
    let before = uid();
    installation.push("second", &[("deploy/settings.yaml", &fixed("two")), ("release.yaml", &release("2"))]);
    let told = |status: &UnitStatus| tells(status, &["ConfigMap/settings", "immutable", "`recreate`"]);
    let status = installation.wait(UNIT, "it is told what would let it be changed", told).await;
    assert!(status.health != UnitHealth::InSync, "{status:#?}");
    assert_eq!((uid(), word(&installation, "settings", "word")), (before.clone(), "one".into()));
    installation.push("with leave", &[("app.yaml", &app(", recreate: [ConfigMap]")), ("release.yaml", &release("3"))]);
    installation.verified(UNIT, "3").await;
    assert_eq!(word(&installation, "settings", "word"), "two");
    assert_ne!(uid(), before);
}
