//! Values that people write as text: sizes, shares, lengths of time, host names, paths, addresses, commands.

use std::collections::BTreeMap;

use super::decode::Context;
use super::node::{Node, Value};
use super::problem::{Layer, is_hidden};
use crate::domain::id::Name;
use crate::domain::span::Span;
use crate::domain::strategy::Amount;

/// The longest text of a command's argument or an environment variable, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// The variables that tell a process whose it is.
const RESERVED: [&str; 5] = ["TRIMTAB_UNIT", "TRIMTAB_VERSION", "TRIMTAB_INSTANCE", "TRIMTAB_RUN", "TRIMTAB_LAUNCH"];
/// The most arguments of a command, and the most variables of an environment.
const MAX_TEXTS: usize = 1_000;

/// A name of a document or of something in it.
pub fn name(cx: &Context, node: &Node) -> Option<Name> {
    let text = cx.text(node)?;
    match text.parse() {
        Ok(name) => Some(name),
        Err(_) if text.chars().any(is_hidden) || !text.is_ascii() => {
            let message = format!("the name {text:?} holds letters that look like others or cannot be seen");
            cx.report(Layer::Security, &node.at, message, "use only lower-case letters a-z, digits and `-`");
            None
        }
        Err(_) => {
            let message = format!("`{text}` is not a name");
            let remedy =
                "use lower-case letters, digits and `-`, beginning and ending with a letter or digit, at most 63";
            cx.schema(&node.at, message, remedy);
            None
        }
    }
}

/// A length of time within bounds.
pub fn span(cx: &Context, node: &Node, min: Span, max: Span) -> Option<Span> {
    let text = cx.text(node)?;
    match text.parse::<Span>() {
        Ok(span) if (min..=max).contains(&span) => Some(span),
        Ok(_) => {
            cx.schema(&node.at, format!("`{text}` is out of range"), format!("write a time from {min} to {max}"));
            None
        }
        Err(_) => {
            let remedy = match text.parse::<u64>() {
                Ok(number) => format!("add a unit: {number}s or {number}ms"),
                Err(_) => "write a number and a unit, such as 250ms, 30s, 5m, 1h30m or 2d".to_owned(),
            };
            cx.schema(&node.at, format!("`{text}` is not a length of time"), remedy);
            None
        }
    }
}

/// A length of time up to a bound.
pub fn span_to(cx: &Context, node: &Node, max: Span) -> Option<Span> {
    span(cx, node, Span::ZERO, max)
}

/// A size in bytes: `256Mi`, `1Gi`, `500k`, `1048576`.
pub fn size(cx: &Context, node: &Node, min: u64, max: u64) -> Option<u64> {
    let text = cx.text(node)?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let factor = match &text[digits..] {
        "" => Some(1),
        "k" => Some(1_000),
        "M" => Some(1_000_000),
        "G" => Some(1_000_000_000),
        "Ki" => Some(1 << 10),
        "Mi" => Some(1 << 20),
        "Gi" => Some(1 << 30),
        "Ti" => Some(1 << 40),
        _ => None,
    };
    let bytes = factor.and_then(|factor| text[..digits].parse::<u64>().ok()?.checked_mul(factor));
    match bytes {
        Some(bytes) if (min..=max).contains(&bytes) => Some(bytes),
        Some(_) => {
            let remedy = format!("write a size from {} to {}", show_size(min), show_size(max));
            cx.schema(&node.at, format!("`{text}` is out of range"), remedy);
            None
        }
        None => {
            let remedy = "write bytes or a number with k, M, G, Ki, Mi, Gi or Ti, such as 256Mi";
            cx.schema(&node.at, format!("`{text}` is not a size"), remedy);
            None
        }
    }
}

