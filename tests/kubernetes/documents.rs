//! What the tests push: one web app, told apart by its version.

use std::path::Path;

use crate::support::TRIMTAB;

/// The unit.
pub const UNIT: &str = "web/dev/default";

pub fn environment(namespace: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: Environment\nmetadata: {{ name: dev }}\nspec:\n  platform: {{ kubernetes: {{ namespace: {namespace} }} }}\n"
    )
}

/// Its manifests lie in `deploy/`.
pub fn app(more: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: web }}\nspec:\n  workload: {{ kubernetes: {{ path: deploy{more} }} }}\n  \
         health: {{ within: 150s }}\n  rollback: {{ on: [unhealthy], window: 500ms }}\n"
    )
}

pub fn release(version: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: web, environment: dev }} # who, where\nspec:\n  version: \"{version}\"\n"
    )
}

/// Two replicas of a version of the web server.
pub fn deployment(version: &str) -> String {
    DEPLOYMENT.replace("VERSION", version)
}

/// A Deployment whose pods run the test's own build, from the machine's own folders: it names its version, which is its image's.
/// `stop` is what a pod does before it ends; `folder` is one more that it sees, as `/extra`.
pub fn own_build(deployment: &str, grace: u32, stop: Option<&str>, folder: Option<&Path>) -> String {
    let program = Path::new(TRIMTAB).parent().unwrap();
    let folders = [("program", program), ("lib", Path::new("/lib")), ("lib64", Path::new("/lib64"))];
    let extra = folder.map(|folder| ("extra", folder));
    let (mut mounts, mut volumes) = (String::from("          volumeMounts:\n"), String::from("      volumes:\n"));
    for (name, folder) in folders.into_iter().chain(extra) {
        mounts += &format!("            - {{ name: {name}, mountPath: /{name}, readOnly: true }}\n");
        volumes += &format!("        - {{ name: {name}, hostPath: {{ path: {} }} }}\n", folder.display());
    }
    let stop = stop.map(|stop| format!("          lifecycle: {{ preStop: {stop} }}\n")).unwrap_or_default();
    let command = "          command: [/program/trimtab, demo-app, --address, 0.0.0.0, --port, \"8080\"]\n";
    let grace = format!("terminationGracePeriodSeconds: {grace}");
    deployment.replace("terminationGracePeriodSeconds: 1", &grace) + &stop + command + &mounts + &volumes
}

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: trimtab.test/web:VERSION
          ports: [ { containerPort: 8080 } ]
          readinessProbe: { httpGet: { path: /healthz, port: 8080 }, periodSeconds: 1 }
"#;

pub const SERVICE: &str = r#"apiVersion: v1
kind: Service
metadata: { name: web }
spec:
  selector: { app: web }
  ports: [ { port: 80, targetPort: 8080 } ]
"#;

pub fn config(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ word: {value} }}\n")
}
