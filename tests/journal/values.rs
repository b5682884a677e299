//! Values of Secrets that stand in clear in the repository: encrypted in the journal, whole again when they are asked for.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trimtab::app::blobs::{BlobError, Blobs};
use trimtab::domain::desired::DesiredUnit;
use trimtab::ports::journal::Journal;
use trimtab::secrets::local::LocalKey;

use super::open;
use crate::manifest::kubernetes::unit;

const CANARY: &str = "hunter2-in-clear";

fn desired() -> Arc<DesiredUnit> {
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  annotations:\n    \
         kubectl.kubernetes.io/last-applied-configuration: '{{\"stringData\":{{\"a\":\"{CANARY}\"}}}}'\n\
         stringData: {{ a: {CANARY} }}\ndata: {{ b: aHVudGVyMi1pbi1jbGVhcg==, c: ~ }}\n"
    );
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: db }\ndata: { a: b }\n";
    let hook = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: before, annotations: {{ helm.sh/hook: pre-install }} }}\nstringData: {{ a: {CANARY} }}\n"
    );
    Arc::new(unit(
        "path: deploy",
        &[
            ("apps/web/deploy/hook.yaml", &hook),
            ("apps/web/deploy/secret.yaml", &secret),
            ("apps/web/deploy/config.yaml", config),
        ],
    ))
}

fn blobs(journal: &Arc<impl Journal + 'static>, key: &Path) -> Blobs {
    Blobs::new(journal.clone(), LocalKey::new(key.to_owned())).with_grace(Duration::ZERO)
}

fn shows_it(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .any(|text| [CANARY, "aHVudGVyMi1pbi1jbGVhcg"].iter().any(|canary| text.contains(canary)))
}

#[tokio::test]
async fn the_values_of_a_clear_secret_are_kept_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("values.key");
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    let desired = desired();
    let digest = blobs(&journal, &key).put_desired(epoch, &desired).await.unwrap();
    assert!(!shows_it(folder.path()), "a value stands in the journal");

    // Another process finds it whole, and puts it again without a change.
    let later = blobs(&journal, &key);
    assert_eq!(later.desired(&digest).await.unwrap(), desired);
    assert_eq!(blobs(&journal, &key).put_desired(epoch, &desired).await.unwrap(), digest);
    assert_eq!(later.sweep(epoch, &BTreeSet::from([digest.clone()])).await.unwrap(), 0);
    assert_eq!(blobs(&journal, &key).desired(&digest).await.unwrap(), desired);

    // Under another key it is as good as lost, until it is read from Git again.
    let other = folder.path().join("other.key");
    let missing = blobs(&journal, &other).desired(&digest).await.unwrap_err();
    assert!(matches!(missing, BlobError::Missing { .. }), "{missing}");
    blobs(&journal, &other).put_desired(epoch, &desired).await.unwrap();
    assert_eq!(blobs(&journal, &other).desired(&digest).await.unwrap(), desired);
    std::fs::write(&other, "x").unwrap();
    let broken = blobs(&journal, &other).desired(&digest).await.unwrap_err();
    assert!(broken.to_string().contains("64 hexadecimal digits"), "{broken}");

    // What nobody needs goes with its values.
    assert_eq!(later.sweep(epoch, &BTreeSet::new()).await.unwrap(), 3);
    assert!(journal.blobs().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_former_version_stored_in_clear_is_stored_anew() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    let desired = desired();
    let clear = serde_json::to_vec(desired.as_ref()).unwrap();
    journal.put_blob(&desired.digest(), epoch, &clear).await.unwrap();
    let blobs = blobs(&journal, &folder.path().join("values.key"));
    assert_eq!(blobs.desired(&desired.digest()).await.unwrap(), desired);
    let blobs = self::blobs(&journal, &folder.path().join("values.key"));
    let digest = blobs.put_desired(epoch, &desired).await.unwrap();
    let stored = String::from_utf8(journal.blob(&digest).await.unwrap().unwrap()).unwrap();
    assert!(!stored.contains(CANARY) && stored.contains("kept-apart"), "{stored}");
    assert_eq!(self::blobs(&journal, &folder.path().join("values.key")).desired(&digest).await.unwrap(), desired);
}
