//! One document of a YAML file replaced, removed or added, with every other byte of the file as it was.
//!
//! A file is cut at the lines that begin with `---`: YAML allows such a line nowhere inside a document, not even in
//! a quoted or block text, so the cut needs no parser and no comment or quoting style is lost. After each edit the
//! result is read again and compared: the other documents must be the same bytes and must still mean the same.

use serde_json::Value;

/// Which document is meant: its identity, never its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentKey<'a> {
    /// The kind, such as `Release`.
    pub kind: &'a str,
    /// `metadata.name`.
    pub name: &'a str,
    /// `metadata.environment`, for a Release.
    pub environment: Option<&'a str>,
}

impl std::fmt::Display for DocumentKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)?;
        self.environment.map_or(Ok(()), |environment| write!(f, " in environment `{environment}`"))
    }
}

/// Why an edit was not made. The text of the file is unchanged in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The document is not there.
    #[error("the file has no {0}")]
    NotFound(String),
    /// It is there more than once.
    #[error("the file has more than one {0}; remove all but one")]
    Ambiguous(String),
    /// What should be put in is not exactly the one document.
    #[error("what should be put in is not one document that is {0}")]
    OtherDocument(String),
    /// The cut at `---` lines would part something else.
    #[error("the file cannot be edited document by document: {0}; separate its documents by `---` lines")]
    Shape(&'static str),
}

/// The text of a document, with its `---` line if it has one; `None` if the file does not have it.
pub fn find_document<'t>(text: &'t str, key: &DocumentKey<'_>) -> Result<Option<&'t str>, EditError> {
    let parts = split(text);
    Ok(position(&parts, key)?.map(|at| parts[at]))
}

/// The file with one document put back to a text that it had elsewhere, as [`find_document`] found it there.
pub fn restore_document(text: &str, key: &DocumentKey<'_>, document: &str) -> Result<String, EditError> {
    check_is(document, key)?;
    let mut parts = split(text);
    let at = position(&parts, key)?.ok_or_else(|| EditError::NotFound(key.to_string()))?;
    let marked = begun(document, is_marker(first_line(parts[at])));
    let ended = ended(&marked, at + 1 < parts.len());
    parts[at] = &ended;
    let mut expected = split(text);
    expected[at] = document;
    proven(parts.concat(), &expected, Some(at))
}

/// The file without one document. Empty when it was the only one: remove the file then.
pub fn remove_document(text: &str, key: &DocumentKey<'_>) -> Result<String, EditError> {
    let mut parts = split(text);
    let at = position(&parts, key)?.ok_or_else(|| EditError::NotFound(key.to_string()))?;
    parts.remove(at);
    if parts.iter().all(|part| values(part).is_ok_and(|values| values.is_empty()) && !part.contains('#')) {
        return Ok(String::new());
    }
    proven(parts.concat(), &parts, None)
}

/// The file with a document added at its end.
pub fn insert_document(text: &str, key: &DocumentKey<'_>, document: &str) -> Result<String, EditError> {
    check_is(document, key)?;
    let parts = split(text);
    if position(&parts, key)?.is_some() {
        return Err(EditError::Ambiguous(key.to_string()));
    }
    if text.trim().is_empty() {
        return Ok(document.to_owned());
    }
    let result = ended(text, true) + &begun(document, true);
    let mut expected = parts;
    expected.push(document);
    let last = expected.len() - 1;
    // The part before may have got its last line break.
    proven(result, &expected, Some(last))
}

/// The parts of a file; joined they are the file. Each but the first begins with its `---` line.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if at > start && is_marker(line) {
            parts.push(&text[start..at]);
            start = at;
        }
        at += line.len();
    }
    parts.push(&text[start..]);
    parts
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn first_line(text: &str) -> &str {
    text.split_inclusive('\n').next().unwrap_or_default()
}

fn begun(document: &str, needs_marker: bool) -> String {
    match needs_marker && !is_marker(first_line(document)) {
        true => format!("---\n{document}"),
        false => document.to_owned(),
    }
}

fn ended(document: &str, needs_end: bool) -> String {
    match needs_end && !document.ends_with('\n') {
        true => format!("{document}\n"),
        false => document.to_owned(),
    }
}

/// The documents of a part that are not empty, by what they mean.
fn values(part: &str) -> Result<Vec<Value>, serde_saphyr::Error> {
    let values: Vec<Value> = serde_saphyr::from_multiple(part)?;
    Ok(values.into_iter().filter(|value| !value.is_null()).collect())
}

fn position(parts: &[&str], key: &DocumentKey<'_>) -> Result<Option<usize>, EditError> {
    let mut found = None;
    for (at, part) in parts.iter().enumerate() {
        // What cannot be read is not the document that is looked for, and stays as it is.
        let values = values(part).unwrap_or_default();
        let count = values.iter().filter(|value| is(value, key)).count();
        if count > 0 && values.len() > 1 {
            return Err(EditError::Shape("a document ends with `...` and another follows without `---`"));
        }
        if count > 0 && found.replace(at).is_some() {
            return Err(EditError::Ambiguous(key.to_string()));
        }
    }
    Ok(found)
}

fn is(value: &Value, key: &DocumentKey<'_>) -> bool {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str);
    text("/apiVersion").is_some_and(|version| version.starts_with("trimtab/"))
        && text("/kind") == Some(key.kind)
        && text("/metadata/name") == Some(key.name)
        && text("/metadata/environment") == key.environment
}

