//! Values of objects that are encrypted: by SOPS, its metadata beside them in the same file; by age, an armored text instead of a value,
//! or the whole file, of which an outline tells all but the values.
//!
//! Nothing is decrypted here. Where a value will stand a reference to its ciphertext is put, so that what is rendered and stored holds
//! no value, and the value is looked at, compared and opened like that of any other secret.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::native::is_object_path;
use crate::domain::manifest::node::{self, Node};
use crate::domain::manifest::source::SourceFile;
use crate::domain::manifest::yaml::{Limits, read_within};
use crate::domain::secret::SecretSource;
use crate::domain::workload::kubernetes::{SECRET_KEY, SECRET_TEXT_KEY};

/// How a value of SOPS begins.
const ENCRYPTED: &str = "ENC[";
/// How an armored age file begins.
const ARMORED: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
/// How a binary age file begins.
const BINARY: &str = "age-encryption.org/";
/// How that begins which stands for a value of a file that age encrypted as a whole.
const PLACE: &str = "ENC[age,";
/// The most encrypted values of one object.
const MAX_VALUES: usize = 500;
/// What a file of SOPS may hold.
const LIMITS: Limits = Limits { documents: 100, depth: 64, nodes: 50_000, last_of_keys: false };

/// What is wrong, and what to do about it.
pub type Wrong = (String, &'static str);

/// What to do where a tool would make a Secret of an encrypted file.
const NO_VALUES: &str = "name its values under the App's `secrets`, and the Secret under `workload.kubernetes.secrets`";

/// What stands for a value of a file that age encrypted as a whole.
pub fn place(path: &str, key: &str) -> String {
    format!("{PLACE}{path}#{key}]")
}

/// Whether a file's name says that it holds objects and that age encrypted it as a whole: `db.yaml.age`.
pub fn is_sealed_path(path: &str) -> bool {
    path.strip_suffix(".age").is_some_and(is_object_path)
}

/// Files that are encrypted, so that what comes of them is known again in what a tool made of it.
#[derive(Debug, Default)]
pub struct Encrypted {
    /// Those of SOPS, by their MAC, which no two have in common.
    sops: HashMap<String, SopsFile>,
    /// What stands for values of those that age encrypted as a whole, and where the values are.
    places: HashMap<String, (String, SecretSource)>,
}

#[derive(Debug)]
struct SopsFile {
    path: String,
    bytes: Arc<[u8]>,
    /// Its documents, which have one MAC in common.
    documents: Vec<Option<Node>>,
}

impl Encrypted {
    /// Notes a file that age encrypted as a whole, by its outline.
    pub fn note_outline(&mut self, path: &str, bytes: &Arc<[u8]>, outline: &[Value]) {
        let mut left: Vec<&Value> = outline.iter().collect();
        while let Some(value) = left.pop() {
            match value {
                Value::Object(members) => left.extend(members.values()),
                Value::Array(items) => left.extend(items),
                Value::String(text) => {
                    let named = text.strip_prefix(PLACE).and_then(|named| named.strip_suffix(']'));
                    let key = named.and_then(|named| named.strip_prefix(path)?.strip_prefix('#'));
                    if let (Some(named), Some(key)) = (named, key) {
                        let (path, key, bytes) = (path.to_owned(), key.to_owned(), bytes.clone());
                        let source = SecretSource::Within { path, key, bytes };
                        self.places.insert(text.clone(), (named.to_owned(), source));
                    }
                }
                _ => {}
            }
        }
    }

    /// Notes a file, should SOPS have encrypted it.
    pub fn note(&mut self, path: &str, bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if !text.contains(ENCRYPTED) || !text.contains("sops") {
            return;
        }
        let documents: Vec<_> = read_within(&Arc::new(SourceFile::new(path, text)), LIMITS)
            .into_iter()
            .map(|document| document.root)
            .collect();
        if let Some(mac) = documents.iter().flatten().find_map(mac).map(str::to_owned) {
            self.sops.insert(mac, SopsFile { path: path.to_owned(), bytes: text.as_bytes().into(), documents });
        }
    }
}

impl SopsFile {
    /// The key of an encrypted value, by where it stands in its object: no two values have the same ciphertext. A document is told
    /// by its number where there are several.
    fn key(&self, path: &[String], ciphertext: &str) -> Option<String> {
        let holds = |document: &Option<Node>| document.as_ref().and_then(|root| at(root, path)) == Some(ciphertext);
        let number = self.documents.iter().position(holds)?;
        let key = path.join(".");
        Some(if self.documents.len() == 1 { key } else { format!("{number}.{key}") })
    }
}

/// The text at a path.
fn at<'n>(root: &'n Node, path: &[String]) -> Option<&'n str> {
    let mut node = root;
    for step in path {
        node = match &node.value {
            node::Value::List(items) => items.get(step.parse::<usize>().ok()?)?,
            _ => node.get(step)?,
        };
    }
    node.as_text()
}

