//! Objects of which a part is there once for each version: the Deployment whose pods serve, and what is of these pods alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::http_route;
use super::kubernetes::{KubernetesSpec, Object, ObjectId};

/// Which of a unit's objects are there once for each version, and which of them lead requests to one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versioned {
    /// The Deployment that each version has a clone of.
    pub deployment: ObjectId,
    /// Its autoscaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaler: Option<ObjectId>,
    /// The disruption budgets of its pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<ObjectId>,
    /// The Services of its pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ObjectId>,
    /// The HTTPRoutes that lead to these Services: they divide requests between versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<ObjectId>,
}

/// The longest name of a Service: a label of DNS (RFC 1035).
const MOST_SERVICE_NAME: usize = 63;
/// What a version's group adds to a name: `-4f1b2c3d`. `-preview` adds no more.
const GROUP_SUFFIX: usize = 9;

/// Why objects can't be divided so: the word and the remedy.
pub type Indivisible = (String, String);

impl Versioned {
    /// Divides objects. `shares`: versions get shares of the requests, and not all or nothing.
    ///
    /// # Errors
    ///
    /// There is not just one Deployment, something else runs pods beside it, or nobody could tell how many pods a share is.
    pub fn of(objects: &[Object], shares: bool) -> Result<(Versioned, u32), Indivisible> {
        let others = objects.iter().find(|object| {
            matches!(
                (object.group(), object.kind()),
                ("apps", "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("", "Pod")
            )
        });
        if let Some(other) = others {
            let message = format!("{} can't run in two versions side by side", other.id());
            return Err((message, "use `rolling`, or put it into an App of its own".into()));
        }
        let mut deployments = objects.iter().filter(|one| (one.group(), one.kind()) == ("apps", "Deployment"));
        let deployment = match (deployments.next(), deployments.next()) {
            (Some(one), None) => one,
            (None, _) => {
                let message = "two versions side by side are two of one Deployment, and there is none".to_owned();
                return Err((message, "add a Deployment, or use `rolling`".into()));
            }
            (Some(one), Some(two)) => {
                let message = format!("{} and {} can't both be there once for each version", one.id(), two.id());
                return Err((message, "put each into an App of its own, or use `rolling`".into()));
            }
        };
        let namespace = deployment.namespace();
        let pods = labels(deployment, "/spec/template/metadata/labels");
        if labels(deployment, "/spec/selector/matchLabels").is_empty() {
            let message = format!("{} selects its pods by no `matchLabels`", deployment.id());
            return Err((message, "add `spec.selector.matchLabels`".into()));
        }
        let beside = |object: &&Object| object.namespace() == namespace;
        let kind = |group: &'static str, kind: &'static str| {
            objects.iter().filter(beside).filter(move |one| (one.group(), one.kind()) == (group, kind))
        };
        if let Some(other) = objects.iter().filter(beside).find(|one| names(one, deployment)) {
            let message =
                format!("{} names {}, of which each version has one of another name", other.id(), deployment.id());
            return Err((
                message,
                "use `rolling`, or leave it out (a HorizontalPodAutoscaler is kept for each version)".into(),
            ));
        }
        let mut scalers = kind("autoscaling", "HorizontalPodAutoscaler").filter(|one| scales(one, deployment));
        let scaler = scalers.next();
        if let Some(other) = scalers.next() {
            let message = format!("{} scales {} beside another", other.id(), deployment.id());
            return Err((message, "leave one autoscaler".into()));
        }
        let replicas = match scaler {
            Some(scaler) => number(scaler, "/spec/minReplicas").unwrap_or(1).max(1),
            None => number(deployment, "/spec/replicas").unwrap_or(1),
        };
        let budgets = kind("policy", "PodDisruptionBudget");
        let services = kind("", "Service").filter(|one| within(&labels(one, "/spec/selector"), &pods));
        let services: Vec<ObjectId> = services.map(Object::id).collect();
        let routes = routes(objects, &services)?;
        if !shares || !routes.is_empty() {
            room_beside(objects, &services, shares)?;
        }
        if let Some(scaler) = scaler.filter(|_| shares && routes.is_empty()) {
            let message =
                format!("{} and a canary by shares of pods would both say how many pods there are", scaler.id());
            let remedy = "let an HTTPRoute lead to its Service, use `blueGreen`, or leave the autoscaler out";
            return Err((message, remedy.into()));
        }
        let versioned = Versioned {
            deployment: deployment.id(),
            scaler: scaler.map(Object::id),
            budgets: budgets
                .filter(|one| within(&labels(one, "/spec/selector/matchLabels"), &pods))
                .map(Object::id)
                .collect(),
            services,
            routes,
        };
        Ok((versioned, replicas))
    }

    /// Whether each version has an object of its own in the place of this one.
    pub fn is_cloned(&self, id: &ObjectId) -> bool {
        self.deployment == *id || self.scaler.as_ref() == Some(id) || self.budgets.contains(id)
    }

    /// Whether an object leads requests to the version that has them.
    pub fn is_routed(&self, id: &ObjectId) -> bool {
        self.services.contains(id) || self.routes.contains(id)
    }
}

/// Refuses Services beside which no second one has a name: `NAME-preview` with blue-green, `NAME-GROUP` with weights by a route.
fn room_beside(objects: &[Object], services: &[ObjectId], shares: bool) -> Result<(), Indivisible> {
    let longest = MOST_SERVICE_NAME - GROUP_SUFFIX;
    for service in services {
        if service.name.len() > longest {
            let count = service.name.len();
            let message =
                format!("{service} has a name of {count} characters, and one beside it needs {GROUP_SUFFIX} more");
            return Err((message, format!("give it a name of {longest} characters at most, or use `rolling`")));
        }
        let preview = ObjectId { name: format!("{}-preview", service.name), ..service.clone() };
        if !shares && objects.iter().any(|object| object.id() == preview) {
            let message = format!("{preview} is what `blueGreen` makes beside {service}");
            return Err((message, "remove it from the objects, or give it another name".into()));
        }
    }
    Ok(())
}

/// The HTTPRoutes that lead to these Services.
fn routes(objects: &[Object], services: &[ObjectId]) -> Result<Vec<ObjectId>, Indivisible> {
    let mut routes = Vec::new();
    for route in objects.iter().filter(|one| http_route::leads_to_any(one, services)) {
        if let Some(message) = http_route::too_full(route, services) {
            return Err((message, "divide the rule, or use `rolling`".into()));
        }
        routes.push(route.id());
    }
    Ok(routes)
}

impl KubernetesSpec {
    /// What makes two groups of pods different ones: their Deployment, whatever its number of replicas, and values of secrets.
    pub(super) fn of_group(&self) -> Option<Value> {
        let versioned = self.versioned.as_ref()?;
        let deployment = self.objects.iter().find(|object| object.id() == versioned.deployment)?;
        let mut fields = deployment.fields().clone();
        if let Some(Value::Object(spec)) = fields.get_mut("spec") {
            spec.remove("replicas");
        }
        Some(json!({ "place": self.place, "deployment": fields, "secrets": self.secrets }))
    }

