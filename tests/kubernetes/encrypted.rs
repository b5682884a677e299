//! Objects that are encrypted, from the repository to the cluster.

use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use trimtab::api::types::{UnitHealth, UnitStatus};

use super::cluster::Namespace;
use super::documents::{UNIT, deployment, release};
use super::installation::{Installation, tells};
use super::kubectl::kubectl;
use crate::e2e::bed::git;
use crate::manifest::encrypted;
use crate::secrets::vector;
use crate::support::{PATIENCE, eventually};

/// An installation whose repository holds what is encrypted, in a namespace of its own.
fn start(namespace: Namespace) -> Installation {
    let files = encrypted::files();
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let settings = format!("[secrets]\nidentity_files = ['{}']\n", vector("x25519.identity").display());
    Installation::configured(&settings, &files, namespace)
}

/// No value stands in any file of an installation or in what its verbs tell, in clear or as an API server has it.
fn nowhere(installation: &Installation) {
    let clear = ["hunter2", "swordfish"].map(str::to_owned);
    let values = clear.into_iter().chain(ENCODED.iter().map(|value| BASE64_STANDARD.encode(value)));
    let values: Vec<String> = values.collect();
    let clear = |text: &str, place: &str| {
        let found = values.iter().find(|value| text.contains(value.as_str()));
        assert!(found.is_none(), "{found:?} in {place}: {text}");
    };
    let verbs: [&[&str]; 6] = [
        &["plan", "-o", "json"],
        &["get", "units", "-o", "json"],
        &["status", "web"],
        &["why", "web"],
        &["events", "web", "-o", "json"],
        &["rollout", "status", "web", "-o", "json"],
    ];
    for verb in verbs {
        clear(&installation.told(verb), &format!("{verb:?}"));
    }
    let mut open = vec![installation.path("")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => {
                    // A file may go while this looks.
                    let bytes = std::fs::read(entry.path()).unwrap_or_default();
                    clear(&String::from_utf8_lossy(&bytes), &entry.path().display().to_string());
                }
                _ => {}
            }
        }
    }
}

/// What the Secrets hold.
const ENCODED: [&str; 4] = ["hunter2-data", "hunter2-user", "hunter2-age", "hunter2-whole"];

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_object_is_decrypted_when_it_is_applied_and_nowhere_else() {
    let Some(namespace) = Namespace::new() else { return };
    let installation = start(namespace);
    installation.verified(UNIT, "1").await;
    let value = |secret: &str, key: &str| {
        let object = installation.namespace.object(&format!("secret/{secret}"));
        let text = object["data"][key].as_str().unwrap().to_owned();
        String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).unwrap()
    };
    assert_eq!(value("db", "token"), "hunter2-data");
    assert_eq!(value("db", "user"), "hunter2-user");
    assert_eq!(value("db", "config.yaml"), "password: hunter2-text\n");
    assert_eq!(value("plain", "key"), "hunter2-age");
    assert_eq!(value("whole", "token"), "hunter2-whole");
    assert_eq!(installation.namespace.object("configmap/urls")["data"]["url"], "https://swordfish");
    nowhere(&installation);
}

/// The last words of an app are told of its rollout, and stand in the revert for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_an_app_tells_as_it_ends_is_told_nowhere_else() {
    let Some(namespace) = Namespace::new() else { return };
    let installation = start(namespace);
    installation.verified(UNIT, "1").await;
    let (web, second) = (deployment("1"), release("2"));
    installation.push("web", &[("deploy/web.yaml", &web), ("release.yaml", &second)]);
    installation.verified(UNIT, "2").await;
    let tells = "          command: [sh, -c, 'echo who knows $TOKEN; exit 3']\n          \
                 env: [ { name: TOKEN, valueFrom: { secretKeyRef: { name: db, key: token } } } ]\n";
    let (web, third) = (web + tells, release("3"));
    installation.push("it tells", &[("deploy/web.yaml", &web), ("release.yaml", &third)]);
    let back = |status: &UnitStatus| {
        let rolled_back = status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack");
        rolled_back && status.rollback.is_none() && status.health == UnitHealth::InSync
    };
    installation.wait(UNIT, "it went back", back).await;
    let commits = git(&installation.repo(), &["log", "--format=%B", "main"]);
    let commits = commits.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(commits.contains("who knows [secret]") && !commits.contains("hunter2"), "{commits}");
    nowhere(&installation);
}

/// A policy of the API server that refuses Secrets of a namespace, with their values in its words.
struct Refusal {
    kubeconfig: PathBuf,
    name: String,
}

impl Refusal {
    fn of(namespace: &Namespace) -> Refusal {
        let name = namespace.name();
        let metadata = json!({ "name": name });
        let secrets = json!({ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"] });
        let here = json!({ "matchLabels": { "kubernetes.io/metadata.name": name } });
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": metadata,
            "spec": {
                "matchConstraints": { "namespaceSelector": here, "resourceRules": [secrets] },
                "validations": [{ "expression": "!('key' in object.data)", "messageExpression": WORDS }],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata,
            "spec": { "policyName": name, "validationActions": ["Deny"] },
        });
        let refusal = Refusal { kubeconfig: namespace.kubeconfig().to_owned(), name: name.to_owned() };
        let both = json!({ "apiVersion": "v1", "kind": "List", "items": [policy, binding] });
        namespace.pipe(&["apply", "--filename", "-"], &both.to_string()).unwrap();
        let try_one = ["create", "secret", "generic", "try", "--from-literal=key=seen", "--dry-run=server"];
        eventually(PATIENCE, "the policy is in force", || match namespace.kubectl(&try_one) {
            Err(error) if error.contains("no key may be seen") || error.contains("no key may be c2Vlbg==") => Ok(()),
            other => Err(format!("{other:?}")),
        });
        refusal
    }
}

const WORDS: &str = "'no key may be ' + string(object.data['key'])";

impl Drop for Refusal {
    fn drop(&mut self) {
        let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        let _ = kubectl(&self.kubeconfig, &["delete", kinds, &self.name], "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_api_server_refuses_and_repeats_shows_nowhere() {
    let Some(namespace) = Namespace::new() else { return };
    let _refusal = Refusal::of(&namespace);
    let installation = start(namespace);
    // The server's own words are left out: only what they are about is told.
    let told = |status: &UnitStatus| tells(status, &["Secret/plain", "Invalid (422)"]);
    let status = installation.wait(UNIT, "it is told that the Secret is refused", told).await;
    assert!(status.health != UnitHealth::InSync, "{status:#?}");
    nowhere(&installation);
    let namespace = &installation.namespace;
    let left = namespace.must(&["get", "events,configmaps", "--output", "json"]);
    assert!(!left.contains("hunter2") && !left.contains(&BASE64_STANDARD.encode("hunter2-age")), "{left}");
}
