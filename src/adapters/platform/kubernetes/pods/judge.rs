//! Why a workload is not well, from its pods alone.

use serde_json::Value;

/// What pods tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How often their containers were started again, all together.
    pub restarts: u32,
    /// What is wrong with the worst of them.
    pub message: Option<String>,
    /// It will not mend by itself.
    pub for_good: bool,
    /// The container that crashes, whose last lines tell more.
    pub crash: Option<Crash>,
    /// A pod that is not ready and does not say why; its events may.
    pub quiet: Option<String>,
}

/// A container that crashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Its pod.
    pub pod: String,
    /// Its name.
    pub container: String,
    /// How often it was started again.
    pub restarts: u32,
}

/// How bad it is: the worst is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Quiet,
    Unschedulable,
    NotStarted,
    Crash,
    Image,
}

/// Judges the pods of one workload. Of those in equal trouble the newest is told: it is of the version that comes.
pub fn judge(pods: &[Value]) -> Verdict {
    let mut pods: Vec<&Value> =
        pods.iter().filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none()).collect();
    pods.sort_by_key(|pod| text(pod, "/metadata/creationTimestamp").to_owned());
    let mut verdict = Verdict { restarts: pods.iter().map(|pod| restarts(pod)).sum(), ..Verdict::default() };
    let mut worst = None;
    for pod in pods {
        let Some((trouble, found)) = of_pod(pod) else { continue };
        if worst.is_none_or(|worst| trouble >= worst) {
            worst = Some(trouble);
            verdict = Verdict { restarts: verdict.restarts, ..found };
        }
    }
    verdict
}

/// Whether a pod says that it can't run, or that it has crashed.
pub fn is_in_trouble(pod: &Value) -> bool {
    of_pod(pod).is_some_and(|(trouble, _)| trouble != Trouble::Quiet)
}

fn of_pod(pod: &Value) -> Option<(Trouble, Verdict)> {
    let name = text(pod, "/metadata/name").to_owned();
    let told = |trouble, message: String, for_good| {
        (trouble, Verdict { message: Some(message), for_good, ..Verdict::default() })
    };
    let mut found: Vec<(Trouble, Verdict)> =
        containers(pod).filter_map(|container| of_container(&name, container)).collect();
    found.sort_by_key(|(trouble, _)| *trouble);
    if let Some(worst) = found.pop() {
        return Some(worst);
    }
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let condition = |kind: &str| conditions.into_iter().flatten().find(|one| text(one, "/type") == kind);
    let no = |kind: &str| condition(kind).filter(|one| text(one, "/status") == "False");
    if let Some(unscheduled) = no("PodScheduled") {
        let message = format!("pod {name} can't be scheduled: {}", text(unscheduled, "/message"));
        return Some(told(Trouble::Unschedulable, message, false));
    }
    let ended = matches!(text(pod, "/status/phase"), "Succeeded");
    let ready = condition("Ready").is_some_and(|one| text(one, "/status") == "True");
    if ended || ready {
        return None;
    }
    let mut verdict = told(Trouble::Quiet, format!("pod {name} is not ready"), false);
    verdict.1.quiet = Some(name);
    Some(verdict)
}

fn of_container(pod: &str, container: &Value) -> Option<(Trouble, Verdict)> {
    let name = text(container, "/name");
    let (reason, message) = (text(container, "/state/waiting/reason"), text(container, "/state/waiting/message"));
    let told = |trouble, message: String, for_good| {
        Some((trouble, Verdict { message: Some(message), for_good, ..Verdict::default() }))
    };
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError" => {
            let image = text(container, "/image");
            told(Trouble::Image, format!("pod {pod}: {reason}: image {image}: {message}"), hopeless(reason, message))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            told(Trouble::NotStarted, format!("pod {pod}: {reason}: {message}"), false)
        }
        _ => {
            let last = match container.pointer("/state/terminated") {
                Some(ended) if number(ended, "/exitCode") != 0 => ended,
                _ => container.pointer("/lastState/terminated").filter(|_| !is_ready(container))?,
            };
            let code = number(last, "/exitCode");
            let why = match text(last, "/reason") {
                "" | "Error" | "Completed" => String::new(),
                // It never ran, so there are no lines of it.
                "StartError" | "ContainerCannotRun" => format!(": {}", text(last, "/message")),
                reason => format!(", {reason}"),
            };
            let restarts = count(container);
            let message = format!("container {name} of pod {pod} ended with exit code {code}{why}");
            let crash = Some(Crash { pod: pod.to_owned(), container: name.to_owned(), restarts });
            Some((Trouble::Crash, Verdict { message: Some(message), crash, ..Verdict::default() }))
        }
    }
}

