//! Restarts and other names, of versions side by side and of what is replaced in place.

use std::collections::BTreeSet;

use serde_json::Value;
use trimtab::api::types::{UnitHealth, UnitStatus};

use super::{alone, app, selected, start, uid, web};
use crate::kubernetes::documents::{UNIT, release};
use crate::kubernetes::installation::Installation;
use crate::support::{PATIENCE, eventually, eventually_async};

const SHOP: &str = "shop/dev/default";
const VERSIONED: &str = "{ blueGreen: { scaleDownDelay: 1s } }";

/// The pods that are not on their way out.
fn pods(installation: &Installation) -> BTreeSet<String> {
    let all = installation.namespace.object("pods");
    let staying = all["items"].as_array().unwrap().iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    staying.map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_replaces_every_pod_of_the_same_version() {
    for strategy in [VERSIONED, "{ rolling: {} }"] {
        let Some(installation) = start(strategy, &web("1")) else { return };
        installation.verified(UNIT, "1").await;
        let (before, first) = (pods(&installation), alone(&installation));
        assert_eq!(before.len(), 2, "{before:?}");
        let told = installation.told(&["restart", "web"]);
        eventually(PATIENCE, &format!("all pods are new ({told})"), || {
            let now = pods(&installation);
            if now.len() == 2 && now.is_disjoint(&before) { Ok(()) } else { Err(format!("{before:?}, {now:?}")) }
        });
        let over = |status: &UnitStatus| {
            status.health == UnitHealth::InSync
                && status.groups.len() == 1
                && status.groups.iter().all(|one| one.version == "1")
        };
        installation.wait(UNIT, "it is over", over).await;
        let now = alone(&installation);
        match strategy {
            VERSIONED => assert!(now != first && now == format!("web-{}", selected(&installation, "web")), "{now}"),
            _ => assert_eq!(now, first),
        }
        assert_eq!(installation.cli(&["plan"]).status.code(), Some(0), "{}", installation.told(&["plan"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_another_name_goes_on_as_it_runs() {
    for strategy in [VERSIONED, "{ rolling: {} }"] {
        let Some(installation) = start(strategy, &web("1")) else { return };
        installation.verified(UNIT, "1").await;
        let name = alone(&installation);
        let (before, identity) = (pods(&installation), uid(&installation, &name));
        let renamed = app(strategy)
            .replace("kind: App\nmetadata: { name: web }", "kind: App\nmetadata: { name: shop, moved: { from: web } }");
        let of_shop = |version: &str| release(version).replace("{ name: web,", "{ name: shop,");
        installation.push("rename", &[("app.yaml", &renamed), ("release.yaml", &of_shop("1"))]);
        installation.verified(SHOP, "1").await;
        eventually_async(PATIENCE, "the old name is gone", async || {
            let units = installation.api().units(&Default::default()).await.map_err(|error| error.to_string())?;
            let names: Vec<_> = units.iter().map(|status| status.unit.to_string()).collect();
            if names == [SHOP] { Ok(()) } else { Err(format!("{names:?}")) }
        })
        .await;
        assert_eq!((pods(&installation), uid(&installation, &alone(&installation))), (before, identity), "{strategy}");
        installation.push("second", &[("deploy/web.yaml", &web("2")), ("release.yaml", &of_shop("2"))]);
        installation.verified(SHOP, "2").await;
        alone(&installation);
        let parents = installation.namespace.object("configmaps");
        let parents = parents["items"].as_array().unwrap().iter();
        let parents: Vec<&Value> =
            parents.filter(|one| !one["metadata"]["labels"]["trimtab.dev/parent"].is_null()).collect();
        assert_eq!(parents.len(), 1, "{parents:#?}");
    }
}
