//! Hooks of Argo CD and Helm: each runs once a rollout, at its moment, whatever happens to the daemon.

use jiff::Timestamp;
use serde_json::Value;
use trimtab::api::types::UnitStatus;

use super::cluster::Namespace;
use super::documents::{SERVICE, UNIT, app, config, deployment, release};
use super::installation::{Installation, tells};
use crate::support::{PATIENCE, eventually};

/// A Job that runs a line of the shell, with annotations.
fn job(metadata: &str, annotations: &str, line: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{ {metadata}, annotations: {{ {annotations} }} }}\nspec:\n  backoffLimit: 0\n  template:\n    \
         spec:\n      restartPolicy: Never\n      terminationGracePeriodSeconds: 1\n      containers:\n        - name: main\n          \
         image: trimtab.test/web:1\n          command: [sh, -c, '{line}']\n"
    )
}

fn argo(name: &str, moment: &str, more: &str, line: &str) -> String {
    job(&format!("name: {name}"), &format!("argocd.argoproj.io/hook: {moment}{more}"), line)
}

/// An App whose failed hooks take it back.
fn taken_back() -> String {
    app("").replace("[unhealthy]", "[unhealthy, hook]")
}

fn uid(installation: &Installation, object: &str) -> Value {
    installation.namespace.object(object)["metadata"]["uid"].clone()
}

fn there(installation: &Installation, object: &str) -> bool {
    installation.namespace.get(object).is_ok()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no time: {value}"))
}

fn ended(job: &Value) -> Timestamp {
    time(&job["status"]["completionTime"])
}

/// How many Jobs there are whose name was made.
fn notified(installation: &Installation) -> usize {
    let all = installation.namespace.must(&["get", "jobs", "--output", "name"]);
    all.lines().filter(|name| name.contains("/notify-")).count()
}