/// A registry that says that there is no such image will say so again; one that can't be reached may be back.
fn hopeless(reason: &str, message: &str) -> bool {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    matches!(reason, "InvalidImageName" | "ErrImageNeverPull")
        || (says(&["not found", "notfound", "manifest unknown", "does not exist", "pull access denied"])
            && !says(&["no such host", "dial tcp", "timeout"]))
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let all = |field: &str| pod.pointer(&format!("/status/{field}")).and_then(Value::as_array);
    all("initContainerStatuses").into_iter().chain(all("containerStatuses")).flatten()
}

fn restarts(pod: &Value) -> u32 {
    containers(pod).map(count).sum()
}

fn count(container: &Value) -> u32 {
    u32::try_from(number(container, "/restartCount")).unwrap_or_default()
}

fn is_ready(container: &Value) -> bool {
    container.get("ready").and_then(Value::as_bool) == Some(true)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, at: &str, status: &Value) -> Value {
        json!({ "metadata": { "name": name, "creationTimestamp": at }, "status": status })
    }

    #[test]
    fn the_worst_of_the_newest_is_told() {
        let ready = pod("a", "1", &json!({ "conditions": [{ "type": "Ready", "status": "True" }] }));
        assert_eq!(judge(std::slice::from_ref(&ready)), Verdict::default());
        let waiting = |reason: &str, message: &str| {
            json!({ "containerStatuses": [{ "name": "web", "image": "shop/web:9", "restartCount": 0,
                "state": { "waiting": { "reason": reason, "message": message } } }] })
        };
        let image = pod("b", "2", &waiting("ImagePullBackOff", "rpc error: code = NotFound desc = not found"));
        let verdict = judge(&[ready.clone(), image]);
        let message = verdict.message.expect("something is wrong");
        assert!(message.contains("ImagePullBackOff: image shop/web:9") && message.contains("NotFound"), "{message}");
        assert!(verdict.for_good);
        let down = pod("b", "2", &waiting("ErrImagePull", "dial tcp: connection refused, not found"));
        assert!(!judge(&[down]).for_good);
    }

    #[test]
    fn a_crash_is_told_with_its_code_and_counted() {
        let status = json!({ "containerStatuses": [{ "name": "web", "restartCount": 3, "ready": false,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
            "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } } }] });
        let verdict = judge(&[pod("a", "1", &status)]);
        assert_eq!(verdict.restarts, 3);
        assert_eq!(verdict.message.as_deref(), Some("container web of pod a ended with exit code 137, OOMKilled"));
        assert_eq!(verdict.crash, Some(Crash { pod: "a".into(), container: "web".into(), restarts: 3 }));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let status = json!({ "containerStatuses": [{ "name": "web", "restartCount": 0, "ready": false, "state": {
            "terminated": { "exitCode": 128, "reason": "StartError", "message": "exec: \"serve\": not found in $PATH" } } }] });
        let message = judge(&[pod("a", "1", &status)]).message.expect("it has ended");
        assert_eq!(message, "container web of pod a ended with exit code 128: exec: \"serve\": not found in $PATH");
    }

    #[test]
    fn a_pod_without_a_place_says_why() {
        let status = json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu." }] });
        let verdict = judge(&[pod("a", "1", &status)]);
        assert!(verdict.message.expect("it is unschedulable").contains("Insufficient cpu"));
        let quiet = judge(&[pod("a", "1", &json!({ "phase": "Pending" }))]);
        assert_eq!(quiet.quiet.as_deref(), Some("a"));
    }
}
