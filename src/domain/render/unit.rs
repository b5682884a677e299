//! One unit: merge, fill in, decode, look up.

mod objects;

use std::collections::BTreeMap;

use super::inputs::Inputs;
use super::{Lookups, Parts, compatibility};
use crate::domain::analysis::{Analysis, Measure};
use crate::domain::desired::{DesiredUnit, Route};
use crate::domain::hook::{Hook, Hooks, OnRollback, ScriptSpec};
use crate::domain::id::{Name, UnitId};
use crate::domain::manifest::analysis as written;
use crate::domain::manifest::app::{self, AppSpec, RouteSpec};
use crate::domain::manifest::decode::{Context, list_of, name_or_add};
use crate::domain::manifest::document::{Body, Identity};
use crate::domain::manifest::environment::{Config, Platform, Target};
use crate::domain::manifest::hooks;
use crate::domain::manifest::merge::merge;
use crate::domain::manifest::node::{Located, Node};
use crate::domain::manifest::process::{Artifact, Process};
use crate::domain::manifest::secrets::{Secret, Secrets, Source};
use crate::domain::manifest::template::{self, Values};
use crate::domain::manifest::workload::Workload as Written;
use crate::domain::manifest::{DocumentSet, Layer, Location, Problem, script};
use crate::domain::secret::{Delivery, SecretRef, SecretSource, SecretValue};
use crate::domain::workload::{ArtifactRef, ProcessSpec, Workload};

/// The values of the placeholders of one unit.
pub struct UnitValues<'a> {
    config: &'a Config,
    unit: &'a UnitId,
    version: &'a str,
}

impl Values for UnitValues<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        match name {
            "version" => Some(self.version),
            "app" => Some(self.unit.app.as_str()),
            "environment" => Some(self.unit.environment.as_str()),
            "target" => Some(self.unit.target.as_str()),
            _ => {
                let name = name.strip_prefix("config.")?;
                self.config.get(name).map(|value| value.value.as_str())
            }
        }
    }

    fn config_names(&self) -> Vec<&str> {
        self.config.keys().map(String::as_str).collect()
    }
}

/// Renders one unit; the error is all that is wrong.
pub fn render(
    documents: &DocumentSet,
    parts: &Parts<'_>,
    target: &Target,
    lookups: Lookups<'_>,
    cx: &Context,
) -> Result<(DesiredUnit, Inputs), Vec<Problem>> {
    let mut inputs = Inputs::of(parts);
    let unit = unit(documents, parts, target, lookups, cx, &mut inputs);
    let problems = cx.take_problems();
    match unit {
        Some(unit) if problems.is_empty() => Ok((unit, inputs)),
        _ if problems.is_empty() => {
            let remedy = "please report this: every failure should say what is wrong";
            let message = "this Release cannot be rendered";
            Err(vec![Problem::new(Layer::Schema, &parts.release.name_at, message, remedy)])
        }
        _ => Err(problems),
    }
}

/// An App's spec with what the Release sets, placeholders filled in.
pub fn merged(cx: &Context, parts: &Parts<'_>, target: &Target, unit: &UnitId) -> Option<Node> {
    let Body::App(spec) = &parts.app.body else { return None };
    let release = parts.release.release()?;
    let mut spec = match &release.set {
        Some(set) => merge(spec, set),
        None => spec.clone(),
    };
    template::fill(cx, &mut spec, &UnitValues { config: &target.config, unit, version: &release.version.value });
    Some(spec)
}

fn unit(
    documents: &DocumentSet,
    parts: &Parts<'_>,
    target: &Target,
    lookups: Lookups<'_>,
    cx: &Context,
    inputs: &mut Inputs,
) -> Option<DesiredUnit> {
    let id = unit_id(parts, target)?;
    let node = merged(cx, parts, target, &id)?;
    let spec = app::decode(cx, &node)?;
    compatibility::check(cx, &node, &spec, target);
    let version = parts.release.release()?.version.value.clone();
    let values = UnitValues { config: &target.config, unit: &id, version: &version };
    let mut lookup = Lookup { documents, lookups, cx, inputs, values: &values };
    let workload = lookup.workload(&spec, target);
    let route = match &spec.route {
        Some(route) => listen(cx, route, parts, target).map(Some),
        None => Some(None),
    };
    let analyses = lookup.analyses(&spec.analyses);
    let hooks = lookup.hooks(&spec.hooks);
    let mut depends_on: Vec<Name> = spec.depends_on.iter().map(|name| name.value.clone()).collect();
    depends_on.sort();
    depends_on.dedup();
    let (workload, replicas) = workload?;
    Some(DesiredUnit {
        replicas: replicas.unwrap_or(spec.replicas),
        workload,
        health: spec.health,
        route: route?,
        strategy: spec.strategy,
        analyses: analyses?,
        hooks: hooks?,
        rollback: spec.rollback,
        depends_on,
        prune: spec.prune,
        wave: target.wave,
        version: version.clone(),
        unit: id.clone(),
    })
}

