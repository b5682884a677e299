//! HTTPRoutes of the Gateway API, as far as they lead requests to Services.

use serde_json::{Map, Value};

use super::kubernetes::{Object, ObjectId};

/// The API group of HTTPRoutes.
pub const GROUP: &str = "gateway.networking.k8s.io";
/// Their kind.
pub const KIND: &str = "HTTPRoute";
/// The most backends of a rule.
pub const MOST_BACKENDS: usize = 16;
/// The greatest weight of a backend.
pub const MOST_WEIGHT: u32 = 1_000_000;

/// Whether an object is one.
pub fn is_route(object: &Object) -> bool {
    (object.group(), object.kind()) == (GROUP, KIND)
}

/// The backends of each rule of a route, in their order.
pub fn rules(route: &Map<String, Value>) -> impl Iterator<Item = &[Value]> {
    let rules = route.get("spec").and_then(|spec| spec.get("rules")).and_then(Value::as_array);
    rules.into_iter().flatten().map(|rule| {
        let backends = rule.get("backendRefs").and_then(Value::as_array);
        backends.map(Vec::as_slice).unwrap_or_default()
    })
}

/// Whether a backend leads to a Service. `namespace` is the route's own.
pub fn leads_to(backend: &Value, namespace: Option<&str>, service: &ObjectId) -> bool {
    let text = |field: &str| backend.get(field).and_then(Value::as_str);
    text("group").unwrap_or_default().is_empty()
        && text("kind").unwrap_or("Service") == "Service"
        && text("name") == Some(&service.name)
        && text("namespace").or(namespace) == service.namespace.as_deref()
}

/// What share of a rule's requests a backend gets, beside those of the others.
pub fn weight(backend: &Value) -> u32 {
    let weight = backend.get("weight").and_then(Value::as_u64);
    weight.map_or(1, |weight| u32::try_from(weight).unwrap_or(MOST_WEIGHT))
}

/// Why a route that leads to some of these Services can't lead to two versions of them.
pub fn too_full(route: &Object, services: &[ObjectId]) -> Option<String> {
    let namespace = route.namespace();
    let led = |backend: &&Value| services.iter().any(|service| leads_to(backend, namespace, service));
    let most = rules(route.fields()).map(|rule| (rule.len(), rule.iter().filter(led).count()));
    let most = most.filter(|(_, led)| *led > 0).map(|(all, led)| all + led).max()?;
    (most > MOST_BACKENDS).then(|| {
        format!(
            "a rule of {} would have {most} backends with two versions, and {MOST_BACKENDS} is the most",
            route.id()
        )
    })
}

/// Whether a route leads to one of these Services.
pub fn leads_to_any(route: &Object, services: &[ObjectId]) -> bool {
    let namespace = route.namespace();
    let led = |backend: &Value| services.iter().any(|service| leads_to(backend, namespace, service));
    is_route(route) && rules(route.fields()).any(|rule| rule.iter().any(led))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(backends: &Value) -> Object {
        let value = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": "web", "namespace": "shop" }, "spec": { "rules": [ { "backendRefs": backends } ] } });
        Object::try_from(value).expect("it is an object")
    }

    fn service(namespace: &str, name: &str) -> ObjectId {
        ObjectId { group: String::new(), kind: "Service".into(), namespace: Some(namespace.into()), name: name.into() }
    }

    #[test]
    fn a_backend_is_a_service_of_the_route_s_namespace_unless_it_says_otherwise() {
        for (backend, leads) in [
            (json!({ "name": "web", "port": 80 }), true),
            (json!({ "group": "", "kind": "Service", "name": "web", "namespace": "shop" }), true),
            (json!({ "name": "web", "namespace": "other" }), false),
            (json!({ "name": "other" }), false),
            (json!({ "group": "example.com", "kind": "Bucket", "name": "web" }), false),
        ] {
            assert_eq!(leads_to_any(&route(&json!([backend])), &[service("shop", "web")]), leads, "{backend}");
        }
        assert!(leads_to_any(&route(&json!([{ "name": "web", "namespace": "other" }])), &[service("other", "web")]));
    }

    #[test]
    fn a_rule_has_room_for_two_versions_or_is_refused() {
        let backends = |others: usize| -> Value {
            (0..others)
                .map(|number| json!({ "name": format!("other-{number}") }))
                .chain([json!({ "name": "web" })])
                .collect()
        };
        let services = [service("shop", "web")];
        assert_eq!(too_full(&route(&backends(14)), &services), None);
        assert!(too_full(&route(&backends(15)), &services).is_some_and(|why| why.contains("17 backends")));
        assert_eq!(too_full(&route(&backends(15)), &[service("shop", "none")]), None);
        assert_eq!((weight(&json!({})), weight(&json!({ "weight": 0 }))), (1, 0));
    }
}
