//! How a route divides requests between versions: each Service leads to one of them, and beside it stands another for each of the
//! others that has a share.
//!
//! A Service never changes where it leads while a route still gives it a share that is not meant for that version: the route goes
//! through weights with the Services as they are first, and only then do they change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::parts::made;
use crate::adapters::platform::kubernetes::compose::{inner, member};
use crate::adapters::platform::kubernetes::labels;
use crate::domain::workload::http_route::{self, MOST_BACKENDS, MOST_WEIGHT};
use crate::domain::workload::kubernetes::{Object, ObjectId};

/// The weight of each version that has one, by the label of its pods.
pub type Weights = BTreeMap<String, u32>;

/// What a Service's requests are divided into: itself (`None`), or the one beside it for a version.
pub type Division = Vec<(Option<String>, u32)>;

/// What a Service beside another is called, that leads to one version.
pub fn beside_name(service: &str, group: &str) -> String {
    format!("{service}-{group}")
}

/// The version that Services lead to in the end: the one that they lead to now if it has a share, else the one with the most.
pub fn lead<'a>(weights: &Weights, now: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let kept = now.into_iter().find(|group| weights.contains_key(*group)).map(str::to_owned);
    kept.or_else(|| weights.iter().max_by_key(|(_, weight)| **weight).map(|(group, _)| group.clone()))
}

/// How requests to a Service are divided in the end.
pub fn last(weights: &Weights, lead: Option<&str>) -> Division {
    let own = lead.and_then(|lead| weights.get(lead)).copied().unwrap_or(1);
    let others = weights.iter().filter(|(group, _)| Some(group.as_str()) != lead);
    [(None, own)].into_iter().chain(others.map(|(group, weight)| (Some(group.clone()), *weight))).collect()
}

/// How they are divided before that, while the Service leads where it does now and these stand beside it; `None`: nothing has to come
/// before.
pub fn through(
    weights: &Weights,
    lead: Option<&str>,
    now: Option<&str>,
    beside: &BTreeSet<String>,
) -> Option<Division> {
    let moves = now.is_some() && now != lead;
    let ends = beside.iter().any(|group| !weights.contains_key(group));
    if weights.is_empty() || !(moves || ends) {
        return None;
    }
    let own = now.or(lead);
    let weight = own.and_then(|own| weights.get(own)).copied().unwrap_or_default();
    let others = weights.iter().filter(|(group, _)| Some(group.as_str()) != own);
    let others = others.map(|(group, weight)| (Some(group.clone()), *weight));
    let ending = beside.iter().filter(|group| !weights.contains_key(*group) && Some(group.as_str()) != own);
    let ending = ending.map(|group| (Some(group.clone()), 0));
    Some([(None, weight)].into_iter().chain(others).chain(ending).collect())
}

/// A route whose backends are divided, with what it says of where its requests go.
///
/// # Errors
///
/// A rule would have too many backends.
pub fn route(object: &Object, divided: &BTreeMap<ObjectId, Division>, record: &str) -> Result<Object, String> {
    let mut body = Value::Object(object.fields().clone());
    inner(member(&mut body, "metadata"), "annotations").insert(labels::TRAFFIC.into(), record.into());
    let namespace = object.namespace();
    let rules = body.pointer_mut("/spec/rules").and_then(Value::as_array_mut).into_iter().flatten();
    for backends in rules.filter_map(|rule| rule.get_mut("backendRefs")?.as_array_mut()) {
        let of = |backend: &Value| {
            let found = divided.iter().find(|(service, _)| http_route::leads_to(backend, namespace, service));
            found.map(|(_, division)| division)
        };
        let next = weigh(backends, &of);
        if next.len() > MOST_BACKENDS {
            let (id, count) = (object.id(), next.len());
            return Err(format!("a rule of {id} would have {count} backends, and {MOST_BACKENDS} is the most"));
        }
        *backends = next;
    }
    Ok(made(object, body))
}

