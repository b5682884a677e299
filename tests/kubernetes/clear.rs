//! A Secret that stands in clear in the repository: on the cluster, and nowhere in clear in what trimtab writes down.

use super::documents::{UNIT, release};
use super::installation::Installation;

const CANARIES: [&str; 2] = ["canary-in-clear", "Y2FuYXJ5LWluLWNsZWFy"];

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_clear_stands_in_the_state_and_in_a_backup_encrypted() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: db }\nstringData: { token: canary-in-clear }\n\
                  data: { user: Y2FuYXJ5LWluLWNsZWFy }\n";
    let Some(installation) = Installation::start(&[("deploy/db.yaml", secret)]) else { return };
    installation.verified(UNIT, "1").await;
    // Another version of it, so that a plan has both.
    let next = secret.replace("token: canary-in-clear", "token: canary-in-clear-2");
    installation.push("next", &[("deploy/db.yaml", &next), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    let object = installation.namespace.object("secret/db");
    assert_eq!(object["data"]["user"], "Y2FuYXJ5LWluLWNsZWFy");
    let backup = installation.cli(&["backup", "backup.tar", "--config", "trimtab.toml"]);
    assert!(backup.status.success(), "{backup:?}");
    let (mut open, mut seen) = (vec![installation.path("state"), installation.path("backup.tar")], 0);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        // A file may go while this looks.
        let Ok(bytes) = std::fs::read(&path) else { continue };
        seen += usize::from(String::from_utf8_lossy(&bytes).contains("trimtab.dev/kept-apart"));
        let found = CANARIES.iter().any(|canary| bytes.windows(canary.len()).any(|part| part == canary.as_bytes()));
        assert!(!found, "{}", path.display());
    }
    assert!(seen >= 2, "journal and backup hold the rest of it");
}
