//! Kinds of others that are widely used and tell how they are doing in words of their own.

use serde_json::Value;

use super::{Condition, Health, asked, conditions, list, number, text, unseen};

/// The rule of a kind that has one of its own.
pub(super) fn rule(group: &str, kind: &str) -> Option<fn(&Value) -> Health> {
    Some(match (group, kind) {
        ("gateway.networking.k8s.io", "Gateway" | "GatewayClass") => gateway,
        ("gateway.networking.k8s.io", kind) if kind.ends_with("Route") => route,
        ("gateway.networking.k8s.io" | "gateway.envoyproxy.io" | "microgateway.airlock.com", kind)
            if kind.ends_with("Policy") =>
        {
            policy
        }
        ("bitnami.com", "SealedSecret") => sealed_secret,
        ("argoproj.io", "Rollout") => rollout,
        _ => return None,
    })
}

/// What the Gateway API's conditions say: each tells itself which version it is about.
fn accepted<'a>(conditions: impl Iterator<Item = Condition<'a>>) -> Option<Health> {
    let mut progressing = None;
    for condition in conditions {
        match condition.kind {
            "Accepted" | "ResolvedRefs" | "Programmed" if condition.old => progressing = Some(unseen()),
            "Accepted" | "ResolvedRefs" if condition.is_false() => {
                return Some(Health::Degraded { message: condition.words(), for_good: false });
            }
            "Accepted" | "Programmed" if !condition.is_true() => {
                progressing = Some(Health::Progressing(condition.words()));
            }
            _ => {}
        }
    }
    progressing
}

fn gateway(object: &Value) -> Health {
    let asked = asked(object);
    let listeners = list(object, "/status/listeners").flat_map(|one| list(one, "/conditions"));
    let all = conditions(object).chain(listeners.map(|one| Condition::read(one, asked)));
    // The API server itself writes that they wait for their controller.
    match conditions(object).any(|one| matches!(one.kind, "Accepted" | "Programmed")) {
        true => accepted(all).unwrap_or(Health::Healthy),
        false => Health::Progressing("its controller has yet to see it".into()),
    }
}

/// A route is well where the parents that have seen it take it. One that no parent speaks of is not waited for: there are clusters
/// without a controller of them.
fn route(object: &Value) -> Health {
    by_those_who_speak_of_it(object, "/status/parents", "/parentRef/name")
}

/// A policy is judged by those above what it is for, as a route by its parents.
fn policy(object: &Value) -> Health {
    by_those_who_speak_of_it(object, "/status/ancestors", "/ancestorRef/name")
}

fn by_those_who_speak_of_it(object: &Value, places: &str, named: &str) -> Health {
    let asked = asked(object);
    let (mut worst, mut behind, mut seen) = (None, None, false);
    for parent in list(object, places) {
        let all: Vec<_> = list(parent, "/conditions").map(|one| Condition::read(one, asked)).collect();
        if all.iter().any(|condition| condition.old) {
            behind = Some(unseen());
            continue;
        }
        seen = true;
        let name = text(parent, named).unwrap_or("one of them");
        if !all.iter().any(|condition| condition.kind == "Accepted") {
            worst = Some(Health::Progressing(format!("{name} has yet to say whether it accepts it")));
        }
        match accepted(all.into_iter()) {
            Some(Health::Degraded { message, for_good }) => {
                return Health::Degraded { message: format!("{name}: {message}"), for_good };
            }
            Some(Health::Progressing(message)) => worst = Some(Health::Progressing(format!("{name}: {message}"))),
            _ => {}
        }
    }
    worst.or(behind.filter(|_| !seen)).unwrap_or(Health::Healthy)
}

fn sealed_secret(object: &Value) -> Health {
    match conditions(object).find(|condition| condition.kind == "Synced") {
        Some(condition) if condition.is_true() => Health::Healthy,
        Some(condition) if condition.is_false() => Health::Degraded { message: condition.words(), for_good: false },
        _ => Health::Progressing("it has yet to be decrypted".into()),
    }
}

/// Argo Rollouts tells a phase; before its version 1.0 it told by conditions.
fn rollout(object: &Value) -> Health {
    // A template that stands elsewhere has a generation of its own.
    let elsewhere = object.pointer("/metadata/annotations/rollout.argoproj.io~1workload-generation");
    if object.pointer("/spec/workloadRef").is_some()
        && elsewhere.is_some_and(|asked| object.pointer("/status/workloadObservedGeneration") != Some(asked))
    {
        return unseen();
    }
    let message = || text(object, "/status/message").unwrap_or("its rollout is not complete").to_owned();
    match text(object, "/status/phase") {
        Some("Healthy") => Health::Healthy,
        Some("Degraded") => Health::failed(message()),
        Some("Paused") => Health::Suspended(message()),
        Some("Progressing") => Health::Progressing(message()),
        Some(phase) => Health::Unknown(format!("its phase is {phase}, which is not known")),
        None => without_phase(object),
    }
}

fn without_phase(object: &Value) -> Health {
    if object.pointer("/status/currentPodHash").is_none() {
        return Health::Progressing("its controller has yet to see it".into());
    }
    let failed = conditions(object).find(|condition| match condition.kind {
        "InvalidSpec" => true,
        "Progressing" => matches!(condition.reason, "RolloutAborted" | "ProgressDeadlineExceeded"),
        _ => false,
    });
    if let Some(failed) = failed {
        return Health::failed(failed.words());
    }
    if !list(object, "/status/pauseConditions").as_slice().is_empty() {
        return Health::Suspended("it is paused".into());
    }
    let status = |field: &str| number(object, &format!("/status/{field}"), 0);
    let (want, updated) = (number(object, "/spec/replicas", 1), status("updatedReplicas"));
    let stable = ["/status/stableRS", "/status/canary/stableRS"].iter().find_map(|place| text(object, place));
    let done = updated >= want && status("availableReplicas") >= updated && status("replicas") <= updated;
    match done && stable.is_none_or(|stable| Some(stable) == text(object, "/status/currentPodHash")) {
        true => Health::Healthy,
        false => Health::Progressing("its rollout is not complete".into()),
    }
}
