//! Which kinds a server has, and under which paths.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Call, Server};
use super::labels::MANAGER;
use super::refusal::ApiError;
use crate::domain::workload::kubernetes::ObjectId;

/// The form that answers with everything at once.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
/// A kind that is not known is not asked for more often than this.
const PAUSE: Duration = Duration::from_secs(2);

/// A kind in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `apps/v1`
    pub api_version: String,
    /// `deployments`
    pub plural: String,
    /// Its objects are in namespaces.
    pub namespaced: bool,
}

impl Kind {
    /// The path of all objects, or of those in a namespace.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.api_version.contains('/') { "/apis" } else { "/api" };
        let version = &self.api_version;
        match namespace {
            Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{}", self.plural),
            None => format!("{root}/{version}/{}", self.plural),
        }
    }

    /// The path of an object.
    pub fn object(&self, id: &ObjectId) -> String {
        format!("{}/{}", self.collection(id.namespace.as_deref()), crate::net::client::segment(&id.name))
    }

    /// The path and query of a server-side apply to an object, as trimtab. A field that the kind does not have is refused.
    ///
    /// The server's own kinds refuse it by their schema, so that asking for `Strict` finds nothing more than keys that are there
    /// twice, which no body of ours has; but the server reads the body once more for that, with a slow reader of YAML. What is
    /// defined by a resource drops unknown fields unless asked to be strict (`applyPatchToCurrentObject` in apiserver's patch.go).
    pub fn apply(&self, id: &ObjectId) -> String {
        let validation = if self.is_built_in() { "Ignore" } else { "Strict" };
        format!("{}?fieldManager={MANAGER}&fieldValidation={validation}", self.object(id))
    }

    /// The server's own: its group has no dot. The server makes no CustomResourceDefinition whose group has none
    /// (`ValidateCustomResourceDefinitionSpec`), so one that does have a dot may be either and is taken as custom.
    fn is_built_in(&self) -> bool {
        !self.api_version.split_once('/').is_some_and(|(group, _)| group.contains('.'))
    }
}

type Kinds = HashMap<(String, String), Kind>;

/// The kinds of one server, as they were known last.
#[derive(Default)]
pub struct Discovery {
    known: RwLock<Arc<Kinds>>,
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Discovery {
    /// A kind by API version and name; asks the server where it is not known. `None`: the server has none.
    ///
    /// # Errors
    ///
    /// The server does not tell.
    pub async fn kind(&self, server: &Server, api_version: &str, kind: &str) -> Result<Option<Kind>, ApiError> {
        if let Some(known) = self.known(api_version, kind) {
            return Ok(Some(known));
        }
        let mut asked = self.asked.lock().await;
        if let Some(known) = self.known(api_version, kind) {
            return Ok(Some(known));
        }
        if asked.is_none_or(|at| at.elapsed() >= PAUSE) {
            self.ask(server).await?;
            *asked = Some(Instant::now());
        }
        Ok(self.known(api_version, kind))
    }

    /// Asks anew: a definition has been made.
    ///
    /// # Errors
    ///
    /// The server does not tell.
    pub async fn refresh(&self, server: &Server) -> Result<(), ApiError> {
        let mut asked = self.asked.lock().await;
        self.ask(server).await?;
        *asked = Some(Instant::now());
        Ok(())
    }

    /// Whether a kind is known.
    pub fn has(&self, api_version: &str, kind: &str) -> bool {
        self.known(api_version, kind).is_some()
    }

    fn known(&self, api_version: &str, kind: &str) -> Option<Kind> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.get(&(api_version.to_owned(), kind.to_owned())).cloned()
    }

    /// What is said of a kind that the server has not: `no kind PodDisruptionBudget in policy/v1beta1: it is in policy/v1`.
    pub fn lack(&self, api_version: &str, kind: &str) -> String {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let group = |version: &str| version.rsplit_once('/').map_or("", |(group, _)| group).to_owned();
        let same = |(version, other): &&(String, String)| other == kind && group(version) == group(api_version);
        let mut versions: Vec<&str> = known.keys().filter(same).map(|(version, _)| version.as_str()).collect();
        versions.sort_unstable();
        match versions.as_slice() {
            [] => format!("no kind {kind} in {api_version}: is its definition installed?"),
            _ => format!("no kind {kind} in {api_version}: it is in {}", versions.join(", ")),
        }
    }

