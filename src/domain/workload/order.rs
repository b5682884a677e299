//! In which order objects of one wave are applied; they are removed in the reverse.

/// What must stand before other objects do. Objects of one rank don't depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Kinds, which must be established before their objects.
    Definitions,
    /// Namespaces.
    Namespaces,
    /// What workloads read and are limited by.
    Config,
    /// Who may do what.
    Access,
    /// What runs.
    Workloads,
    /// All else.
    Rest,
}

/// The rank of a kind.
pub fn rank(group: &str, kind: &str) -> Rank {
    match (group, kind) {
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Rank::Definitions,
        ("", "Namespace") => Rank::Namespaces,
        ("", "ConfigMap" | "Secret" | "ServiceAccount" | "PersistentVolume" | "PersistentVolumeClaim")
        | ("", "ResourceQuota" | "LimitRange")
        | ("storage.k8s.io" | "scheduling.k8s.io" | "node.k8s.io", _) => Rank::Config,
        ("rbac.authorization.k8s.io", _) => Rank::Access,
        ("apps" | "batch", _) | ("", "Pod" | "ReplicationController") => Rank::Workloads,
        _ => Rank::Rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_stands_first() {
        let all = [
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            ("", "Namespace"),
            ("", "ConfigMap"),
            ("rbac.authorization.k8s.io", "RoleBinding"),
            ("apps", "Deployment"),
            ("networking.k8s.io", "Ingress"),
        ];
        let ranks: Vec<Rank> = all.iter().map(|(group, kind)| rank(group, kind)).collect();
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
        assert_eq!(rank("example.com", "Deployment"), Rank::Rest);
        assert_eq!(rank("", "Service"), Rank::Rest);
    }
}
