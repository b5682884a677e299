//! The rules of the built-in kinds.

use serde_json::Value;

use super::{Health, conditions, number, pods, text};

/// The rule of a kind that has one of its own.
pub(super) fn rule(group: &str, kind: &str) -> Option<fn(&Value) -> Health> {
    Some(match (group, kind) {
        ("apps" | "extensions", "Deployment") => deployment,
        ("apps", "StatefulSet") => stateful_set,
        ("apps" | "extensions", "DaemonSet") => daemon_set,
        // It has the same fields.
        ("apps" | "extensions", "ReplicaSet") | ("", "ReplicationController") => replica_set,
        ("", "Pod") => pods::pod,
        ("", "Service") => service,
        ("", "PersistentVolumeClaim") => claim,
        ("batch", "Job") => job,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition,
        ("apiregistration.k8s.io", "APIService") => api_service,
        ("", "ConfigMap" | "Secret") | ("batch", "CronJob") | ("policy", "PodDisruptionBudget") => always,
        _ => return None,
    })
}

fn always(_: &Value) -> Health {
    Health::Healthy
}

/// The first of the counts that is not as it shall be.
fn counts(all: &[(bool, &str, i64, i64)]) -> Option<Health> {
    let missing = all.iter().find(|(missing, ..)| *missing);
    missing.map(|(_, what, have, want)| Health::Progressing(format!("{have} of {want} replicas are {what}")))
}

fn extra(have: i64, want: i64) -> Option<Health> {
    (have > want).then(|| Health::Progressing(format!("{} old replicas are being stopped", have.saturating_sub(want))))
}

fn deployment(object: &Value) -> Health {
    // Without a deadline its controller sets no `Progressing`.
    let deadline = number(object, "/spec/progressDeadlineSeconds", i64::from(i32::MAX));
    let mut progressed = deadline == i64::from(i32::MAX);
    let (mut available, mut hindered) = (false, None);
    for condition in conditions(object) {
        match condition.kind {
            "Progressing" if condition.reason == "ProgressDeadlineExceeded" => {
                return Health::failed(format!("its progress deadline has passed: {}", condition.message));
            }
            "Progressing" => progressed |= condition.is_true() && condition.reason == "NewReplicaSetAvailable",
            "Available" => available |= condition.is_true(),
            // A quota or an admission refuses its pods: it is tried again until the deadline.
            "ReplicaFailure" if condition.is_true() => hindered = Some(Health::Progressing(condition.words())),
            _ => {}
        }
    }
    let status = |field: &str| number(object, &format!("/status/{field}"), 0);
    let want = number(object, "/spec/replicas", 1);
    let (all, updated) = (status("replicas"), status("updatedReplicas"));
    let (ready, serving) = (status("readyReplicas"), status("availableReplicas"));
    let missing = counts(&[(want > all, "there", all, want), (want > updated, "of the new version", updated, want)])
        .or_else(|| extra(all, want))
        .or_else(|| counts(&[(updated > serving, "available", serving, updated), (want > ready, "ready", ready, want)]))
        .or_else(|| (!progressed).then(|| Health::Progressing("its new replicas are not yet available".into())))
        .or_else(|| (!available).then(|| Health::Progressing("it is not yet available".into())));
    match missing {
        None => Health::Healthy,
        Some(missing) => hindered.unwrap_or(missing),
    }
}

fn stateful_set(object: &Value) -> Health {
    if text(object, "/spec/updateStrategy/type") == Some("OnDelete") {
        return Health::Healthy;
    }
    let status = |field: &str| number(object, &format!("/status/{field}"), 0);
    let want = number(object, "/spec/replicas", 1);
    let (all, ready) = (status("replicas"), status("readyReplicas"));
    let (current, updated) = (status("currentReplicas"), status("updatedReplicas"));
    if let Some(missing) = counts(&[(want > all, "there", all, want), (want > ready, "ready", ready, want)]) {
        return missing;
    }
    if let Some(old) = extra(all, want) {
        return old;
    }
    if let Some(partition) = object.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64) {
        let share = want.saturating_sub(partition);
        return counts(&[(updated < share, "of the new version", updated, share)]).unwrap_or(Health::Healthy);
    }
    if let Some(missing) = counts(&[(want > current, "of the current version", current, want)]) {
        return missing;
    }
    let revision = |field: &str| text(object, &format!("/status/{field}"));
    match revision("currentRevision") == revision("updateRevision") {
        true => Health::Healthy,
        false => Health::Progressing("the new version has yet to become the current one".into()),
    }
}

