//! Objects that are hooks of Argo CD or Helm: made once a rollout, at their moment, and no part of what shall be there.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::kubernetes::{KubernetesSpec, Object};
use super::order::rank;
use super::waves;
use crate::domain::digest::Digest;
use crate::domain::hook::{ObjectHook, When};
use crate::domain::omit;

/// The annotation of Argo CD that makes an object a hook.
pub const ARGO: &str = "argocd.argoproj.io/hook";
/// The same of Helm.
pub const HELM: &str = "helm.sh/hook";
/// When the object of a hook goes again.
const ARGO_DELETE: &str = "argocd.argoproj.io/hook-delete-policy";
/// The same of Helm.
const HELM_DELETE: &str = "helm.sh/hook-delete-policy";
/// The wave of a hook of Helm.
const HELM_WEIGHT: &str = "helm.sh/hook-weight";

/// So many characters of a `generateName` stay: what is made of it must be a name too.
const MOST_OF_NAME: usize = 50;
/// So many digits follow them.
const DIGITS: usize = 8;

/// When a hook runs, in Argo CD's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Moment {
    /// Before any object is changed.
    PreSync,
    /// Beside the objects of its wave: once they are applied, before they are waited for.
    Sync,
    /// Once all objects are healthy.
    PostSync,
    /// Once the rollout has failed.
    SyncFail,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Moment::PreSync => "PreSync",
            Moment::Sync => "Sync",
            Moment::PostSync => "PostSync",
            Moment::SyncFail => "SyncFail",
        })
    }
}

/// How a hook ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ended {
    /// As it should.
    Succeeded,
    /// Otherwise.
    Failed,
}

/// An object that is a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookObject {
    /// The object. One with `generateName` has a name that only tells it from others.
    pub object: Object,
    /// When it runs.
    pub at: Vec<Moment>,
    /// Its wave among those of the same moment.
    #[serde(default, skip_serializing_if = "omit::is_zero")]
    pub wave: i32,
    /// After which ends it is deleted. Before it runs again it always is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<Ended>,
}

/// What an object is to a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Part of what shall be there.
    Object,
    /// A hook.
    Hook {
        /// When it runs.
        at: Vec<Moment>,
        /// Its wave.
        wave: i32,
        /// After which ends it is deleted.
        delete: Vec<Ended>,
    },
    /// Nothing; why.
    LeftOut(String),
}

/// The word, the remedy, and the annotation that is wrong.
pub type Wrong = (String, &'static str, &'static str);

/// What annotations make of an object, by the rules of Argo CD: its own go before Helm's.
///
/// # Errors
///
/// They ask for something that is not done here, or say nothing that can be understood.
pub fn role(annotations: Option<&Value>) -> Result<Role, Wrong> {
    let text = |name: &str| annotations?.get(name)?.as_str();
    if let Some((message, remedy)) = waves::wrong(annotations) {
        return Err((message, remedy, waves::WAVE));
    }
    let (at, source) = match (text(ARGO), text(HELM)) {
        (Some(named), _) => (argo(named)?, format!("{ARGO}: {}", shortened(named))),
        // By this name Helm 2 knew definitions that come first, as they do anyway.
        (None, Some("crd-install") | None) => return Ok(Role::Object),
        (None, Some(named)) => (helm(named), format!("{HELM}: {}", shortened(named))),
    };
    if at.is_empty() {
        return Ok(Role::LeftOut(source));
    }
    let wave = match text(waves::WAVE).and_then(waves::read) {
        Some(wave) => wave,
        None => weight(text(HELM_WEIGHT))?,
    };
    let mut delete = Vec::new();
    for (name, succeeded, failed, before) in [
        (ARGO_DELETE, "HookSucceeded", "HookFailed", "BeforeHookCreation"),
        (HELM_DELETE, "hook-succeeded", "hook-failed", "before-hook-creation"),
    ] {
        for word in words(text(name).unwrap_or_default()) {
            match word {
                _ if word == succeeded => delete.push(Ended::Succeeded),
                _ if word == failed => delete.push(Ended::Failed),
                _ if word == before => {}
                _ => {
                    let message = format!("`{name}: {}` is no policy", shortened(word));
                    let remedy = "write `HookSucceeded`, `HookFailed` or `BeforeHookCreation` (Helm: `hook-succeeded`, \
                                  `hook-failed`, `before-hook-creation`)";
                    return Err((message, remedy, name));
                }
            }
        }
    }
    delete.sort_unstable();
    delete.dedup();
    Ok(Role::Hook { at, wave, delete })
}

