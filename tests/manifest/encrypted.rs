//! Objects that SOPS encrypted, and values by age in a Secret: rendered as references, never in clear.

use std::path::Path;

use trimtab::secrets::digest::DigestKey;
use trimtab::secrets::identity::Identities;
use trimtab::secrets::seal::seal;
use trimtab::secrets::{SecretBytes, find};

use super::tools::{path_with, repository};
use crate::secrets::vector;
use crate::support::trimtab;

fn identities() -> Identities {
    find::from_file(&vector("x25519.identity")).unwrap()
}

fn armored(value: &SecretBytes) -> String {
    let recipient = identities().iter().next().unwrap().recipient().unwrap();
    String::from_utf8(seal(value, &[recipient], true).unwrap()).unwrap()
}

/// A file that age encrypted as a whole.
const WHOLE: &str = "deploy/whole.yaml.age";

const OBJECTS: &str = "apiVersion: v1\nkind: Secret\nmetadata: { name: whole, labels: { tier: back } }\ndata: { token: aHVudGVyMi13aG9sZQ== }\n---\n\
                       apiVersion: v1\nkind: ConfigMap\nmetadata: { name: urls }\ndata: { url: https://swordfish }\n";

/// The files of a folder with an object that SOPS 3.13.3 encrypted, a Secret with a value by age, and the key for digests.
pub fn files() -> Vec<(&'static str, String)> {
    let age: String = armored(&"hunter2-age".into()).lines().map(|line| format!("    {line}\n")).collect();
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: plain }}\ndata:\n  key: |\n{age}");
    vec![
        ("deploy/db.yaml", std::fs::read_to_string(vector("object.yaml")).unwrap()),
        ("deploy/plain.yaml", secret),
        (WHOLE, armored(&OBJECTS.into())),
        (".trimtab/digest-key.age", armored(&DigestKey::generate().to_text())),
    ]
}

fn render(dir: &Path, args: &[&str], path: &str) -> (Option<i32>, String) {
    let identity = std::fs::read_to_string(vector("x25519.identity")).unwrap();
    let mut command = trimtab();
    command.current_dir(dir).args(args).env("NO_COLOR", "1").env("TRIMTAB_IDENTITY", identity).env("PATH", path);
    let out = command.output().unwrap();
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    for clear in ["hunter2", "swordfish", "aHVudGVy", "ENC["] {
        assert!(!text.contains(clear), "{text}");
    }
    (out.status.code(), text)
}