/// The unit of a Release on a target.
pub fn unit_id(parts: &Parts<'_>, target: &Target) -> Option<UnitId> {
    match &parts.release.identity {
        Identity::Release { app, environment } => {
            Some(UnitId { app: app.clone(), environment: environment.clone(), target: target.name.value.clone() })
        }
        _ => None,
    }
}

fn listen(cx: &Context, route: &RouteSpec, parts: &Parts<'_>, target: &Target) -> Option<Route> {
    let known: Vec<&str> = target.listeners.keys().map(Name::as_str).collect();
    let place = || match parts.environment.targets.len() {
        1 => "this environment".to_owned(),
        _ => format!("target `{}`", target.name.value),
    };
    let listener = match &route.listener {
        Some(name) => match target.listeners.get(&name.value) {
            Some(listener) => listener,
            None => {
                let remedy = name_or_add(name.value.as_str(), &known, "add it to the Environment's `listeners`");
                let message = format!("{} has no listener `{}`", place(), name.value);
                cx.report(Layer::Dependency, &name.at, message, remedy);
                return None;
            }
        },
        None => match target.listeners.values().next() {
            Some(listener) if target.listeners.len() == 1 => listener,
            None => {
                let remedy = "add `listeners: { web: { address: 127.0.0.1:8080 } }` to the Environment";
                cx.report(Layer::Dependency, &route.at, format!("{} has no listener for this route", place()), remedy);
                return None;
            }
            Some(_) => {
                let message = format!("{} has several listeners, and this route names none", place());
                cx.report(
                    Layer::Dependency,
                    &route.at,
                    message,
                    format!("add `listener:` with one of {}", list_of(&known)),
                );
                return None;
            }
        },
    };
    Some(Route {
        listen: listener.address.value,
        host: route.host.clone(),
        path: route.path.clone(),
        sticky: route.sticky,
        drain: route.drain,
        timeout: route.timeout,
        tls: listener.tls.clone(),
        upstream: route.upstream,
        testers: route.testers.clone(),
    })
}

/// Looks up what a spec refers to, and notes it as an input.
struct Lookup<'a> {
    documents: &'a DocumentSet,
    lookups: Lookups<'a>,
    cx: &'a Context,
    inputs: &'a mut Inputs,
    values: &'a UnitValues<'a>,
}

