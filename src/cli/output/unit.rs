//! What a unit asks for, as YAML.

use serde_json::Value;

use super::yaml;
use crate::domain::desired::DesiredUnit;
use crate::domain::objects::mask::masked;
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::Object;

/// The objects of a unit on a cluster, a document each, as kubectl takes them; none for what is no unit of objects. Values of
/// Secrets are hidden.
pub fn objects(desired: &DesiredUnit, before: Option<&DesiredUnit>) -> Option<String> {
    let Workload::Kubernetes(spec) = masked(desired, before).workload else { return None };
    Some(spec.objects.into_iter().map(|object: Object| format!("---\n{}", yaml::text(&Value::from(object)))).collect())
}

/// All of it: what is not an object in a document of its own, the objects after it.
pub fn whole(desired: &DesiredUnit, before: Option<&DesiredUnit>) -> String {
    let told = |unit: &DesiredUnit| {
        serde_saphyr::to_string(unit).unwrap_or_else(|error| format!("# can't be written: {error}\n"))
    };
    match objects(desired, before) {
        None => told(desired),
        Some(objects) => {
            let mut rest = desired.clone();
            if let Workload::Kubernetes(spec) = &mut rest.workload {
                spec.objects.clear();
            }
            format!("{}{objects}", told(&rest))
        }
    }
}