/// A size for people: the largest binary unit that divides it.
pub fn show_size(bytes: u64) -> String {
    for (unit, factor) in [("Ti", 1u64 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// A share of CPUs in thousandths: `500m`, `0.5`, `2`.
pub fn cpu(cx: &Context, node: &Node) -> Option<u64> {
    let text = cx.text(node)?;
    let millis = match text.strip_suffix('m') {
        Some(millis) => millis.parse::<u64>().ok(),
        None => decimal(text, 1_000),
    };
    match millis {
        Some(millis) if (10..=1_024_000).contains(&millis) => Some(millis),
        Some(_) => {
            cx.schema(&node.at, format!("`{text}` is out of range"), "write a share of CPUs from 10m to 1024");
            None
        }
        None => {
            let remedy = "write CPUs or thousandths of one, such as 2, 0.5 or 500m";
            cx.schema(&node.at, format!("`{text}` is not a share of CPUs"), remedy);
            None
        }
    }
}

/// A decimal number in units of 1/`scale` (a power of ten), exact; digits beyond that are refused.
pub fn decimal(text: &str, scale: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || (text.contains('.') && part.is_empty()) {
        return None;
    }
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(part) {
        return None;
    }
    let places = scale.ilog10() as usize;
    let part = part.trim_end_matches('0');
    if part.len() > places {
        return None;
    }
    let fraction = format!("{part:0<places$}").parse::<u64>().unwrap_or(0);
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(fraction)
}

/// A number of instances or a share of them: `2` or `25%`.
pub fn amount(cx: &Context, node: &Node) -> Option<Amount> {
    let text = cx.text(node)?;
    let found = match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Amount::Percent),
        None => text.parse().ok().filter(|count| *count <= 10_000).map(Amount::Count),
    };
    if found.is_none() {
        let remedy = "write a number up to 10000, such as 2, or a share up to 100%, such as 25%";
        cx.schema(&node.at, format!("`{text}` is not a number of instances"), remedy);
    }
    found
}

/// An amount as it is written.
pub fn show_amount(amount: Amount) -> String {
    match amount {
        Amount::Count(count) => count.to_string(),
        Amount::Percent(percent) => format!("{percent}%"),
    }
}

/// Whole percent from 0 to 100: `10` or `10%`.
pub fn percent(cx: &Context, node: &Node) -> Option<u32> {
    let text = cx.text(node)?;
    let found = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|percent| *percent <= 100);
    if found.is_none() {
        cx.schema(&node.at, format!("`{text}` is not a percentage"), "write a whole number from 0 to 100");
    }
    found
}

/// A host name as a request may carry it.
pub fn host(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        return Some(text.to_owned());
    }
    let remedy = match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => {
            format!("write `{host}` only: the port is the listener's")
        }
        _ if text.bytes().any(|b| b.is_ascii_uppercase()) => format!("write `{}`", text.to_ascii_lowercase()),
        _ if text.contains('*') => {
            "write a whole name, or leave `host` out to take every name that no other route has".to_owned()
        }
        _ => "write labels of lower-case letters, digits and `-`, joined by dots; other letters as xn--".to_owned(),
    };
    cx.report(Layer::Security, &node.at, format!("`{text}` is not a host name"), remedy);
    None
}

/// A path of a request, from the slash on.
pub fn url_path(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let fine = text.starts_with('/')
        && text.len() <= 1024
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\'))
        && !text.split('/').any(|part| part == "." || part == "..");
    if !fine {
        let remedy = "begin it with `/`, without `?`, `#`, `..` and white space; percent-encode other letters";
        cx.schema(&node.at, format!("`{text}` is not a path"), remedy);
        return None;
    }
    Some(text.to_owned())
}

