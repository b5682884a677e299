//! The outline of objects in a file that is encrypted as a whole: what they are called and how they are built, and in place of their
//! values where these stand.

use serde_json::{Map, Value};

use super::plain::{Scalar, Tree};
use crate::domain::objects::native::LAST_APPLIED;
use crate::domain::objects::{plain, sealed};

/// The kinds whose values can be told from the rest, and where they have them.
const HOLD: [(&str, &str, [&str; 2]); 2] =
    [("v1", "Secret", ["data", "stringData"]), ("v1", "ConfigMap", ["data", "binaryData"])];

/// The objects of a file's documents. `path` is the file's. Nothing of a value is in what is told, nor in an error.
///
/// # Errors
///
/// It holds something else, or values that can't be told apart.
pub fn outline(path: &str, documents: &[Tree]) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for (number, document) in documents.iter().enumerate().filter(|(_, document)| **document != Tree::Null) {
        let at = if documents.len() > 1 { vec![number.to_string()] } else { Vec::new() };
        let text = |name: &str| document.get(name).and_then(Tree::as_text).unwrap_or_default();
        match (text("kind").strip_suffix("List"), document.get("items")) {
            (Some(single), Some(Tree::List(items))) => {
                for (index, item) in items.iter().enumerate() {
                    let at = [at.as_slice(), &["items".to_owned(), index.to_string()]].concat();
                    all.push(object(path, item, (text("apiVersion"), single), &at)?);
                }
            }
            _ => all.push(object(path, document, ("", ""), &at)?),
        }
    }
    if all.is_empty() { Err("it holds no object".into()) } else { Ok(all) }
}

/// One object. `implied` is what it is where it does not say so itself, as in some lists.
fn object(path: &str, tree: &Tree, implied: (&str, &str), at: &[String]) -> Result<Value, String> {
    let text = |name: &str, implied: &str| tree.get(name).and_then(Tree::as_text).unwrap_or(implied).to_owned();
    let (version, kind) = (text("apiVersion", implied.0), text("kind", implied.1));
    let hold = HOLD.iter().find(|(known, of, _)| (*known, *of) == (version.as_str(), kind.as_str()));
    let (Tree::Map(members), Some((.., hold))) = (tree, hold) else {
        return Err("it holds something else than Secrets and ConfigMaps".into());
    };
    let mut fields = Map::new();
    for (name, member) in members {
        let value = match hold.contains(&name.as_str()) {
            true => places(path, member, &[at, std::slice::from_ref(name)].concat())?,
            false => clear(member)?,
        };
        fields.insert(name.clone(), value);
    }
    fields.insert("apiVersion".into(), version.into());
    fields.insert("kind".into(), kind.into());
    // It repeats the values.
    if let Some(Value::Object(notes)) = fields.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"))
    {
        notes.remove(LAST_APPLIED);
    }
    Ok(Value::Object(fields))
}

/// What stands for values.
fn places(path: &str, tree: &Tree, at: &[String]) -> Result<Value, String> {
    let entries = match tree {
        Tree::Map(entries) => entries.as_slice(),
        Tree::Null => &[],
        _ => return Err(format!("its `{}` is no mapping", at.join("."))),
    };
    let mut all = Map::new();
    for (name, value) in entries {
        let key = [at, std::slice::from_ref(name)].concat().join(".");
        let place = match value {
            Tree::Null => Value::Null,
            Tree::Scalar(scalar) if scalar.text.is_empty() && scalar.quoted => "".into(),
            Tree::Scalar(scalar) if is_text(scalar) => sealed::place(path, &key).into(),
            _ => return Err(format!("its `{key}` is no text: put it in quotes")),
        };
        all.insert(name.clone(), place);
    }
    Ok(Value::Object(all))
}

/// Whether a scalar is a text to Kubernetes.
fn is_text(scalar: &Scalar) -> bool {
    scalar.quoted || matches!(plain::value(&scalar.text), Some(Value::String(_)))
}

fn clear(tree: &Tree) -> Result<Value, String> {
    Ok(match tree {
        Tree::Null => Value::Null,
        Tree::Scalar(scalar) if scalar.quoted => scalar.text.as_str().into(),
        Tree::Scalar(scalar) => plain::value(&scalar.text).ok_or("it holds a number that JSON does not have")?,
        Tree::List(items) => Value::Array(items.iter().map(clear).collect::<Result<_, _>>()?),
        Tree::Map(entries) => {
            let all = entries.iter().map(|(name, value)| Ok((name.clone(), clear(value)?)));
            Value::Object(all.collect::<Result<Map<_, _>, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::plain::read_documents;

    fn told(text: &str) -> Result<Vec<Value>, String> {
        outline("deploy/db.yaml.age", &read_documents(text).unwrap())
    }

    #[test]
    fn values_are_told_by_their_places_alone() {
        let text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n  annotations:\n    a: yes\n    \
                    kubectl.kubernetes.io/last-applied-configuration: hunter2\ntype: Opaque\nimmutable: false\ndata: { token: aHVudGVyMg== }\n\
                    stringData:\n  a.b: |\n    hunter2\n  number: \"2\"\n  empty: \"\"\n  none:\n";
        let place = |key: &str| format!("ENC[age,deploy/db.yaml.age#{key}]");
        let expected = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": false,
            "metadata": { "name": "db", "annotations": { "a": true } },
            "data": { "token": place("data.token") },
            "stringData": { "a.b": place("stringData.a.b"), "number": place("stringData.number"), "empty": "", "none": null },
        });
        assert_eq!(told(text).unwrap(), [expected]);
    }

    #[test]
    fn several_are_told_by_their_numbers() {
        let one =
            |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ a: x }}\n");
        let list = "apiVersion: v1\nkind: SecretList\nitems: [ { metadata: { name: c }, data: { k: eA== } } ]\n";
        let all = told(&format!("{}---\n---\n{}---\n{list}", one("a"), one("b"))).unwrap();
        let at = |index: usize, key: &str| all[index]["data"][key].as_str().unwrap().to_owned();
        assert_eq!(at(0, "a"), "ENC[age,deploy/db.yaml.age#0.data.a]");
        assert_eq!(at(1, "a"), "ENC[age,deploy/db.yaml.age#2.data.a]");
        assert_eq!(
            (at(2, "k").as_str(), &all[2]["kind"]),
            ("ENC[age,deploy/db.yaml.age#3.items.0.data.k]", &json!("Secret"))
        );
    }

    #[test]
    fn what_is_no_object_of_these_is_refused_without_its_words() {
        for text in [
            "",
            "hunter2",
            "password: hunter2",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: hunter2 }",
            "apiVersion: v1\nkind: Secret\ndata: hunter2",
            "apiVersion: v1\nkind: Secret\nstringData: { port: 5432 }",
            "apiVersion: v1\nkind: Secret\nstringData: { list: [hunter2] }",
        ] {
            let error = told(text).unwrap_err();
            assert!(!error.contains("hunter2") && !error.contains("5432"), "{error}");
        }
    }
}
