//! The documents of a YAML file as text: found by identity, put back or removed one by one, everything else byte for byte
//! as it was, comments included.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde_json::Value;

use super::manifest::API_VERSION;

/// What a document is called: kind, name, and for a Release its environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId {
    /// `App`, `Release`, ...
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.environment`.
    pub environment: Option<String>,
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        match &self.environment {
            Some(environment) => write!(f, " in {environment}"),
            None => Ok(()),
        }
    }
}

/// Why a document was not replaced. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    /// The file holds a document that can't be read, so it can't be told what belongs to what.
    #[error("the file holds something that is no YAML document: {0}")]
    Unreadable(String),
    /// The result would not be what was intended.
    #[error("putting {0} back would change something else in the file")]
    Unsound(DocumentId),
}

/// The trimtab documents of a file, each with its text as it stands there. What can't be read is left out.
pub fn texts(file: &str) -> BTreeMap<DocumentId, String> {
    parts(file).into_iter().filter_map(|part| Some((identity(&file[part.clone()])?, file[part].to_owned()))).collect()
}

/// Puts a document back to the text that it had elsewhere, or removes it.
///
/// # Errors
///
/// The file can't be read, or the result would differ in another document; both are told from the result itself.
pub fn replace(file: &str, id: &DocumentId, text: Option<&str>) -> Result<String, ReplaceError> {
    if let Some(error) = parts(file).into_iter().find_map(|part| value(&file[part]).err()) {
        return Err(ReplaceError::Unreadable(error));
    }
    let place = parts(file).into_iter().find(|part| identity(&file[part.clone()]).as_ref() == Some(id));
    let next = match (place, text) {
        (Some(part), Some(text)) => splice(file, part, &ended(text)),
        (Some(part), None) => without(file, part),
        (None, Some(text)) => format!("{}---\n{}", ended(file), ended(text)),
        (None, None) => file.to_owned(),
    };
    let mut expected = texts(file);
    match text {
        Some(text) => expected.insert(id.clone(), text.to_owned()),
        None => expected.remove(id),
    };
    let same = |a: &BTreeMap<DocumentId, String>, b: &BTreeMap<DocumentId, String>| {
        a.len() == b.len() && a.iter().zip(b).all(|((x, s), (y, t))| x == y && value(s) == value(t))
    };
    if same(&texts(&next), &expected) { Ok(next) } else { Err(ReplaceError::Unsound(id.clone())) }
}

/// The stretches between the lines that separate documents. Such a line begins with `---` in the first column: what stands
/// inside a document, block text included, is indented or it would end the document for YAML too.
fn parts(file: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in file.split_inclusive('\n') {
        if is_separator(line) {
            parts.push(start..at);
            start = at + line.len();
        }
        at += line.len();
    }
    parts.push(start..at);
    parts
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| {
        let rest = rest.trim();
        rest.is_empty() || rest.starts_with('#')
    })
}

fn splice(file: &str, part: Range<usize>, text: &str) -> String {
    let last = part.end == file.len();
    let text = if last && !file.ends_with('\n') { text.trim_end_matches('\n') } else { text };
    format!("{}{text}{}", &file[..part.start], &file[part.end..])
}

/// The file without a part and without the separator before it (after it, for the first).
fn without(file: &str, part: Range<usize>) -> String {
    let before = &file[..part.start];
    let after = &file[part.end..];
    let last_line = before.trim_end_matches('\n').rfind('\n').map_or(0, |at| at + 1);
    if before.is_empty() {
        let rest = after.split_once('\n').map_or("", |(_, rest)| rest);
        return rest.to_owned();
    }
    format!("{}{after}", &before[..last_line])
}

fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

fn value(text: &str) -> Result<Value, String> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

fn identity(text: &str) -> Option<DocumentId> {
    let value = value(text).ok()?;
    if value.get("apiVersion")?.as_str()? != API_VERSION {
        return None;
    }
    let metadata = value.get("metadata")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    Some(DocumentId {
        kind: text(value.get("kind"))?,
        name: text(metadata.get("name"))?,
        environment: text(metadata.get("environment")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(environment: &str, version: &str) -> String {
        format!(
            "# {environment}\napiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: web, environment: {environment} }}\nspec: {{ version: {version} }} # pinned\n"
        )
    }

    fn id(environment: &str) -> DocumentId {
        DocumentId { kind: "Release".into(), name: "web".into(), environment: Some(environment.into()) }
    }

    #[test]
    fn one_document_goes_back_and_the_rest_stays_to_the_letter() {
        let (a, b, c) = (release("a", "2"), release("b", "2"), release("c", "2"));
        let file = format!("{a}---\n{b}--- # the last\n{c}");
        let old = release("b", "1");
        assert_eq!(replace(&file, &id("b"), Some(&old)).unwrap(), format!("{a}---\n{old}--- # the last\n{c}"));
    }

    #[test]
    fn documents_are_removed_and_added() {
        let (a, b) = (release("a", "1"), release("b", "1"));
        let file = format!("{a}---\n{b}");
        assert_eq!(replace(&file, &id("b"), None).unwrap(), a);
        assert_eq!(replace(&file, &id("a"), None).unwrap(), b);
        assert_eq!(replace(&a, &id("b"), Some(&b)).unwrap(), file);
        assert_eq!(replace(&a, &id("b"), None).unwrap(), a);
    }

    #[test]
    fn a_separator_inside_a_text_is_none() {
        let file = "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: s }\nspec:\n  run: |\n    cat <<E\n    ---\n    E\n";
        assert_eq!(texts(file).len(), 1);
    }

    #[test]
    fn native_documents_stay_and_broken_ones_refuse() {
        let native = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web }\n";
        let a = release("a", "2");
        let file = format!("{native}---\n{a}");
        let old = release("a", "1");
        assert_eq!(replace(&file, &id("a"), Some(&old)).unwrap(), format!("{native}---\n{old}"));
        let broken = format!("a: [1\n---\n{a}");
        assert!(matches!(replace(&broken, &id("a"), Some(&old)), Err(ReplaceError::Unreadable(_))));
    }
}