fn rolled_back(status: &UnitStatus) -> bool {
    status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_fails_stops_a_rollout_before_anything_has_changed_and_its_log_is_told() {
    let settings = config("settings", "one");
    let Some(installation) = Installation::start(&[("deploy/settings.yaml", &settings)]) else { return };
    installation.verified(UNIT, "1").await;
    let failing = argo("migrate", "PreSync", "", "echo no such column: price; exit 3");
    let clean = argo("clean", "SyncFail", ", argocd.argoproj.io/hook-delete-policy: HookFailed", "echo cleaned");
    let files = [
        ("app.yaml", &*taken_back()),
        ("release.yaml", &*release("2")),
        ("deploy/settings.yaml", &*config("settings", "two")),
        ("deploy/migrate.yaml", &*failing),
        ("deploy/clean.yaml", &*clean),
    ];
    installation.push("second", &files);
    let status = installation.wait(UNIT, "it went back", rolled_back).await;
    assert!(tells(&status, &["Job migrate", "exit code 3", "no such column: price"]), "{status:#?}");
    assert_eq!(installation.namespace.object("configmap/settings")["data"]["word"], "one");
    eventually(PATIENCE, "what runs on failure has run", || {
        let clean = installation.namespace.get("job/clean")?;
        if clean["status"]["succeeded"] == 1 { Ok(()) } else { Err(clean.to_string()) }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_run_once_at_their_moments_and_go_by_their_policies() {
    let policy = |policy: &str| format!(", argocd.argoproj.io/hook-delete-policy: {policy}");
    let (gone, wave) = (policy("HookSucceeded"), ", argocd.argoproj.io/sync-wave: \"-1\"");
    let files = [
        ("deploy/web.yaml", deployment("1")),
        ("deploy/settings.yaml", config("settings", "one")),
        ("deploy/first.yaml", argo("first", "PreSync", wave, "sleep 1")),
        ("deploy/second.yaml", argo("second", "PreSync", "", "true")),
        ("deploy/gone.yaml", argo("gone", "PreSync", &gone, "true")),
        // It has what is applied beside it.
        ("deploy/beside.yaml", argo("beside", "Sync", "", "test $WORD = one").replace("command:", ENV)),
        ("deploy/after.yaml", argo("after", "PostSync", "", "true")),
        ("deploy/notify.yaml", job("generateName: notify-", "argocd.argoproj.io/hook: PostSync", "true")),
        ("deploy/skip.yaml", argo("skip", "Skip", "", "exit 1")),
    ];
    let texts: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let Some(mut installation) = Installation::start(&texts) else { return };
    installation.verified(UNIT, "1").await;
    let object = |name: &str| installation.namespace.object(name);
    let created = |object: &Value| time(&object["metadata"]["creationTimestamp"]);
    let (first, second, after) = (object("job/first"), object("job/second"), object("job/after"));
    let (web, settings, beside) = (object("deployment/web"), object("configmap/settings"), object("job/beside"));
    assert!(created(&second) >= ended(&first) && created(&settings) >= ended(&second), "{first:#} {second:#}");
    assert!(created(&beside) >= created(&settings), "{beside:#}");
    let available = web["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Available");
    assert!(created(&after) >= time(&available.unwrap()["lastTransitionTime"]), "{after:#} {web:#}");
    assert!(!there(&installation, "job/gone") && !there(&installation, "job/skip"));
    assert_eq!(notified(&installation), 1);
    let shown = installation.told(&["plan"]);
    assert_eq!(installation.cli(&["plan"]).status.code(), Some(0), "a hook is nothing to do: {shown}");

    // They are no part of what shall be there: neither a restart nor an absence runs them again.
    let before = uid(&installation, "job/first");
    installation.namespace.must(&["delete", "job/second"]);
    installation.kill_daemon();
    installation.start_daemon();
    installation.push("third", &[("deploy/settings.yaml", &config("settings", "one")), ("other.txt", "nothing")]);
    installation.verified(UNIT, "1").await;
    assert_eq!(installation.cli(&["plan"]).status.code(), Some(0), "{}", installation.told(&["plan"]));
    assert!(!there(&installation, "job/second"));
    assert_eq!(uid(&installation, "job/first"), before);

    // A new revision runs them anew.
    installation.push("second", &[("deploy/web.yaml", &deployment("2")), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    assert!(uid(&installation, "job/first") != before && there(&installation, "job/second"));
    assert_eq!(notified(&installation), 2);

    // With the app all of it goes.
    let mut all: Vec<(&str, &str)> = files.iter().map(|(path, _)| (*path, "")).collect();
    all.extend([("app.yaml", ""), ("release.yaml", "")]);
    installation.push("gone", &all);
    eventually(PATIENCE, "nothing is left", || {
        let left = installation.namespace.must(&["get", "jobs,deployments", "--output", "name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

const ENV: &str =
    "env: [ { name: WORD, valueFrom: { configMapKeyRef: { name: settings, key: word } } } ]\n          command:";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_killed_while_a_hook_runs_takes_it_up() {
    let (settings, migrate) = (config("settings", "one"), argo("migrate", "PreSync", "", "sleep 5"));
    let Some(mut installation) =
        Installation::start(&[("deploy/settings.yaml", &settings), ("deploy/migrate.yaml", &migrate)])
    else {
        return;
    };
    installation.wait(UNIT, "the hook runs", |status| tells(status, &["hook Job migrate runs"])).await;
    let before = uid(&installation, "job/migrate");
    installation.kill_daemon();
    assert!(!there(&installation, "configmap/settings"));
    installation.start_daemon();
    installation.verified(UNIT, "1").await;
    assert_eq!(uid(&installation, "job/migrate"), before);
    let job = installation.namespace.object("job/migrate");
    assert_eq!((&job["status"]["succeeded"], &job["status"]["failed"]), (&1.into(), &Value::Null));
    let settings = installation.namespace.object("configmap/settings");
    assert!(time(&settings["metadata"]["creationTimestamp"]) >= ended(&job));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_lost_its_state_takes_up_the_run_at_work_and_runs_none_again() {
    let (settings, migrate) = (config("settings", "one"), argo("migrate", "PreSync", "", "sleep 6"));
    let files = [("deploy/settings.yaml", &*settings), ("deploy/migrate.yaml", &*migrate)];
    let Some(mut installation) = Installation::start(&files) else { return };
    installation.wait(UNIT, "the hook runs", |status| tells(status, &["hook Job migrate runs"])).await;
    let before = uid(&installation, "job/migrate");
    for _ in 0..2 {
        installation.kill_daemon();
        std::fs::remove_dir_all(installation.path("state/daemon")).unwrap();
        installation.start_daemon();
        installation.verified(UNIT, "1").await;
        assert_eq!(uid(&installation, "job/migrate"), before);
    }
}

/// A chart like those of the world: accounts and rights for its Jobs are hooks too, weights order them, and a pod tests it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_with_hooks_of_helm_runs() {
    let Some(namespace) = Namespace::new() else { return };
    let hook = |kind: &str, weight: &str, more: &str| {
        format!(
            "annotations: {{ helm.sh/hook: '{kind}', helm.sh/hook-weight: '{weight}', \
             helm.sh/hook-delete-policy: 'before-hook-creation,{more}' }}"
        )
    };
    let before = "pre-install,pre-upgrade";
    let account = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: {{{{ .Release.Name }}}}-admission, {} }}\n",
        hook(before, "-5", "hook-succeeded")
    );
    let create = job("name: \"{{ .Release.Name }}-create\"", "x: y", "true")
        .replace("annotations: { x: y }", &hook(before, "0", ""))
        .replace("restartPolicy:", "serviceAccountName: \"{{ .Release.Name }}-admission\"\n      restartPolicy:");
    let check = job("name: \"{{ .Release.Name }}-check\"", "x: y", "true")
        .replace("annotations: { x: y }", &hook("post-install,post-upgrade", "1", "hook-succeeded"));
    let test = "apiVersion: v1\nkind: Pod\nmetadata: { name: \"{{ .Release.Name }}-test\", annotations: { helm.sh/hook: test } }\nspec:\n  \
                restartPolicy: Never\n  containers: [ { name: main, image: trimtab.test/crash:1 } ]\n";
    let app = taken_back().replace("path: deploy", "helm: { chart: chart }");
    let files = [
        ("app.yaml", &*app),
        ("chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
        ("chart/templates/web.yaml", &*deployment("1")),
        ("chart/templates/account.yaml", &*account),
        ("chart/templates/create.yaml", &*create),
        ("chart/templates/check.yaml", &*check),
        ("chart/templates/test.yaml", test),
    ];
    let installation = Installation::of("", &files, namespace);
    installation.verified(UNIT, "1").await;
    let create = installation.namespace.object("job/web-create");
    assert_eq!(create["status"]["succeeded"], 1, "{create:#}");
    for gone in ["serviceaccount/web-admission", "job/web-check", "pod/web-test"] {
        assert!(!there(&installation, gone), "{gone}");
    }
    installation.push("second", &[("chart/templates/web.yaml", &deployment("2")), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    assert_ne!(uid(&installation, "job/web-create"), create["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_version_that_fails_stops_and_what_runs_on_failure_does() {
    let failing = argo("migrate", "PreSync", "", "echo no such table; exit 4");
    let (settings, clean) = (config("settings", "one"), argo("clean", "SyncFail", "", "true"));
    let files =
        [("deploy/settings.yaml", &*settings), ("deploy/migrate.yaml", &*failing), ("deploy/clean.yaml", &*clean)];
    let Some(installation) = Installation::start(&files) else { return };
    installation.wait(UNIT, "it has stopped", |status| tells(status, &["Job migrate", "no such table"])).await;
    eventually(PATIENCE, "what runs on failure has run", || {
        let clean = installation.namespace.get("job/clean")?;
        if clean["status"]["succeeded"] == 1 { Ok(()) } else { Err(clean.to_string()) }
    });
    assert!(!there(&installation, "configmap/settings"));
    // A mended one goes on from there.
    let mended = [("deploy/migrate.yaml", &*argo("migrate", "PreSync", "", "true")), ("release.yaml", &release("2"))];
    installation.push("second", &mended);
    installation.verified(UNIT, "2").await;
    assert_eq!(installation.namespace.object("job/migrate")["status"]["succeeded"], 1);
}

/// Takes an app out of Git; nothing of it is left then.
fn leaves_nothing(installation: &Installation, files: &[&str]) {
    let gone: Vec<_> = ["app.yaml", "release.yaml"].iter().chain(files).map(|path| (*path, "")).collect();
    installation.push("gone", &gone);
    eventually(PATIENCE, "nothing of it is left", || {
        let left = ["get", "jobs,deployments,configmaps", "--selector", "trimtab.dev/installation", "--output", "name"];
        let left = installation.namespace.must(&left);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

const BLUE_GREEN: &str = "  strategy: { blueGreen: { promote: auto, scaleDownDelay: 1s } }\n";
const CANARY: &str = "  strategy: { canary: { steps: [ { weight: 50 } ], scaleDownDelay: 1s } }\n";

async fn hooks_of_the_first_go(strategy: &str) {
    let failing = argo("migrate", "PreSync", "", "echo no such table; exit 4");
    let (app, web) = (app("") + strategy, deployment("1"));
    let files = [("app.yaml", &*app), ("deploy/web.yaml", &*web), ("deploy/migrate.yaml", &*failing)];
    let Some(mut installation) = Installation::start(&files) else { return };
    installation.wait(UNIT, "it has stopped", |status| tells(status, &["Job migrate", "no such table"])).await;
    assert!(there(&installation, "job/migrate"), "its log can be looked at");
    // What the cluster has tells whose it is, also who remembers nothing.
    installation.kill_daemon();
    installation.start_daemon();
    leaves_nothing(&installation, &["deploy/web.yaml", "deploy/migrate.yaml"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hooks_of_a_first_version_that_never_came_about_go_with_its_app() {
    hooks_of_the_first_go("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hooks_of_a_first_blue_green_version_that_never_came_about_go_with_its_app() {
    hooks_of_the_first_go(BLUE_GREEN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hooks_of_a_first_canary_that_never_came_about_go_with_its_app() {
    hooks_of_the_first_go(CANARY).await;
}

/// The first version ends well, the second fails by its hooks, before or after it is made; each has hooks of its own names.
async fn hooks_of_all_versions_go(strategy: &str) {
    let (app, web) = (taken_back() + strategy, deployment("1"));
    let first = job("generateName: notify-", "argocd.argoproj.io/hook: PostSync", "true");
    let files = [
        ("app.yaml", &*app),
        ("deploy/web.yaml", &*web),
        ("deploy/service.yaml", SERVICE),
        ("deploy/one.yaml", &*first),
    ];
    let Some(installation) = Installation::start(&files) else { return };
    installation.verified(UNIT, "1").await;
    for (version, moment) in [("2", "PreSync"), ("3", "PostSync")] {
        let (hook, release) = (argo(&format!("hook-{version}"), moment, "", "exit 5"), release(version));
        let path = format!("deploy/hook-{version}.yaml");
        let web = deployment("2");
        installation.push(version, &[(&*path, &*hook), ("deploy/web.yaml", &*web), ("release.yaml", &*release)]);
        let told = format!("Job hook-{version}");
        let back = |status: &UnitStatus| rolled_back(status) && status.rollback.is_none() && tells(status, &[&told]);
        installation.wait(UNIT, "it went back, in Git too", back).await;
        assert!(there(&installation, &format!("job/hook-{version}")));
    }
    leaves_nothing(&installation, &["deploy/web.yaml", "deploy/service.yaml", "deploy/one.yaml"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hooks_of_each_version_go_with_its_app_however_it_ended() {
    hooks_of_all_versions_go("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hooks_of_each_version_side_by_side_go_with_its_app_however_it_ended() {
    hooks_of_all_versions_go(BLUE_GREEN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_run_before_a_clone_is_made_and_after_it_has_all_requests() {
    let app = taken_back() + "  strategy: { blueGreen: { promote: auto, scaleDownDelay: 1s } }\n";
    let more = ", argocd.argoproj.io/hook-delete-policy: HookSucceeded";
    let web = deployment("1");
    let (before, after) = (argo("before", "PreSync", "", "true"), argo("after", "PostSync", more, "true"));
    let files = [
        ("app.yaml", &*app),
        ("deploy/web.yaml", &*web),
        ("deploy/service.yaml", SERVICE),
        ("deploy/before.yaml", &*before),
        ("deploy/after.yaml", &*after),
    ];
    let Some(installation) = Installation::start(&files) else { return };
    installation.verified(UNIT, "1").await;
    let first = uid(&installation, "job/before");
    installation.push("second", &[("deploy/web.yaml", &deployment("2")), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    let before = installation.namespace.object("job/before");
    assert_ne!(before["metadata"]["uid"], first);
    let all = installation.namespace.get("deployments").unwrap();
    let newest = all["items"].as_array().unwrap().iter().map(|one| time(&one["metadata"]["creationTimestamp"])).max();
    assert!(newest.is_some_and(|newest| newest >= ended(&before)), "{all:#} {before:#}");
    eventually(PATIENCE, "what was to go once it succeeded is gone", || {
        installation.namespace.get("job/after").err().filter(|error| error.contains("NotFound")).ok_or("it is there")
    });
    let all = files.iter().map(|(path, _)| (*path, "")).chain([("release.yaml", "")]);
    installation.push("gone", &all.collect::<Vec<_>>());
    eventually(PATIENCE, "nothing is left", || {
        let left = installation.namespace.must(&["get", "jobs,deployments", "--output", "name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}
