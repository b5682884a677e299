//! Objects that say that they stay when Git drops them, or when their app goes.

use serde_json::{Value, json};
use trimtab::domain::id::Epoch;
use trimtab::domain::observed::Seen;
use trimtab::ports::platform::Platform;

use super::adapter::{Bed, config, request};
use crate::support::{PATIENCE, eventually_async};

fn kept(name: &str, annotation: &str, value: &str) -> Value {
    let mut object = config(name, "1");
    object["metadata"]["annotations"] = json!({ annotation: value });
    object
}

fn left(bed: &Bed) -> Vec<String> {
    let names = bed.must(&["get", "-n", "shop", "configmaps", "-l", "trimtab.dev/unit", "-o", "name"]);
    names.lines().map(|name| name.trim_start_matches("configmap/").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_that_it_stays_is_not_deleted() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let options = "argocd.argoproj.io/sync-options";
    let (helm, flux) = ("helm.sh/resource-policy", "kustomize.toolkit.fluxcd.io/prune");
    let all = [
        config("plain", "1"),
        kept("helm", helm, "keep"),
        kept("flux", flux, "disabled"),
        kept("dropped", options, "Prune=false"),
        kept("removed", options, "Delete=false"),
    ];
    let first = request("web", "1", "shop", json!(all));
    bed.ensure(1, &first).await.unwrap();
    bed.until_right(&first).await;
    let second = request("web", "2", "shop", json!([config("plain", "2"), all[4]]));
    bed.ensure(1, &second).await.unwrap();
    bed.until_right(&second).await;
    assert_eq!(left(&bed), ["dropped", "flux", "helm", "plain", "removed"]);
    // Asked for again, they are the app's as before; dropped again, one of them goes as it no longer says so.
    let third = request("web", "3", "shop", json!([config("helm", "3"), all[2], all[4], all[3]]));
    bed.ensure(1, &third).await.unwrap();
    bed.until_right(&third).await;
    assert_eq!(left(&bed), ["dropped", "flux", "helm", "removed"]);
    bed.platform.retire_group(Epoch(1), &third.desired.unit, &third.group).await.unwrap();
    eventually_async(PATIENCE, "the app is gone", || async {
        match bed.platform.observe(&third.desired.unit).await {
            Seen::Known(groups) if groups.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(left(&bed), ["flux", "removed"]);
}
