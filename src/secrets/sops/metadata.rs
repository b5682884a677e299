//! What SOPS keeps beside the values: recipients with the data key, the MAC, and which values are encrypted.

use std::collections::BTreeMap;

use super::super::plain::{Format, Tree};
use super::SopsError;

/// See the module.
#[derive(Default)]
pub(super) struct Metadata {
    /// Recipients, and the data key encrypted to each.
    pub(super) age: Vec<(String, String)>,
    pub(super) mac: String,
    /// As it is written: the MAC is bound to it.
    pub(super) last_modified: String,
    pub(super) mac_only_encrypted: bool,
    pub(super) unencrypted_suffix: Option<String>,
    pub(super) encrypted_suffix: Option<String>,
    pub(super) unencrypted_regex: Option<String>,
    pub(super) encrypted_regex: Option<String>,
    /// Whether values are chosen by the comments beside them.
    pub(super) by_comment: bool,
}

fn format_error(reason: impl Into<String>) -> SopsError {
    SopsError::Format(reason.into())
}

/// Parts a file into values and metadata.
pub(super) fn split(tree: Tree, format: Format) -> Result<(Tree, Metadata), SopsError> {
    let Tree::Map(entries) = tree else { return Err(format_error("it is not a mapping")) };
    let (mine, values): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(name, _)| match format {
        Format::Dotenv => name.starts_with("sops_"),
        _ => name == "sops",
    });
    let flat: BTreeMap<String, String> = match format {
        Format::Dotenv => mine.iter().filter_map(|(name, value)| member(&name["sops_".len()..], value)).collect(),
        _ => match mine.first() {
            Some((_, Tree::Map(members))) if format == Format::Ini => {
                members.iter().filter_map(|(name, value)| member(name, value)).collect()
            }
            Some((_, members @ Tree::Map(_))) => {
                let mut flat = BTreeMap::new();
                flatten("", members, &mut flat);
                flat
            }
            _ => return Err(format_error("there is no `sops` in it")),
        },
    };
    Ok((Tree::Map(values), read(&flat)?))
}

/// A member of the flat forms: `__list_` and `__map_` stand for the structure, `\n` for line breaks.
fn member(name: &str, value: &Tree) -> Option<(String, String)> {
    let name = name.replace("__list_", ".").replace("__map_", ".");
    Some((name, value.as_text()?.replace("\\n", "\n")))
}

fn flatten(path: &str, tree: &Tree, flat: &mut BTreeMap<String, String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match tree {
        Tree::Null => {}
        Tree::Scalar(scalar) => {
            flat.insert(path.to_owned(), scalar.text.to_string());
        }
        Tree::List(items) => {
            items.iter().enumerate().for_each(|(index, item)| flatten(&below(&index.to_string()), item, flat));
        }
        Tree::Map(entries) => entries.iter().for_each(|(name, value)| flatten(&below(name), value, flat)),
    }
}

fn read(flat: &BTreeMap<String, String>) -> Result<Metadata, SopsError> {
    if flat.keys().any(|name| name.starts_with("key_groups.")) {
        return Err(format_error("it splits its data key over groups of keys (`key_groups`), which is not read here"));
    }
    let text = |name: &str| flat.get(name).filter(|text| !text.is_empty()).cloned();
    let mut age = Vec::new();
    while let Some(sealed) = text(&format!("age.{}.enc", age.len())) {
        age.push((text(&format!("age.{}.recipient", age.len())).unwrap_or_default(), sealed));
    }
    if age.is_empty() {
        let others = ["pgp", "kms", "gcp_kms", "azure_kv", "hc_vault", "hckms"];
        let found: Vec<_> = others.into_iter().filter(|kind| text_begins(flat, kind)).collect();
        return Err(format_error(match found.is_empty() {
            true => "it names no age recipient".to_owned(),
            false => format!("it has no age recipient, only {}: add one (`sops rotate --add-age`)", found.join(", ")),
        }));
    }
    Ok(Metadata {
        age,
        mac: text("mac").ok_or_else(|| format_error("it has no MAC"))?,
        last_modified: text("lastmodified").ok_or_else(|| format_error("it has no `lastmodified`"))?,
        mac_only_encrypted: text("mac_only_encrypted").is_some_and(|text| text.eq_ignore_ascii_case("true")),
        unencrypted_suffix: text("unencrypted_suffix"),
        encrypted_suffix: text("encrypted_suffix"),
        unencrypted_regex: text("unencrypted_regex"),
        encrypted_regex: text("encrypted_regex"),
        by_comment: text("unencrypted_comment_regex").or_else(|| text("encrypted_comment_regex")).is_some(),
    })
}

fn text_begins(flat: &BTreeMap<String, String>, kind: &str) -> bool {
    flat.keys().any(|name| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('.')))
}