/// The backends of a rule, those that lead to a divided Service divided, all others with the share that they had.
fn weigh<'d>(backends: &[Value], of: &dyn Fn(&Value) -> Option<&'d Division>) -> Vec<Value> {
    let divided =
        |backend: &Value| of(backend).filter(|division| division.len() > 1 && http_route::weight(backend) > 0);
    // All of them divide the same whole.
    let Some(division) = backends.iter().find_map(divided) else { return backends.to_vec() };
    let whole: u64 = division.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let alone = backends.len() == 1;
    let mut all: Vec<(Value, u64)> = Vec::new();
    for backend in backends {
        let weight = u64::from(http_route::weight(backend));
        let Some(division) = divided(backend) else {
            all.push((backend.clone(), weight * whole));
            continue;
        };
        for (group, share) in division {
            let mut one = backend.clone();
            if let (Some(group), Some(name)) = (group, backend.get("name").and_then(Value::as_str)) {
                one["name"] = beside_name(name, group).into();
            }
            all.push((one, u64::from(*share) * if alone { 1 } else { weight }));
        }
    }
    let weights = fit(all.iter().map(|(_, weight)| *weight).collect());
    let weighed = all.into_iter().zip(weights).map(|((mut one, _), weight)| {
        one["weight"] = weight.into();
        one
    });
    weighed.collect()
}

