//! The kinds of Kubernetes itself, as every cluster of these years has them. Helm knows without a cluster only versions of groups;
//! charts ask `.Capabilities.APIVersions` for kinds too, and would take to older ones, or leave out what they are not told of.

/// The oldest minor version of Kubernetes that has them all.
const SINCE: u32 = 25;

/// By group and version.
const KINDS: [(&str, &[&str]); 14] = [
    (
        "v1",
        &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    ("admissionregistration.k8s.io/v1", &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]),
    ("apiextensions.k8s.io/v1", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io/v1", &["APIService"]),
    ("apps/v1", &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]),
    ("autoscaling/v2", &["HorizontalPodAutoscaler"]),
    ("batch/v1", &["CronJob", "Job"]),
    ("coordination.k8s.io/v1", &["Lease"]),
    ("discovery.k8s.io/v1", &["EndpointSlice"]),
    ("networking.k8s.io/v1", &["Ingress", "IngressClass", "NetworkPolicy"]),
    ("policy/v1", &["PodDisruptionBudget"]),
    ("rbac.authorization.k8s.io/v1", &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]),
    ("scheduling.k8s.io/v1", &["PriorityClass"]),
    ("storage.k8s.io/v1", &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"]),
];

/// The kinds that a cluster of this version has, as Helm takes them (`policy/v1/PodDisruptionBudget`). None of one that is older than
/// they are: what it has is told in the manifest.
pub(super) fn kinds(version: Option<&str>) -> Vec<String> {
    let minor = |version: &str| version.trim_start_matches('v').split('.').nth(1)?.parse::<u32>().ok();
    if version.and_then(minor).is_some_and(|minor| minor < SINCE) {
        return Vec::new();
    }
    KINDS.iter().flat_map(|(group, kinds)| kinds.iter().map(move |kind| format!("{group}/{kind}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::kinds;

    #[test]
    fn an_old_cluster_has_what_the_manifest_says() {
        for (version, has) in [(None, true), (Some("v1.34.4"), true), (Some("1.25"), true), (Some("1.24.9"), false)] {
            assert_eq!(kinds(version).contains(&"policy/v1/PodDisruptionBudget".to_owned()), has, "{version:?}");
        }
    }
}
