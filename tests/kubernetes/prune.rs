//! What is taken out of Git is taken out of the cluster, and nothing else is.

use super::documents::{UNIT, config, deployment, release};
use super::installation::{Installation, tells};
use crate::support::{PATIENCE, eventually};

fn start() -> Option<Installation> {
    Installation::start(&[("deploy/one.yaml", &config("one", "a")), ("deploy/two.yaml", &config("two", "b"))])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_left_git_is_deleted_and_a_strangers_is_not() {
    let Some(installation) = start() else { return };
    installation.verified(UNIT, "1").await;
    installation.namespace.must(&["create", "configmap", "strange"]);
    installation.push("without two", &[("deploy/two.yaml", ""), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    assert!(installation.namespace.get("configmap/two").is_err_and(|error| error.contains("NotFound")));
    installation.namespace.object("configmap/one");
    installation.namespace.object("configmap/strange");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_left_git_leaves_the_cluster() {
    let Some(installation) = start() else { return };
    installation.verified(UNIT, "1").await;
    installation
        .push("gone", &[("app.yaml", ""), ("release.yaml", ""), ("deploy/one.yaml", ""), ("deploy/two.yaml", "")]);
    eventually(PATIENCE, "both objects are gone", || {
        let left = installation.namespace.must(&["get", "configmap/one", "configmap/two", "--ignore-not-found"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_version_that_was_never_verified_leaves_the_cluster_with_its_app() {
    let files = [("deploy/web.yaml", &*deployment("none")), ("deploy/one.yaml", &*config("one", "a"))];
    let Some(mut installation) = Installation::start(&files) else { return };
    installation.wait(UNIT, "it lacks its image", |status| tells(status, &["web:none"])).await;
    // Who remembers nothing of where it was finds it there.
    installation.kill_daemon();
    installation
        .push("gone", &["app.yaml", "release.yaml", "deploy/web.yaml", "deploy/one.yaml"].map(|path| (path, "")));
    installation.start_daemon();
    eventually(PATIENCE, "nothing of it is left", || {
        let left = ["get", "deployments,configmaps", "--selector", "trimtab.dev/installation", "--output", "name"];
        let left = installation.namespace.must(&left);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}