fn mac(root: &Node) -> Option<&str> {
    root.get("sops")?.get("mac")?.as_text()
}

/// Puts references where encrypted values stand; gives what they refer to, by name.
///
/// # Errors
///
/// What is wrong with them.
pub fn take(
    fields: &mut Map<String, Value>,
    file: &str,
    known: &Encrypted,
) -> Result<BTreeMap<String, SecretSource>, Wrong> {
    let mut found = BTreeMap::new();
    let source = match fields.remove("sops") {
        None => None,
        Some(sops) => {
            let mac = sops.get("mac").and_then(Value::as_str).unwrap_or_default();
            let source = known.sops.get(mac).ok_or_else(|| {
                let message = "this object has metadata of SOPS that belong to no file here".to_owned();
                (message, "keep the file as SOPS wrote it, with at most 100 documents")
            })?;
            Some(source)
        }
    };
    let named = |fields: &Map<String, Value>, name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let metadata = fields.get("metadata").and_then(Value::as_object);
    let identity = [
        named(fields, "apiVersion"),
        named(fields, "kind"),
        metadata.and_then(|metadata| named(metadata, "name")),
        metadata.and_then(|metadata| named(metadata, "namespace")),
    ];
    if identity.into_iter().flatten().any(|text| text.starts_with(ENCRYPTED)) {
        let message = "SOPS encrypted what this object is called, and not its values alone".to_owned();
        return Err((message, "encrypt it with `encrypted_regex: ^(data|stringData)$`"));
    }
    let is_secret = fields.get("kind").and_then(Value::as_str) == Some("Secret");
    for (name, value) in fields.iter_mut() {
        let armored = is_secret && (name == "data" || name == "stringData");
        let mut walk = Walk { file, known, source, armored, path: vec![name.clone()], found: &mut found };
        walk.value(value)?;
    }
    if is_secret {
        refuse_ciphertext(fields)?;
    }
    Ok(found)
}

