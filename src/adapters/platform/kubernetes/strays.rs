//! Fields that somebody added by hand to what was applied, and what other tools had of an object that is taken over.
//!
//! An addition is no loss of what was applied, so nothing but `managedFields` tells it: the tools that people use by hand have the
//! field, and the apply has not. A field of anybody else is that one's: controllers add to objects as well.

use serde_json::{Map, Value, json};

use super::fields::{self, Owner, entries, readable, text};
use super::labels::MANAGER;

/// What `kubectl` does on somebody's word that is no matter of Git: it restarts and pauses, and shifts numbers of pods.
const ORDERS: [&str; 3] = ["kubectl-rollout", "kubectl-scale", "kubectl-autoscale"];
/// Tools that declare whole objects: what is taken over from them is not theirs any more.
const DECLARERS: [&str; 11] = [
    "kubectl",
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-replace",
    "before-first-apply",
    "helm",
    "Helm",
    "argocd-controller",
    "argocd-application-controller",
    "kustomize-controller",
    "helm-controller",
];
/// How many pods there are. Who leaves it out of Git leaves it to an autoscaler or to people; taken away it would become one.
const NUMBER: [&str; 2] = ["f:spec", "f:replicas"];
/// An item of a list, or a mapping, itself.
const ITSELF: &str = ".";

/// A field that somebody added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Whose it is.
    pub owner: Owner,
    /// Its steps, as `managedFields` has them.
    pub path: Vec<String>,
}

/// What somebody added by hand. Labels and annotations of the object itself are notes, and count for nothing.
pub fn strays(managed: &Value) -> Vec<Stray> {
    let Some(own) = own(managed) else { return Vec::new() };
    let ours = own.get("fieldsV1").unwrap_or(&Value::Null);
    let theirs = entries(managed).filter(|entry| is_beside(own, entry));
    theirs
        .filter_map(|entry| Some((owner(entry), content(entry.get("fieldsV1")?))))
        .flat_map(|(owner, theirs)| {
            let mut added = Vec::new();
            walk(&Value::Object(theirs), Some(ours), &mut Vec::new(), &mut added);
            added.retain(|path| *path != NUMBER);
            added.into_iter().map(move |path| Stray { owner: owner.clone(), path })
        })
        .collect()
}

/// What is in `theirs` and not in `ours`; items and mappings that are theirs as a whole are told as one.
fn walk(theirs: &Value, ours: Option<&Value>, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    for (step, below) in theirs.as_object().into_iter().flatten().filter(|(step, _)| *step != ITSELF) {
        let ours = ours.and_then(|ours| ours.get(step));
        let whole = below.as_object().is_none_or(|below| below.is_empty() || below.contains_key(ITSELF));
        path.push(step.clone());
        match ours {
            None if whole => out.push(path.clone()),
            ours => walk(below, ours, path, out),
        }
        path.pop();
    }
}

impl Stray {
    /// `.data.word`
    pub fn field(&self) -> String {
        readable(&self.path)
    }

    /// Whether it is among these fields, which `managedFields` tells of: somebody changed it and added nothing.
    pub fn is_among(&self, fields: &Value) -> bool {
        self.path.iter().try_fold(fields, |at, step| at.get(step)).is_some()
    }

    /// Whether an object has it.
    pub fn is_in(&self, object: &Value) -> bool {
        let below = |at: &Value, step: &String| match step.split_once(':') {
            Some(("f", name)) => at.get(name).cloned(),
            _ => at.as_array()?.iter().find(|item| fields::is_step_of(step, item)).cloned(),
        };
        self.path.iter().try_fold(object.clone(), |at, step| below(&at, step)).is_some()
    }

    /// Whether a JSON pointer names it or something that it is in; `*`, and the place in a list, stand for any item.
    pub fn is_below(&self, pointer: &str) -> bool {
        let Some(steps) = pointer.strip_prefix('/') else { return false };
        let mut path = self.path.iter();
        steps.split('/').all(|step| {
            let Some(there) = path.next() else { return false };
            let step = step.replace("~1", "/").replace("~0", "~");
            match there.split_once(':') {
                Some(("f", name)) => step == "*" || step == name,
                _ => true,
            }
        })
    }
}

