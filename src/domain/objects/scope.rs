//! Which kinds belong to a namespace and which to the whole cluster, as far as that is known without the cluster.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Written;
use crate::domain::workload::kubernetes::Object;

/// Kinds of Kubernetes itself, of the Gateway API and of widely used operators that belong to the whole cluster.
const OF_THE_CLUSTER: [(&str, &str); 50] = [
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("", "ComponentStatus"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("certificates.k8s.io", "ClusterTrustBundle"),
    ("extensions", "PodSecurityPolicy"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("internal.apiserver.k8s.io", "StorageVersion"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "IPAddress"),
    ("networking.k8s.io", "ServiceCIDR"),
    ("networking.k8s.io", "ClusterCIDR"),
    ("node.k8s.io", "RuntimeClass"),
    ("policy", "PodSecurityPolicy"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "ResourceClass"),
    ("resource.k8s.io", "ResourceSlice"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttachment"),
    ("storage.k8s.io", "VolumeAttributesClass"),
    ("storagemigration.k8s.io", "StorageVersionMigration"),
    ("authentication.k8s.io", "TokenReview"),
    ("authentication.k8s.io", "SelfSubjectReview"),
    ("authorization.k8s.io", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "SelfSubjectRulesReview"),
    ("authorization.k8s.io", "SubjectAccessReview"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("policy.networking.k8s.io", "AdminNetworkPolicy"),
    ("policy.networking.k8s.io", "BaselineAdminNetworkPolicy"),
    ("snapshot.storage.k8s.io", "VolumeSnapshotClass"),
    ("snapshot.storage.k8s.io", "VolumeSnapshotContent"),
    ("cert-manager.io", "ClusterIssuer"),
    ("kyverno.io", "ClusterPolicy"),
    ("external-secrets.io", "ClusterSecretStore"),
    ("external-secrets.io", "ClusterExternalSecret"),
];

/// The groups whose other kinds all belong to a namespace. `events.k8s.io` and the like end in `.k8s.io` too, but so do groups
/// of others, whose kinds are not known.
const BUILT_IN: [&str; 22] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "gateway.networking.k8s.io",
];

/// Where objects of a kind belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each to a namespace.
    Namespace,
    /// To the whole cluster.
    Cluster,
    /// Only the cluster can tell.
    Unknown,
}

/// The scopes that can be told of the kinds in a list of objects.
#[derive(Debug, Default)]
pub struct Scopes {
    defined: BTreeMap<(String, String), Scope>,
}

impl Scopes {
    /// Takes over what definitions of custom kinds among the objects say.
    pub fn of(objects: &[Written]) -> Self {
        let defined = objects.iter().filter_map(|written| definition(&written.object)).collect();
        Scopes { defined }
    }

    /// Where an object's kind belongs.
    pub fn scope(&self, group: &str, kind: &str) -> Scope {
        if OF_THE_CLUSTER.contains(&(group, kind)) {
            return Scope::Cluster;
        }
        if let Some(scope) = self.defined.get(&(group.to_owned(), kind.to_owned())) {
            return *scope;
        }
        if BUILT_IN.contains(&group) { Scope::Namespace } else { Scope::Unknown }
    }
}

/// What a definition of a custom kind says of it.
fn definition(object: &Object) -> Option<((String, String), Scope)> {
    if (object.group(), object.kind()) != ("apiextensions.k8s.io", "CustomResourceDefinition") {
        return None;
    }
    let spec = object.fields().get("spec")?;
    let group = spec.get("group")?.as_str()?.to_owned();
    let kind = spec.get("names")?.get("kind")?.as_str()?.to_owned();
    let scope = match spec.get("scope").and_then(Value::as_str)? {
        "Namespaced" => Scope::Namespace,
        "Cluster" => Scope::Cluster,
        _ => return None,
    };
    Some(((group, kind), scope))
}