struct Walk<'a> {
    file: &'a str,
    known: &'a Encrypted,
    source: Option<&'a SopsFile>,
    armored: bool,
    path: Vec<String>,
    found: &'a mut BTreeMap<String, SecretSource>,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value) -> Result<(), Wrong> {
        match value {
            Value::Object(members) => members.iter_mut().try_for_each(|(name, value)| self.below(name.clone(), value)),
            Value::Array(items) => {
                items.iter_mut().enumerate().try_for_each(|(index, value)| self.below(index.to_string(), value))
            }
            Value::String(text) if text.contains(PLACE) => match self.known.places.get(text) {
                Some((name, source)) => {
                    *value = json!({ SECRET_TEXT_KEY: name });
                    self.add(name.clone(), source.clone())
                }
                None => {
                    let message = format!("in `{}` would stand what is left of an encrypted file", self.path.join("."));
                    Err((message, NO_VALUES))
                }
            },
            Value::String(text) if text.starts_with(ENCRYPTED) && text.ends_with(']') => match self.source {
                Some(source) => self.sops(value, source),
                None => {
                    let key = self.path.join(".");
                    let message = format!("`{key}` is encrypted by SOPS, and its metadata are not here");
                    Err((message, "keep the `sops` part of the file beside its values"))
                }
            },
            Value::String(text) if self.armored && text.trim_start().starts_with(ARMORED) => {
                let name = format!("{}#{}", self.file, self.path.join("."));
                let text = std::mem::take(text);
                *value = json!({ SECRET_KEY: name });
                self.add(name.clone(), SecretSource::Inline { document: name, text })
            }
            _ => Ok(()),
        }
    }

    fn below(&mut self, step: String, value: &mut Value) -> Result<(), Wrong> {
        self.path.push(step);
        let done = self.value(value);
        self.path.pop();
        done
    }

    fn sops(&mut self, value: &mut Value, source: &SopsFile) -> Result<(), Wrong> {
        let here = self.path.join(".");
        let ciphertext = value.as_str().unwrap_or_default();
        if !ciphertext.ends_with(",type:str]") {
            let message = format!("`{here}` is encrypted and is no text");
            return Err((message, "put it in quotes before it is encrypted, or leave it in clear"));
        }
        let Some(key) = source.key(&self.path, ciphertext) else {
            let message = format!("`{here}` is encrypted by SOPS, and stands elsewhere in {}", source.path);
            return Err((message, "leave the values of encrypted objects where they are"));
        };
        let SopsFile { path, bytes, .. } = source;
        let name = format!("{path}#{key}");
        *value = json!({ SECRET_TEXT_KEY: name });
        self.add(name, SecretSource::Within { path: path.clone(), key, bytes: bytes.clone() })
    }

    fn add(&mut self, name: String, source: SecretSource) -> Result<(), Wrong> {
        self.found.insert(name, source);
        match self.found.len() > MAX_VALUES {
            true => {
                Err((format!("more than {MAX_VALUES} values of this object are encrypted"), "divide it into several"))
            }
            false => Ok(()),
        }
    }
}