fn check_is(document: &str, key: &DocumentKey<'_>) -> Result<(), EditError> {
    match values(document) {
        Ok(values) if values.len() == 1 && is(&values[0], key) && split(document).len() == 1 => Ok(()),
        _ => Err(EditError::OtherDocument(key.to_string())),
    }
}

/// The result, if it falls into the expected parts again: the same bytes but for the one at `edited`, the same meaning
/// in all of them, and the whole file read at once means the same as its parts.
fn proven(result: String, expected: &[&str], edited: Option<usize>) -> Result<String, EditError> {
    let changed = EditError::Shape("the edit would change another document");
    let parts = split(&result);
    if parts.len() != expected.len() {
        return Err(changed);
    }
    let mut meaning = Some(Vec::new());
    for (at, (part, expected)) in parts.iter().zip(expected).enumerate() {
        let (now, then) = (values(part).ok(), values(expected).ok());
        let same_bytes = part == expected || part.strip_suffix('\n') == Some(expected);
        if now != then || (edited != Some(at) && !same_bytes) {
            return Err(changed);
        }
        meaning = meaning.zip(now).map(|(meaning, now)| [meaning, now].concat());
    }
    match (meaning, values(&result)) {
        (Some(meaning), Ok(whole)) if meaning != whole => Err(changed),
        _ => Ok(result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGING: DocumentKey<'_> = DocumentKey { kind: "Release", name: "hello", environment: Some("staging") };

    fn release(environment: &str, version: &str) -> String {
        format!(
            "apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: hello, environment: {environment} }} # {environment}\nspec: {{ version: {version} }}\n"
        )
    }

    fn file(parts: &[&str]) -> String {
        parts.join("---\n")
    }

    #[test]
    fn one_document_goes_back_and_everything_else_stays() {
        let (old, new, other) = (release("staging", "1"), release("staging", "2"), release("production", "2"));
        let native =
            "# a native file beside it\nkind: ConfigMap\ndata:\n  text: |\n    --- not a marker\n    # no comment\n";
        for (text, want) in [
            (file(&[&new]), file(&[&old])),
            (file(&[&new, &other]), file(&[&old, &other])),
            (file(&[&other, &new]), file(&[&other, &old])),
            (file(&[native, &new, &other]), file(&[native, &old, &other])),
            (file(&["# licence\n", &new, native]), file(&["# licence\n", &old, native])),
            (file(&[": broken: [\n", &new, &other]), file(&[": broken: [\n", &old, &other])),
            (file(&[&other, new.trim_end()]), file(&[&other, &old])),
            (format!("--- # first\n{new}"), format!("---\n{old}")),
            (file(&["", &new, &other]), file(&["", &old, &other])),
        ] {
            assert_eq!(restore_document(&text, &STAGING, &old).as_deref(), Ok(want.as_str()), "{text}");
        }
    }

    #[test]
    fn a_document_moves_between_places_with_and_without_marker_and_line_end() {
        let (old, other) = (release("staging", "1"), release("production", "2"));
        let before = file(&[&other, &old]);
        let found = find_document(&before, &STAGING).unwrap().unwrap();
        assert_eq!(found, format!("---\n{old}"));
        let now = file(&[&release("staging", "2"), &other]);
        assert_eq!(restore_document(&now, &STAGING, found).unwrap(), format!("---\n{old}---\n{other}"));
        let now = file(&[&other, &release("staging", "2"), &release("dev", "3")]);
        let want = file(&[&other, &old, &release("dev", "3")]);
        assert_eq!(restore_document(&now, &STAGING, old.trim_end()).unwrap(), want);
        let crlf = now.replace('\n', "\r\n");
        let restored = restore_document(&crlf, &STAGING, &old).unwrap();
        assert_eq!(restored.matches("\r\n").count(), crlf.matches("\r\n").count() - 5, "{restored:?}");
    }

    #[test]
    fn documents_are_removed_and_added() {
        let (one, other) = (release("staging", "1"), release("production", "2"));
        assert_eq!(remove_document(&file(&[&one, &other]), &STAGING).unwrap(), format!("---\n{other}"));
        assert_eq!(remove_document(&file(&[&other, &one]), &STAGING).unwrap(), other);
        assert_eq!(remove_document(&one, &STAGING).unwrap(), "");
        assert_eq!(remove_document(&file(&["", &one]), &STAGING).unwrap(), "");
        assert_eq!(remove_document(&file(&["# licence\n", &one]), &STAGING).unwrap(), "# licence\n");
        assert_eq!(insert_document(&other, &STAGING, &one).unwrap(), file(&[&other, &one]));
        assert_eq!(insert_document(other.trim_end(), &STAGING, &one).unwrap(), file(&[&other, &one]));
        assert_eq!(insert_document("", &STAGING, &one).unwrap(), one);
        assert!(insert_document(&one, &STAGING, &one).is_err());
    }

    #[test]
    fn what_cannot_be_done_safely_is_refused() {
        let (old, other) = (release("staging", "1"), release("production", "2"));
        let both = file(&[&old, &other]);
        let foreign = old.replace("trimtab/v1", "other/v1");
        for (text, document, word) in [
            (other.as_str(), old.as_str(), "has no Release `hello` in environment `staging`"),
            (&foreign, &old, "has no"),
            (&file(&[&old, &old]), &old, "more than one"),
            (&both, &other, "not one document"),
            (&both, &both, "not one document"),
            (&both, "", "not one document"),
            (&both, "kind: [", "not one document"),
            (&format!("{old}...\n{other}"), &old, "`...`"),
        ] {
            let error = restore_document(text, &STAGING, document).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(find_document("{{{", &STAGING), Ok(None));
        assert_eq!(find_document("", &STAGING), Ok(None));
    }
}
