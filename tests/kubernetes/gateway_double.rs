//! A double of a gateway's controller: it carries nothing, and says of each HTTPRoute of a namespace that it has taken it over, as a
//! controller does. No gateway can be had where these tests run; what it is told is real, and kept here.

use std::io::BufReader;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::cluster::Namespace;
use super::kubectl::kubectl;
use crate::support::{PATIENCE, eventually};

/// It ends with this.
pub struct GatewayDouble {
    watch: Child,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    kubeconfig: std::path::PathBuf,
    namespace: String,
    silent: AtomicBool,
    seen: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
}

impl GatewayDouble {
    /// One that says nothing until it is told to. It knows of the routes that there are.
    pub fn silent(namespace: &Namespace) -> GatewayDouble {
        let shared = Arc::new(Shared {
            kubeconfig: namespace.kubeconfig().to_owned(),
            namespace: namespace.name().to_owned(),
            silent: AtomicBool::new(true),
            seen: Mutex::default(),
            wrong: Mutex::default(),
        });
        let mut watch = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&shared.kubeconfig)
            .args(["--namespace", &shared.namespace, "get", "httproutes", "--watch", "--output", "json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let routes = serde_json::Deserializer::from_reader(BufReader::new(watch.stdout.take().unwrap()));
        let own = shared.clone();
        let thread = std::thread::spawn(move || {
            for route in routes.into_iter::<Value>().map_while(Result::ok) {
                own.look(&route);
            }
        });
        let double = GatewayDouble { watch, thread: Some(thread), shared };
        eventually(PATIENCE, "the gateway knows a route", || !double.seen().is_empty());
        double
    }

    /// From now on it says of each route that it has taken it over.
    pub fn speak(&self) {
        self.shared.silent.store(false, Ordering::SeqCst);
        let all = self.shared.kubectl(&["get", "httproutes", "--output", "json"]).unwrap();
        let all: Value = serde_json::from_str(&all).unwrap();
        all["items"].as_array().unwrap().iter().for_each(|route| self.shared.confirm(route));
    }

    /// It says nothing of what comes.
    pub fn fall_silent(&self) {
        self.shared.silent.store(true, Ordering::SeqCst);
    }

    /// Where the first rule of the route led, one after the other: `web:90 web-4f1b2c3d:10`.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// What a gateway would have answered with an error: shares of Services that were not there or had no pod that serves.
    pub fn wrong(&self) -> Vec<String> {
        self.shared.wrong.lock().unwrap().clone()
    }
}

impl Drop for GatewayDouble {
    fn drop(&mut self) {
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Where a rule leads.
pub fn backends(rule: &Value) -> String {
    let backends = rule["backendRefs"].as_array().cloned().unwrap_or_default();
    let one = |backend: &Value| format!("{}:{}", backend["name"].as_str().unwrap_or_default(), backend["weight"]);
    backends.iter().map(one).collect::<Vec<_>>().join(" ")
}

impl Shared {
    fn look(&self, route: &Value) {
        let now = backends(&route["spec"]["rules"][0]);
        let new = self.seen.lock().unwrap().last() != Some(&now);
        if new {
            for backend in route["spec"]["rules"][0]["backendRefs"].as_array().into_iter().flatten() {
                if backend["weight"] != 0 {
                    self.must_serve(backend["name"].as_str().unwrap_or_default(), &now);
                }
            }
            self.seen.lock().unwrap().push(now);
        }
        if !self.silent.load(Ordering::SeqCst) {
            self.confirm(route);
        }
    }

    fn must_serve(&self, service: &str, now: &str) {
        let selector = format!("kubernetes.io/service-name={service}");
        let slices = self.kubectl(&["get", "endpointslices", "--selector", &selector, "--output", "json"]);
        let slices: Value = slices.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let slices = slices["items"].as_array().cloned().unwrap_or_default();
        let mut endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
        if !endpoints.any(|endpoint| endpoint["conditions"]["ready"] == true) {
            self.wrong.lock().unwrap().push(format!("{service} serves nothing: {now}"));
        }
    }

    fn confirm(&self, route: &Value) {
        let generation = &route["metadata"]["generation"];
        let known = &route["status"]["parents"][0]["conditions"][0]["observedGeneration"];
        if known == generation {
            return;
        }
        let condition = |kind: &str| {
            json!({ "type": kind, "status": "True", "reason": kind, "message": "", "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z" })
        };
        let conditions = ["Accepted", "ResolvedRefs"].map(condition);
        let parents = route["spec"]["parentRefs"].as_array().cloned().unwrap_or_default();
        let word = |parent: &Value| json!({ "parentRef": parent, "controllerName": "trimtab.test/double", "conditions": conditions });
        let status = json!({ "status": { "parents": parents.iter().map(word).collect::<Vec<_>>() } });
        let name = route["metadata"]["name"].as_str().unwrap_or_default();
        // One that is gone by now needs no word.
        let _ = self.kubectl(&[
            "patch",
            "httproute",
            name,
            "--subresource=status",
            "--type=merge",
            "--patch",
            &status.to_string(),
        ]);
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        kubectl(&self.kubeconfig, &[&["--namespace", &self.namespace], arguments].concat(), "")
    }
}
