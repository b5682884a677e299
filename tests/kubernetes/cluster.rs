//! The cluster whose kubeconfig is in `TRIMTAB_BED_KUBERNETES`, and namespaces in it that end with their test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::kubectl::kubectl;
use crate::support::{PATIENCE, eventually};

/// A namespace of a test's own.
pub struct Namespace {
    kubeconfig: PathBuf,
    name: String,
}

impl Namespace {
    /// A new namespace; `None` where no cluster is up, which is said.
    pub fn new() -> Option<Namespace> {
        let Some(kubeconfig) = std::env::var_os("TRIMTAB_BED_KUBERNETES") else {
            eprintln!("skipped: no Kubernetes cluster (tests/run brings it up, as root)");
            return None;
        };
        Some(Namespace::at(Path::new(&kubeconfig)))
    }

    /// A new namespace in the cluster of a kubeconfig.
    pub fn at(kubeconfig: &Path) -> Namespace {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace { kubeconfig: kubeconfig.to_owned(), name };
        namespace.run(&["create", "namespace", &namespace.name], "").unwrap();
        // A pod that comes before the controllers gave the namespace its service account is refused.
        eventually(PATIENCE, "the namespace's default service account", || {
            namespace.kubectl(&["get", "serviceaccount", "default"])
        });
        namespace
    }

    /// Its name, of which no other test on this machine has one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kubeconfig of its cluster.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl in the namespace; its output, or what went wrong.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.run(&[&["--namespace", &self.name], arguments].concat(), "")
    }

    /// Runs kubectl in the namespace with an input.
    pub fn pipe(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        self.run(&[&["--namespace", &self.name], arguments].concat(), input)
    }

    /// Runs kubectl, which must succeed; its output.
    #[track_caller]
    pub fn must(&self, arguments: &[&str]) -> String {
        self.kubectl(arguments).unwrap_or_else(|error| panic!("{error}\n{}", self.state()))
    }

    /// An object, as `kubectl get` names it.
    pub fn get(&self, object: &str) -> Result<Value, String> {
        let text = self.kubectl(&["get", object, "--output", "json"])?;
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
    }

    /// An object that must be there.
    #[track_caller]
    pub fn object(&self, object: &str) -> Value {
        self.get(object).unwrap_or_else(|error| panic!("{error}\n{}", self.state()))
    }

    /// The names of all objects of a kind.
    #[track_caller]
    pub fn names(&self, kind: &str) -> Vec<String> {
        let all = self.object(kind);
        let items = all["items"].as_array().unwrap().iter();
        items.map(|one| one["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Everything in the namespace and its last events, for a failure's message.
    pub fn state(&self) -> String {
        let all = self.kubectl(&["get", "all,configmaps,secrets", "--output", "wide"]);
        let events = self.kubectl(&["get", "events", "--sort-by", ".lastTimestamp"]);
        [all, events].map(|text| text.unwrap_or_else(|error| error)).join("\n")
    }

    fn run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        kubectl(&self.kubeconfig, arguments, input)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What a failed test leaves is for its message; the bed itself ends soon.
        let _ = self.run(&["delete", "namespace", &self.name, "--wait=false"], "");
    }
}
