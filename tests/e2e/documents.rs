//! The documents that the tests push: one web app, told apart by its version.

use super::bed::Bed;
use crate::support::TRIMTAB;

/// The unit that most tests look at.
pub const UNIT: &str = "web/dev/default";
/// A released state that can't run.
pub const BROKEN: &str = "  set: { workload: { process: { command: [/bin/false] } } }\n";

pub fn environment(name: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: Environment\nmetadata: {{ name: {name} }}\nspec:\n  platform: {{ host: {{}} }}\n  \
         listeners: {{ web: {{ address: 127.0.0.1:{{PORT}} }} }}\n"
    )
}

pub fn app(name: &str, strategy: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: {name} }}\nspec:\n  replicas: 2\n  workload:\n    process:\n      \
         command: [{TRIMTAB}, demo-app, --port, \"{{{{ port }}}}\", --version, \"{{{{ version }}}}\"]\n  \
         route: {{ listener: web, host: \"{name}.{{{{ environment }}}}.localhost\", drain: 30s }}\n  \
         health: {{ http: {{ path: /healthz, interval: 100ms, healthyAfter: 1, unhealthyAfter: 2 }}, within: 15s }}\n  \
         strategy: {strategy}\n  \
         analyses:\n    errors:\n      router: {{ errorRate: \"<= 1%\", atLeast: 20 }}\n      interval: 200ms\n      count: 1\n      inconclusiveLimit: 100\n  \
         rollback: {{ on: [unhealthy, analysis, hook], window: 500ms }}\n"
    )
}

pub fn release(app: &str, environment: &str, version: &str, set: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: {app}, environment: {environment} }} # who, where\nspec:\n  \
         version: {version}\n{set}"
    )
}

/// The release of the one app.
pub fn web(version: &str, set: &str) -> String {
    release("web", "dev", version, set)
}

/// One app in one environment at 1.0.0, started.
pub fn bed(strategy: &str) -> Bed {
    let (environment, app, release) = (environment("dev"), app("web", strategy), web("1.0.0", ""));
    Bed::new(&[("env.yaml", &environment), ("app.yaml", &app), ("release.yaml", &release)]).start()
}