/// A Secret that a tool made of an encrypted file holds its ciphertext, which nobody could use.
fn refuse_ciphertext(fields: &Map<String, Value>) -> Result<(), Wrong> {
    use base64::Engine as _;
    let Some(Value::Object(data)) = fields.get("data") else { return Ok(()) };
    for (key, value) in data {
        // Tools break long values into lines.
        let text: String = value.as_str().unwrap_or_default().split_whitespace().collect();
        let decoded = base64::prelude::BASE64_STANDARD.decode(text).ok();
        let holds = |bytes: &Vec<u8>| {
            let text = String::from_utf8_lossy(bytes);
            let begins = |mark: &str| text.trim_start().starts_with(mark);
            text.contains("ENC[AES256_GCM,") || text.contains(PLACE) || begins(ARMORED) || begins(BINARY)
        };
        if decoded.as_ref().is_some_and(holds) {
            return Err((format!("`data.{key}` is the ciphertext of a file that SOPS or age encrypted"), NO_VALUES));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "apiVersion: v1\nkind: Secret\nmetadata: { name: db }\nstringData:\n  config.yaml: ENC[AES256_GCM,data:aa,type:str]\n  \
                        empty: ''\nsops: { mac: 'ENC[AES256_GCM,data:bb,type:str]' }\n";

    fn object() -> Map<String, Value> {
        let sops = json!({ "mac": "ENC[AES256_GCM,data:bb,type:str]" });
        let data = json!({ "config.yaml": "ENC[AES256_GCM,data:aa,type:str]", "empty": "" });
        let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db" }, "stringData": data, "sops": sops });
        object.as_object().expect("a mapping").clone()
    }

    fn files() -> Encrypted {
        let mut files = Encrypted::default();
        files.note("deploy/db.yaml", FILE.as_bytes());
        files
    }

    #[test]
    fn a_reference_stands_where_a_value_was() {
        let mut fields = object();
        let found = take(&mut fields, "deploy/kustomization.yaml", &files()).expect("it is whole");
        let name = "deploy/db.yaml#stringData.config.yaml";
        assert_eq!(fields["stringData"], json!({ "config.yaml": { SECRET_TEXT_KEY: name }, "empty": "" }));
        assert!(!fields.contains_key("sops"));
        let Some(SecretSource::Within { path, key, bytes }) = found.get(name) else { panic!("{found:?}") };
        let expected = ("deploy/db.yaml", "stringData.config.yaml", FILE.as_bytes());
        assert_eq!((path.as_str(), key.as_str(), &**bytes), expected);
    }

    #[test]
    fn what_could_not_be_decrypted_later_is_refused() {
        let refused = |change: &dyn Fn(&mut Map<String, Value>)| {
            let mut fields = object();
            change(&mut fields);
            take(&mut fields, "a.yaml", &files()).expect_err("it is wrong").0
        };
        let number = "ENC[AES256_GCM,data:aa,type:int]";
        assert!(refused(&|fields| drop(fields.remove("sops"))).contains("metadata are not here"));
        assert!(refused(&|fields| fields["sops"]["mac"] = "x".into()).contains("no file"));
        assert!(refused(&|fields| fields["stringData"]["config.yaml"] = number.into()).contains("no text"));
        assert!(refused(&|fields| fields["metadata"]["name"] = "ENC[x]".into()).contains("called"));
        use base64::Engine as _;
        let env = base64::prelude::BASE64_STANDARD.encode("A=ENC[AES256_GCM,data:x]\nsops_mac=x\n");
        assert!(refused(&|fields| drop(fields.insert("data".into(), json!({ ".env": env })))).contains("ciphertext"));
        let age = base64::prelude::BASE64_STANDARD.encode("age-encryption.org/v1\n-> X25519 x\n");
        assert!(refused(&|fields| drop(fields.insert("data".into(), json!({ "age": age })))).contains("ciphertext"));
        let whole = json!({ "db.yaml.age": format!("{{ \"a\": \"{}\" }}", place("db.yaml.age", "data.a")) });
        assert!(
            refused(&|fields| drop(fields.insert("stringData".into(), whole.clone()))).contains("left of an encrypted")
        );
    }

    #[test]
    fn a_value_of_a_file_of_age_is_known_by_its_place() {
        let (path, bytes): (_, Arc<[u8]>) = ("deploy/db.yaml.age", Arc::from(*b"ciphertext"));
        let object = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db" },
            "data": { "a": place(path, "data.a") } });
        let mut known = Encrypted::default();
        known.note_outline(path, &bytes, std::slice::from_ref(&object));
        let mut fields = object.as_object().expect("a mapping").clone();
        let found = take(&mut fields, "deploy/kustomization.yaml", &known).expect("it is whole");
        let name = "deploy/db.yaml.age#data.a";
        assert_eq!(fields["data"]["a"], json!({ SECRET_TEXT_KEY: name }));
        let source = SecretSource::Within { path: path.into(), key: "data.a".into(), bytes };
        assert_eq!(found, BTreeMap::from([(name.to_owned(), source)]));
    }

    #[test]
    fn a_value_of_age_is_one_of_its_own() {
        let text = format!("{ARMORED}\nYWdl\n-----END AGE ENCRYPTED FILE-----\n");
        let object =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db" }, "data": { "a": text } });
        let mut fields = object.as_object().expect("a mapping").clone();
        let found = take(&mut fields, "a.yaml", &Encrypted::default()).expect("it is whole");
        assert_eq!(fields["data"]["a"], json!({ SECRET_KEY: "a.yaml#data.a" }));
        let source = SecretSource::Inline { document: "a.yaml#data.a".into(), text };
        assert_eq!(found, BTreeMap::from([("a.yaml#data.a".to_owned(), source)]));
    }
}
