//! Kinds of others whose parts are counted.

use serde_json::Value;

use super::{Condition, Health, conditions, kinds, list, number, text};

/// The rule of a kind that has one of its own.
pub(super) fn rule(group: &str, kind: &str) -> Option<fn(&Value) -> Health> {
    Some(match (group, kind) {
        ("apps.kruise.io", "CloneSet") => clone_set,
        ("apps.kruise.io", "StatefulSet") => stateful_set,
        ("apps.kruise.io", "DaemonSet") => daemon_set,
        ("game.kruise.io", "GameServerSet") => game_server_set,
        ("elasticsearch.k8s.elastic.co", "Elasticsearch") => elasticsearch,
        ("opentelemetry.io", "OpenTelemetryCollector") => collector,
        ("work.karmada.io", "ResourceBinding" | "ClusterResourceBinding") => binding,
        _ => return None,
    })
}

const PARTITION: &str = "/spec/updateStrategy/rollingUpdate/partition";

/// OpenKruise tells what it has no right or room for by conditions; as long as all pods are well they are of the past.
fn kruise(object: &Value, partition: &str, share: i64) -> Health {
    let status = |field: &str| number(object, &format!("/status/{field}"), 0);
    let (want, all) = (number(object, "/spec/replicas", 1), status("replicas"));
    let (updated, available) = (status("updatedReplicas"), status("updatedAvailableReplicas"));
    if object.pointer("/status/observedGeneration").is_none() {
        return Health::Progressing("its controller has yet to see it".into());
    }
    if holds_back(object, partition) && share > 0 && updated >= share {
        return partly(updated, number(object, "/status/readyReplicas", all), all);
    }
    if available >= all && all >= want {
        return Health::Healthy;
    }
    let failed = |one: &Condition<'_>| one.is_true() && one.kind.starts_with("Failed");
    match conditions(object).find(failed) {
        Some(failure) => Health::Degraded { message: failure.words(), for_good: false },
        None => Health::Progressing(format!(
            "{available} of {} replicas are of the new version and available",
            all.max(want)
        )),
    }
}

/// As many are new as shall be; those counts that say how many are ready are never left out of a status.
fn partly(updated: i64, ready: i64, all: i64) -> Health {
    match ready < all {
        true => Health::Progressing(format!("{ready} of {all} replicas are ready")),
        false => Health::Suspended(format!(
            "{updated} of {all} replicas are of the new version, as many as its partition lets be"
        )),
    }
}

fn clone_set(object: &Value) -> Health {
    let share = number(object, "/status/expectedUpdatedReplicas", 0);
    kruise(object, "/spec/updateStrategy/partition", share)
}

fn stateful_set(object: &Value) -> Health {
    let partition = number(object, PARTITION, 0);
    kruise(object, PARTITION, number(object, "/status/replicas", 0).saturating_sub(partition))
}

fn daemon_set(object: &Value) -> Health {
    let status = |field: &str| number(object, &format!("/status/{field}"), 0);
    let (all, updated) = (status("desiredNumberScheduled"), status("updatedNumberScheduled"));
    let share = all.saturating_sub(number(object, PARTITION, 0));
    match holds_back(object, PARTITION) && share > 0 && updated >= share {
        true => partly(updated, number(object, "/status/numberReady", all), all),
        false => kinds::daemon_set(object),
    }
}

fn game_server_set(object: &Value) -> Health {
    let status = |field: &str| number(object, &format!("/status/{field}"), 0);
    let (want, all) = (number(object, "/spec/replicas", 1), status("replicas"));
    let (updated, ready) = (status("updatedReplicas"), status("updatedReadyReplicas"));
    let share = all.saturating_sub(number(object, PARTITION, 0));
    if object.pointer("/status/observedGeneration").is_none() {
        Health::Progressing("its controller has yet to see it".into())
    } else if holds_back(object, PARTITION) && share > 0 && updated >= share {
        partly(updated, number(object, "/status/readyReplicas", all), all)
    } else if ready >= all && all >= want {
        Health::Healthy
    } else {
        Health::Progressing(format!("{ready} of {} servers are of the new version and ready", all.max(want)))
    }
}

/// Whether the manifest keeps a part of its pods at the version before.
pub(super) fn holds_back(object: &Value, partition: &str) -> bool {
    match object.pointer(partition) {
        Some(Value::Number(count)) => count.as_i64() != Some(0),
        Some(Value::String(share)) => !matches!(share.trim_end_matches('%'), "" | "0"),
        _ => false,
    }
}

/// All nodes are there, and what they say together counts.
fn elasticsearch(object: &Value) -> Health {
    let nodes = list(object, "/spec/nodeSets").map(|set| number(set, "/count", 1));
    let want = nodes.fold(0, i64::saturating_add);
    let (Some(phase), Some(told)) = (text(object, "/status/phase"), text(object, "/status/health")) else {
        return Health::Progressing("its controller has yet to say how it is doing".into());
    };
    let there = number(object, "/status/availableNodes", 0);
    match (phase, told) {
        ("Invalid", _) => Health::Degraded { message: "its phase is Invalid".into(), for_good: false },
        (_, "red") => Health::Degraded { message: "its health is red".into(), for_good: false },
        _ if there < want => Health::Progressing(format!("{there} of {want} nodes are there")),
        ("Ready", "green") => Health::Healthy,
        // One node alone can't copy what it has to another, and stays yellow.
        ("Ready", "yellow") if want <= 1 => Health::Healthy,
        ("Ready", told) => Health::Progressing(format!("its health is {told}")),
        (phase, _) => Health::Progressing(format!("its phase is {phase}")),
    }
}

/// A sidecar has no pods of its own; what has says `ready/all`.
fn collector(object: &Value) -> Health {
    let mode = text(object, "/spec/mode");
    let counts = text(object, "/status/scale/statusReplicas").and_then(|counts| {
        let (ready, all) = counts.split_once('/')?;
        Some((ready.parse::<u32>().ok()?, all.parse::<u32>().ok()?))
    });
    match counts {
        None if mode == Some("sidecar") => Health::Healthy,
        None => Health::Progressing("its controller has yet to say how it is doing".into()),
        // No node asks for one.
        Some((0, 0)) if mode == Some("daemonset") => Health::Healthy,
        Some((0, all)) => Health::Degraded { message: format!("none of {all} replicas is ready"), for_good: false },
        Some((ready, all)) if ready >= all => Health::Healthy,
        Some((ready, all)) => Health::Progressing(format!("{ready} of {all} replicas are ready")),
    }
}

/// Karmada: each cluster that it was placed on has said how it is doing there.
fn binding(object: &Value) -> Health {
    let placed = object.pointer("/spec/clusters").and_then(Value::as_array).map(Vec::len);
    let told = list(object, "/status/aggregatedStatus");
    let count = told.len();
    // What merely follows another is placed by that one, and names no clusters.
    if count == 0 || placed.is_some_and(|placed| placed != count) {
        return Health::Progressing(format!("{count} of {} clusters have said how it is doing", placed.unwrap_or(1)));
    }
    let unwell = |one: &&Value| match text(one, "/health") {
        Some("Unhealthy") => true,
        Some("Unknown") => one.pointer("/applied").and_then(Value::as_bool) != Some(true),
        _ => false,
    };
    match told.as_slice().iter().find(unwell) {
        Some(one) => {
            let cluster = text(one, "/clusterName").unwrap_or("a cluster");
            Health::Degraded { message: format!("it is not well in {cluster}"), for_good: false }
        }
        None => Health::Healthy,
    }
}