impl Lookup<'_> {
    /// What runs, and how many instances it has where it says so itself.
    fn workload(&mut self, spec: &AppSpec, target: &Target) -> Option<(Workload, Option<u32>)> {
        match (&spec.workload, &target.platform) {
            (Written::Process(process), _) => Some((Workload::Process(self.process(spec, process)?), None)),
            (Written::Kubernetes(written), Platform::Kubernetes(cluster)) => {
                let (objects, replicas) = self.kubernetes(spec, written, cluster)?;
                Some((Workload::Kubernetes(objects), Some(replicas)))
            }
            // Told by the check of compatibility.
            (Written::Kubernetes(_), Platform::Host) => None,
        }
    }

    fn process(&mut self, spec: &AppSpec, process: &Process) -> Option<ProcessSpec> {
        Some(ProcessSpec {
            artifact: self.artifact(process.artifact.as_ref())?,
            command: process.command.clone(),
            env: self.environment(&process.env),
            secrets: self.secrets(&spec.secrets, &format!("App `{}`", self.values.unit.app))?,
            user: process.user.clone(),
            limits: process.limits.clone(),
            stop: process.stop.clone(),
            port: process.port,
            log_limit: process.log_limit,
        })
    }

    /// The configuration of the environment, and over it what the App or Script says itself.
    fn environment(&self, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> =
            self.values.config.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect();
        all.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }

    /// The secrets of a document, each with the digest of its value where that is known.
    fn secrets(&mut self, written: &Secrets, document: &str) -> Option<BTreeMap<String, SecretRef>> {
        let found: Vec<_> = written.iter().map(|(name, secret)| (name, self.secret(secret, document))).collect();
        found.into_iter().map(|(name, secret)| Some((name.clone(), secret?))).collect()
    }

    fn secret(&mut self, written: &Secret, document: &str) -> Option<SecretRef> {
        let (at, source) = match &written.source {
            Source::File(path, key) => (&path.at, SecretSource::File { path: path.value.clone(), key: key.clone() }),
            Source::Inline(text) => {
                (&text.at, SecretSource::Inline { document: document.to_owned(), text: text.value.clone() })
            }
        };
        self.looked_up(source, at, &written.deliver)
    }

    fn looked_up(&mut self, source: SecretSource, at: &Location, deliver: &Delivery) -> Option<SecretRef> {
        let value = (self.lookups.secrets)(&source);
        self.inputs.used_secret(source.clone(), value.clone());
        let digest = match value {
            SecretValue::Known(digest) => Some(digest),
            SecretValue::Unknown => None,
            SecretValue::Unusable { message, remedy } => {
                self.cx.report(Layer::Dependency, at, message, remedy);
                return None;
            }
        };
        Some(SecretRef { from: source.to_string(), digest, deliver: deliver.clone() })
    }

    fn artifact(&mut self, artifact: Option<&Artifact>) -> Option<Option<ArtifactRef>> {
        match artifact {
            None => Some(None),
            Some(Artifact::Url { url, sha256 }) => {
                Some(Some(ArtifactRef::Url { url: url.clone(), sha256: sha256.clone() }))
            }
            Some(Artifact::Tree(path)) => match (self.lookups.artifacts)(&path.value) {
                Some(oid) => {
                    self.inputs.used_artifact(&path.value, &oid);
                    Some(Some(ArtifactRef::Tree { oid }))
                }
                None => {
                    let remedy = "a path begins at the folder of the file it is written in, or with `/` at the root of the \
                                  repository; a folder without committed files does not exist for Git";
                    let message = format!("there is no folder `{}` in the repository", path.value);
                    self.cx.report(Layer::Dependency, &path.at, message, remedy);
                    None
                }
            },
        }
    }

    fn analyses(&mut self, written: &BTreeMap<Name, written::Analysis>) -> Option<BTreeMap<Name, Analysis>> {
        let found: Vec<_> = written.iter().map(|(name, analysis)| (name, self.analysis(analysis))).collect();
        found.into_iter().map(|(name, analysis)| Some((name.clone(), analysis?))).collect()
    }

    fn analysis(&mut self, written: &written::Analysis) -> Option<Analysis> {
        let measure = match &written.measure {
            written::Measure::Router(measure) => Measure::Router(measure.clone()),
            written::Measure::Http { url, timeout } => Measure::Http { url: url.clone(), timeout: *timeout },
            written::Measure::Script(name) => Measure::Script(self.script(name)?),
        };
        Some(Analysis {
            measure,
            interval: written.interval,
            count: written.count,
            failure_limit: written.failure_limit,
            inconclusive_limit: written.inconclusive_limit,
        })
    }

    fn hooks(&mut self, written: &hooks::Hooks) -> Option<Hooks> {
        let before: Vec<_> = written.before.iter().map(|hook| self.hook(hook)).collect();
        let after: Vec<_> = written.after.iter().map(|hook| self.hook(hook)).collect();
        Some(Hooks {
            before: before.into_iter().collect::<Option<_>>()?,
            after: after.into_iter().collect::<Option<_>>()?,
        })
    }

    fn hook(&mut self, written: &hooks::Hook) -> Option<Hook> {
        let script = self.script(&written.script);
        let on_rollback = match &written.on_rollback {
            hooks::OnRollback::Nothing => Some(OnRollback::Nothing),
            hooks::OnRollback::ForwardOnly => Some(OnRollback::ForwardOnly),
            hooks::OnRollback::Script(name) => self.script(name).map(OnRollback::Script),
        };
        Some(Hook {
            name: written.script.value.clone(),
            script: script?,
            idempotent: written.idempotent,
            on_rollback: on_rollback?,
        })
    }

    fn script(&mut self, name: &Located<Name>) -> Option<ScriptSpec> {
        let identity = Identity::Script(name.value.clone());
        let Some(document) = self.documents.find(&identity) else {
            let known: Vec<&str> = self.documents.scripts().into_iter().map(Name::as_str).collect();
            let remedy = name_or_add(name.value.as_str(), &known, "add a document of kind Script");
            self.cx.report(Layer::Dependency, &name.at, format!("there is no {identity}"), remedy);
            return None;
        };
        let problems = self.documents.problems_of(&identity);
        let Body::Script(node) = &document.body else { return None };
        if !problems.is_empty() {
            self.cx.extend(problems);
            return None;
        }
        let mut node = node.clone();
        template::fill(self.cx, &mut node, self.values);
        // Its own defaults are not the unit's to explain.
        let own = Context::new();
        let script = script::decode(&own, &node);
        self.cx.extend(own.into_problems());
        let script = script?;
        self.inputs.used_script(&name.value, document.content);
        Some(ScriptSpec {
            command: script.command,
            env: self.environment(&script.env),
            secrets: self.secrets(&script.secrets, &identity.to_string())?,
            artifact: self.artifact(script.artifact.as_ref())?,
            user: script.user,
            limits: script.limits,
            timeout: script.timeout,
            output_limit: script.output_limit,
        })
    }
}
