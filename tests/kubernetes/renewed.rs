//! Credentials that are not good any more, and are renewed in their file while the daemon runs.

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use trimtab::adapters::platform::kubernetes::{Connection, KubernetesPlatform};
use trimtab::domain::observed::Seen;
use trimtab::ports::platform::Platform;

use super::adapter::{Bed, config, request};
use crate::support::{PATIENCE, eventually_async};

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_renewed_in_their_file_count_without_a_restart() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let wanted = request("web", "1", "shop", json!([config("a", "1")]));
    bed.ensure(1, &wanted).await.unwrap();
    let dir = tempfile::Builder::new().prefix("trimtab-renewed-").tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    let good = fs::read_to_string(bed.control_plane.kubeconfig()).unwrap();
    let token = "token: trimtab-bed-admin";
    let authority = good.split("certificate-authority-data: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let other = rcgen::generate_simple_self_signed(["another".to_owned()]).unwrap().cert.pem();
    for (wrong, word) in [
        (good.replace(token, "token: expired"), "does not accept the daemon's credentials"),
        (good.replace(authority, &BASE64_STANDARD.encode(other)), "certificate"),
    ] {
        assert_ne!(wrong, good);
        fs::write(&file, &wrong).unwrap();
        let connection = Connection { name: "test".into(), kubeconfig: Some(file.clone()), ..Connection::default() };
        let platform = KubernetesPlatform::new(connection, "test");
        eventually_async(PATIENCE, "it is told what is wrong", || async {
            match platform.observe(&wanted.desired.unit).await {
                Seen::Unknown(reason) if reason.contains(word) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        fs::write(&file, &good).unwrap();
        eventually_async(PATIENCE, "the unit is seen", || async {
            match platform.observe(&wanted.desired.unit).await {
                Seen::Known(groups) if groups.len() == 1 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}
