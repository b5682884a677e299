//! The documents of the simulated repository.

use super::repository::Files;

/// One app as it is written down.
#[derive(Clone, Debug)]
pub struct App {
    pub name: String,
    pub strategy: String,
    pub replicas: u32,
    pub hooks: String,
}

impl App {
    pub fn new(name: &str, strategy: &str, replicas: u32) -> App {
        App { name: name.into(), strategy: strategy.into(), replicas, hooks: String::new() }
    }

    /// With a hook before that is undone on the way back, and one after.
    pub fn hooked(mut self) -> App {
        self.hooks = "  hooks:\n    before: [ { script: migrate, onRollback: { script: undo } } ]\n    \
                      after: [ { script: smoke, idempotent: true } ]\n"
            .into();
        self
    }

    pub fn unit(&self) -> trimtab::domain::id::UnitId {
        format!("{}/staging/default", self.name).parse().unwrap()
    }

    /// Writes the App's document.
    pub fn write(&self, files: &mut Files) {
        let App { name, strategy, replicas, hooks } = self;
        let text = format!(
            "apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: {name} }}\nspec:\n  replicas: {replicas}\n  \
             workload: {{ process: {{ command: [{name}] }} }}\n  route: {{ host: {name}.localhost, drain: 5s }}\n  \
             health: {{ http: /healthz, within: 30s }}\n  strategy: {strategy}\n  \
             analyses: {{ errors: {{ router: {{ errorRate: \"<= 1%\" }}, interval: 3s, count: 2 }} }}\n{hooks}  \
             rollback: {{ window: 20s }}\n"
        );
        files.insert(format!("apps/{name}.yaml"), text);
    }

    /// Writes the Release.
    pub fn release(&self, version: &str, files: &mut Files) {
        let name = &self.name;
        let text = format!(
            "apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: {name}, environment: staging }}\nspec: {{ version: {version} }}\n"
        );
        files.insert(format!("releases/{name}.yaml"), text);
    }
}

impl App {
    /// The version that the Release names.
    pub fn asked(&self, files: &Files) -> String {
        let text = &files[&format!("releases/{}.yaml", self.name)];
        text.split("version: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned()
    }
}

/// What all apps share.
pub fn common(files: &mut Files) {
    files.insert(
        "environment.yaml".into(),
        "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: staging }\nspec:\n  platform: { host: {} }\n  \
         listeners: { web: 127.0.0.1:8080 }\n"
            .into(),
    );
    for script in ["migrate", "undo", "smoke"] {
        let text = format!(
            "apiVersion: trimtab/v1\nkind: Script\nmetadata: {{ name: {script} }}\nspec: {{ run: \"true\" }}\n"
        );
        files.insert(format!("scripts/{script}.yaml"), text);
    }
}

pub const ROLLING: &str = "{ rolling: { maxSurge: 25%, maxUnavailable: 25% } }";
pub const RECREATE: &str = "{ recreate: { hold: 30s } }";
pub const BLUE_GREEN: &str = "{ blueGreen: { previewHost: next.localhost, prePromotion: [errors], promote: 5s, \
     postPromotion: [errors], scaleDownDelay: 5s } }";
pub const CANARY: &str = "{ canary: { steps: [ { weight: 10 }, { pause: 10s }, { analysis: errors }, { weight: 50 }, \
     { pause: 10s } ], scaleDownDelay: 5s } }";