fn argo(named: &str) -> Result<Vec<Moment>, Wrong> {
    let mut at = Vec::new();
    for word in words(named) {
        match word {
            "PreSync" => at.push(Moment::PreSync),
            "Sync" => at.push(Moment::Sync),
            "PostSync" => at.push(Moment::PostSync),
            "SyncFail" => at.push(Moment::SyncFail),
            "Skip" => {}
            "PreDelete" | "PostDelete" => {
                let message = format!("`{ARGO}: {word}` runs when an app is removed, which runs no hooks here");
                return Err((message, "delete the object, or take that moment out of the annotation", ARGO));
            }
            _ => {
                let message = format!("`{ARGO}: {}` is no moment of a rollout", shortened(word));
                return Err((message, "write `PreSync`, `Sync`, `PostSync`, `SyncFail` or `Skip`", ARGO));
            }
        }
    }
    Ok(sorted(at))
}

/// The moments of Helm that a rollout has; of the others it knows nothing.
fn helm(named: &str) -> Vec<Moment> {
    let moment = |word: &str| match word {
        "pre-install" | "pre-upgrade" => Some(Moment::PreSync),
        "post-install" | "post-upgrade" => Some(Moment::PostSync),
        _ => None,
    };
    sorted(words(named).filter_map(moment).collect())
}

fn weight(text: Option<&str>) -> Result<i32, Wrong> {
    let Some(text) = text else { return Ok(0) };
    let wrong = || {
        let message = format!("`{HELM_WEIGHT}: {}` is no weight", shortened(text));
        (message, "write a whole number in quotes, for example \"-1\"", HELM_WEIGHT)
    };
    waves::read(text).ok_or_else(wrong)
}

fn sorted(mut at: Vec<Moment>) -> Vec<Moment> {
    at.sort_unstable();
    at.dedup();
    at
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Objects, told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Divided {
    /// What shall be there.
    pub objects: Vec<Object>,
    /// The hooks.
    pub hooks: Vec<HookObject>,
    /// What is not made, with the reason.
    pub left_out: Vec<String>,
}

impl Divided {
    /// Tells objects from hooks. What their annotations say was checked.
    pub fn of(all: Vec<Object>) -> Self {
        let mut divided = Divided::default();
        for object in all {
            let annotations = object.fields().get("metadata").and_then(|metadata| metadata.get("annotations"));
            match role(annotations) {
                Ok(Role::Hook { at, wave, delete }) => divided.hooks.push(HookObject { object, at, wave, delete }),
                Ok(Role::LeftOut(why)) => {
                    divided.left_out.push(format!("{} {} ({why})", object.kind(), object.name()));
                }
                Ok(Role::Object) | Err(_) => divided.objects.push(object),
            }
        }
        divided
    }
}

impl HookObject {
    /// What its name begins with, where the rest is made for each rollout.
    fn prefix(&self) -> Option<&str> {
        self.object.fields().get("metadata")?.get("generateName")?.as_str()
    }

    /// For people: `Job migrate`, `Job notify-*`
    pub fn told(&self) -> String {
        let kind = self.object.kind();
        self.prefix().map_or_else(|| format!("{kind} {}", self.object.name()), |prefix| format!("{kind} {prefix}*"))
    }

    /// The object as it is made for a rendered state: the same name for the same state, so that it is found again.
    pub fn made_for(&self, rendered: &Digest) -> Object {
        let Some(prefix) = self.prefix() else { return self.object.clone() };
        let digest = Digest::of("h1", &(rendered, self.object.name()));
        let kept: String = prefix.chars().take(MOST_OF_NAME).collect();
        let name = format!("{kept}{}", digest.short().get(..DIGITS).unwrap_or_default());
        let mut fields = self.object.fields().clone();
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.remove("generateName");
            metadata.insert("name".into(), name.into());
        }
        Object::try_from(Value::Object(fields)).unwrap_or_else(|_| self.object.clone())
    }
}

/// Gives an object with `generateName` a name of its own among others. `number` tells it from them.
pub fn name_apart(metadata: &mut Map<String, Value>, number: usize) {
    if metadata.contains_key("name") {
        metadata.remove("generateName");
    } else if let Some(prefix) = metadata.get("generateName").and_then(Value::as_str) {
        let name = format!("{}{number}", prefix.chars().take(MOST_OF_NAME).collect::<String>());
        metadata.insert("name".into(), name.into());
    }
}

impl KubernetesSpec {
    /// The objects and those of hooks.
    pub fn all(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().chain(self.hooks.iter().map(|hook| &hook.object))
    }

    /// The hooks of a moment with their waves, in the order in which they run.
    pub fn hooks_at(&self, moment: Moment) -> Vec<(i32, ObjectHook)> {
        let numbered = (0..).zip(&self.hooks).filter(|(_, hook)| hook.at.contains(&moment));
        let mut all: Vec<(u32, &HookObject)> = numbered.collect();
        all.sort_by_key(|(_, hook)| {
            (hook.wave, rank(hook.object.group(), hook.object.kind()), hook.object.name().to_owned())
        });
        let told = |(number, hook): (u32, &HookObject)| {
            (hook.wave, ObjectHook { number, name: hook.told(), moment: moment.to_string() })
        };
        all.into_iter().map(told).collect()
    }

