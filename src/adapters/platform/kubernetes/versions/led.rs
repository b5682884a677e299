//! Where a Service or an HTTPRoute leads requests, as the cluster has it.

use serde_json::{Map, Value, json};

use crate::adapters::platform::kubernetes::labels;
use crate::domain::digest::Digest;
use crate::domain::workload::http_route;

/// Where one leads requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Led {
    /// Which version a Service leads to.
    pub selects: Option<String>,
    /// What it says of where its requests go.
    pub traffic: Option<String>,
    /// The Service that it stands beside.
    pub beside: Option<String>,
    /// The last epoch that led requests by it.
    pub epoch: u64,
    /// The backends of a route.
    pub backends: Option<Digest>,
    /// What a route's gateways have not said yet.
    pub unconfirmed: Option<String>,
}

impl Led {
    /// Reads a whole Service or HTTPRoute.
    pub fn read(object: &Value) -> Led {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let note = |name: &str| object.pointer("/metadata/annotations")?.get(name)?.as_str().map(str::to_owned);
        let selector = object.pointer("/spec/selector").and_then(|selector| selector.get(labels::GROUP));
        let fields = object.as_object().filter(|_| text("/kind") == Some(http_route::KIND));
        Led {
            selects: selector.and_then(Value::as_str).map(str::to_owned),
            traffic: note(labels::TRAFFIC),
            beside: note(labels::BESIDE),
            epoch: note(labels::EPOCH).and_then(|epoch| epoch.parse().ok()).unwrap_or_default(),
            backends: fields.map(backends),
            unconfirmed: fields.and_then(unconfirmed),
        }
    }

    /// Whether it leads where the other one does, and says so.
    pub fn leads_like(&self, other: &Led) -> bool {
        let where_to = |led: &Led| (led.selects.clone(), led.traffic.clone(), led.beside.clone(), led.backends.clone());
        where_to(self) == where_to(other)
    }
}

/// A digest of where the rules of a route lead, the same however it is written.
pub fn backends(route: &Map<String, Value>) -> Digest {
    let backend = |one: &Value| {
        let text = |field: &str| one.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = Some(text("kind")).filter(|kind| !kind.is_empty()).unwrap_or_else(|| "Service".into());
        json!([text("group"), kind, text("namespace"), text("name"), one.get("port"), http_route::weight(one)])
    };
    let rules: Vec<Vec<Value>> = http_route::rules(route).map(|rule| rule.iter().map(backend).collect()).collect();
    Digest::of("b1", &rules)
}

/// What the gateways of a route have yet to say of its newest version: each of its parents must have accepted it and know its
/// backends.
fn unconfirmed(route: &Map<String, Value>) -> Option<String> {
    let at = |pointer: &str| {
        let (first, rest) = pointer.split_once('/').unwrap_or((pointer, ""));
        let value = route.get(first)?;
        if rest.is_empty() { Some(value) } else { value.pointer(&format!("/{rest}")) }
    };
    let list = |pointer: &str| at(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let namespace = at("metadata/namespace").and_then(Value::as_str);
    let generation = at("metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    let told = list("status/parents");
    let asked = list("spec/parentRefs");
    if asked.is_empty() {
        return Some("it names no gateway under `parentRefs`".into());
    }
    asked.iter().find_map(|parent| {
        let name = parent.get("name").and_then(Value::as_str).unwrap_or_default();
        let same = |one: &&Value| {
            one.get("parentRef").is_some_and(|other| {
                key(other, namespace) == key(parent, namespace) && other.get("port") == parent.get("port")
            })
        };
        let mut words = told.iter().filter(same).peekable();
        if words.peek().is_none() {
            return Some(format!("no controller has said anything of it for {name}: does one run its class?"));
        }
        // Each controller that knows the parent has a word of its own.
        words.find_map(|word| missing(word, generation)).map(|missing| format!("{name} {missing}"))
    })
}

/// What a parent is called, defaults filled in.
fn key<'a>(parent: &'a Value, namespace: Option<&'a str>) -> [Option<&'a str>; 5] {
    let text = |field: &str| parent.get(field).and_then(Value::as_str);
    [
        text("group").or(Some(http_route::GROUP)),
        text("kind").or(Some("Gateway")),
        text("namespace").or(namespace),
        text("name"),
        text("sectionName"),
    ]
}

/// What a controller has yet to say.
fn missing(word: &Value, generation: i64) -> Option<String> {
    let conditions = word.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    ["Accepted", "ResolvedRefs"].iter().find_map(|kind| {
        let text = |one: &Value, field: &str| one.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(condition) = conditions.iter().find(|one| text(one, "type") == *kind) else {
            return Some(format!("does not say {kind} of it"));
        };
        let seen = condition.get("observedGeneration").and_then(Value::as_i64).unwrap_or_default();
        if seen < generation {
            return Some("has yet to take over its newest version".into());
        }
        let (reason, message) = (text(condition, "reason"), text(condition, "message"));
        (text(condition, "status") != "True").then(|| format!("does not take it: {reason}: {message}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(generation: i64, status: &Value) -> Led {
        Led::read(&json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": "web", "namespace": "shop", "generation": generation },
            "spec": { "parentRefs": [{ "name": "edge" }], "rules": [{ "backendRefs": [{ "name": "web", "port": 80 }] }] },
            "status": { "parents": status } }))
    }

    fn parent(namespace: &str, conditions: &[(&str, &str, i64)]) -> Value {
        let condition = |(kind, status, seen): &(&str, &str, i64)| json!({ "type": kind, "status": status, "observedGeneration": seen, "reason": "NoMatchingParent", "message": "m" });
        json!({ "parentRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": namespace },
            "controllerName": "example.com/c", "conditions": conditions.iter().map(condition).collect::<Vec<_>>() })
    }

    #[test]
    fn a_route_is_confirmed_once_each_parent_has_taken_its_newest_version() {
        let both = |seen| vec![("Accepted", "True", seen), ("ResolvedRefs", "True", seen)];
        let told = |status: Value| route(3, &status).unconfirmed;
        assert_eq!(told(json!([parent("shop", &both(3))])), None);
        for (status, word) in [
            (json!([]), "no controller has said anything"),
            (json!([parent("other", &both(3))]), "no controller has said anything"),
            (json!([parent("shop", &both(2))]), "has yet to take over"),
            (json!([parent("shop", &both(3)[..1])]), "does not say ResolvedRefs"),
            (json!([parent("shop", &[("Accepted", "False", 3)])]), "NoMatchingParent: m"),
            (json!([parent("shop", &both(3)), parent("shop", &both(1))]), "has yet to take over"),
        ] {
            let reason = told(status.clone()).unwrap_or_default();
            assert!(reason.contains(word), "{reason}; {status}");
        }
    }

    #[test]
    fn backends_are_the_same_with_their_defaults() {
        let of = |backend: Value| {
            let route = json!({ "spec": { "rules": [{ "backendRefs": [backend] }, {}] } });
            backends(route.as_object().expect("a mapping"))
        };
        let short = of(json!({ "name": "web", "port": 80 }));
        assert_eq!(short, of(json!({ "group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1 })));
        assert_ne!(short, of(json!({ "name": "web", "port": 80, "weight": 2 })));
        assert_ne!(short, of(json!({ "name": "web", "port": 81 })));
    }
}