    async fn ask(&self, server: &Server) -> Result<(), ApiError> {
        let (core, groups) = (Call::get("/api").accept(AGGREGATED), Call::get("/apis").accept(AGGREGATED));
        let (core, groups) = tokio::try_join!(server.call(&core), server.call(&groups))?;
        let mut kinds = read(&core);
        kinds.extend(read(&groups));
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kinds);
        Ok(())
    }
}

fn read(list: &Value) -> Kinds {
    let text =
        |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let items = |value: &Value, field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut kinds = Kinds::new();
    for group in items(list, "items") {
        let name = text(&group, "/metadata/name");
        for version in items(&group, "versions") {
            let version_name = text(&version, "/version");
            let api_version = if name.is_empty() { version_name } else { format!("{name}/{version_name}") };
            for resource in items(&version, "resources") {
                let kind = Kind {
                    api_version: api_version.clone(),
                    plural: text(&resource, "/resource"),
                    namespaced: text(&resource, "/scope") == "Namespaced",
                };
                kinds.insert((api_version.clone(), text(&resource, "/responseKind/kind")), kind);
            }
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_kinds_are_read_with_their_paths() {
        let list = json!({ "items": [
            { "metadata": {}, "versions": [{ "version": "v1", "resources": [
                { "resource": "namespaces", "scope": "Cluster", "responseKind": { "kind": "Namespace" } } ] }] },
            { "metadata": { "name": "apps" }, "versions": [{ "version": "v1", "resources": [
                { "resource": "deployments", "scope": "Namespaced", "responseKind": { "kind": "Deployment" } } ] }] },
        ] });
        let kinds = read(&list);
        let kind = |version: &str, kind: &str| kinds[&(version.to_owned(), kind.to_owned())].clone();
        assert_eq!(kind("v1", "Namespace").collection(None), "/api/v1/namespaces");
        let id = ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: Some("shop".into()),
            name: "web".into(),
        };
        assert_eq!(kind("apps/v1", "Deployment").object(&id), "/apis/apps/v1/namespaces/shop/deployments/web");
    }

    #[test]
    fn the_server_is_asked_to_be_strict_where_its_schema_alone_would_drop_a_field() {
        let strict = |api_version: &str| {
            let kind = Kind { api_version: api_version.into(), plural: "things".into(), namespaced: false };
            let id = ObjectId { group: String::new(), kind: "Thing".into(), namespace: None, name: "one".into() };
            kind.apply(&id).ends_with("/things/one?fieldManager=trimtab&fieldValidation=Strict")
        };
        for own in ["v1", "apps/v1", "batch/v1"] {
            assert!(!strict(own), "{own}");
        }
        for defined in ["example.com/v1", "networking.k8s.io/v1", "snapshot.storage.k8s.io/v1"] {
            assert!(strict(defined), "{defined}");
        }
    }

    #[test]
    fn a_version_that_is_gone_is_told_from_a_kind_that_never_was() {
        let list = json!({ "items": [{ "metadata": { "name": "policy" }, "versions": [{ "version": "v1", "resources": [
            { "resource": "poddisruptionbudgets", "scope": "Namespaced", "responseKind": { "kind": "PodDisruptionBudget" } }
        ] }] }] });
        let discovery = Discovery { known: RwLock::new(Arc::new(read(&list))), ..Discovery::default() };
        let told = discovery.lack("policy/v1beta1", "PodDisruptionBudget");
        assert_eq!(told, "no kind PodDisruptionBudget in policy/v1beta1: it is in policy/v1");
        let told = discovery.lack("example.com/v1", "PodDisruptionBudget");
        assert_eq!(told, "no kind PodDisruptionBudget in example.com/v1: is its definition installed?");
    }

    #[test]
    fn what_is_no_list_has_no_kinds() {
        assert!(read(&json!({ "kind": "APIVersions", "versions": ["v1"] })).is_empty());
    }
}
