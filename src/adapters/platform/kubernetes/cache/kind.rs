//! Kinds, as objects are told apart by them.

use crate::domain::workload::http_route;
use crate::domain::workload::kubernetes::ObjectId;

/// A kind, whatever its version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindName {
    /// The API group.
    pub group: String,
    /// The kind.
    pub kind: String,
}

impl KindName {
    /// The kind of an object.
    pub fn of(id: &ObjectId) -> Self {
        KindName { group: id.group.clone(), kind: id.kind.clone() }
    }

    /// ConfigMaps, which nearly every unit has.
    pub fn config_map() -> Self {
        KindName { group: String::new(), kind: "ConfigMap".into() }
    }

    /// Pods.
    pub fn pod() -> Self {
        KindName { group: String::new(), kind: "Pod".into() }
    }

    /// Services.
    pub fn service() -> Self {
        KindName { group: String::new(), kind: "Service".into() }
    }

    /// HTTPRoutes.
    pub fn route() -> Self {
        KindName { group: http_route::GROUP.into(), kind: http_route::KIND.into() }
    }
}