pub(super) fn daemon_set(object: &Value) -> Health {
    let known = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let (Some(_), Some(want)) = (known("/status/observedGeneration"), known("/status/desiredNumberScheduled")) else {
        return Health::Progressing("its controller has yet to see it".into());
    };
    let status = |field: &str| number(object, &format!("/status/{field}"), 0);
    let (current, updated) = (status("currentNumberScheduled"), status("updatedNumberScheduled"));
    let (available, ready) = (status("numberAvailable"), status("numberReady"));
    // Somebody else decides when its old pods go.
    let replaces = text(object, "/spec/updateStrategy/type") != Some("OnDelete");
    counts(&[
        (want > current, "there", current, want),
        (replaces && want > updated, "of the new version", updated, want),
        (want > available, "available", available, want),
        (want > ready, "ready", ready, want),
    ])
    .unwrap_or(Health::Healthy)
}

fn replica_set(object: &Value) -> Health {
    let failure = conditions(object).find(|condition| condition.kind == "ReplicaFailure" && condition.is_true());
    if let Some(failure) = failure {
        return Health::Progressing(failure.words());
    }
    let status = |field: &str| number(object, &format!("/status/{field}"), 0);
    let want = number(object, "/spec/replicas", 1);
    let (all, labelled) = (status("replicas"), status("fullyLabeledReplicas"));
    let (available, ready) = (status("availableReplicas"), status("readyReplicas"));
    counts(&[
        (want > labelled, "labelled", labelled, want),
        (want > available, "available", available, want),
        (want > ready, "ready", ready, want),
    ])
    .or_else(|| extra(all, want))
    .unwrap_or(Health::Healthy)
}

fn service(object: &Value) -> Health {
    let balanced = text(object, "/spec/type") == Some("LoadBalancer");
    match balanced && text(object, "/spec/clusterIP").is_none() {
        true => Health::Progressing("it has no cluster IP yet".into()),
        false => Health::Healthy,
    }
}

fn claim(object: &Value) -> Health {
    match text(object, "/status/phase") {
        Some("Bound") => Health::Healthy,
        Some("Lost") => Health::Degraded { message: "its volume is lost".into(), for_good: true },
        phase => Health::Progressing(format!("it is not bound: {}", phase.unwrap_or("unknown"))),
    }
}

/// A Job is healthy once it is complete: what merely runs has proven nothing.
fn job(object: &Value) -> Health {
    let rests = super::rests(object);
    for condition in conditions(object).filter(super::Condition::is_true) {
        match condition.kind {
            "Complete" => return Health::Healthy,
            "Failed" => return Health::failed(condition.words()),
            "Suspended" if rests => return Health::Suspended("it is suspended".into()),
            _ => {}
        }
    }
    let status = |field: &str| number(object, &format!("/status/{field}"), 0);
    match text(object, "/status/startTime") {
        None => Health::Progressing("it has not started".into()),
        Some(_) => {
            let (active, failed) = (status("active"), status("failed"));
            Health::Progressing(format!("it runs: {active} pods at work, {failed} have failed"))
        }
    }
}

fn definition(object: &Value) -> Health {
    for condition in conditions(object) {
        match condition.kind {
            "NamesAccepted" if condition.is_false() => return Health::failed(condition.words()),
            "Established" if condition.is_true() => return Health::Healthy,
            "Established" if condition.is_false() && condition.reason != "Installing" => {
                return Health::failed(condition.words());
            }
            _ => {}
        }
    }
    Health::Progressing("it is being established".into())
}

fn api_service(object: &Value) -> Health {
    match conditions(object).find(|condition| condition.kind == "Available") {
        Some(condition) if condition.is_true() => Health::Healthy,
        Some(condition) => Health::Progressing(condition.words()),
        None => Health::Progressing("it has yet to be looked at".into()),
    }
}