/// An address in the web: `https://`, or `http://` to this machine.
pub fn url(cx: &Context, node: &Node, files: bool) -> Option<String> {
    let text = cx.text(node)?;
    let clean = text.len() <= 2048 && text.bytes().all(|b| b.is_ascii_graphic());
    let authority = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
    match text.split_once("://") {
        Some(("https" | "http", rest)) if clean && authority(rest).contains('@') => {
            let remedy = "leave out what stands before the `@`: a secret in Git is no secret";
            cx.report(Layer::Security, &node.at, "this URL holds a user or a password", remedy);
            None
        }
        Some(("https", rest)) if clean && !authority(rest).is_empty() => Some(text.to_owned()),
        Some(("http", rest)) if clean && is_loopback(&authority(rest)) => Some(text.to_owned()),
        Some(("http", _)) if clean => {
            let message = "http:// to another machine: anybody on the way can change what comes back";
            cx.report(Layer::Security, &node.at, message, "use https://");
            None
        }
        Some(("file", rest)) if clean && files && rest.starts_with('/') => Some(text.to_owned()),
        _ => {
            let known = if files {
                "https://, http:// to this machine, or file:///"
            } else {
                "https://, or http:// to this machine"
            };
            cx.schema(&node.at, format!("`{text}` is not a URL that can be fetched"), format!("begin it with {known}"));
            None
        }
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<core::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A program and its arguments. `runtime`: they may hold `{{ port }}` and the like.
pub fn command(cx: &Context, node: &Node, runtime: bool) -> Option<Vec<String>> {
    if let Value::Scalar(scalar) = &node.value {
        let words: Vec<&str> = scalar.text.split_whitespace().collect();
        let remedy = match scalar.text.contains("{{") {
            true => "write a list: a placeholder only ever stands for a text in it".to_owned(),
            false => format!("write a list: [{}]", words.join(", ")),
        };
        cx.schema(&node.at, "a command is a list of the program and its arguments, and this is a text", remedy);
        return None;
    }
    let words = cx.list(node, |item| free_text(cx, item, runtime))?;
    if words.first().is_none_or(String::is_empty) || words.len() > MAX_TEXTS {
        let remedy = format!("write the program and at most {MAX_TEXTS} arguments: [bin/app, --flag]");
        cx.schema(&node.at, "a command begins with a program", remedy);
        return None;
    }
    Some(words)
}

/// Any text, without zero bytes and up to a length.
pub fn free_text(cx: &Context, node: &Node, runtime: bool) -> Option<String> {
    let text = if runtime { cx.runtime_text(node)? } else { cx.text(node)? };
    if text.len() > MAX_TEXT {
        cx.schema(&node.at, "this text is too long", "write at most 64Ki; put more into a file of the artifact");
        return None;
    }
    Some(text.to_owned())
}

/// Environment variables: names and scalars.
pub fn environment(cx: &Context, node: &Node, runtime: bool) -> Option<BTreeMap<String, String>> {
    let Value::Map(entries) = &node.value else {
        cx.wrong_kind(node, "a mapping of names and texts");
        return None;
    };
    let mut variables = BTreeMap::new();
    let mut complete = true;
    for entry in entries {
        complete &= variable_name(cx, &entry.key, &entry.key_at);
        if entry.value.is_null() {
            let remedy = "write \"\" for an empty text";
            cx.schema(&entry.value.at, format!("`{}` has no value", entry.key), remedy);
            complete = false;
            continue;
        }
        match cx.within(&entry.key, || free_text(cx, &entry.value, runtime)) {
            Some(text) => {
                variables.insert(entry.key.clone(), text);
            }
            None => complete = false,
        }
    }
    if entries.len() > MAX_TEXTS {
        cx.schema(&node.at, "too many variables", format!("write at most {MAX_TEXTS}"));
        complete = false;
    }
    complete.then_some(variables)
}

/// Whether a key may name an environment variable; told if not.
pub fn variable_name(cx: &Context, key: &str, at: &super::source::Location) -> bool {
    let fine = (1..=128).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !key.starts_with(|c: char| c.is_ascii_digit());
    if !fine {
        let remedy = "use letters A-Z and a-z, digits and `_`, not beginning with a digit";
        let layer = if key.is_ascii() { Layer::Schema } else { Layer::Security };
        cx.report(layer, at, format!("`{key}` cannot name an environment variable"), remedy);
    }
    if RESERVED.contains(&key) {
        let message = format!("`{key}` is set by trimtab for every process");
        cx.report(Layer::Security, at, message, "read it, or choose another name");
        return false;
    }
    fine
}

/// A folder in the repository, as its path from the root: relative to the folder of the file it is written in, or from the
/// root of the repository with a leading slash.
pub fn tree_path(cx: &Context, node: &Node) -> Option<String> {
    let path = repository_path(cx, node, "an artifact is a folder of this repository, or a `url` with its `sha256`")?;
    if path.is_empty() {
        let message = format!(
            "`{}` is the whole repository: every commit would be a new version",
            cx.text(node).unwrap_or_default()
        );
        cx.report(Layer::Security, &node.at, message, "put what runs into a folder of its own");
        return None;
    }
    Some(path)
}

/// A file in the repository, as its path from the root, written as folders are.
pub fn file_path(cx: &Context, node: &Node) -> Option<String> {
    let path = repository_path(cx, node, "name a file of this repository")?;
    if path.is_empty() {
        cx.schema(&node.at, "this is the root of the repository", "name a file of this repository");
        return None;
    }
    Some(path)
}

/// A path in the repository from its root; empty for the root itself.
fn repository_path(cx: &Context, node: &Node, outside: &str) -> Option<String> {
    let text = cx.text(node)?;
    let refuse = |message: String, remedy: &str| {
        cx.report(Layer::Security, &node.at, message, remedy);
        None
    };
    if text.is_empty() || text.len() > 1024 || text.contains('\\') || text.chars().any(is_hidden) {
        return refuse(format!("`{text}` is not a path"), "write the folder's path, parts joined by `/`");
    }
    let mut parts: Vec<&str> = Vec::new();
    if !text.starts_with('/') {
        parts.extend(node.at.file.folder().split('/').filter(|part| !part.is_empty()));
    }
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return refuse(format!("`{text}` leaves the repository"), outside);
                }
            }
            _ if part.eq_ignore_ascii_case(".git") => {
                return refuse(format!("`{text}` goes into Git's own folder"), "name a folder of the tree");
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
