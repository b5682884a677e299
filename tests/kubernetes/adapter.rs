//! The adapter alone against a real API server: what it applies, what it refuses, what it sees and what it leaves alone.

use std::sync::Arc;

use serde_json::{Value, json};
use trimtab::adapters::platform::kubernetes::{Connection, KubernetesPlatform};
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::id::{Epoch, UnitId};
use trimtab::domain::observed::{ObservedGroup, Seen};
use trimtab::ports::platform::{EnsureGroup, Platform, PlatformError};
use trimtab::secrets::value::{SecretBytes, SecretValues};

use super::control_plane::ControlPlane;
use super::kubectl::kubectl;
use super::proxy::Proxy;
use crate::support::{PATIENCE, eventually_async};

/// A control plane, an adapter that speaks to it, and kubectl beside it.
pub(super) struct Bed {
    pub(super) control_plane: ControlPlane,
    pub(super) platform: KubernetesPlatform,
}

impl Bed {
    /// `None` where the cluster's programs are not there, which is said.
    pub(super) fn start() -> Option<Bed> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if std::env::var_os("TRIMTAB_BED_KUBERNETES").is_none() {
            eprintln!("skipped: no Kubernetes cluster (tests/run brings it up, as root)");
            return None;
        }
        let control_plane = ControlPlane::start(&[]);
        let platform = connect(&control_plane);
        Some(Bed { control_plane, platform })
    }

    /// Another daemon's adapter, which asks the server itself.
    pub(super) fn another(&self) -> KubernetesPlatform {
        connect(&self.control_plane)
    }

    /// The same, what the adapter asks told by a proxy.
    pub(super) async fn behind_a_proxy() -> Option<(Bed, Proxy)> {
        let bed = Bed::start()?;
        let proxy = Proxy::before(bed.control_plane.kubeconfig()).await;
        let through = Connection { kubeconfig: Some(proxy.kubeconfig()), ..connection(&bed.control_plane) };
        Some((Bed { platform: KubernetesPlatform::new(through, "test"), ..bed }, proxy))
    }

    pub(super) fn kubectl(&self, arguments: &[&str], input: &Value) -> Result<String, String> {
        kubectl(self.control_plane.kubeconfig(), arguments, &input.to_string())
    }

    #[track_caller]
    pub(super) fn must(&self, arguments: &[&str]) -> String {
        self.kubectl(arguments, &Value::Null).unwrap()
    }

    pub(super) async fn ensure(&self, epoch: u64, request: &EnsureGroup) -> Result<(), PlatformError> {
        self.platform.ensure_group(Epoch(epoch), request).await
    }

    /// The unit's only group, once it is as asked for.
    pub(super) async fn until(
        &self,
        request: &EnsureGroup,
        what: &str,
        done: impl Fn(&ObservedGroup) -> bool,
    ) -> ObservedGroup {
        eventually_async(PATIENCE, what, || async {
            match self.platform.observe(&request.desired.unit).await {
                Seen::Known(groups) => match groups.first() {
                    Some(group) if done(group) => Ok(group.clone()),
                    other => Err(format!("{other:?}")),
                },
                Seen::Unknown(reason) => Err(reason),
            }
        })
        .await
    }

    /// Everything asked for is there, ready, and nothing is left over.
    pub(super) async fn until_right(&self, request: &EnsureGroup) -> ObservedGroup {
        self.until(request, "all objects are as they shall be", |group| {
            group.group == request.group
                && group.replicas == request.replicas
                && group.ready(u32::MAX) == request.replicas
        })
        .await
    }
}

fn connection(control_plane: &ControlPlane) -> Connection {
    Connection {
        name: "test".into(),
        kubeconfig: Some(control_plane.kubeconfig().to_owned()),
        context: None,
        allow_exec: false,
        at_once: 16,
        namespaces: Vec::new(),
    }
}

fn connect(control_plane: &ControlPlane) -> KubernetesPlatform {
    KubernetesPlatform::new(connection(control_plane), "test")
}

fn unit(app: &str) -> UnitId {
    format!("{app}/production/default").parse().unwrap()
}

pub(super) fn desired(app: &str, version: &str, namespace: &str, objects: Value, settings: &Value) -> DesiredUnit {
    let mut kubernetes = json!({ "place": { "cluster": "test", "namespace": namespace }, "objects": objects });
    for (key, value) in settings.as_object().into_iter().flatten() {
        kubernetes[key] = value.clone();
    }
    let count = kubernetes["objects"].as_array().unwrap().len();
    serde_json::from_value(json!({
        "unit": unit(app),
        "version": version,
        "workload": { "kubernetes": kubernetes },
        "replicas": count,
        "health": { "within": "1m" },
        "strategy": { "recreate": { "hold": "1s" } },
        "rollback": { "on": [], "window": "1s" },
        "prune": true,
    }))
    .unwrap()
}

