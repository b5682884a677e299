//! One version in the domain's words: its instances are its pods.

use crate::adapters::platform::kubernetes::cache::{KindName, State};
use crate::adapters::platform::kubernetes::health::Health;
use crate::adapters::platform::kubernetes::inventory::{Parent, Version};
use crate::adapters::platform::kubernetes::live::Live;
use crate::adapters::platform::kubernetes::view;
use crate::domain::observed::{ObservedGroup, ObservedInstance};
use crate::domain::workload::kubernetes::{Drift, ObjectId};

/// The version that a parent tells of, or what of it can't be seen.
pub fn group(state: &State, parent: &Parent, version: &Version) -> Result<ObservedGroup, String> {
    state.known(&KindName::pod())?;
    let instances = match parent.retiring {
        true => leaving(state, parent),
        false => instances(state, parent, version),
    };
    let right = parent.wanted().all(|(id, entry)| view::is_right(state, parent, id, entry));
    let tidy = !view::all_ready(state, parent) || !view::is_to_prune(state, parent);
    let tidy = tidy && !view::untidy(state, parent);
    let whole = parent.retiring || (right && tidy && is_sized(state, parent, version));
    Ok(ObservedGroup {
        group: parent.group.clone(),
        rendered: parent.rendered.clone(),
        version: parent.version.clone(),
        replicas: if whole { version.replicas } else { version.replicas.saturating_sub(1) },
        retiring: parent.retiring,
        in_place: false,
        found: false,
        leaving: view::leaving(state, parent),
        instances,
    })
}

/// Whether its Deployment has as many pods as were asked for, or as many as an autoscaler made of that.
fn is_sized(state: &State, parent: &Parent, version: &Version) -> bool {
    let asked = state.live(&version.deployment).and_then(|live| live.more.replicas);
    let right = match version.scaled {
        true => asked.is_some_and(|asked| asked >= version.replicas),
        false => asked == Some(version.replicas),
    };
    right || (asked.is_some() && parent.settings.drift == Drift::Report)
}

/// As many instances as were asked for, those that are ready first: which pod is which is nobody's concern.
pub fn instances(state: &State, parent: &Parent, version: &Version) -> Vec<ObservedInstance> {
    let Some(deployment) = state.live(&version.deployment).filter(|live| view::owns(parent, live)) else {
        return Vec::new();
    };
    let mut pods: Vec<(&ObjectId, &Live)> = state.pods_of(parent).filter(|(_, live)| live.deleting.is_none()).collect();
    // What was never whole is not ready by a part of it, where it began with more than were asked for.
    let begun = deployment.more.complete || deployment.more.replicas.is_none_or(|all| all <= version.replicas);
    pods.sort_by_key(|(id, live)| (is_ready(live) != begun, live.created, &id.name));
    let (mut all, mut ready) = (Vec::new(), 0);
    let cause = cause(state, version, deployment);
    for (slot, (id, live)) in (0..version.replicas).zip(&pods) {
        // A pod counts once it has been ready for as long as its Deployment wants.
        let serves = is_ready(live) && (ready < deployment.more.available || !begun);
        ready += u32::from(serves);
        all.push(ObservedInstance {
            id: id.name.clone(),
            slot,
            running: true,
            stopping: false,
            ready: serves,
            address: live.more.address,
            started: live.created,
            restarts: live.more.restarts,
            given_up: !serves && cause.for_good,
            message: (!serves)
                .then(|| cause.message.clone().or_else(|| live.health.message().map(str::to_owned)))
                .flatten()
                .map(|message| of_itself(&message, &id.name)),
        });
    }
    let (there, asked) = (u32::try_from(all.len()).unwrap_or(u32::MAX), version.replicas);
    if there < asked {
        all.push(ObservedInstance {
            id: view::name(parent, &version.deployment),
            slot: there,
            running: false,
            stopping: false,
            ready: false,
            address: None,
            started: deployment.created,
            restarts: 0,
            given_up: cause.for_good,
            message: cause.message.or_else(|| Some("its pods are not there yet".into())),
        });
    }
    all
}

/// What is told of a pod, without its name: it stands beside it already.
fn of_itself(message: &str, pod: &str) -> String {
    if let Some(rest) = message.strip_prefix("pod ").and_then(|rest| rest.strip_prefix(pod)) {
        return match (rest.strip_prefix(": "), rest.strip_prefix(' ')) {
            (Some(what), _) => what.to_owned(),
            (None, Some(what)) => format!("it {what}"),
            // Another pod, whose name begins the same.
            (None, None) => message.to_owned(),
        };
    }
    message.replacen(&format!(" of pod {pod} "), " ", 1)
}

fn is_ready(live: &Live) -> bool {
    live.health == Health::Healthy && live.more.address.is_some()
}

/// Why pods are missing or not ready.
#[derive(Default)]
struct Cause {
    message: Option<String>,
    for_good: bool,
}

fn cause(state: &State, version: &Version, deployment: &Live) -> Cause {
    let health = &deployment.health;
    if *health == Health::Healthy {
        return Cause::default();
    }
    let diagnosis = state.diagnosis(&version.deployment);
    let told = diagnosis.and_then(|diagnosis| diagnosis.message.clone());
    let hopeless = matches!(health, Health::Degraded { for_good: true, .. });
    Cause {
        message: told.or_else(|| health.message().map(str::to_owned)),
        for_good: hopeless || diagnosis.is_some_and(|diagnosis| diagnosis.for_good),
    }
}

/// What is left of a version on its way out.
fn leaving(state: &State, parent: &Parent) -> Vec<ObservedInstance> {
    let left = view::to_go(state, parent).into_iter().chain(state.pods_of(parent));
    (0..).zip(left).map(|(slot, (id, live))| view::one_leaving(state, parent, id, slot, live)).collect()
}

#[cfg(test)]
mod tests {
    use super::of_itself;

    #[test]
    fn a_pod_is_named_once() {
        for (message, told) in [
            ("pod web-1: ErrImagePull: image a", "ErrImagePull: image a"),
            ("pod web-1 can't be scheduled: full", "it can't be scheduled: full"),
            ("container web of pod web-1 ended with exit code 3", "container web ended with exit code 3"),
            ("pod web-12: ErrImagePull", "pod web-12: ErrImagePull"),
            ("container web of pod web-2 ended", "container web of pod web-2 ended"),
        ] {
            assert_eq!(of_itself(message, "web-1"), told);
        }
    }
}
