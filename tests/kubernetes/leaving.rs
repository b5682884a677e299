//! Objects that are told to go and do not, since somebody holds on to them: told, and waited for by nothing that need not.

use serde_json::{Value, json};
use trimtab::domain::id::Epoch;
use trimtab::domain::observed::{ObservedGroup, ObservedUnit, Seen};
use trimtab::ports::platform::{EnsureGroup, Platform};

use super::adapter::{Bed, config, request};
use crate::support::{PATIENCE, eventually_async};

const HOLD: &str = "example.com/hold";

/// A ConfigMap that somebody holds on to.
fn held(name: &str) -> Value {
    let mut object = config(name, "1");
    object["metadata"]["finalizers"] = json!([HOLD]);
    object
}

fn in_wave(mut object: Value, wave: &str) -> Value {
    object["metadata"]["annotations"] = json!({ "argocd.argoproj.io/sync-wave": wave });
    object
}

fn let_go(bed: &Bed, name: &str) {
    let none = r#"{"metadata":{"finalizers":null}}"#;
    bed.must(&["patch", "-n", "shop", &format!("configmap/{name}"), "--type=merge", "-p", none]);
}

/// What a unit's only group tells of what it dropped.
async fn dropped(bed: &Bed, request: &EnsureGroup) -> Vec<(String, String)> {
    let group = bed.until_right(request).await;
    let observed = ObservedUnit {
        groups: Seen::Known(vec![group]),
        traffic: Seen::Known(None),
        preview: Seen::Known(None),
        runs: std::collections::BTreeMap::new(),
    };
    observed.dropped().map(|one| (one.id.clone(), one.message.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_git_drops_and_somebody_holds_is_told_until_it_is_gone() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let first = request("web", "1", "shop", json!([config("one", "1"), held("kept"), config("plain", "1")]));
    bed.ensure(1, &first).await.unwrap();
    bed.until_right(&first).await;

    let second = request("web", "2", "shop", json!([config("one", "2")]));
    bed.ensure(1, &second).await.unwrap();
    let told = dropped(&bed, &second).await;
    assert_eq!(told.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["ConfigMap/kept"]);
    let message = &told[0].1;
    assert!(
        message.starts_with("being deleted since 2") && message.contains("finalizer example.com/hold"),
        "{message}"
    );

    // It holds up no later version, and who knows nothing of it sees it too.
    let third = request("web", "3", "shop", json!([config("one", "3")]));
    bed.ensure(1, &third).await.unwrap();
    assert_eq!(dropped(&bed, &third).await.len(), 1);
    let another = bed.another();
    eventually_async(PATIENCE, "another adapter tells of it", || async {
        match another.observe(&third.desired.unit).await {
            Seen::Known(groups) if groups.iter().any(|group| group.leaving.len() == 1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    // Asked for again it can't be made before it is gone, and tells what to do.
    let again = request("web", "4", "shop", json!([config("one", "3"), held("kept")]));
    let refused = bed.ensure(1, &again).await.unwrap_err().to_string();
    assert!(
        refused.contains("ConfigMap/kept: the one that is there has to go first: being deleted since"),
        "{refused}"
    );
    let group = bed.until(&again, "what can be done is told", |group| group.leaving.len() == 1).await;
    let remedy = group.leaving[0].remedy.clone().unwrap_or_default();
    assert!(remedy.contains("kubectl patch configmap kept -n shop --type merge"), "{remedy}");
    let gone = |group: &ObservedGroup| group.leaving.is_empty();
    let_go(&bed, "kept");
    bed.until(&again, "it is gone", gone).await;
    bed.ensure(1, &again).await.unwrap();
    bed.until_right(&again).await;
    let_go(&bed, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_a_lower_wave_waits_for_it_and_nothing_else_does() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let all = json!([config("one", "1"), in_wave(held("late"), "2"), in_wave(config("early", "1"), "1")]);
    let first = request("web", "1", "shop", all);
    bed.ensure(1, &first).await.unwrap();
    bed.until_right(&first).await;
    // Somebody has told it to go already: nothing has to be waited for to see that it does not.
    bed.must(&["delete", "-n", "shop", "configmap/late", "--wait=false"]);
    bed.until(&first, "its deletion is seen", |group| group.leaving.len() == 1).await;
    let second = request("web", "2", "shop", json!([config("one", "2")]));
    bed.ensure(1, &second).await.unwrap();
    assert_eq!(dropped(&bed, &second).await.len(), 1);
    bed.must(&["get", "-n", "shop", "configmap/early"]);
    let_go(&bed, "late");
    bed.until(&second, "the lower wave is due", |group| group.replicas == 0 && group.leaving.is_empty()).await;
    bed.ensure(1, &second).await.unwrap();
    bed.until_right(&second).await;
    eventually_async(PATIENCE, "the lower wave is gone", || async {
        bed.kubectl(&["get", "-n", "shop", "configmap/early"], &Value::Null).map_or(Ok(()), Err)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_whose_removal_is_held_up_tells_by_what() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let first = request("web", "1", "shop", json!([config("one", "1"), held("kept")]));
    bed.ensure(1, &first).await.unwrap();
    bed.until_right(&first).await;
    bed.platform.retire_group(Epoch(1), &first.desired.unit, &first.group).await.unwrap();
    let group = bed.until(&first, "the removal waits", |group| group.leaving.len() == 1).await;
    assert!(group.leaving[0].remedy.as_ref().is_some_and(|remedy| remedy.contains(HOLD)), "{group:?}");
    assert!(
        group.instances.iter().any(|one| one.message.as_ref().is_some_and(|told| told.contains(HOLD))),
        "{group:?}"
    );
    let_go(&bed, "kept");
    eventually_async(PATIENCE, "the app is gone", || async {
        match bed.platform.observe(&first.desired.unit).await {
            Seen::Known(groups) if groups.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