pub(super) fn group(desired: DesiredUnit) -> EnsureGroup {
    EnsureGroup {
        rendered: desired.digest(),
        group: desired.group_id(0),
        restarts: 0,
        replicas: desired.replicas,
        artifact: None,
        secrets: SecretValues::new(),
        desired,
    }
}

pub(super) fn request(app: &str, version: &str, namespace: &str, objects: Value) -> EnsureGroup {
    group(desired(app, version, namespace, objects, &Value::Null))
}

pub(super) fn config(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "key": value } })
}

pub(super) fn refused(result: Result<(), PlatformError>) -> String {
    match result {
        Err(PlatformError::Refused { reason, .. } | PlatformError::Wrong { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_applied_healed_replaced_and_removed() {
    let Some(bed) = Bed::start() else { return };
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } });
    let missing = refused(bed.ensure(1, &request("web", "1", "nowhere", json!([config("a", "1")]))).await);
    assert!(missing.contains("namespace nowhere is not there"), "{missing}");

    // The namespace comes with the objects; all is seen at once, and again by who knows nothing.
    let first = request("web", "1", "shop", json!([config("a", "1"), config("b", "1"), namespace, service]));
    bed.ensure(2, &first).await.unwrap();
    let seen = bed.until_right(&first).await;
    assert_eq!((seen.version.as_str(), seen.instances[0].id.as_str()), ("1", "ConfigMap/a"));
    let version = |bed: &Bed, object: &str| {
        bed.must(&["get", "-n", "shop", object, "-o", "jsonpath={.metadata.resourceVersion}"])
    };
    let before = version(&bed, "configmap/a");
    bed.ensure(2, &first).await.unwrap();
    assert_eq!(version(&bed, "configmap/a"), before, "what is right is not sent again");
    let another = bed.another();
    eventually_async(PATIENCE, "another adapter finds it", || async {
        match another.observe(&unit("web")).await {
            Seen::Known(groups) if groups.first() == Some(&seen) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(another.epoch().await.unwrap(), Epoch(2));

    // Whoever was replaced is refused.
    assert!(matches!(bed.ensure(1, &first).await, Err(PlatformError::Stale { .. })));

    // An edit is seen with its author, and healed; a deletion too.
    bed.must(&["patch", "-n", "shop", "configmap/a", "--type=merge", "-p", r#"{"data":{"key":"edited"}}"#]);
    let drifted = bed.until(&first, "the edit is seen", |group| group.replicas == 3).await;
    let message = drifted.instances[0].message.clone().unwrap();
    assert!(message.contains("kubectl-patch changed .data.key"), "{message}");
    bed.ensure(2, &first).await.unwrap();
    bed.until_right(&first).await;
    assert_eq!(bed.must(&["get", "-n", "shop", "configmap/a", "-o", "jsonpath={.data.key}"]), "1");
    bed.must(&["delete", "-n", "shop", "configmap/b"]);
    bed.until(&first, "the deletion is seen", |group| group.replicas == 3).await;
    bed.ensure(2, &first).await.unwrap();
    bed.until_right(&first).await;

    // An edit that nobody saw, since no adapter ran then, is found by the next one.
    drop(another);
    bed.must(&["patch", "-n", "shop", "configmap/a", "--type=merge", "-p", r#"{"data":{"key":"unseen"}}"#]);
    let another = bed.another();
    another.expects(&[Arc::new(first.desired.clone())]);
    eventually_async(PATIENCE, "the edit that nobody saw is found", || async {
        match another.observe(&unit("web")).await {
            Seen::Known(groups) if groups.first().is_some_and(|group| group.replicas == 3) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    another.ensure_group(Epoch(2), &first).await.unwrap();
    bed.until_right(&first).await;
    assert_eq!(bed.must(&["get", "-n", "shop", "configmap/a", "-o", "jsonpath={.data.key}"]), "1");

    // Another tool's fields are not taken, and it is named.
    let theirs = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "shop" }, "data": { "key": "helm" } });
    bed.kubectl(&["apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-"], &theirs).unwrap();
    bed.until(&first, "the other tool is seen", |group| group.replicas == 3).await;
    let conflict = refused(bed.ensure(2, &first).await);
    assert!(conflict.contains("ConfigMap/a") && conflict.contains("helm has .data.key"), "{conflict}");
    bed.must(&["delete", "-n", "shop", "configmap/a"]);

    // The next group has an object less, which goes once the rest is well.
    let shorter = json!([config("a", "2"), first.desired_object("Namespace"), first.desired_object("Service")]);
    let second = request("web", "2", "shop", shorter);
    bed.ensure(3, &second).await.unwrap();
    bed.until_right(&second).await;
    assert!(bed.kubectl(&["get", "-n", "shop", "configmap/b"], &Value::Null).unwrap_err().contains("not found"));

    // Everything goes, the parent last. Nothing ends a namespace here, as there are no controllers: it is left out before.
    let third = request("web", "3", "shop", json!([config("a", "2"), second.desired_object("Service")]));
    bed.must(&["label", "namespace", "shop", "trimtab.dev/unit-"]);
    bed.ensure(3, &third).await.unwrap();
    bed.until_right(&third).await;
    assert_eq!(
        bed.must(&["get", "namespace", "shop", "-o", "jsonpath={.status.phase}"]),
        "Active",
        "it lost our label"
    );
    bed.platform.retire_group(Epoch(3), &third.desired.unit, &third.group).await.unwrap();
    eventually_async(PATIENCE, "all is gone", || async {
        match bed.platform.observe(&third.desired.unit).await {
            Seen::Known(groups) if groups.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let left = bed.must(&["get", "-n", "shop", "configmaps,services", "-o", "name"]);
    assert_eq!(left.lines().filter(|line| !line.contains("kube-root")).count(), 0, "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_others_is_taken_without_consent() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    bed.must(&["create", "-n", "shop", "configmap", "mine", "--from-literal=key=old"]);
    let wanted = request("web", "1", "shop", json!([config("mine", "new")]));
    let reason = refused(bed.ensure(1, &wanted).await);
    assert!(reason.contains("kubectl-create") && reason.contains("adopt: true"), "{reason}");
    assert_eq!(bed.must(&["get", "-n", "shop", "configmap/mine", "-o", "jsonpath={.data.key}"]), "old");
    let consent = group(desired("web", "2", "shop", json!([config("mine", "new")]), &json!({ "adopt": true })));
    bed.ensure(1, &consent).await.unwrap();
    bed.until_right(&consent).await;
    assert_eq!(bed.must(&["get", "-n", "shop", "configmap/mine", "-o", "jsonpath={.data.key}"]), "new");

    // Another app asks for the same object: it is refused while this one does, and handed over when this one does not any more.
    let other = request("blog", "1", "shop", json!([config("mine", "blog")]));
    let both = [Arc::new(consent.desired.clone()), Arc::new(other.desired.clone())];
    bed.platform.expects(&both);
    let reason = refused(bed.ensure(1, &other).await);
    assert!(reason.contains("belongs to web/production/default"), "{reason}");
    let without = request("web", "3", "shop", json!([config("its-own", "1")]));
    bed.platform.expects(&[Arc::new(without.desired.clone()), Arc::new(other.desired.clone())]);
    let uid = bed.must(&["get", "-n", "shop", "configmap/mine", "-o", "jsonpath={.metadata.uid}"]);
    bed.ensure(1, &without).await.unwrap();
    bed.until_right(&without).await;
    bed.ensure(1, &other).await.unwrap();
    bed.until_right(&other).await;
    assert_eq!(
        bed.must(&["get", "-n", "shop", "configmap/mine", "-o", "jsonpath={.metadata.uid}"]),
        uid,
        "it was never deleted"
    );

    // A unit that is renamed keeps its objects, and a new unit of the old name has its own.
    let renamed =
        EnsureGroup { desired: DesiredUnit { unit: unit("journal"), ..other.desired.clone() }, ..other.clone() };
    bed.platform.take_over(Epoch(1), &other.desired.unit, &renamed).await.unwrap();
    bed.until(&renamed, "it has its new name", |group| group.replicas == 1).await;
    assert_eq!(bed.platform.observe(&other.desired.unit).await, Seen::Known(Vec::new()));
    let again = request("blog", "2", "shop", json!([config("blogs-own", "1")]));
    bed.ensure(1, &again).await.unwrap();
    bed.until_right(&again).await;
    bed.until(&renamed, "the renamed one is untouched", |group| group.replicas == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_refused_shows_nowhere() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let value = "hunter2-is-not-json";
    let place = json!({ "trimtab.dev/secret": "login" });
    let bad = json!([{ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login" },
        "type": "kubernetes.io/dockerconfigjson", "data": { ".dockerconfigjson": place } }]);
    let good = json!([
        { "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "login" }, "data": { "password": place } },
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "url" }, "data": { "url": place } },
    ]);
    let secrets = json!({ "secrets": { "login": { "from": "a file", "digest": "k1:00", "deliver": { "env": { "name": "LOGIN" } } } } });
    let with_value = |objects: Value| EnsureGroup {
        secrets: [("login".to_owned(), SecretBytes::from(value))].into(),
        ..group(desired("web", "1", "shop", objects, &secrets))
    };
    let reason = refused(bed.ensure(1, &with_value(bad)).await);
    assert!(reason.contains("Secret/login") && reason.contains("data[.dockerconfigjson]"), "{reason}");
    assert!(!reason.contains("hunter2") && !reason.contains("aHVudGVy"), "{reason}");
    let good = with_value(good);
    bed.ensure(1, &good).await.unwrap();
    bed.until_right(&good).await;
    let stored =
        bed.must(&["get", "-n", "shop", "secret/login", "-o", "go-template={{.data.password | base64decode}}"]);
    assert_eq!(stored, value);
    assert_eq!(bed.must(&["get", "-n", "shop", "configmap/url", "-o", "jsonpath={.data.url}"]), value);
    let everything =
        bed.must(&["get", "-n", "shop", "secret/login", "-o", "jsonpath={.metadata}", "--show-managed-fields"]);
    assert!(!everything.contains("hunter2") && !everything.contains("aHVudGVy"), "{everything}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_and_its_object_come_in_one_commit_and_a_server_that_is_down_is_not_guessed_about() {
    let Some(mut bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let schema = json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": { "size": { "type": "integer" } } } } });
    let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "databases.example.com" },
        "spec": { "group": "example.com", "scope": "Namespaced", "names": { "kind": "Database", "plural": "databases" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }] } });
    let database = |size: Value| {
        json!({ "apiVersion": "example.com/v1", "kind": "Database", "metadata": { "name": "main" },
        "spec": { "size": size } })
    };
    let both = request("db", "1", "shop", json!([definition, database(json!(3))]));
    bed.ensure(1, &both).await.unwrap();
    bed.until_right(&both).await;

    let wrong =
        request("db", "2", "shop", json!([both.desired_object("CustomResourceDefinition"), database(json!("big"))]));
    let reason = refused(bed.ensure(1, &wrong).await);
    assert!(reason.contains("Database.example.com/main") && reason.contains("spec.size"), "{reason}");
    bed.ensure(1, &both).await.unwrap();
    bed.until_right(&both).await;

    bed.control_plane.stop_api_server();
    eventually_async(PATIENCE, "nothing is known", || async {
        match bed.platform.observe(&unit("db")).await {
            Seen::Unknown(reason) if reason.contains("cluster test") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(matches!(bed.platform.check().await, Err(PlatformError::Unreachable { .. })));
    bed.control_plane.start_api_server();
    bed.until_right(&both).await;
}

/// The object of a kind among those asked for.
trait DesiredObject {
    fn desired_object(&self, kind: &str) -> Value;
}

impl DesiredObject for EnsureGroup {
    fn desired_object(&self, kind: &str) -> Value {
        let trimtab::domain::workload::Workload::Kubernetes(spec) = &self.desired.workload else { unreachable!() };
        spec.objects.iter().find(|object| object.kind() == kind).cloned().unwrap().into()
    }
}

/// Nothing but a Role in one namespace: no list of the whole cluster is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_confined_to_a_namespace_needs_rights_there_alone() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    bed.must(&["create", "namespace", "other"]);
    bed.must(&["create", "role", "all", "-n", "shop", "--verb=*", "--resource=*.*", "--resource=*"]);
    bed.must(&["create", "rolebinding", "all", "-n", "shop", "--role=all", "--user=user"]);
    let confined =
        Connection { context: Some("user".into()), namespaces: vec!["shop".into()], ..connection(&bed.control_plane) };
    let bed = Bed { platform: KubernetesPlatform::new(confined, "test"), ..bed };

    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "worker" } });
    let first = request("web", "1", "shop", json!([config("a", "1"), account]));
    bed.ensure(1, &first).await.unwrap();
    bed.until_right(&first).await;
    bed.must(&["delete", "-n", "shop", "configmap/a"]);
    bed.until(&first, "its loss is seen", |group| group.replicas == 1).await;
    bed.ensure(1, &first).await.unwrap();
    bed.until_right(&first).await;

    let outside = refused(bed.ensure(1, &request("far", "1", "other", json!([config("a", "1")]))).await);
    assert!(outside.contains("add other to `namespaces`"), "{outside}");
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "more" } });
    let wide = refused(bed.ensure(1, &request("wide", "1", "shop", json!([namespace]))).await);
    assert!(wide.contains("belongs to no namespace"), "{wide}");
}
