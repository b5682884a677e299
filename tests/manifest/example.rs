//! The example repository: valid, and rendered as its golden text says.

use std::path::Path;

use trimtab::domain::manifest::{DocumentSet, is_manifest_path};
use trimtab::domain::render::render;

/// The documents of the example repository, by path.
pub fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/repo");
    let mut files = Vec::new();
    walk(&root, &root, &mut files);
    files.sort();
    files
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let shown = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            walk(root, &path, files);
        } else if is_manifest_path(&shown) {
            files.push((shown, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn it_renders_as_told() {
    let documents = DocumentSet::from(files());
    assert_eq!(documents.problems(), []);
    let artifacts = documents.artifact_paths();
    assert_eq!(artifacts.iter().map(String::as_str).collect::<Vec<_>>(), ["apps/hello", "apps/notes"]);
    // The content of the apps has no place in this test: each folder gets a name of its own.
    let units = render(&documents, &|path| {
        let index = artifacts.iter().position(|artifact| artifact == path)?;
        Some(format!("{index}").repeat(40))
    });
    let units: Vec<_> = units.iter().map(|unit| unit.outcome.as_ref().unwrap()).collect();
    let shown: Vec<_> = units.iter().map(|unit| (unit.digest(), unit.as_ref())).collect();
    insta::assert_json_snapshot!(shown);
}

#[test]
fn production_has_two_waves() {
    let documents = DocumentSet::from(files());
    let units = render(&documents, &|_| Some("0".repeat(40)));
    let mut waves: Vec<_> = units
        .iter()
        .filter_map(|unit| unit.outcome.as_ref().ok())
        .filter(|unit| unit.unit.environment.as_str() == "production")
        .map(|unit| (unit.unit.app.as_str(), unit.unit.target.as_str(), unit.wave))
        .collect();
    waves.sort_unstable();
    assert_eq!(waves, [("hello", "first", 1), ("hello", "second", 2), ("notes", "first", 1), ("notes", "second", 2)]);
}

/// Objects need no cluster to be looked at.
#[cfg(feature = "kubernetes")]
#[test]
fn the_objects_are_valid_and_each_tells_its_file() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes");
    let run = |args: &[&str]| {
        let out = crate::support::trimtab().args(args).arg("--dir").arg(&dir).env("NO_COLOR", "1").output().unwrap();
        let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(out.status.success(), "{args:?}: {text}");
        text
    };
    let objects = run(&["render", "web"]);
    assert!(objects.contains("registry.example/web:1.4.2") && objects.contains("name: settings-"), "{objects}");
    assert!(objects.contains("# hook: Job migrate runs at Sync, wave 0"), "{objects}");
    let explained = run(&["render", "web", "--explain", "-o", "json"]);
    let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
    let fields = explained[0]["explained"].as_array().unwrap();
    let place =
        |path: &str| fields.iter().find(|field| field["path"] == path).and_then(|field| field["place"].as_str());
    assert_eq!(place("objects.Service shop/web"), Some("deploy/web.yaml:17"), "{fields:#?}");
    let canary = run(&["render", "api"]);
    assert!(canary.contains("registry.example/api:2.0.1") && canary.contains("kind: HTTPRoute"), "{canary}");
    let out = crate::support::trimtab().arg("validate").arg(&dir).env("NO_COLOR", "1").output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