    /// What leads requests to one version or another, apart from which.
    pub(super) fn routing(&self) -> Option<Vec<&Map<String, Value>>> {
        let versioned = self.versioned.as_ref().filter(|versioned| !versioned.services.is_empty())?;
        let routed = self.objects.iter().filter(|object| versioned.is_routed(&object.id()));
        Some(routed.map(Object::fields).collect())
    }
}

fn labels(object: &Object, pointer: &str) -> BTreeMap<String, String> {
    let found = at(object, pointer).and_then(Value::as_object);
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    found.into_iter().flatten().filter_map(text).collect()
}

fn within(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn scales(scaler: &Object, deployment: &Object) -> bool {
    let target = |field: &str| at(scaler, &format!("/spec/scaleTargetRef/{field}")).and_then(Value::as_str);
    target("kind") == Some("Deployment") && target("name") == Some(deployment.name())
}

/// Whether another object than its autoscaler acts on a Deployment by its name: the autoscalers of KEDA, VerticalPodAutoscalers.
fn names(object: &Object, deployment: &Object) -> bool {
    let is_scaler = (object.group(), object.kind()) == ("autoscaling", "HorizontalPodAutoscaler");
    let targets = ["/spec/scaleTargetRef", "/spec/targetRef"].into_iter().filter_map(|pointer| at(object, pointer));
    let mut names = targets.map(|target| {
        let text = |field: &str| target.get(field).and_then(Value::as_str);
        // A ScaledObject that names no kind means a Deployment.
        text("kind").unwrap_or("Deployment") == "Deployment" && text("name") == Some(deployment.name())
    });
    !is_scaler && names.any(|named| named)
}

fn number(object: &Object, pointer: &str) -> Option<u32> {
    u32::try_from(at(object, pointer)?.as_u64()?).ok()
}

fn at<'a>(object: &'a Object, pointer: &str) -> Option<&'a Value> {
    let (first, rest) = pointer.strip_prefix('/')?.split_once('/')?;
    object.fields().get(first)?.pointer(&format!("/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        Object::try_from(value).expect("it is an object")
    }

    fn deployment(name: &str) -> Object {
        object(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
            "spec": { "replicas": 3, "selector": { "matchLabels": { "app": name } },
                "template": { "metadata": { "labels": { "app": name, "tier": "front" } } } } }))
    }

    fn service(name: &str, selector: &Value) -> Object {
        object(
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": { "selector": selector } }),
        )
    }

    fn scaler(least: &Value) -> Object {
        object(
            json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web" },
            "spec": { "minReplicas": least, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } } }),
        )
    }

    #[test]
    fn what_is_of_the_pods_is_found() {
        let objects = [
            deployment("web"),
            service("web", &json!({ "app": "web" })),
            service("other", &json!({ "app": "other" })),
            service("none", &json!(null)),
        ];
        let (versioned, replicas) = Versioned::of(&objects, false).expect("there is one Deployment");
        assert_eq!((replicas, versioned.services.len()), (3, 1));
        assert!(versioned.is_routed(&objects[1].id()) && versioned.is_cloned(&objects[0].id()));
        assert!(!versioned.is_routed(&objects[2].id()) && !versioned.is_routed(&objects[3].id()));
    }

    #[test]
    fn an_autoscaler_s_lower_bound_is_the_number() {
        for (least, expected) in [(json!(2), 2), (json!(0), 1), (json!(null), 1)] {
            let (versioned, replicas) =
                Versioned::of(&[deployment("web"), scaler(&least)], false).expect("it is divisible");
            assert_eq!((replicas, versioned.scaler.is_some()), (expected, true), "{least}");
        }
    }

    #[test]
    fn an_http_route_divides_where_it_leads_to_the_pods_and_an_autoscaler_of_shares_needs_one() {
        let route = |service: &str| {
            object(
                json!({ "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "HTTPRoute", "metadata": { "name": "web" },
                "spec": { "rules": [ { "backendRefs": [ { "name": service } ] } ] } }),
            )
        };
        let objects =
            |led: &str| [deployment("web"), service("web", &json!({ "app": "web" })), scaler(&json!(2)), route(led)];
        let (versioned, _) = Versioned::of(&objects("web"), true).expect("it is divisible");
        assert!(versioned.routes.len() == 1 && versioned.is_routed(&objects("web")[3].id()));
        assert!(Versioned::of(&objects("other"), false).is_ok_and(|(whole, _)| whole.routes.is_empty()));
        let (message, remedy) =
            Versioned::of(&objects("other"), true).expect_err("nobody says how many pods there are");
        assert!(message.contains("HorizontalPodAutoscaler") && remedy.contains("HTTPRoute"), "{message}; {remedy}");
    }

    #[test]
    fn what_acts_on_the_deployment_by_its_name_is_refused() {
        let by = |version: &str, kind: &str, spec: Value| {
            object(json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "by" }, "spec": spec }))
        };
        let web = json!({ "kind": "Deployment", "name": "web" });
        for (other, refused) in [
            (by("keda.sh/v1alpha1", "ScaledObject", json!({ "scaleTargetRef": { "name": "web" } })), true),
            (
                by(
                    "keda.sh/v1alpha1",
                    "ScaledObject",
                    json!({ "scaleTargetRef": { "kind": "StatefulSet", "name": "web" } }),
                ),
                false,
            ),
            (by("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", json!({ "targetRef": web })), true),
            (
                by(
                    "autoscaling.k8s.io/v1",
                    "VerticalPodAutoscaler",
                    json!({ "targetRef": { "kind": "Deployment", "name": "db" } }),
                ),
                false,
            ),
            (by("autoscaling/v2", "HorizontalPodAutoscaler", json!({ "scaleTargetRef": web })), false),
        ] {
            let found = Versioned::of(&[deployment("web"), other.clone()], false);
            assert_eq!(
                found.as_ref().err().is_some_and(|(message, _)| message.contains("names")),
                refused,
                "{}",
                other.id()
            );
        }
    }

    #[test]
    fn a_service_needs_room_for_another_beside_it() {
        let selector = json!({ "app": "web" });
        let named = |names: &[&str]| -> Vec<Object> {
            [deployment("web")].into_iter().chain(names.iter().map(|name| service(name, &selector))).collect()
        };
        let (long, longer) = ("s".repeat(54), "s".repeat(55));
        for (objects, shares, word) in [
            (named(&["web", &long]), false, None),
            (named(&[&longer]), false, Some("a name of 55 characters")),
            (named(&[&longer]), true, None),
            (named(&["web-preview"]), false, None),
            (
                vec![deployment("web"), service("web", &selector), service("web-preview", &json!(null))],
                false,
                Some("blueGreen"),
            ),
            (vec![deployment("web"), service("web", &selector), service("web-preview", &json!(null))], true, None),
        ] {
            let found = Versioned::of(&objects, shares).err().map(|(message, _)| message);
            assert_eq!(found.is_some(), word.is_some(), "{found:?}");
            assert!(word.is_none_or(|word| found.is_some_and(|message| message.contains(word))));
        }
    }

    #[test]
    fn what_is_not_one_deployment_is_refused_with_a_word() {
        let set = object(json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" } }));
        for (objects, word) in [
            (vec![], "there is none"),
            (vec![deployment("a"), deployment("b")], "can't both"),
            (vec![deployment("a"), set], "StatefulSet.apps db"),
        ] {
            let (message, remedy) = Versioned::of(&objects, false).expect_err("it is indivisible");
            assert!(message.contains(word) && remedy.contains("rolling"), "{message}; {remedy}");
        }
    }
}
