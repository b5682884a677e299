//! Patches: a part of an object laid over it, or the steps of a JSON patch (RFC 6902).

use serde_json::{Map, Value};

use super::finish::Refused;
use crate::domain::manifest::source::Location;

/// The deepest path of a step.
const MAX_STEPS: usize = 64;

/// A change to some objects.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Where it is written.
    pub at: Location,
    /// The kind of the objects it is for, `Deployment` or `Deployment.apps`; any where it is not given.
    pub kind: Option<String>,
    /// Their name; any where it is not given.
    pub name: Option<String>,
    /// What is done.
    pub change: Change,
}

/// What is done to an object.
#[derive(Clone, Debug)]
pub enum Change {
    /// Laid over it: mappings are merged, items of lists by their name where all have one, other lists replaced; null removes.
    Merge(Value),
    /// The steps of a JSON patch.
    Steps(Vec<Step>),
}

/// One step of a JSON patch.
#[derive(Clone, Debug)]
pub enum Step {
    /// Puts a value at a path; into a list before what stands there.
    Add(String, Value),
    /// Takes away what is at a path.
    Remove(String),
    /// Puts a value in the place of another.
    Replace(String, Value),
    /// Asks that a value stands at a path.
    Test(String, Value),
}

/// Changes the objects that patches are for.
pub fn apply(objects: &mut [Value], patches: &[Patch], refused: &mut Vec<Refused>) {
    for patch in patches {
        let mut any = false;
        for object in objects.iter_mut().filter(|object| patch.is_for(object)) {
            any = true;
            let identity = identity(object);
            let outcome = patch.change.apply(object).and_then(|()| match self::identity(object) == identity {
                true => Ok(()),
                false => Err("a patch changes neither kind nor name of an object".to_owned()),
            });
            if let Err(reason) = outcome {
                let message = format!("this patch does not fit {}: {reason}", described(&identity));
                refused.push(refusal(
                    patch,
                    message,
                    "look at the object with `trimtab render`, and mend path or target",
                ));
            }
        }
        if !any {
            refused.push(refusal(
                patch,
                "there is no object that this patch is for".to_owned(),
                "mend `target`, or delete it",
            ));
        }
    }
}

fn refusal(patch: &Patch, message: String, remedy: &str) -> Refused {
    Refused { at: Some(patch.at.clone()), message, remedy: remedy.to_owned() }
}

fn identity(object: &Value) -> [Value; 3] {
    [object["apiVersion"].clone(), object["kind"].clone(), object["metadata"]["name"].clone()]
}

fn described([_, kind, name]: &[Value; 3]) -> String {
    format!("{} {}", kind.as_str().unwrap_or_default(), name.as_str().unwrap_or_default())
}

impl Patch {
    fn is_for(&self, object: &Value) -> bool {
        let own = object["kind"].as_str().unwrap_or_default();
        let group =
            object["apiVersion"].as_str().and_then(|version| version.rsplit_once('/')).map_or("", |(group, _)| group);
        let kind = self.kind.as_deref().is_none_or(|kind| match kind.split_once('.') {
            Some((kind, of)) => kind == own && of == group,
            None => kind == own,
        });
        kind && self.name.as_deref().is_none_or(|name| object["metadata"]["name"] == name)
    }
}

impl Change {
    fn apply(&self, object: &mut Value) -> Result<(), String> {
        match self {
            Change::Merge(over) => {
                merge(object, over);
                Ok(())
            }
            Change::Steps(steps) => steps.iter().try_for_each(|step| step.apply(object)),
        }
    }
}

/// Lays a value over another.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => merge_fields(under, over),
        (Value::Array(under), Value::Array(over)) if named(under) && named(over) => {
            for item in over {
                match under.iter_mut().find(|other| other["name"] == item["name"]) {
                    Some(other) => merge(other, item),
                    None => under.push(item.clone()),
                }
            }
        }
        (under, over) => *under = without_nulls(over),
    }
}

