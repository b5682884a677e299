//! Manifests as they are found in the field: what is written in them means what it means to kubectl, or is refused with a word. Each file in
//! `field/` holds traps of one kind, made for this test.

use std::path::Path;

use serde_json::Value;
use trimtab::app::objects::read_plain;
use trimtab::domain::objects::{Files, Found, Origins};

use super::tools::repository;
use crate::support::trimtab;

/// The files below a folder, in the order of their names.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifest/field").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (format!("deploy/{}", entry.file_name().to_str().unwrap()), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = trimtab().current_dir(dir).args(args).env("NO_COLOR", "1").output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn written(files: &[(String, Vec<u8>)]) -> tempfile::TempDir {
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, bytes)| (path.as_str(), std::str::from_utf8(bytes).unwrap())).collect();
    repository("path: deploy", &files)
}

#[test]
fn what_is_found_in_the_field_is_read_as_kubectl_reads_it() {
    let mut all = files("taken");
    // As Windows writes it, with a mark before it; no editor keeps these in a file.
    let windows = "\u{feff}apiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: windows\r\ndata:\r\n  a: |\r\n    one\r\n    two\r\n";
    all.push(("deploy/windows.yaml".to_owned(), windows.as_bytes().to_vec()));
    let dir = written(&all);
    let (code, told) = run(dir.path(), &["render"]);
    assert_eq!(code, Some(0), "{told}");
    insta::assert_snapshot!(told.split_once('\n').unwrap().1);

    // What is printed means the same again.
    let (_, json) = run(dir.path(), &["render", "-o", "json"]);
    let shown: Value = serde_json::from_str(&json).unwrap();
    let asked = shown[0]["desired"]["workload"]["kubernetes"]["objects"].as_array().unwrap();
    let printed = vec![("told.yaml".to_owned(), told.into_bytes())];
    let Found::Objects(again, _) = read_plain(Files { files: printed, refused: Vec::new() }, Origins::new()) else {
        panic!("what is printed can't be read");
    };
    let again: Vec<Value> = again.iter().map(|written| Value::Object(written.object.fields().clone())).collect();
    assert_eq!(again, *asked);
}

#[test]
fn what_no_cluster_would_take_is_told_with_its_place() {
    let mut out = String::new();
    for file in files("refused") {
        let (code, told) = run(written(std::slice::from_ref(&file)).path(), &["validate"]);
        assert_eq!(code, Some(2), "{}: {told}", file.0);
        out += &format!("== {}\n{told}\n", file.0);
    }
    insta::assert_snapshot!(out);
}

#[test]
fn another_kind_of_folder_below_plain_objects_is_named() {
    for (path, word) in [
        ("deploy/Chart.yaml", "write `helm: { chart: /deploy }` in place of `path`"),
        ("deploy/web/Chart.yaml", "write `helm: { chart: /deploy/web }` in place of `path`"),
        ("deploy/eu/kustomization.yaml", "write `path: /deploy/eu`"),
    ] {
        let dir = repository("path: deploy", &[(path, "name: web\n"), ("deploy/a.yaml", "{{ not: yaml")]);
        let (code, told) = run(dir.path(), &["validate"]);
        assert!(code == Some(2) && told.contains(word), "{path}: {told}");
    }
}
