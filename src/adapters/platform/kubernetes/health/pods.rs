//! The rule of pods.

use serde_json::Value;

use super::{Condition, Health, conditions, list, text};

/// How a pod is doing.
pub(super) fn pod(object: &Value) -> Health {
    let message = || text(object, "/status/message").map(str::to_owned);
    match text(object, "/status/phase") {
        Some("Succeeded") => Health::Healthy,
        Some("Failed") => {
            let why = message().or_else(|| ended(object));
            Health::failed(why.unwrap_or_else(|| "it has ended, and not well".into()))
        }
        Some("Running") if conditions(object).any(|one| one.kind == "Ready" && one.is_true()) => Health::Healthy,
        Some("Running") => held(object).unwrap_or_else(|| Health::Progressing("it runs and is not ready".into())),
        Some("Pending") => {
            let held = conditions(object).find(unschedulable).map(|one| degraded(one.words())).or_else(|| held(object));
            held.unwrap_or_else(|| Health::Progressing(message().unwrap_or_else(|| "it is pending".into())))
        }
        None => Health::Progressing("its phase is not known yet".into()),
        Some("Unknown") => Health::Unknown("its node does not answer".into()),
        Some(phase) => Health::Unknown(format!("its phase is {phase}, which is not known")),
    }
}

fn degraded(message: String) -> Health {
    Health::Degraded { message, for_good: false }
}

fn unschedulable(condition: &Condition<'_>) -> bool {
    condition.kind == "PodScheduled" && condition.is_false() && condition.reason == "Unschedulable"
}

/// What its containers wait for that is no good sign. One that shall run once may wait for its image as long as it likes: whoever waits
/// for it has a deadline.
fn held(object: &Value) -> Option<Health> {
    let serves = text(object, "/metadata/annotations/argocd.argoproj.io~1ignore-restart-policy") == Some("true");
    let forever = serves || text(object, "/spec/restartPolicy").is_none_or(|policy| policy == "Always");
    let bad = |reason: &str| {
        reason == "CrashLoopBackOff"
            || forever && (reason.starts_with("Err") || reason.ends_with("Error") || reason.ends_with("BackOff"))
    };
    let waiting = list(object, "/status/containerStatuses").filter_map(|one| {
        if forever && ends_again(one) {
            return Some(format!("it ends again and again: {}", text(one, "/name").unwrap_or_default()));
        }
        let reason = text(one, "/state/waiting/reason").filter(|reason| bad(reason))?;
        let name = text(one, "/name").unwrap_or_default();
        Some(match (reason, text(one, "/state/waiting/message")) {
            ("CrashLoopBackOff", _) => format!("it crashes again and again: {name}"),
            (_, Some(message)) => format!("{name} waits: {reason}: {message}"),
            (_, None) => format!("{name} waits: {reason}"),
        })
    });
    let all: Vec<String> = waiting.collect();
    (!all.is_empty()).then(|| degraded(all.join("; ")))
}

/// It has ended, as the one before it had, and neither well.
fn ends_again(container: &Value) -> bool {
    let badly = |state: &str| {
        let code = container.pointer(&format!("/{state}/terminated/exitCode")).and_then(Value::as_i64);
        code.is_some_and(|code| code != 0)
    };
    badly("state") && badly("lastState")
}

/// How the first of its containers ended that did not end well.
fn ended(object: &Value) -> Option<String> {
    let all = list(object, "/status/initContainerStatuses").chain(list(object, "/status/containerStatuses"));
    all.filter_map(|one| {
        let name = text(one, "/name").unwrap_or_default();
        let code = one.pointer("/state/terminated/exitCode").and_then(Value::as_i64).unwrap_or_default();
        match (text(one, "/state/terminated/message"), text(one, "/state/terminated/reason")) {
            (Some(message), _) => Some(format!("{name}: {message}")),
            (None, Some("OOMKilled")) => Some(format!("{name} was killed: it had no more memory")),
            _ => (code != 0).then(|| format!("{name} ended with {code}")),
        }
    })
    .next()
}
