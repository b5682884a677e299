//! The shapes of documents, from the eight-line App to one that uses everything.

use trimtab::domain::manifest::DocumentSet;
use trimtab::domain::render::{Rendered, render};

const SKETCH: &str = r#"
apiVersion: trimtab/v1
kind: Environment
metadata: { name: staging }
spec:
  platform: { host: {} }
  listeners: { web: { address: 127.0.0.1:8080 } }
  config: { LOG_LEVEL: info }
---
apiVersion: trimtab/v1
kind: App
metadata: { name: hello }
spec:
  workload:
    process:
      artifact: { path: hello }
      command: [bin/hello, --port, "{{ port }}"]
      replicas: 3
  route: { listener: web, host: hello.localhost }
  health: { http: { path: /healthz, interval: 1s, healthyAfter: 2, unhealthyAfter: 3, within: 60s } }
  strategy: { canary: { steps: [ { weight: 10 }, { pause: 30s }, { analysis: errors }, { weight: 50 }, { pause: {} } ] } }
  analyses: { errors: { router: { errorRate: "<= 1%", latencyP99: "<= 1.5 * stable", atLeast: 100 } } }
  hooks: { before: [ { script: migrate, idempotent: true, onRollback: nothing } ], after: [ { script: smoke } ] }
  rollback: { on: [unhealthy, analysis, hook], window: 5m }
---
apiVersion: trimtab/v1
kind: Release
metadata: { name: hello, environment: staging }
spec: { version: 1.4.2, set: { replicas: 2 } }
---
apiVersion: trimtab/v1
kind: Script
metadata: { name: migrate }
spec: { run: "echo migrating to {{ version }}" }
---
apiVersion: trimtab/v1
kind: Script
metadata: { name: smoke }
spec: { run: "true" }
"#;

fn rendered(text: &str) -> Vec<Rendered> {
    let documents = DocumentSet::from(vec![("all.yaml".into(), text.into())]);
    assert_eq!(documents.problems(), []);
    render(&documents, &|path| (path == "hello").then(|| "a".repeat(40)))
}

#[test]
fn the_sketch_renders() {
    let units = rendered(SKETCH);
    assert_eq!(units.len(), 1);
    let unit = units[0].outcome.as_ref().unwrap();
    insta::assert_json_snapshot!(**unit);
}
