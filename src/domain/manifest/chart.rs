//! Where a chart comes from: a folder of the repository, a chart repository, or a registry.

use super::decode::Context;
use super::node::{Node, Value};
use super::values;
use crate::domain::objects::ChartSource;
use crate::domain::objects::chart::{ChartPlace, RemoteChart, is_exact};

/// The longest address.
const MAX_ADDRESS: usize = 1_024;

/// `charts/web`, `{ repository: https://charts.example.com, name: web, version: 1.2.3 }`, `{ oci: oci://registry.example/charts/web, version: 1.2.3 }`
pub fn source(cx: &Context, node: &Node) -> Option<ChartSource> {
    if !matches!(node.value, Value::Map(_)) {
        return values::tree_path(cx, node).map(ChartSource::Folder);
    }
    let fields = cx.fields(node, "a chart of elsewhere")?;
    let repository = fields.optional("repository", |node| repository(cx, node));
    let name = fields.optional("name", |node| name(cx, node));
    let oci = fields.optional("oci", |node| oci(cx, node));
    let version = fields.optional("version", |node| version(cx, node));
    let digest = fields.optional("digest", |node| digest(cx, node));
    fields.finish();
    let (repository, name, oci, version, digest) = (repository?, name?, oci?, version?, digest?);
    let wrong = |message: &str, remedy: &str| {
        cx.schema(&node.at, message, remedy);
        None
    };
    let place = match (repository, name, oci) {
        (Some(url), Some(name), None) => ChartPlace::Repository { url, name },
        (None, None, Some(place)) => place,
        _ => {
            let remedy = "write `{ repository: https://..., name: NAME, version: 1.2.3 }`, or `{ oci: oci://HOST/PATH, version: 1.2.3 }`";
            return wrong("a chart of elsewhere has a `repository` and a `name`, or is `oci`", remedy);
        }
    };
    match (&place, &version, &digest) {
        (ChartPlace::Repository { .. }, None, _) => {
            return wrong("this chart has no `version`", "add the one that shall run, such as 1.2.3");
        }
        (ChartPlace::Oci { .. }, None, None) => {
            return wrong(
                "this chart has neither a `version` nor a `digest`",
                "add the one that shall run, such as 1.2.3",
            );
        }
        _ => {}
    }
    Some(ChartSource::Remote(RemoteChart { place, version, digest }))
}

fn repository(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    if !rest.is_some_and(is_address) || text.contains('@') {
        let remedy = "write https://HOST/PATH; who asks stands in the daemon's configuration, `[charts.\"HOST\"]`";
        cx.schema(&node.at, "this is not the address of a chart repository", remedy);
        return None;
    }
    Some(text.to_owned())
}

fn oci(cx: &Context, node: &Node) -> Option<ChartPlace> {
    let text = cx.text(node)?;
    let found = text.strip_prefix("oci://").filter(|rest| is_address(rest)).and_then(|rest| rest.split_once('/'));
    let plain = |path: &str| {
        let part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        };
        path.split('/').all(part)
    };
    match found.filter(|(host, path)| !host.contains('@') && plain(path)) {
        Some((host, path)) => Some(ChartPlace::Oci { host: host.to_owned(), path: path.to_owned() }),
        None => {
            let remedy = "write oci://HOST/PATH/NAME, the version in `version` or the digest in `digest` beside it";
            cx.schema(&node.at, "this is not the place of a chart in a registry", remedy);
            None
        }
    }
}

/// A host and what follows it, without anything that would be read otherwise elsewhere.
fn is_address(rest: &str) -> bool {
    let host = rest.split('/').next().unwrap_or_default();
    !host.is_empty()
        && rest.len() <= MAX_ADDRESS
        && rest.is_ascii()
        && !rest.bytes().any(|b| b.is_ascii_control() || matches!(b, b' ' | b'?' | b'#' | b'\\' | b'%'))
        && !rest.split('/').any(|part| part == "..")
}

fn name(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let fine = (1..=200).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !fine {
        cx.schema(&node.at, "this is not the name of a chart", "write it as the repository lists it");
        return None;
    }
    Some(text.to_owned())
}

fn version(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if !is_exact(text) {
        let message = format!("`{text}` is not one version, so Git would not say what runs");
        cx.schema(&node.at, message, "write the one that shall run, such as 1.2.3");
        return None;
    }
    Some(text.to_owned())
}

fn digest(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        cx.schema(&node.at, "this is not a digest", "write sha256: and its 64 digits");
        return None;
    }
    Some(hex.to_owned())
}
