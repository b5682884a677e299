//! The objects of an app on a Kubernetes cluster, as they are rendered and stored.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::id::Name;
use super::super::secret::SecretRef;
use super::hooks::HookObject;
use super::versioned::Versioned;

/// The key of the mapping `{ trimtab.dev/secret: NAME }`, which stands in an object where a secret's value will.
pub const SECRET_KEY: &str = "trimtab.dev/secret";

/// The same for a value that is put there as it is, also below `data` of a Secret, where any other is encoded.
pub const SECRET_TEXT_KEY: &str = "trimtab.dev/secret-text";

/// The secret whose value will stand somewhere, and whether it is put there as it is.
pub fn secret_at(value: &Value) -> Option<(&str, bool)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let name = |key: &str| members.get(key).and_then(Value::as_str);
    name(SECRET_KEY).map(|name| (name, false)).or_else(|| name(SECRET_TEXT_KEY).map(|name| (name, true)))
}

/// Objects that are applied together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesSpec {
    /// Where they are applied, and as whom.
    pub place: ClusterPlace,
    /// The objects, sorted by [`Object::id`], no id twice: complete but for values of secrets, which stand as
    /// `{ trimtab.dev/secret: NAME }`.
    pub objects: Vec<Object>,
    /// The objects that are hooks, sorted as the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookObject>,
    /// What stands among the objects and is not made, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The secrets that objects and hooks name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
    /// Fields that belong to others, for difference and apply alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Ignore>,
    /// How certain objects tell that they are well, where the rules of their kind don't know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthRule>,
    /// What is done about objects that somebody else changed.
    #[serde(default, skip_serializing_if = "Drift::is_heal")]
    pub drift: Drift,
    /// Objects that exist and belong to nobody are taken over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    /// Kinds whose objects may be deleted and made again where a field that changes is immutable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recreate: Vec<String>,
    /// What is there once for each version; none: all of it is replaced in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioned: Option<Box<Versioned>>,
}

/// A namespace of a cluster, and who acts there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPlace {
    /// The cluster, by its name in the daemon's configuration.
    pub cluster: Name,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// The service account that is impersonated, `NAMESPACE/NAME`; the daemon's own identity where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
}

/// Fields that are left to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ignore {
    /// The kind of object; any where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The object's name; any where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// JSON pointers; `*` stands for any one step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Field managers whose fields are left to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<String>,
}

impl Ignore {
    /// Whether it is about this object.
    pub fn concerns(&self, id: &ObjectId) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == id.kind)
            && self.name.as_deref().is_none_or(|name| name == id.name)
    }
}

/// How objects of a kind tell that they are well: expressions in CEL over the object, of which the first that holds decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthRule {
    /// The kind.
    pub kind: String,
    /// The API group; any where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The object's name; any where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// It rests on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
    /// It is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressing: Option<String>,
    /// Something is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
    /// It is as it shall be.
    pub healthy: String,
}

impl HealthRule {
    /// Whether it is for this object.
    pub fn concerns(&self, id: &ObjectId) -> bool {
        self.kind == id.kind
            && self.group.as_deref().is_none_or(|group| group == id.group)
            && self.name.as_deref().is_none_or(|name| name == id.name)
    }
}

/// Whether objects of a kind have no status: their metadata tells all that matters.
pub fn has_no_status(group: &str, kind: &str) -> bool {
    match (group, kind) {
        ("", "ConfigMap" | "Secret" | "ServiceAccount" | "LimitRange") => true,
        ("rbac.authorization.k8s.io" | "scheduling.k8s.io" | "storage.k8s.io", _) => true,
        ("networking.k8s.io", kind) => kind == "NetworkPolicy" || kind == "IngressClass",
        ("admissionregistration.k8s.io", kind) => kind.ends_with("WebhookConfiguration"),
        _ => false,
    }
}

/// What is done about objects that somebody else changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Drift {
    /// They are made as they shall be.
    #[default]
    Heal,
    /// It is shown, nothing is done.
    Report,
}

impl Drift {
    fn is_heal(&self) -> bool {
        *self == Drift::Heal
    }
}

/// An object as it is applied. It has an `apiVersion`, a `kind` and a `metadata.name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub struct Object(Map<String, Value>);

impl Object {
    /// The whole object.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// `v1`, `apps/v1`
    pub fn api_version(&self) -> &str {
        self.text("apiVersion")
    }

    /// The API group, empty for the core one.
    pub fn group(&self) -> &str {
        self.api_version().rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// `Deployment`
    pub fn kind(&self) -> &str {
        self.text("kind")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata("name").unwrap_or_default()
    }

    /// The namespace that it names.
    pub fn namespace(&self) -> Option<&str> {
        self.metadata("namespace")
    }

    /// What it is called among the objects of its cluster.
    pub fn id(&self) -> ObjectId {
        ObjectId {
            group: self.group().to_owned(),
            kind: self.kind().to_owned(),
            namespace: self.namespace().map(str::to_owned),
            name: self.name().to_owned(),
        }
    }

    /// The value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.0.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn metadata(&self, field: &str) -> Option<&str> {
        self.0.get("metadata")?.get(field)?.as_str()
    }
}

impl TryFrom<Value> for Object {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let Value::Object(fields) = value else { return Err("an object is a mapping".into()) };
        let object = Object(fields);
        let missing = |field: &str| Err(format!("an object needs `{field}`, a text that is not empty"));
        match () {
            () if object.api_version().is_empty() => missing("apiVersion"),
            () if object.kind().is_empty() => missing("kind"),
            () if object.name().is_empty() => missing("metadata.name"),
            () => Ok(object),
        }
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Value {
        Value::Object(object.0)
    }
}

/// What an object is called, whatever the version it is written in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectId {
    /// The API group, empty for the core one.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for what belongs to the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    /// `Deployment.apps shop/web`, as kubectl writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " {namespace}/{}", self.name),
            None => write!(f, " {}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_known_by_group_kind_namespace_and_name() {
        let value = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "shop" } });
        let object = Object::try_from(value.clone()).expect("it has all it needs");
        assert_eq!(object.id().to_string(), "Deployment.apps shop/web");
        assert_eq!(Value::from(object), value);
        let core = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
        assert_eq!(Object::try_from(core).expect("it has all it needs").id().to_string(), "Namespace shop");
    }

    #[test]
    fn what_has_no_name_is_no_object() {
        for value in [json!([]), json!({ "kind": "A" }), json!({ "apiVersion": "v1", "kind": "A", "metadata": {} })] {
            assert!(Object::try_from(value).is_err());
        }
    }
}