/// Who added what, for people.
pub fn told(strays: &[&Stray]) -> String {
    let mut all: Vec<String> = Vec::new();
    for chunk in strays.chunk_by(|one, other| one.owner == other.owner) {
        let fields: Vec<String> = chunk.iter().take(4).map(|stray| stray.field()).collect();
        let manager = chunk.first().map(|stray| stray.owner.manager.as_str()).unwrap_or_default();
        all.push(format!("{manager} added {}", fields.join(", ")));
    }
    all.join("; ")
}

/// The account of who has what, once these additions are ours: an apply that leaves them out removes them.
pub fn taken(managed: &Value, strays: &[&Stray]) -> Value {
    let mut all: Vec<Value> = entries(managed).cloned().collect();
    let Some(at) = all.iter().position(is_own) else { return managed.clone() };
    let own_entry = all[at].clone();
    let mut ours = all[at].get("fieldsV1").cloned().unwrap_or_default();
    for stray in strays {
        let theirs = all.iter_mut().filter(|entry| is_beside(&own_entry, entry) && owner(entry) == stray.owner);
        for fields in theirs.filter_map(|entry| entry.get_mut("fieldsV1")) {
            move_over(fields, &mut ours, &stray.path);
        }
    }
    all[at]["fieldsV1"] = ours;
    all.retain(|entry| entry.get("fieldsV1").and_then(Value::as_object).is_none_or(|fields| !fields.is_empty()));
    all.into()
}

/// The account without the tools that declared the object before it was taken over; `None`: there is none of them. Their fields stay as
/// they are.
pub fn disowned(managed: &Value) -> Option<Value> {
    let declares = |entry: &Value| {
        entry.get("subresource").is_none() && DECLARERS.contains(&text(entry, "manager")) && !is_own(entry)
    };
    let left: Vec<Value> = entries(managed).filter(|entry| !declares(entry)).cloned().collect();
    // Without any entry the server would keep all.
    (!left.is_empty() && left.len() < entries(managed).count()).then(|| left.into())
}

/// Moves a field from one owner's tree to another's, with the items of lists that it is in.
fn move_over(from: &mut Value, to: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    let Some(members) = from.as_object_mut() else { return };
    if !to.is_object() {
        *to = json!({});
    }
    let Some(target) = to.as_object_mut() else { return };
    if members.contains_key(ITSELF) {
        target.entry(ITSELF).or_insert_with(|| json!({}));
    }
    let Some(below) = members.get_mut(step) else { return };
    let there = target.entry(step.clone()).or_insert_with(|| json!({}));
    match rest.is_empty() {
        true => lay_over(there, below),
        false => move_over(below, there, rest),
    }
    if rest.is_empty() || below.as_object().is_none_or(|below| below.keys().all(|step| step == ITSELF)) {
        members.remove(step);
    }
}

fn lay_over(there: &mut Value, more: &Value) {
    let Some(members) = there.as_object_mut() else { return };
    for (step, below) in more.as_object().into_iter().flatten() {
        lay_over(members.entry(step.clone()).or_insert_with(|| json!({})), below);
    }
}

fn own(managed: &Value) -> Option<&Value> {
    entries(managed).find(|entry| is_own(entry))
}

fn is_own(entry: &Value) -> bool {
    text(entry, "manager") == MANAGER && text(entry, "operation") == "Apply" && entry.get("subresource").is_none()
}

/// Whether an entry is that of a tool that people use by hand, about the same version of the kind.
fn is_beside(own: &Value, entry: &Value) -> bool {
    let manager = text(entry, "manager");
    let by_hand = manager.starts_with("kubectl") || manager == "before-first-apply";
    by_hand
        && !ORDERS.contains(&manager)
        && entry.get("subresource").is_none()
        && entry.get("apiVersion") == own.get("apiVersion")
}

