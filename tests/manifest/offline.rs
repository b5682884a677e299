//! The verbs that need no daemon, as programs and people meet them.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::trimtab;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/repo");

fn run(dir: &Path, args: &[&str]) -> Output {
    trimtab().current_dir(dir).args(args).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn write(dir: &Path, path: &str, content: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[test]
fn validate_tells_all_and_ends_with_two() {
    let dir = tempfile::tempdir().unwrap();
    let out = run(Path::new(EXAMPLE), &["validate"]);
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(0), "valid: 13 documents, 8 units\n"));
    write(dir.path(), "a.yaml", "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec: { rum: x }\n");
    write(dir.path(), "sub/b.yml", "apiVersion: trimtab/v1\nkind: Scirpt\n");
    let out = run(dir.path(), &["validate"]);
    let shown = text(&out.stdout);
    assert_eq!(out.status.code(), Some(2), "{shown}");
    for part in ["--> a.yaml:4:9", "did you mean `run`?", "--> sub/b.yml:2:7", "invalid: 3 problems in 2 files"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let out = run(Path::new("/"), &["validate", "-o", "json", dir.path().to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (out.status.code(), &json["valid"], &json["problems"][0]["layer"]),
        (Some(2), &false.into(), &"schema".into())
    );
    assert_eq!(run(dir.path(), &["validate", "nowhere"]).status.code(), Some(3));
}

#[test]
fn links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    write(dir.path(), "a.yaml", "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec: { run: x }\n");
    // Inside, as in Git: a document that is there twice would be an error.
    link("../a.yaml", "sub/again.yaml");
    link("sub", "folder");
    let out = run(dir.path(), &["validate"]);
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(0), "valid: 1 document, 0 units\n"));
    for (target, name) in [("/etc/passwd", "link.yaml"), ("..", "up"), ("../../a.yaml", "sub/out.yaml")] {
        link(target, name);
        let out = run(dir.path(), &["validate"]);
        let shown = text(&out.stdout);
        assert!(
            out.status.code() == Some(2) && shown.contains(&format!("security: symbolic link to `{target}`")),
            "{shown}"
        );
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
}

#[test]
fn init_begins_a_repository_and_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "trimtab.toml", "mine");
    let out = run(dir.path(), &["init", "--name", "shop"]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(std::fs::read_to_string(dir.path().join("trimtab.toml")).unwrap(), "mine");
    assert!(run(dir.path(), &["validate"]).status.success());
    let out = run(dir.path(), &["render", "shop", "-e", "dev", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json[0]["desired"]["route"]["listen"], "127.0.0.1:8080");
}

#[test]
fn folders_get_the_names_that_git_gives_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    run(at, &["init"]);
    write(at, "apps/hello/lib/deep/x", "x\r\n");
    write(at, "apps/hello/lib.d", "sorts before lib/");
    write(at, "apps/hello/ignored.log", "not committed");
    write(at, ".gitignore", "*.log\n");
    std::fs::create_dir(at.join("apps/hello/empty")).unwrap();
    std::os::unix::fs::symlink("lib.d", at.join("apps/hello/link")).unwrap();
    let git = |args: &[&str]| {
        let out = Command::new("git")
            .current_dir(at)
            .args(["-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "core.autocrlf=false"])
            .args(args)
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        text(&out.stdout).trim().to_owned()
    };
    git(&["init", "-q", "."]);
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "x"]);
    let out = run(at, &["render", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let found = &json[0]["desired"]["workload"]["process"]["artifact"]["tree"]["oid"];
    assert_eq!(found, git(&["rev-parse", "HEAD:apps/hello"]).as_str());
}

#[test]
fn explain_names_every_source() {
    let out = run(Path::new(EXAMPLE), &["render", "hello", "-e", "production", "--target", "second", "--explain"]);
    assert!(out.status.success());
    insta::assert_snapshot!(text(&out.stdout));
}

#[test]
fn render_says_what_there_is_when_nothing_fits() {
    let out = run(Path::new(EXAMPLE), &["render", "hullo"]);
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains("hello -e staging"), "{}", text(&out.stderr));
}
