//! Pods that keep a StatefulSet from replacing them.
//!
//! One that replaces its pods in order waits until a pod is ready before it touches the next, also where that pod is of a version that nobody
//! asks for any more and will never be ready: after a revert it waits for ever. What its controller would do to such a pod anyway, deleting
//! it, is then done for it.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::judge;

/// A pod that says nothing of trouble and is not ready is given so much time to become so.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// A pod's first word on whether it is ready comes within so much time of its start.
const FIRST_WORD: SignedDuration = SignedDuration::from_secs(1);

/// The versions of a StatefulSet that replaces its pods in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The one that all pods shall have.
    update: String,
    /// The one before it.
    current: String,
    /// Some pods shall stay at the version before.
    parted: bool,
}

/// A pod that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTheWay {
    /// Its name.
    pub pod: String,
    /// Which incarnation it is.
    pub uid: String,
    /// In which state it was looked at.
    pub version: String,
}

impl Order {
    /// The versions, where pods are replaced in order and the controller has seen the newest.
    pub fn read(set: &Value) -> Option<Order> {
        let text = |pointer: &str| set.pointer(pointer).and_then(Value::as_str);
        let in_order = text("/spec/podManagementPolicy").is_none_or(|policy| policy == "OrderedReady")
            && text("/spec/updateStrategy/type").is_none_or(|strategy| strategy == "RollingUpdate");
        let seen = set.pointer("/status/observedGeneration") == set.pointer("/metadata/generation");
        let (update, current) = (text("/status/updateRevision")?, text("/status/currentRevision")?);
        let partition = set.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64);
        let parted = partition.is_some_and(|partition| partition != 0);
        (in_order && seen).then(|| Order { update: update.to_owned(), current: current.to_owned(), parted })
    }

    /// A pod of the set that is of another version, and not ready: one that is in trouble and never was ready or is of neither version, or one
    /// that is of neither and has not become ready for a while. One that was ready in the version before may be so again.
    pub fn in_the_way(&self, set: &str, pods: &[Value], now: Timestamp) -> Option<InTheWay> {
        let pod = pods.iter().find(|pod| self.blocks(set, pod, now))?;
        let text = |field: &str| pod.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).map(str::to_owned);
        Some(InTheWay { pod: text("name")?, uid: text("uid")?, version: text("resourceVersion")? })
    }

    fn blocks(&self, set: &str, pod: &Value, now: Timestamp) -> bool {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
        let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let owned = owners.into_iter().flatten().any(|owner| owner.get("uid").and_then(Value::as_str) == Some(set));
        let Some(version) = text("/metadata/labels/controller-revision-hash") else { return false };
        if !owned || text("/metadata/deletionTimestamp").is_some() || version == self.update {
            return false;
        }
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        let ready =
            conditions.into_iter().flatten().find(|one| one.get("type").and_then(Value::as_str) == Some("Ready"));
        if ready.is_some_and(|ready| ready.get("status").and_then(Value::as_str) == Some("True")) {
            return false;
        }
        let at = |text: Option<&str>| text.and_then(|text| text.parse::<Timestamp>().ok());
        let since = at(ready.and_then(|ready| ready.get("lastTransitionTime")).and_then(Value::as_str));
        let begun = at(text("/status/startTime"));
        let never = since.is_none_or(|since| begun.is_some_and(|begun| since.duration_since(begun) <= FIRST_WORD));
        let abandoned = version != self.current;
        match judge::is_in_trouble(pod) {
            // Behind a partition one of the version before would be made again as it was, for ever.
            true => abandoned || (never && !self.parted),
            false => abandoned && since.is_some_and(|since| now.duration_since(since) >= PATIENCE),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: u32) -> String {
        format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60)
    }

    fn set() -> Value {
        json!({ "metadata": { "generation": 3 }, "spec": {},
            "status": { "observedGeneration": 3, "updateRevision": "new", "currentRevision": "old" } })
    }

    /// A pod that was started at second 10, and has been not ready, or ready, since some second; in trouble where it lacks its image.
    fn pod(version: &str, ready: bool, since: u32, trouble: bool) -> Value {
        let state = if trouble { json!({ "waiting": { "reason": "ErrImagePull" } }) } else { json!({ "running": {} }) };
        json!({
            "metadata": { "name": "db-1", "uid": "p", "resourceVersion": "7", "labels": { "controller-revision-hash": version },
                "ownerReferences": [{ "uid": "s" }] },
            "status": { "startTime": at(10), "containerStatuses": [{ "name": "db", "restartCount": 0, "ready": ready, "state": state }],
                "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": at(since) }] },
        })
    }

    #[test]
    fn only_what_a_controller_would_wait_for_in_vain_is_in_the_way() {
        let order = Order::read(&set()).expect("it replaces in order");
        for (what, pod, second, expected) in [
            ("abandoned, without its image", pod("broken", false, 10, true), 12, true),
            ("abandoned, was ready once, in trouble", pod("broken", false, 40, true), 41, true),
            ("abandoned, starts", pod("broken", false, 10, false), 60, false),
            ("abandoned, never gets ready", pod("broken", false, 10, false), 71, true),
            ("abandoned and ready", pod("broken", true, 20, false), 500, false),
            ("the first version, without its image", pod("old", false, 10, true), 12, true),
            ("the version before, starts for as long as it takes", pod("old", false, 10, false), 500, false),
            ("the version before, which was ready", pod("old", false, 40, true), 500, false),
            ("of the newest", pod("new", false, 10, true), 500, false),
        ] {
            let now = at(second).parse().expect("a time");
            assert_eq!(order.in_the_way("s", std::slice::from_ref(&pod), now).is_some(), expected, "{what}");
            assert_eq!(order.in_the_way("another", &[pod], now), None, "{what}");
        }
    }

    #[test]
    fn with_a_partition_pods_of_the_version_before_are_left_alone() {
        for (partition, version, expected) in [(0, "old", true), (1, "old", false), (1, "broken", true)] {
            let mut set = set();
            set["spec"]["updateStrategy"] = json!({ "rollingUpdate": { "partition": partition } });
            let order = Order::read(&set).expect("it replaces in order");
            let (pod, now) = (pod(version, false, 10, true), at(12).parse().expect("a time"));
            assert_eq!(order.in_the_way("s", &[pod], now).is_some(), expected, "{partition} {version}");
        }
    }

    #[test]
    fn what_is_not_replaced_in_order_or_not_seen_yet_is_left_alone() {
        for (pointer, value) in [
            ("/metadata/generation", json!(4)),
            ("/spec/podManagementPolicy", json!("Parallel")),
            ("/spec/updateStrategy", json!({ "type": "OnDelete" })),
        ] {
            let mut set = set();
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            set.pointer_mut(parent).expect("it is there")[field] = value;
            assert_eq!(Order::read(&set), None, "{pointer}");
        }
    }
}
