//! With whose rights a cluster is changed: a service account's, and never those of a program that nobody allowed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use trimtab::api::types::UnitStatus;

use super::cluster::Namespace;
use super::documents::{SERVICE, UNIT, config, environment, release};
use super::installation::{Installation, tells};
use super::kubectl::kubectl;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_applied_with_the_rights_of_a_service_account_and_no_others() {
    let Some(namespace) = Namespace::new() else { return };
    let name = namespace.name();
    let account = format!("--serviceaccount={name}:deployer");
    namespace.must(&["create", "serviceaccount", "deployer"]);
    namespace.must(&["create", "role", "settings", "--verb=get,create,patch,delete", "--resource=configmaps"]);
    namespace.must(&["create", "rolebinding", "settings", "--role=settings", &account]);
    let environment = environment(name)
        .replace(&format!("namespace: {name} "), &format!("namespace: {name}, serviceAccount: deployer "));
    assert!(environment.contains("deployer"), "{environment}");
    let settings = config("settings", "one");
    let installation =
        Installation::of("", &[("env.yaml", &environment), ("deploy/settings.yaml", &settings)], namespace);
    installation.verified(UNIT, "1").await;

    installation.push("a service", &[("deploy/service.yaml", SERVICE), ("release.yaml", &release("2"))]);
    let told = |status: &UnitStatus| tells(status, &["Service/web", ":deployer", "cannot patch", "services"]);
    installation.wait(UNIT, "it is told who may not do what", told).await;
    assert!(installation.namespace.get("service/web").is_err_and(|error| error.contains("NotFound")));
    installation.namespace.must(&[
        "create",
        "role",
        "services",
        "--verb=get,create,patch,delete",
        "--resource=services",
    ]);
    installation.namespace.must(&["create", "rolebinding", "services", "--role=services", &account]);
    installation.verified(UNIT, "2").await;
    installation.namespace.object("service/web");
    assert_eq!(installation.log().len(), 2, "what may not be done is no bad release");
}

/// The kubeconfig of a cluster with a program for its token, which leaves a mark when it is run.
fn with_a_program(kubeconfig: &Path, folder: &Path) -> String {
    let text = kubectl(kubeconfig, &["config", "view", "--raw", "--output", "json"], "").unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let token = config["users"][0]["user"]["token"].clone();
    let credential = json!({ "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": { "token": token } });
    let program = format!("touch {}; echo '{credential}'", folder.join("it-was-run").display());
    let exec = json!({ "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", program],
        "interactiveMode": "Never" });
    config["users"][0]["user"] = json!({ "exec": exec });
    config.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_of_a_kubeconfig_is_run_only_where_that_is_allowed() {
    let Some(namespace) = Namespace::new() else { return };
    let dir = tempfile::Builder::new().prefix("trimtab-kubeconfig-").tempdir().unwrap();
    let (file, mark) = (dir.path().join("kubeconfig"), dir.path().join("it-was-run"));
    fs::write(&file, with_a_program(namespace.kubeconfig(), dir.path())).unwrap();
    let settings = config("settings", "one");
    let mut installation = Installation::through(&file, "", &[("deploy/settings.yaml", &settings)], namespace);
    let told = |status: &UnitStatus| tells(status, &["allow_exec = true", "[kubernetes.clusters.default]"]);
    installation.wait(UNIT, "it is told what to allow", told).await;
    assert!(!mark.exists(), "it was run without leave");
    installation.kill_daemon();
    installation.configure("[kubernetes.clusters.default]\n", "[kubernetes.clusters.default]\nallow_exec = true\n");
    installation.start_daemon();
    installation.verified(UNIT, "1").await;
    assert!(mark.exists());
}