fn written(files: &[(&'static str, String)], source: &str) -> tempfile::TempDir {
    repository(source, &files.iter().map(|(path, text)| (*path, text.as_str())).collect::<Vec<_>>())
}

#[test]
fn an_encrypted_object_is_rendered_as_references() {
    let dir = written(&files(), "path: deploy");
    let path = std::env::var("PATH").unwrap();
    let (code, told) = render(dir.path(), &["render"], &path);
    assert_eq!(code, Some(0), "{told}");
    for part in [
        "trimtab.dev/secret-text: \"deploy/db.yaml#data.token",
        "trimtab.dev/secret-text: \"deploy/db.yaml#stringData.config.yaml",
        "trimtab.dev/secret: \"deploy/plain.yaml#data.key",
        "trimtab.dev/secret-text: \"deploy/whole.yaml.age#0.data.token",
        "trimtab.dev/secret-text: \"deploy/whole.yaml.age#1.data.url",
        "tier: back",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("sops"), "{told}");
    let (code, told) = render(dir.path(), &["render", "-o", "json"], &path);
    assert!(code == Some(0) && told.matches("\"digest\": \"s1:").count() == 6, "{told}");

    // What was changed without SOPS is noticed before anything is applied.
    let mut changed = files();
    changed[0].1 = changed[0].1.replace("type: Opaque", "type: example.com/other");
    let (code, told) = render(written(&changed, "path: deploy").path(), &["validate"], &path);
    assert!(code == Some(2) && told.contains("MAC does not match"), "{told}");
}

#[test]
fn a_kustomization_may_name_an_encrypted_object() {
    let Some(path) = path_with("kustomize") else { return eprintln!("there is no kustomize here") };
    let mut all = files();
    all.push(("deploy/kustomization.yaml", "namePrefix: eu-\nresources: [db.yaml]\n".to_owned()));
    let (code, told) = render(written(&all, "path: deploy").path(), &["render"], &path);
    assert!(code == Some(0) && told.contains("name: eu-db"), "{told}");
    assert!(told.contains("trimtab.dev/secret-text: \"deploy/db.yaml#stringData.user"), "{told}");
    let patch = "namePrefix: eu-\nresources: [whole.yaml.age]\npatches:\n  - patch: '{ apiVersion: v1, kind: Secret, metadata: { name: whole }, stringData: { more: clear } }'\n";
    all.last_mut().unwrap().1 = patch.to_owned();
    let (code, told) = render(written(&all, "path: deploy").path(), &["render"], &path);
    assert!(code == Some(0) && told.contains("name: eu-whole") && told.contains("more:"), "{told}");
    assert!(told.contains("trimtab.dev/secret-text: \"deploy/whole.yaml.age#0.data.token"), "{told}");
    // A Secret or ConfigMap that is made of an encrypted file would hold what nobody can use.
    for (text, word) in [
        ("secretGenerator: [{ name: made, files: [db.yaml] }]\n", "ciphertext"),
        ("secretGenerator: [{ name: made, files: [whole.yaml.age] }]\n", "ciphertext"),
        ("configMapGenerator: [{ name: made, files: [whole.yaml.age] }]\n", "left of an encrypted file"),
    ] {
        all.last_mut().unwrap().1 = text.to_owned();
        let (code, told) = render(written(&all, "path: deploy").path(), &["validate"], &path);
        assert!(code == Some(2) && told.contains(word), "{told}");
    }
}

#[test]
fn what_looks_like_an_encrypted_object_is_never_passed_over() {
    let path = std::env::var("PATH").unwrap();
    let validate = |file: &'static str, text: String| {
        let mut all = files();
        all.retain(|(path, _)| *path != WHOLE);
        all.push((file, text));
        render(written(&all, "path: deploy").path(), &["validate"], &path)
    };
    let sealed = |text: &str| armored(&text.into());
    let sops = || std::fs::read_to_string(vector("object.yaml")).unwrap();
    let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: hunter2 }\n";
    for (file, text, word) in [
        ("deploy/a.yaml.age", sealed(other), "something else than Secrets and ConfigMaps"),
        ("deploy/a.yaml.age", sealed("password: hunter2\n"), "something else than Secrets and ConfigMaps"),
        ("deploy/a.json.age", "{}".to_owned(), "age did not encrypt this file"),
        ("deploy/a.yaml", sealed(OBJECTS), "its name does not say so"),
        ("deploy/a.age", sealed(OBJECTS), "its name does not say so"),
        ("deploy/a.yaml.gpg", "x".to_owned(), "looks like an encrypted object"),
        ("deploy/a.yaml.enc", sealed(OBJECTS), "looks like an encrypted object"),
        ("deploy/a.sops", sops(), "looks like an encrypted object"),
    ] {
        let (code, told) = validate(file, text);
        assert!(code == Some(2) && told.contains(word) && told.contains(file), "{file}: {told}");
    }
    // Values that Apps name lie where they like.
    for (file, text) in [("deploy/token.age", "hunter2"), ("deploy/README.md", "about a.yaml.enc")] {
        let (code, told) = validate(file, if file.ends_with(".age") { sealed(text) } else { text.to_owned() });
        assert_eq!(code, Some(0), "{told}");
    }
    // Who can't read it can't know what it holds, and says so.
    let dir = written(&files(), "path: deploy");
    let mut command = trimtab();
    let out = command.current_dir(dir.path()).arg("validate").env("NO_COLOR", "1").output().unwrap();
    let told = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
    assert!(out.status.code() == Some(2) && told.contains(WHOLE) && told.contains("can't be known"), "{told}");
}

/// A file of three documents that SOPS 3.13.3 encrypted.
const DOCUMENTS: &str = "deploy/all.yaml";

#[test]
fn the_documents_of_an_encrypted_file_are_objects_each() {
    let mut all = files();
    all.retain(|(path, _)| !path.starts_with("deploy/"));
    all.push((DOCUMENTS, std::fs::read_to_string(vector("documents.yaml")).unwrap()));
    let path = std::env::var("PATH").unwrap();
    let references = |told: &str, digests: usize| {
        for part in [
            "all.yaml#0.stringData.token",
            "all.yaml#1.data.level",
            "all.yaml#2.data.token",
            "all.yaml#2.stringData.user",
        ] {
            assert!(told.contains(&format!("deploy/{part}")), "{part}: {told}");
        }
        assert_eq!(told.matches("\"digest\": \"s1:").count(), digests, "{told}");
    };
    let (code, told) = render(written(&all, "path: deploy").path(), &["render", "-o", "json"], &path);
    assert_eq!(code, Some(0), "{told}");
    references(&told, 4);
    if let Some(path) = path_with("kustomize") {
        // A tool gives them in another order, and each is found again.
        let mut built = all.clone();
        built.push(("deploy/kustomization.yaml", "namePrefix: eu-\nresources: [all.yaml]\n".to_owned()));
        let (code, told) = render(written(&built, "path: deploy").path(), &["render", "-o", "json"], &path);
        assert_eq!(code, Some(0), "{told}");
        references(&told, 4);
    }
    // One MAC holds for all of them.
    let mut changed = all.clone();
    changed[1].1 = changed[1].1.replace("name: between", "name: behind");
    let (code, told) = render(written(&changed, "path: deploy").path(), &["validate"], &path);
    assert!(code == Some(2) && told.contains("MAC does not match"), "{told}");
}
