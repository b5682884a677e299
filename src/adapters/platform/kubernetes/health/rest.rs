//! What rests because its manifest says so.

use serde_json::Value;

use super::{Health, counted, group, text};

/// By what its manifest says that an object shall rest: `spec.suspend` of a CronJob, a Job and the kinds that follow them, `spec.paused`
/// and its like of those that have it, and what others ask for by an annotation. A unit whose manifest says so is well with that.
pub fn rests(object: &Value) -> bool {
    let (group, kind) = (group(object), text(object, "/kind").unwrap_or_default());
    told(&group, kind, object).is_some() || is_asked_to_stop(&group, kind, object)
}

/// What rests from the moment its manifest says so.
pub(super) fn told(group: &str, kind: &str, object: &Value) -> Option<Health> {
    let set = |place: &str| is(object, place, "true");
    let note = |name: &str| set(&format!("/metadata/annotations/{name}"));
    let paused = || Health::Suspended("it is paused".into());
    match (group, kind) {
        ("apps" | "extensions", "Deployment") => {
            set("/spec/paused").then(|| Health::Suspended("it is paused until `kubectl rollout resume`".into()))
        }
        ("cluster.x-k8s.io", _) => (set("/spec/paused") || note("cluster.x-k8s.io~1paused")).then(paused),
        ("argoproj.io", "Rollout") | ("apps.kruise.io", "AdvancedCronJob") => set("/spec/paused").then(paused),
        ("apps.kruise.io", "CloneSet") => set("/spec/updateStrategy/paused").then(paused),
        ("apps.kruise.io", "StatefulSet" | "DaemonSet") | ("game.kruise.io", "GameServerSet") => {
            set("/spec/updateStrategy/rollingUpdate/paused").then(paused)
        }
        ("postgresql.cnpg.io", "Cluster") => {
            is(object, "/metadata/annotations/cnpg.io~1reconciliationLoop", "disabled")
                .then(|| Health::Suspended("its annotation cnpg.io/reconciliationLoop has it left alone".into()))
        }
        ("astra.netapp.io", "ExecHook") => {
            is(object, "/spec/enabled", "false").then(|| Health::Suspended("it is not enabled".into()))
        }
        _ => set("/spec/suspend").then(|| Health::Suspended("it is suspended".into())),
    }
}

/// What its manifest asks to stop, and whose status tells once it has.
fn is_asked_to_stop(group: &str, kind: &str, object: &Value) -> bool {
    let note = |name: &str, value: &str| is(object, &format!("/metadata/annotations/{name}"), value);
    match (group, kind) {
        // It may have ended before somebody paused it, and says so.
        ("apps.kruise.io", "BroadcastJob") => is(object, "/spec/paused", "true"),
        ("apps.kruise.io", "CloneSet") => counted::holds_back(object, "/spec/updateStrategy/partition"),
        ("apps.kruise.io", "StatefulSet" | "DaemonSet") | ("game.kruise.io", "GameServerSet") => {
            counted::holds_back(object, "/spec/updateStrategy/rollingUpdate/partition")
        }
        ("postgresql.cnpg.io", "Cluster") => note("cnpg.io~1hibernation", "on"),
        ("keda.sh", _) => {
            let replicas = "/metadata/annotations/autoscaling.keda.sh~1paused-replicas";
            note("autoscaling.keda.sh~1paused", "true") || object.pointer(replicas).is_some()
        }
        ("kubevirt.io", "VirtualMachine") => {
            is(object, "/spec/running", "false") || is(object, "/spec/runStrategy", "Halted")
        }
        ("serving.kserve.io", "InferenceService") => note("serving.kserve.io~1stop", "true"),
        ("operator.victoriametrics.com", _) => is(object, "/spec/paused", "true"),
        (group, _) if group.ends_with(".percona.com") => is(object, "/spec/pause", "true"),
        (group, _) if group.ends_with(".crossplane.io") || group.ends_with(".upbound.io") => {
            note("crossplane.io~1paused", "true")
        }
        _ => false,
    }
}

/// Whether this word, as a text or as a boolean, stands at a place.
fn is(object: &Value, place: &str, word: &str) -> bool {
    match object.pointer(place) {
        Some(Value::String(text)) => text == word,
        Some(Value::Bool(set)) => set.to_string() == word,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn rests_by(kind: &str, more: Value) {
        let (version, kind) = kind.rsplit_once('/').expect("a version and a kind");
        let mut object = json!({ "apiVersion": version, "kind": kind });
        assert!(!rests(&object), "{object}");
        object.as_object_mut().expect("a mapping").extend(more.as_object().expect("a mapping").clone());
        assert!(rests(&object), "{object}");
    }

    #[test]
    fn a_manifest_says_it_in_many_ways() {
        let note = |name: &str, value: &str| json!({ "metadata": { "annotations": { name: value } } });
        rests_by("batch/v1/CronJob", json!({ "spec": { "suspend": true } }));
        rests_by("apps/v1/Deployment", json!({ "spec": { "paused": true } }));
        rests_by("apps.kruise.io/v1alpha1/CloneSet", json!({ "spec": { "updateStrategy": { "paused": true } } }));
        rests_by("apps.kruise.io/v1alpha1/CloneSet", json!({ "spec": { "updateStrategy": { "partition": "30%" } } }));
        rests_by(
            "apps.kruise.io/v1beta1/StatefulSet",
            json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 2 } } } }),
        );
        rests_by("astra.netapp.io/v1/ExecHook", json!({ "spec": { "enabled": false } }));
        rests_by("kubevirt.io/v1/VirtualMachine", json!({ "spec": { "runStrategy": "Halted" } }));
        rests_by("pxc.percona.com/v1/PerconaXtraDBCluster", json!({ "spec": { "pause": true } }));
        rests_by("operator.victoriametrics.com/v1beta1/VMAgent", json!({ "spec": { "paused": true } }));
        rests_by("postgresql.cnpg.io/v1/Cluster", note("cnpg.io/hibernation", "on"));
        rests_by("postgresql.cnpg.io/v1/Cluster", note("cnpg.io/reconciliationLoop", "disabled"));
        rests_by("keda.sh/v1alpha1/ScaledObject", note("autoscaling.keda.sh/paused-replicas", "0"));
        rests_by("s3.aws.upbound.io/v1beta1/Bucket", note("crossplane.io/paused", "true"));
        rests_by("cluster.x-k8s.io/v1beta1/Machine", note("cluster.x-k8s.io/paused", "true"));
        rests_by("serving.kserve.io/v1beta1/InferenceService", note("serving.kserve.io/stop", "true"));
    }

    #[test]
    fn a_partition_of_nothing_holds_nothing_back() {
        for partition in [json!(0), json!("0"), json!("0%"), json!(null)] {
            let object = json!({
                "apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet",
                "spec": { "updateStrategy": { "partition": partition } },
            });
            assert!(!rests(&object), "{object}");
        }
    }
}
