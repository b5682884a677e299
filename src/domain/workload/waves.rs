//! Waves: objects of a lower one are healthy before those of a higher one are made, and go after them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::hooks::Moment;
use super::kubernetes::{KubernetesSpec, Object};
use crate::domain::hook::ObjectHook;

/// The annotation of Argo CD that says which wave an object is of.
pub const WAVE: &str = "argocd.argoproj.io/sync-wave";

/// The most waves of a unit: each is a phase of a rollout.
pub const MOST: usize = 100;

/// Some of a group's instances, of which the others need that they are ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What it is called, for people.
    pub name: String,
    /// How many instances there are with it.
    pub size: u32,
    /// The hooks that run beside it, in their order.
    pub hooks: Vec<ObjectHook>,
}

/// A wave as it is written; `None`: it is none.
pub fn read(text: &str) -> Option<i32> {
    text.parse().ok()
}

/// The wave that an object names.
fn own(object: &Object) -> i32 {
    object.annotation(WAVE).and_then(read).unwrap_or_default()
}

/// The wave of each object, in their order. A namespace, or the definition of a kind, is never of a later one than what needs it.
pub fn of(objects: &[Object], namespace: &str) -> Vec<i32> {
    let (mut within, mut defined) = (BTreeMap::new(), BTreeMap::new());
    let all: Vec<i32> = objects.iter().map(own).collect();
    if all.iter().all(|wave| *wave == 0) {
        return all;
    }
    for (object, wave) in objects.iter().zip(&all) {
        let least = within.entry(object.namespace().unwrap_or(namespace)).or_insert(*wave);
        *least = *wave.min(least);
        let least = defined.entry((object.group(), object.kind())).or_insert(*wave);
        *least = *wave.min(least);
    }
    let needed = |object: &Object| match (object.group(), object.kind()) {
        ("", "Namespace") => within.get(object.name()).copied(),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let text = |pointer: &str| object.fields().get("spec")?.pointer(pointer)?.as_str();
            defined.get(&(text("/group")?, text("/names/kind")?)).copied()
        }
        _ => None,
    };
    objects.iter().zip(all).map(|(object, wave)| needed(object).map_or(wave, |needed| needed.min(wave))).collect()
}

impl KubernetesSpec {
    /// The wave of each object, in their order.
    pub fn waves(&self) -> Vec<i32> {
        of(&self.objects, &self.place.namespace)
    }

    /// The objects by their waves, each with its own; of one wave in their order.
    pub fn in_waves(&self) -> Vec<(&Object, i32)> {
        let mut all: Vec<_> = self.objects.iter().zip(self.waves()).collect();
        all.sort_by_key(|(_, wave)| *wave);
        all
    }

    /// The waves, one after the other; none where all objects are of one and no hook runs beside them.
    pub fn stages(&self) -> Vec<Stage> {
        let mut parts: BTreeMap<i32, (u32, Vec<ObjectHook>)> = BTreeMap::new();
        self.waves().into_iter().for_each(|wave| parts.entry(wave).or_default().0 += 1);
        let first = parts.keys().next().copied().unwrap_or_default();
        for (wave, hook) in self.hooks_at(Moment::Sync).into_iter().filter(|(wave, _)| *wave >= first) {
            parts.entry(wave).or_default().1.push(hook);
        }
        if parts.len() < 2 && parts.values().all(|(_, hooks)| hooks.is_empty()) {
            return Vec::new();
        }
        let mut size = 0;
        let stage = |(wave, (count, hooks))| {
            size += count;
            Stage { name: format!("wave {wave}"), size, hooks }
        };
        parts.into_iter().map(stage).collect()
    }
}

/// How many waves objects are of.
pub fn count(objects: &[Object]) -> usize {
    objects.iter().map(own).collect::<BTreeSet<_>>().len()
}

/// What is wrong with the wave that annotations name: the word and the remedy.
pub fn wrong(annotations: Option<&Value>) -> Option<(String, &'static str)> {
    let text = annotations?.get(WAVE)?.as_str()?;
    let remedy = "write a whole number in quotes, for example \"-1\"; without one an object is of wave 0";
    read(text).is_none().then(|| {
        let shown: String = text.chars().take(40).collect();
        (format!("`{WAVE}: {shown}` is no wave"), remedy)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str, wave: &str) -> Object {
        let (version, more) = match kind {
            "CustomResourceDefinition" => {
                ("apiextensions.k8s.io/v1", json!({ "group": "example.com", "names": { "kind": "Thing" } }))
            }
            "Thing" => ("example.com/v1", json!({})),
            _ => ("v1", json!({})),
        };
        let metadata = json!({ "name": name, "annotations": { WAVE: wave } });
        let body = json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": more });
        Object::try_from(body).expect("it is an object")
    }

    #[test]
    fn a_wave_is_a_whole_number() {
        for (text, wave) in [("0", Some(0)), ("-5", Some(-5)), ("+7", Some(7)), ("007", Some(7))] {
            assert_eq!(read(text), wave, "{text}");
        }
        for text in ["", " 1", "1.5", "first", "1e3", "99999999999", "0x1", "--1"] {
            assert_eq!(read(text), None, "{text}");
            let (message, remedy) = wrong(Some(&json!({ WAVE: text }))).expect("it is told");
            assert!(message.contains(WAVE) && remedy.contains("whole number"), "{message}");
        }
        assert_eq!(wrong(Some(&json!({ "other": "x" }))), None);
    }

    #[test]
    fn what_others_need_is_of_no_later_wave_than_they_are() {
        let objects = [
            object("ConfigMap", "a", "-2"),
            object("Namespace", "shop", "5"),
            object("Namespace", "other", "5"),
            object("CustomResourceDefinition", "things", "3"),
            object("Thing", "b", "1"),
        ];
        assert_eq!(of(&objects, "shop"), [-2, -2, 5, 1, 1]);
        assert_eq!(count(&objects), 4);
    }
}
