//! What a unit asks for, as YAML.

use std::fmt::Write as _;

use serde_json::Value;

use super::yaml;
use crate::domain::desired::DesiredUnit;
use crate::domain::objects::mask::masked;
use crate::domain::workload::Workload;
use crate::domain::workload::hooks::HookObject;

/// The objects of a unit on a cluster, a document each, as kubectl takes them; none for what is no unit of objects. Values of
/// Secrets are hidden.
pub fn objects(desired: &DesiredUnit, before: Option<&DesiredUnit>) -> Option<String> {
    let Workload::Kubernetes(spec) = masked(desired, before).workload else { return None };
    let mut out: String = spec.left_out.iter().map(|one| format!("# left out: {one}\n")).collect();
    // Writing to a text can't fail.
    for object in spec.objects {
        let _ = write!(out, "---\n{}", yaml::text(&Value::from(object)));
    }
    for hook in spec.hooks {
        let at: Vec<String> = hook.at.iter().map(ToString::to_string).collect();
        let (at, wave, told) = (at.join(", "), hook.wave, hook.told());
        let _ = write!(out, "---\n# hook: {told} runs at {at}, wave {wave}\n{}", yaml::text(&written(hook)));
    }
    Some(out)
}

/// The object of a hook as it is written.
fn written(hook: HookObject) -> Value {
    let mut value = Value::from(hook.object);
    if let Some(Value::Object(metadata)) = value.get_mut("metadata")
        && metadata.contains_key("generateName")
    {
        metadata.remove("name");
    }
    value
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
                spec.hooks.clear();
                spec.left_out.clear();
            }
            format!("{}{objects}", told(&rest))
        }
    }
}
