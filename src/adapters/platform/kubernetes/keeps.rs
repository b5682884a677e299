//! Objects that their manifests keep when Git drops them, in the words of Helm, Argo CD and Flux: what they hold is not made again.

use serde_json::Value;

/// When an object stays that would be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keeps {
    /// Its app no longer asks for it.
    pub dropped: bool,
    /// Its app goes as a whole.
    pub removed: bool,
}

impl Keeps {
    /// What the annotations of an object say.
    pub fn read(metadata: &Value) -> Keeps {
        let note = |name: &str| metadata.get("annotations")?.get(name)?.as_str();
        let options = note("argocd.argoproj.io/sync-options").unwrap_or_default();
        // Nobody can be asked here to confirm it.
        let says = |wanted: &str| {
            let given = options.split(',').filter_map(|option| option.trim().split_once('='));
            let mut given = given.filter(|(name, _)| *name == wanted);
            given.any(|(_, value)| matches!(value, "false" | "confirm"))
        };
        let always = note("helm.sh/resource-policy") == Some("keep")
            || note("kustomize.toolkit.fluxcd.io/prune").is_some_and(|value| value.eq_ignore_ascii_case("disabled"));
        Keeps { dropped: always || says("Prune"), removed: always || says("Delete") }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_keep_is_kept() {
        let always = Keeps { dropped: true, removed: true };
        let options = "argocd.argoproj.io/sync-options";
        for (name, value, expected) in [
            ("helm.sh/resource-policy", "keep", always),
            ("helm.sh/resource-policy", "other", Keeps::default()),
            ("kustomize.toolkit.fluxcd.io/prune", "disabled", always),
            ("kustomize.toolkit.fluxcd.io/prune", "Disabled", always),
            (options, "Prune=false", Keeps { dropped: true, removed: false }),
            (options, "ServerSideApply=true, Delete=false", Keeps { dropped: false, removed: true }),
            (options, "Prune=confirm,Delete=confirm", always),
            (options, "PruneLast=true,Prune=true", Keeps::default()),
        ] {
            assert_eq!(Keeps::read(&json!({ "annotations": { name: value } })), expected, "{name}: {value}");
        }
        assert_eq!(Keeps::read(&json!({})), Keeps::default());
    }
}
