//! What the tests push: one web app, told apart by its version.

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
