//! One unit: merge, fill in, decode, look up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
use crate::domain::manifest::kubernetes::{Cluster, Kubernetes, Written as ObjectsWritten};
use crate::domain::manifest::merge::merge;
use crate::domain::manifest::node::{Located, Node};
use crate::domain::manifest::process::{Artifact, Process};
use crate::domain::manifest::secrets::{Secret, Secrets, Source};
use crate::domain::manifest::template::{self, Values};
use crate::domain::manifest::workload::Workload as Written;
use crate::domain::manifest::{DocumentSet, Layer, Location, Problem, script};
use crate::domain::objects::finish::{Finish, finish};
use crate::domain::objects::generate::{self, Content, Generated};
use crate::domain::objects::{self as object, Found, HelmSource, ObjectSource};
use crate::domain::secret::{Delivery, SecretRef, SecretSource, SecretValue};
use crate::domain::strategy::Strategy;
use crate::domain::workload::hooks::{Divided, Moment};
use crate::domain::workload::kubernetes::{ClusterPlace, Object};
use crate::domain::workload::versioned::Versioned;
use crate::domain::workload::waves;
use crate::domain::workload::{ArtifactRef, KubernetesSpec, ProcessSpec, Workload};

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

/// What objects are called, and where those that are written stand.
fn places(written: &[object::Written], objects: &[Object]) -> Vec<(String, String)> {
    let name = |object: &Object| (object.group().to_owned(), object.kind().to_owned(), object.name().to_owned());
    let known: BTreeMap<_, _> = written.iter().map(|one| (name(&one.object), one.place())).collect();
    objects.iter().filter_map(|object| Some((object.id().to_string(), known.get(&name(object))?.clone()))).collect()
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

    fn kubernetes(&mut self, spec: &AppSpec, written: &Kubernetes, cluster: &Cluster) -> Option<(KubernetesSpec, u32)> {
        let own = written.namespace.as_ref().map(|name| name.value.clone());
        let default = cluster.namespace.clone().unwrap_or_else(|| self.values.unit.app.to_string());
        let service_account = cluster.service_account.as_ref().map(|account| match account.contains('/') {
            true => account.clone(),
            false => format!("{default}/{account}"),
        });
        let one_namespace = own.is_some();
        let namespace = own.unwrap_or(default);
        let at = written.source.at();
        let found = self.objects(&self.object_source(&written.source, &namespace), at)?;
        let mut secrets = self.secrets(&spec.secrets, &format!("App `{}`", self.values.unit.app))?;
        let generated = self.generated(written, &secrets)?;
        let ask = Finish {
            namespace: &namespace,
            one_namespace,
            patches: &written.patches,
            labels: &written.labels,
            images: &written.images,
            generated: &generated,
        };
        let objects = match finish(&found, ask) {
            Ok(objects) => objects,
            Err(refused) => {
                for one in refused {
                    let at = one.at.as_ref().unwrap_or(at);
                    self.cx.report(Layer::Dependency, at, one.message, one.remedy);
                }
                return None;
            }
        };
        self.cx.explain_objects(|| places(&found, &objects));
        let named = generate::secrets_named(&objects);
        let Divided { objects, hooks, left_out } = Divided::of(objects);
        if objects.is_empty() {
            let message = "there is no object here but hooks, and what has ended runs nothing".to_owned();
            self.cx.report(
                Layer::Dependency,
                at,
                message,
                "add what shall run, or make it a script of the App's `hooks`",
            );
            return None;
        }
        let sealed: BTreeMap<&String, &SecretSource> = found.iter().flat_map(|one| &one.secrets).collect();
        let (sealed_named, own) = named.into_iter().partition(|name| sealed.contains_key(name));
        self.all_known(&spec.secrets, &own, at)?;
        secrets.retain(|name, _| own.contains(name));
        secrets.extend(self.sealed(&sealed, sealed_named, at)?);
        let (versioned, replicas) = self.versioned(&spec.strategy, &objects, at)?;
        if let Some(hook) = hooks.iter().find(|hook| versioned.is_some() && hook.at.contains(&Moment::Sync)) {
            let message =
                format!("{} runs beside objects of a wave, which `{}` has not", hook.told(), spec.strategy.name());
            let remedy = "make it a hook before or after (`PreSync`, `PostSync`), or use `rolling`";
            self.cx.report(Layer::Compatibility, at, message, remedy);
            return None;
        }
        let spec = KubernetesSpec {
            place: ClusterPlace { cluster: cluster.cluster.clone(), namespace, service_account },
            objects,
            hooks,
            left_out,
            secrets,
            ignore: written.ignore.clone(),
            health: written.health.clone(),
            drift: written.drift,
            adopt: written.adopt,
            recreate: written.recreate.clone(),
            versioned,
        };
        Some((spec, replicas))
    }

    /// How objects are divided where two versions of them are to run side by side, and how many instances they are.
    fn versioned(
        &self,
        strategy: &Strategy,
        objects: &[Object],
        at: &Location,
    ) -> Option<(Option<Box<Versioned>>, u32)> {
        if !compatibility::is_versioned(strategy) {
            return Some((None, u32::try_from(objects.len()).unwrap_or(u32::MAX)));
        }
        if waves::count(objects) > 1 {
            let message =
                format!("objects of several waves can't be made by `{}`: they go out together", strategy.name());
            let remedy = format!("use `rolling`, delete the annotation `{}`, or join Apps by `dependsOn`", waves::WAVE);
            self.cx.report(Layer::Compatibility, at, message, remedy);
            return None;
        }
        match Versioned::of(objects, matches!(strategy, Strategy::Canary(_))) {
            Ok((versioned, replicas)) => Some((Some(Box::new(versioned)), replicas)),
            Err((message, remedy)) => {
                self.cx.report(Layer::Compatibility, at, message, remedy);
                None
            }
        }
    }

    /// The values of objects that are encrypted in their own files.
    fn sealed(
        &mut self,
        known: &BTreeMap<&String, &SecretSource>,
        named: BTreeSet<String>,
        at: &Location,
    ) -> Option<BTreeMap<String, SecretRef>> {
        let found: Vec<_> = named
            .into_iter()
            .filter_map(|name| Some(((*known.get(&name)?).clone(), name)))
            .map(|(source, name)| (name, self.looked_up(source, at, &Delivery::Object {})))
            .collect();
        found.into_iter().map(|(name, secret)| Some((name, secret?))).collect()
    }

    fn object_source(&self, written: &ObjectsWritten, namespace: &str) -> ObjectSource {
        match written {
            ObjectsWritten::Path(path) => ObjectSource::Path(path.value.clone()),
            ObjectsWritten::Helm(helm) => ObjectSource::Helm(Box::new(HelmSource {
                chart: helm.chart.value.clone(),
                release: helm.release.clone().unwrap_or_else(|| self.values.unit.app.to_string()),
                namespace: namespace.to_owned(),
                values: helm.values.clone(),
                files: helm.files.clone(),
                skip_hooks: helm.skip_hooks,
                cluster: helm.cluster.clone(),
            })),
        }
    }

    /// The ConfigMaps and Secrets that are made for a workload.
    fn generated(&self, written: &Kubernetes, known: &BTreeMap<String, SecretRef>) -> Option<Vec<Generated>> {
        let mut all = Vec::new();
        for (name, made) in &written.config {
            let data = made.data.clone().unwrap_or_else(|| self.environment(&BTreeMap::new()));
            all.push(Generated { at: made.at.clone(), name: name.clone(), content: Content::Config(data) });
        }
        let mut complete = true;
        for (name, made) in &written.secrets {
            let mut data = BTreeMap::new();
            for (key, secret) in made.data.iter().flatten() {
                match known.get(&secret.value) {
                    Some(found) => drop(data.insert(key.clone(), (secret.value.clone(), found.digest.clone()))),
                    None => {
                        let names: Vec<&String> = known.keys().collect();
                        let remedy = name_or_add(&secret.value, &names, "add it under the App's `secrets`");
                        let message = format!("there is no secret `{}` in this App", secret.value);
                        self.cx.report(Layer::Dependency, &secret.at, message, remedy);
                        complete = false;
                    }
                }
            }
            all.push(Generated { at: made.at.clone(), name: name.clone(), content: Content::Secret(data) });
        }
        complete.then_some(all)
    }

    /// Whether objects name just the secrets that there are.
    fn all_known(&self, written: &Secrets, named: &BTreeSet<String>, at: &Location) -> Option<()> {
        for name in named.iter().filter(|name| !written.contains_key(*name)) {
            let message = format!("an object names the secret `{name}`, and this App has none of that name");
            self.cx.report(Layer::Dependency, at, message, "add it under the App's `secrets`");
        }
        for (name, secret) in written.iter().filter(|(name, _)| !named.contains(*name)) {
            let message = format!("no object names the secret `{name}`");
            let remedy = "name it under `workload.kubernetes.secrets`, or delete it";
            self.cx.report(Layer::Dependency, &secret.at, message, remedy);
        }
        (named.len() == written.len() && named.iter().all(|name| written.contains_key(name))).then_some(())
    }

    /// The objects of a source, noted as an input.
    fn objects(&mut self, source: &ObjectSource, at: &Location) -> Option<Arc<Vec<object::Written>>> {
        match self.lookups.objects.find(source) {
            Found::Objects(objects, origins) => {
                self.inputs.used_objects(&origins);
                return Some(objects);
            }
            Found::Unusable(problems) | Found::Unreachable(problems) => self.cx.extend(problems),
            Found::Nothing => {
                let remedy = "a path begins at the folder of the file it is written in, or with `/` at the root of the \
                              repository; what is not committed does not exist for Git";
                let message = format!("there is no file or folder `{source}` in the repository");
                self.cx.report(Layer::Dependency, at, message, remedy);
            }
            Found::NotYet => {
                let message = format!("the objects at `{source}` were not looked at");
                self.cx.report(Layer::Dependency, at, message, "render it where the repository can be read");
            }
        }
        None
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
