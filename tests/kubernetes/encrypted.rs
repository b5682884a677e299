//! An object that SOPS encrypted, from the repository to the cluster.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::cluster::Namespace;
use super::documents::{UNIT, app, environment, release};
use super::installation::Installation;
use crate::e2e::bed::Bed;
use crate::manifest::encrypted;
use crate::secrets::vector;

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_object_is_decrypted_when_it_is_applied_and_nowhere_else() {
    let Some(namespace) = Namespace::new() else { return };
    let mut files = encrypted::files();
    files.push(("env.yaml", environment(namespace.name())));
    files.extend([("app.yaml", app("")), ("release.yaml", release("1"))]);
    let bed = Bed::new(&files.iter().map(|(path, text)| (*path, text.as_str())).collect::<Vec<_>>());
    bed.configure("installation = 'e2e'", &format!("installation = '{}'", namespace.name()));
    let more = format!(
        "[secrets]\nidentity_files = ['{}']\n[kubernetes.clusters.default]\nkubeconfig = '{}'\n[router]",
        vector("x25519.identity").display(),
        namespace.kubeconfig().display()
    );
    bed.configure("[router]", &more);
    let installation = Installation { bed: bed.start(), namespace };
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
    let told = installation.told(&["plan", "-o", "json"]) + &installation.told(&["get", "units", "-o", "json"]);
    assert!(!told.contains("hunter2"), "{told}");
    let mut open = vec![installation.path("")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => open.push(entry.path()),
                kind if kind.is_file() => {
                    // A file may go while this looks.
                    let bytes = std::fs::read(entry.path()).unwrap_or_default();
                    assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"), "{}", entry.path().display());
                }
                _ => {}
            }
        }
    }
}