    /// The hooks that run at a time of a rollout, in their order.
    pub fn hooks_when(&self, when: When) -> Vec<ObjectHook> {
        let of = |moment| self.hooks_at(moment).into_iter().map(|(_, hook)| hook);
        match when {
            // Beside objects that come later, and so before all of them.
            When::Before => {
                let first = self.waves().into_iter().min().unwrap_or_default();
                let early = self.hooks_at(Moment::Sync).into_iter().filter(|(wave, _)| *wave < first);
                of(Moment::PreSync).chain(early.map(|(_, hook)| hook)).collect()
            }
            When::After => of(Moment::PostSync).collect(),
            When::Failed => of(Moment::SyncFail).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hook(at: &[Moment], wave: i32, delete: &[Ended]) -> Result<Role, Wrong> {
        Ok(Role::Hook { at: at.into(), wave, delete: delete.into() })
    }

    #[test]
    fn annotations_of_argo_cd_and_helm_are_told_apart() {
        use Ended::{Failed, Succeeded};
        use Moment::{PostSync, PreSync, Sync, SyncFail};
        let left_out = |why: &str| Ok(Role::LeftOut(why.into()));
        for (annotations, expected) in [
            (json!({}), Ok(Role::Object)),
            (json!({ ARGO: "PreSync" }), hook(&[PreSync], 0, &[])),
            (json!({ ARGO: "PostSync, Sync" }), hook(&[Sync, PostSync], 0, &[])),
            (json!({ ARGO: "SyncFail", waves::WAVE: "-2" }), hook(&[SyncFail], -2, &[])),
            (json!({ ARGO: "Skip" }), left_out("argocd.argoproj.io/hook: Skip")),
            (json!({ ARGO: "Sync", HELM: "pre-install", HELM_WEIGHT: "3" }), hook(&[Sync], 3, &[])),
            (json!({ ARGO: "Sync", ARGO_DELETE: "HookFailed,HookSucceeded" }), hook(&[Sync], 0, &[Succeeded, Failed])),
            (json!({ ARGO: "Sync", ARGO_DELETE: "BeforeHookCreation" }), hook(&[Sync], 0, &[])),
            (json!({ HELM: "pre-install,pre-upgrade" }), hook(&[PreSync], 0, &[])),
            (
                json!({ HELM: "post-install", HELM_WEIGHT: "-5", HELM_DELETE: "before-hook-creation,hook-succeeded" }),
                hook(&[PostSync], -5, &[Succeeded]),
            ),
            (json!({ HELM: "pre-install,post-delete" }), hook(&[PreSync], 0, &[])),
            (json!({ HELM: "crd-install" }), Ok(Role::Object)),
            (json!({ HELM: "test" }), left_out("helm.sh/hook: test")),
            (json!({ HELM: "test-success" }), left_out("helm.sh/hook: test-success")),
            (json!({ HELM: "pre-rollback,post-delete" }), left_out("helm.sh/hook: pre-rollback,post-delete")),
        ] {
            assert_eq!(role(Some(&annotations)), expected, "{annotations}");
        }
        for (annotations, word) in [
            (json!({ ARGO: "Before" }), "`argocd.argoproj.io/hook: Before`"),
            (json!({ ARGO: "PreSync,PreDelete" }), "PreDelete"),
            (json!({ ARGO: "Sync", ARGO_DELETE: "Never" }), "Never"),
            (json!({ HELM: "pre-install", HELM_WEIGHT: "heavy" }), "heavy"),
            (json!({ waves::WAVE: "first" }), "first"),
        ] {
            let (message, remedy, _) = role(Some(&annotations)).expect_err("it is wrong");
            assert!(message.contains(word) && !remedy.is_empty(), "{message}");
        }
    }

    #[test]
    fn a_generated_name_is_the_same_for_the_same_state_and_not_for_another() {
        let mut metadata = json!({ "generateName": "notify-" });
        name_apart(metadata.as_object_mut().expect("it is a mapping"), 7);
        let body = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata });
        let object = Object::try_from(body).expect("it has a name now");
        let hook = HookObject { object, at: vec![Moment::PostSync], wave: 0, delete: Vec::new() };
        assert_eq!(hook.told(), "Job notify-*");
        let made = |rendered: &str| hook.made_for(&Digest::from_text(rendered)).name().to_owned();
        assert_eq!(made("r1:1"), made("r1:1"));
        assert!(made("r1:1") != made("r1:2") && made("r1:1").starts_with("notify-"));
    }
}