/// The same shares in weights that a backend can have. What has a share keeps one.
fn fit(weights: Vec<u64>) -> Vec<u64> {
    let most = u64::from(MOST_WEIGHT);
    if weights.iter().all(|weight| *weight <= most) {
        return weights;
    }
    let divisor = weights.iter().copied().filter(|weight| *weight > 0).reduce(gcd).unwrap_or(1);
    let greatest = weights.iter().copied().max().unwrap_or(1) / divisor;
    let scaled = |weight: u64| match greatest <= most {
        true => weight / divisor,
        false => (weight / divisor * most / greatest).max(u64::from(weight > 0)),
    };
    weights.into_iter().map(scaled).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A second Service beside one, within the cluster, whatever the first one is. The more it is like the first, the less a gateway
/// treats it otherwise.
pub fn beside(object: &Object, group: &str) -> Object {
    let fields = object.fields();
    let spec = fields.get("spec").and_then(Value::as_object);
    let mut kept = serde_json::Map::new();
    for field in ["selector", "ports", "sessionAffinity", "sessionAffinityConfig", "ipFamilies", "ipFamilyPolicy"] {
        if let Some(value) = spec.and_then(|spec| spec.get(field)) {
            kept.insert(field.into(), value.clone());
        }
    }
    for port in kept.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        port.as_object_mut().map(|port| port.remove("nodePort"));
    }
    inner(&mut kept, "selector").insert(labels::GROUP.into(), group.into());
    let mut metadata = json!({ "name": beside_name(object.name(), group) });
    for field in ["namespace", "labels", "annotations"] {
        if let Some(value) = fields.get("metadata").and_then(|metadata| metadata.get(field)) {
            metadata[field] = value.clone();
        }
    }
    let mut body = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": kept });
    let metadata = member(&mut body, "metadata");
    inner(metadata, "labels").insert(labels::GROUP.into(), group.into());
    inner(metadata, "annotations").insert(labels::BESIDE.into(), object.name().into());
    made(object, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(all: &[(&str, u32)]) -> Weights {
        all.iter().map(|(group, weight)| ((*group).to_owned(), *weight)).collect()
    }

    fn groups(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|group| (*group).to_owned()).collect()
    }

    fn told(division: Option<Division>) -> String {
        let one = |(group, weight): (Option<String>, u32)| format!("{}:{weight}", group.as_deref().unwrap_or("web"));
        division.map_or("-".into(), |all| all.into_iter().map(one).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn requests_go_over_by_weights_before_a_service_does() {
        for (name, weights, now, stand_beside, before, end) in [
            ("install", weights(&[("a", 100)]), None, groups(&[]), "-", "web:100"),
            ("a canary begins", weights(&[("a", 90), ("b", 10)]), Some("a"), groups(&[]), "-", "web:90 b:10"),
            ("its next step", weights(&[("a", 50), ("b", 50)]), Some("a"), groups(&["b"]), "-", "web:50 b:50"),
            ("promoted", weights(&[("b", 100)]), Some("a"), groups(&["b"]), "web:0 b:100", "web:100"),
            ("the Service has gone over", weights(&[("b", 100)]), Some("b"), groups(&["b"]), "-", "web:100"),
            ("aborted", weights(&[("a", 100)]), Some("a"), groups(&["b"]), "web:100 b:0", "web:100"),
            (
                "another canary",
                weights(&[("a", 90), ("c", 10)]),
                Some("a"),
                groups(&["b"]),
                "web:90 c:10 b:0",
                "web:90 c:10",
            ),
            ("back from both", weights(&[("z", 100)]), Some("a"), groups(&["b"]), "web:0 z:100 b:0", "web:100"),
            ("nothing serves", weights(&[]), Some("a"), groups(&["b"]), "-", "web:1"),
        ] {
            let lead = lead(&weights, now);
            assert_eq!(told(through(&weights, lead.as_deref(), now, &stand_beside)), before, "{name}");
            assert_eq!(told(Some(last(&weights, lead.as_deref()))), end, "{name}");
        }
    }

    fn web() -> ObjectId {
        ObjectId { group: String::new(), kind: "Service".into(), namespace: None, name: "web".into() }
    }

    fn divide(rules: &Value, division: Division) -> Result<Value, String> {
        let object = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": "web" }, "spec": { "rules": rules } });
        let object = Object::try_from(object).expect("it is an object");
        let divided = route(&object, &[(web(), division)].into(), "{}")?;
        Ok(divided.fields()["spec"]["rules"].clone())
    }

    #[test]
    fn each_rule_is_divided_and_others_keep_their_share() {
        let filters = json!([{ "type": "RequestHeaderModifier" }]);
        let rules = json!([
            { "matches": [{ "path": { "value": "/a" } }], "backendRefs": [{ "name": "web", "port": 80, "filters": filters }] },
            { "backendRefs": [{ "name": "web", "port": 80, "weight": 3 }, { "name": "other", "port": 80 }] },
            { "filters": [{ "type": "RequestRedirect" }] },
            { "backendRefs": [{ "name": "web", "port": 80, "weight": 0 }, { "name": "other", "port": 80 }] },
        ]);
        let divided = divide(&rules, vec![(None, 90), (Some("b".into()), 10)]).expect("there is room");
        assert_eq!(
            divided[0]["backendRefs"],
            json!([
                { "name": "web", "port": 80, "filters": filters, "weight": 90 },
                { "name": "web-b", "port": 80, "filters": filters, "weight": 10 },
            ])
        );
        assert_eq!(divided[0]["matches"], rules[0]["matches"]);
        assert_eq!(
            divided[1]["backendRefs"],
            json!([
                { "name": "web", "port": 80, "weight": 270 }, { "name": "web-b", "port": 80, "weight": 30 },
                { "name": "other", "port": 80, "weight": 100 },
            ])
        );
        assert_eq!((&divided[2], &divided[3]), (&rules[2], &rules[3]));
        assert_eq!(divide(&rules, vec![(None, 100)]), Ok(rules), "undivided it is as in Git");
    }

    #[test]
    fn weights_stay_below_the_greatest_and_backends_below_the_most() {
        for (weight, expected) in [(1_000_000, [990_000, 10_000, 1]), (999_999, [1_000_000, 10_101, 1])] {
            let rules =
                json!([{ "backendRefs": [{ "name": "web", "weight": weight }, { "name": "other", "weight": 1 }] }]);
            let divided = divide(&rules, vec![(None, 99), (Some("b".into()), 1)]).expect("there is room");
            let backends = divided[0]["backendRefs"].as_array().expect("a list");
            let weights: Vec<_> = backends.iter().map(|one| one["weight"].clone()).collect();
            assert_eq!(weights, expected);
        }
        let full: Vec<Value> = (0..16).map(|_| json!({ "name": "web" })).collect();
        let refused = divide(&json!([{ "backendRefs": full }]), vec![(None, 1), (Some("b".into()), 1)]);
        assert!(refused.is_err_and(|why| why.contains("32 backends")));
    }

    #[test]
    fn what_stands_beside_a_service_is_like_it() {
        let web = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "annotations": { "a": "b" } },
            "spec": { "type": "NodePort", "selector": { "app": "web" }, "ports": [{ "port": 80, "nodePort": 30000 }] } });
        let second = beside(&Object::try_from(web).expect("it is an object"), "abc");
        assert_eq!(second.name(), "web-abc");
        assert_eq!(
            second.fields()["spec"],
            json!({ "selector": { "app": "web", "trimtab.dev/group": "abc" }, "ports": [{ "port": 80 }] })
        );
        assert_eq!(second.fields()["metadata"]["annotations"], json!({ "a": "b", "trimtab.dev/beside": "web" }));
    }
}
