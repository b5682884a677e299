//! The workload of one unit on a cluster: its objects, the secrets that they name, and how two versions of them are told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Lookup;
use crate::domain::manifest::app::AppSpec;
use crate::domain::manifest::decode::name_or_add;
use crate::domain::manifest::kubernetes::{Cluster, Kubernetes, Written};
use crate::domain::manifest::secrets::Secrets;
use crate::domain::manifest::{Layer, Location};
use crate::domain::objects::finish::{Finish, finish};
use crate::domain::objects::generate::{self, Content, Generated};
use crate::domain::objects::{self as object, Found, HelmSource, ObjectSource};
use crate::domain::render::compatibility;
use crate::domain::secret::{Delivery, SecretRef, SecretSource};
use crate::domain::strategy::Strategy;
use crate::domain::workload::KubernetesSpec;
use crate::domain::workload::hooks::{Divided, Moment};
use crate::domain::workload::kubernetes::{ClusterPlace, Object};
use crate::domain::workload::versioned::Versioned;
use crate::domain::workload::waves;

impl Lookup<'_> {
    /// The objects of a cluster, and how many instances they are.
    pub(super) fn kubernetes(
        &mut self,
        spec: &AppSpec,
        written: &Kubernetes,
        cluster: &Cluster,
    ) -> Option<(KubernetesSpec, u32)> {
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

    fn object_source(&self, written: &Written, namespace: &str) -> ObjectSource {
        match written {
            Written::Path(path) => ObjectSource::Path(path.value.clone()),
            Written::Helm(helm) => ObjectSource::Helm(Box::new(HelmSource {
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
}

/// What objects are called, and where those that are written stand.
fn places(written: &[object::Written], objects: &[Object]) -> Vec<(String, String)> {
    let name = |object: &Object| (object.group().to_owned(), object.kind().to_owned(), object.name().to_owned());
    let known: BTreeMap<_, _> = written.iter().map(|one| (name(&one.object), one.place())).collect();
    objects.iter().filter_map(|object| Some((object.id().to_string(), known.get(&name(object))?.clone()))).collect()
}
