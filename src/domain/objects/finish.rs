//! From what stands in files to what is applied: patched, in its namespace, labelled, with other images, beside what is made from
//! configuration and secrets; nothing twice, sorted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::generate::{self, Generated};
use super::images::{self, ImageOverride};
use super::patch::{self, Patch};
use super::scope::{Scope, Scopes};
use super::{MAX_OBJECTS, Written, labels};
use crate::domain::manifest::source::Location;
use crate::domain::workload::kubernetes::Object;
use crate::domain::workload::{hooks, waves};

/// What is done with objects on their way.
#[derive(Clone, Copy, Debug)]
pub struct Finish<'a> {
    /// The namespace of objects that name none.
    pub namespace: &'a str,
    /// Whether all objects that belong to a namespace belong to that one, whatever they name themselves.
    pub one_namespace: bool,
    /// Changes to single objects, first of all.
    pub patches: &'a [Patch],
    /// Labels of all objects.
    pub labels: &'a BTreeMap<String, String>,
    /// Other images.
    pub images: &'a [ImageOverride],
    /// What is made beside them.
    pub generated: &'a [Generated],
}

/// Why objects can't be applied together.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Where; for who asked to say where it is not one place.
    pub at: Option<Location>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Makes of objects as they are written what a unit asks for, sorted by id.
///
/// # Errors
///
/// All that is wrong.
pub fn finish(written: &[Written], ask: Finish<'_>) -> Result<Vec<Object>, Vec<Refused>> {
    let scopes = Scopes::of(written);
    let mut refused = Vec::new();
    let mut values: Vec<Value> = written.iter().map(|one| Value::from(one.object.clone())).collect();
    patch::apply(&mut values, ask.patches, &mut refused);
    for value in &mut values {
        place(value, &scopes, ask);
    }
    images::replace(&mut values, ask.images, &mut refused);
    generate::add(&mut values, ask.generated, ask.namespace, &mut refused);
    let mut all = Vec::with_capacity(values.len());
    for (index, mut value) in values.into_iter().enumerate() {
        labels::add(&mut value, ask.labels);
        let annotations = value.get("metadata").and_then(|metadata| metadata.get("annotations"));
        if let Err((message, remedy, _)) = hooks::role(annotations) {
            refused.push(told(message, remedy));
        }
        match Object::try_from(value) {
            Ok(object) => all.push((object, written.get(index))),
            Err(message) => refused.push(told(message, "mend the patches")),
        }
    }
    all.sort_by_cached_key(|(object, _)| object.id());
    for pair in all.windows(2) {
        if let [(one, first), (other, second)] = pair
            && one.id() == other.id()
        {
            let places: Vec<String> = [first, second].into_iter().flatten().map(|written| written.place()).collect();
            let message = format!("{} is given twice: {}", one.id(), places.join(" and "));
            refused.push(told(message, "keep one of them, or give one another name"));
        }
    }
    if all.is_empty() {
        let remedy = "name a folder with .yaml, .yml or .json files of objects, or give a chart the values with which it makes some; \
                      to remove an app, delete its Release";
        refused.push(told("there is no object here".to_owned(), remedy));
    }
    if all.len() > MAX_OBJECTS {
        let message = format!("there are {} objects, and a unit has at most {MAX_OBJECTS}", all.len());
        refused.push(told(message, "split them into several Apps"));
    }
    let objects: Vec<Object> = all.into_iter().map(|(object, _)| object).collect();
    let waves = waves::count(&objects);
    if waves > waves::MOST {
        let message = format!("the objects are of {waves} waves, and a unit has at most {}", waves::MOST);
        refused.push(told(message, "give objects that don't need each other the same wave"));
    }
    if refused.is_empty() { Ok(objects) } else { Err(refused) }
}

fn told(message: String, remedy: &str) -> Refused {
    Refused { at: None, message, remedy: remedy.to_owned() }
}

/// Puts an object into its namespace. Of a kind that only the cluster knows nothing is assumed: one that names no namespace gets it
/// there, should it belong to one.
fn place(value: &mut Value, scopes: &Scopes, ask: Finish<'_>) {
    let version = value["apiVersion"].as_str().unwrap_or_default();
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let scope = scopes.scope(group, value["kind"].as_str().unwrap_or_default());
    let Some(Value::Object(metadata)) = value.get_mut("metadata") else { return };
    let names_one = metadata.get("namespace").is_some_and(Value::is_string);
    let wanted = match scope {
        Scope::Cluster => {
            metadata.remove("namespace");
            return;
        }
        Scope::Namespace => ask.one_namespace || !names_one,
        Scope::Unknown => ask.one_namespace && names_one,
    };
    if wanted {
        metadata.insert("namespace".into(), ask.namespace.into());
    }
}