fn merge_fields(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (_, Value::Null) => drop(under.remove(key)),
            (Some(below), value) => merge(below, value),
            (None, value) => drop(under.insert(key.clone(), without_nulls(value))),
        }
    }
}

/// A value that is new: there is nothing that a null in it could remove.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

/// Whether all items have a name.
fn named(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| item["name"].is_string())
}

impl Step {
    fn apply(&self, object: &mut Value) -> Result<(), String> {
        match self {
            Step::Add(path, value) => add(object, path, value.clone()),
            Step::Remove(path) => remove(object, path),
            Step::Replace(path, value) => {
                let place = object.pointer_mut(path).ok_or_else(|| nothing(path))?;
                *place = value.clone();
                Ok(())
            }
            Step::Test(path, value) => match object.pointer(path) {
                Some(found) if found == value => Ok(()),
                Some(_) => Err(format!("at {path} stands something else")),
                None => Err(nothing(path)),
            },
        }
    }
}

fn nothing(path: &str) -> String {
    format!("there is nothing at {path}")
}

/// The parent of a path and its last step, unescaped.
fn parent<'v>(object: &'v mut Value, path: &str) -> Result<(&'v mut Value, String), String> {
    if path.split('/').count() > MAX_STEPS {
        return Err(format!("a path has at most {MAX_STEPS} steps"));
    }
    let (before, last) = path.rsplit_once('/').ok_or_else(|| format!("`{path}` is not a path"))?;
    let place = object.pointer_mut(before).ok_or_else(|| nothing(before))?;
    Ok((place, last.replace("~1", "/").replace("~0", "~")))
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    match parent(object, path)? {
        (Value::Object(map), key) => drop(map.insert(key, value)),
        (Value::Array(items), key) => {
            let index = if key == "-" { items.len() } else { key.parse().map_err(|_| nothing(path))? };
            if index > items.len() {
                return Err(nothing(path));
            }
            items.insert(index, value);
        }
        _ => return Err(nothing(path)),
    }
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Result<(), String> {
    let removed = match parent(object, path)? {
        (Value::Object(map), key) => map.remove(&key),
        (Value::Array(items), key) => {
            key.parse::<usize>().ok().filter(|index| *index < items.len()).map(|index| items.remove(index))
        }
        _ => None,
    };
    removed.map(drop).ok_or_else(|| nothing(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merging_keeps_what_it_does_not_name() {
        let mut under = json!({"a": {"b": 1, "c": 2}, "list": [{"name": "x", "v": 1}, {"name": "y"}], "plain": [1, 2]});
        merge(
            &mut under,
            &json!({"a": {"b": null, "d": {"e": null, "f": 1}}, "list": [{"name": "x", "w": 2}, {"name": "z"}], "plain": [3]}),
        );
        let expected = json!({"a": {"c": 2, "d": {"f": 1}}, "list": [{"name": "x", "v": 1, "w": 2}, {"name": "y"}, {"name": "z"}], "plain": [3]});
        assert_eq!(under, expected);
    }

    #[test]
    fn steps_are_those_of_rfc_6902() {
        let mut value = json!({"a": [1, 2], "b/c": {"d": 1}});
        let steps = [
            Step::Add("/a/1".into(), json!(9)),
            Step::Add("/a/-".into(), json!(3)),
            Step::Replace("/b~1c/d".into(), json!(2)),
            Step::Test("/b~1c/d".into(), json!(2)),
            Step::Remove("/a/0".into()),
            Step::Add("/e".into(), json!({})),
        ];
        Change::Steps(steps.to_vec()).apply(&mut value).unwrap();
        assert_eq!(value, json!({"a": [9, 2, 3], "b/c": {"d": 2}, "e": {}}));
        for bad in [
            Step::Add("/a/9".into(), json!(0)),
            Step::Remove("/x".into()),
            Step::Replace("/x/y".into(), json!(0)),
            Step::Test("/a".into(), json!(0)),
            Step::Add("a".into(), json!(0)),
        ] {
            assert!(bad.apply(&mut value).is_err(), "{bad:?}");
        }
    }
}
