//! The chart: installed on the cluster from an image built on the spot, in a namespace that permits nothing beyond the restricted
//! standard; it follows a repository there.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::cluster::Namespace;
use super::documents;
use crate::e2e::bed::git;
use crate::support::{PATIENCE, TRIMTAB, eventually};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes the image and gives it to the node.
fn import_image(namespace: &Namespace, dir: &Path) {
    let archive = dir.join("image.tar");
    run(Command::new(format!("{ROOT}/tests/kubernetes/own-image")).args([TRIMTAB.as_ref(), archive.as_os_str()]));
    let socket = namespace.kubeconfig().with_file_name("containerd.sock");
    run(Command::new("ctr")
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "images", "import"])
        .arg(&archive));
    std::fs::remove_file(archive).unwrap();
}

/// A volume of a folder on the node, and a claim of it.
fn volume(namespace: &Namespace, folder: &Path) {
    let name = namespace.name();
    let volume = format!(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{ name: {name} }}\nspec:\n  capacity: {{ storage: 1Gi }}\n  accessModes: [ReadWriteOnce]\n  \
         storageClassName: {name}\n  hostPath: {{ path: {} }}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{ name: state }}\nspec:\n  \
         accessModes: [ReadWriteOnce]\n  storageClassName: {name}\n  resources: {{ requests: {{ storage: 1Gi }} }}\n",
        folder.display()
    );
    namespace.pipe(&["apply", "--filename", "-"], &volume).unwrap();
}

/// A bare repository that asks for one ConfigMap in the namespace.
fn repository(namespace: &Namespace, folder: &Path) {
    git(folder, &["init", "-q", "--bare", "-b", "main", "config.git"]);
    git(folder, &["clone", "-q", "config.git", "clone"]);
    let clone = folder.join("clone");
    std::fs::create_dir(clone.join("deploy")).unwrap();
    let files = [
        ("env.yaml", documents::environment(namespace.name())),
        ("app.yaml", documents::app("")),
        ("release.yaml", documents::release("1")),
        ("deploy/settings.yaml", documents::config("settings", "one")),
    ];
    for (path, text) in files {
        std::fs::write(clone.join(path), text).unwrap();
    }
    git(&clone, &["add", "-A"]);
    git(&clone, &["-c", "user.name=Tester", "-c", "user.email=tester@example.org", "commit", "-q", "-m", "first"]);
    git(&clone, &["push", "-q", "origin", "HEAD:main"]);
    run(Command::new("chown").args(["-R", "10001:10001"]).arg(folder));
}

#[test]
fn an_installed_chart_follows_a_repository() {
    let Some(namespace) = Namespace::new() else { return };
    let dir = tempfile::Builder::new().prefix("trimtab-chart-").tempdir().unwrap();
    import_image(&namespace, dir.path());
    namespace.must(&["label", "namespace", namespace.name(), "pod-security.kubernetes.io/enforce=restricted"]);
    repository(&namespace, dir.path());
    volume(&namespace, dir.path());

    let helm = |arguments: &[&str]| {
        let mut command = Command::new("helm");
        command.arg("--kubeconfig").arg(namespace.kubeconfig()).args(["--namespace", namespace.name()]).args(arguments);
        command
    };
    let chart = format!("{ROOT}/charts/trimtab");
    let installation = format!("installation={}", namespace.name());
    let settings = ["image.repository=trimtab.test/trimtab", "image.tag=built", "persistence.existingClaim=state"];
    let source = ["source.url=/var/lib/trimtab/config.git", "source.poll=1s", &installation];
    let mut arguments = vec!["install", "trimtab", &chart];
    arguments.extend(settings.iter().chain(&source).flat_map(|setting| ["--set", setting]));
    run(&mut helm(&arguments));

    eventually(PATIENCE, "what the repository asks for is there", || {
        let logs = || namespace.kubectl(&["logs", "deployment/trimtab", "--tail", "20"]);
        namespace.get("configmap/settings").map_err(|error| format!("{error}\n{}\n{:?}", namespace.state(), logs()))
    });
    namespace.must(&["rollout", "status", "deployment/trimtab", "--timeout", "60s"]);
    let status = ["exec", "deployment/trimtab", "--", "trimtab", "status"];
    eventually(PATIENCE, "it is in sync", || {
        let told = namespace.kubectl(&status)?;
        if told.contains("in sync") { Ok(()) } else { Err(told) }
    });
    run(&mut helm(&["uninstall", "trimtab", "--wait"]));
    namespace.object("configmap/settings");
    namespace.must(&["delete", "persistentvolume", namespace.name(), "--wait=false"]);
}

#[test]
fn the_chart_has_no_fault_and_refuses_what_it_does_not_know() {
    let Ok(helm) = which("helm") else { return };
    let set = ["--set", "image.repository=a.example/trimtab", "--set", "source.url=https://git.example.org/config.git"];
    let chart = format!("{ROOT}/charts/trimtab");
    run(Command::new(&helm).args(["lint", "--strict", &chart]).args(set));
    let unknown =
        Command::new(&helm).args(["lint", "--strict", &chart, "--set", "sourze.url=x"]).args(set).output().unwrap();
    assert!(!unknown.status.success(), "{}", String::from_utf8_lossy(&unknown.stdout));
    let cut =
        run(Command::new(&helm).args(["template", "trimtab", &chart, "--set", "rbac.namespaces={shop}"]).args(set));
    assert!(cut.contains("kind: Role\n") && cut.contains("namespaces = [\"shop\"]"), "{cut}");
    assert!(!cut.contains("ClusterRole") && !cut.contains("impersonate"), "{cut}");
}

#[test]
fn a_service_monitor_finds_the_service_and_its_token() {
    let Ok(helm) = which("helm") else { return };
    let chart = format!("{ROOT}/charts/trimtab");
    let rendered = |more: &[&str]| {
        let mut command = Command::new(&helm);
        command.args([
            "template",
            "trimtab",
            &chart,
            "--namespace",
            "ops",
            "--set",
            "image.repository=a.example/trimtab",
        ]);
        command.args([
            "--set",
            "source.url=https://git.example.org/config.git",
            "--set",
            "serviceMonitor.enabled=true",
        ]);
        command.args(more).output().unwrap()
    };
    let refused = rendered(&[]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("serviceMonitor.token.name"), "{words}");
    let output = rendered(&["--set", "serviceMonitor.token.name=metrics", "--set", "serviceMonitor.interval=15s"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let all: Vec<Value> = text.split("\n---\n").filter_map(|part| serde_saphyr::from_str(part).ok()).collect();
    let of = |kind: &str| {
        all.iter().find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {text}")).clone()
    };
    let (monitor, service, deployment) = (of("ServiceMonitor"), of("Service"), of("Deployment"));
    assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
    let labels = &service["metadata"]["labels"];
    assert!(!wanted.is_empty() && wanted.iter().all(|(name, value)| labels[name] == *value), "{wanted:?} and {labels}");
    let endpoint = &monitor["spec"]["endpoints"][0];
    let ports = service["spec"]["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["name"] == endpoint["port"]).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["ports"][0]["name"], port["targetPort"], "{container}");
    assert_eq!((endpoint["path"].as_str(), endpoint["interval"].as_str()), (Some("/metrics"), Some("15s")));
    assert_eq!(endpoint["authorization"]["credentials"], json!({ "name": "metrics", "key": "token" }));
}

/// Where a program is; that it is nowhere is said.
fn which(program: &str) -> Result<std::path::PathBuf, ()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists());
    found.ok_or_else(|| eprintln!("skipped: no {program} (tests/run builds it)"))
}