/// Fields without those that tell about the object or are told by its controller.
fn content(fields: &Value) -> Map<String, Value> {
    let all = fields.as_object().into_iter().flatten();
    let content = all.filter(|(step, _)| !matches!(step.as_str(), "f:metadata" | "f:status" | ITSELF));
    content.map(|(step, below)| (step.clone(), below.clone())).collect()
}

fn owner(entry: &Value) -> Owner {
    Owner {
        manager: text(entry, "manager").to_owned(),
        applies: text(entry, "operation") == "Apply",
        subresource: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: &Value) -> Value {
        json!({ "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields })
    }

    fn managed() -> Value {
        let item = |value: &str| json!({ ".": {}, "f:name": {}, value: {} });
        let env = |name: &str, item: Value| json!({ "f:spec": { "f:env": { ".": {}, name: item } } });
        let mut edited = env("k:{\"name\":\"FOO\"}", item("f:value"));
        edited["f:metadata"] = json!({ "f:annotations": { "f:note": {} } });
        edited["f:spec"]["f:paused"] = json!({});
        edited["f:spec"]["f:replicas"] = json!({});
        json!([
            entry("trimtab", "Apply", &env("k:{\"name\":\"BAR\"}", item("f:value"))),
            entry("kubectl-edit", "Update", &edited),
            entry("kube-controller-manager", "Update", &json!({ "f:spec": { "f:other": {} } })),
            entry("kubectl-rollout", "Update", &json!({ "f:spec": { "f:restarted": {} } })),
        ])
    }

    #[test]
    fn what_somebody_added_by_hand_is_told_and_what_others_add_is_theirs() {
        let all = strays(&managed());
        let told = told(&all.iter().collect::<Vec<_>>());
        assert_eq!(told, r#"kubectl-edit added .spec.env[name="FOO"], .spec.paused"#);
        assert!(all[0].is_below("/spec/env") && all[0].is_below("/spec/env/0") && all[1].is_below("/spec/*"));
        assert!(!all[0].is_below("/data") && !all[1].is_below("/spec/paused/x") && !all[1].is_below("/spec/env"));
        let object = json!({ "spec": { "env": [{ "name": "FOO" }] } });
        assert!(all[0].is_in(&object) && !all[1].is_in(&object));
        let mut others = managed();
        others.as_array_mut().expect("a list").remove(0);
        assert_eq!(strays(&others), [], "it is not ours");
    }

    #[test]
    fn what_is_taken_goes_over_with_the_items_that_it_is_in() {
        let all = strays(&managed());
        let part: Vec<&Stray> = all.iter().filter(|stray| !stray.is_below("/spec/paused")).collect();
        let taken = taken(&managed(), &part);
        let env = &taken[0]["fieldsV1"]["f:spec"]["f:env"];
        assert_eq!(env["k:{\"name\":\"FOO\"}"], json!({ ".": {}, "f:name": {}, "f:value": {} }));
        assert_eq!(env["k:{\"name\":\"BAR\"}"], json!({ ".": {}, "f:name": {}, "f:value": {} }));
        let left = json!({ "f:spec": { "f:paused": {}, "f:replicas": {} }, "f:metadata": { "f:annotations": { "f:note": {} } } });
        assert_eq!(taken[1]["fieldsV1"], left);
        assert_eq!(strays(&taken).len(), 1);
    }

    #[test]
    fn who_declared_an_object_before_has_nothing_of_it_once_it_is_taken_over() {
        let fields = json!({ "f:data": { "f:a": {} } });
        let scaled = json!({ "manager": "kubectl", "operation": "Update", "subresource": "scale", "fieldsV1": fields });
        let ours = entry("trimtab", "Apply", &fields);
        let all = json!([
            entry("kubectl-client-side-apply", "Update", &fields),
            entry("helm", "Apply", &fields),
            scaled,
            ours
        ]);
        assert_eq!(disowned(&all), Some(json!([scaled, ours])));
        assert_eq!(disowned(&json!([ours])), None);
        assert_eq!(disowned(&json!([entry("kubectl-create", "Update", &fields)])), None);
    }
}
