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

/// The files of a folder with an object that SOPS 3.13.3 encrypted, a Secret with a value by age, and the key for digests.
pub fn files() -> Vec<(&'static str, String)> {
    let age: String = armored(&"hunter2-age".into()).lines().map(|line| format!("    {line}\n")).collect();
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: plain }}\ndata:\n  key: |\n{age}");
    vec![
        ("deploy/db.yaml", std::fs::read_to_string(vector("object.yaml")).unwrap()),
        ("deploy/plain.yaml", secret),
        (".trimtab/digest-key.age", armored(&DigestKey::generate().to_text())),
    ]
}

fn render(dir: &Path, args: &[&str], path: &str) -> (Option<i32>, String) {
    let identity = std::fs::read_to_string(vector("x25519.identity")).unwrap();
    let mut command = trimtab();
    command.current_dir(dir).args(args).env("NO_COLOR", "1").env("TRIMTAB_IDENTITY", identity).env("PATH", path);
    let out = command.output().unwrap();
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(!text.contains("hunter2") && !text.contains("aHVudGVy") && !text.contains("ENC["), "{text}");
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
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("sops"), "{told}");
    let (code, told) = render(dir.path(), &["render", "-o", "json"], &path);
    assert!(code == Some(0) && told.matches("\"digest\": \"s1:").count() == 4, "{told}");

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
    // A Secret that is made of an encrypted file would hold its ciphertext.
    let text = "secretGenerator: [{ name: made, files: [db.yaml] }]\n";
    all.last_mut().unwrap().1 = text.to_owned();
    let (code, told) = render(written(&all, "path: deploy").path(), &["validate"], &path);
    assert!(code == Some(2) && told.contains("ciphertext"), "{told}");
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
