//! A chart repository over HTTP: its index says where a version of a chart is and what its digest is.

use reqwest::Url;
use serde::Deserialize;

use super::transport::{Transport, place};
use super::{MAX_PACKED, shown};
use crate::domain::objects::chart::RemoteChart;

/// The largest index, in bytes: those of the largest public repositories have some.
const MAX_INDEX: usize = 64 << 20;
/// How a chart is marked in an index.
const DIGEST: &str = "sha256:";

/// One version of a chart in an index.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Entry {
    #[serde(default)]
    version: String,
    #[serde(default)]
    urls: Vec<String>,
    #[serde(default)]
    digest: Option<String>,
}

/// The packed chart, its digest that of the index.
pub(super) async fn fetch(
    transport: &Transport,
    address: &str,
    name: &str,
    chart: &RemoteChart,
) -> Result<Vec<u8>, String> {
    let version = chart.version.as_deref().unwrap_or_default();
    // What is joined to it shall be below it.
    let base = Url::parse(&format!("{}/", address.trim_end_matches('/'))).map_err(|error| error.to_string())?;
    let index = base.join("index.yaml").map_err(|error| error.to_string())?;
    let authorization = transport.basic(&transport.host(&base))?;
    let text = transport.must(&index, authorization.as_ref(), MAX_INDEX).await?;
    let (name, version) = (name.to_owned(), version.to_owned());
    let read = tokio::task::spawn_blocking(move || find(&text, &name, &version));
    let entry = read.await.map_err(|error| error.to_string())?;
    let entry = entry.map_err(|reason| format!("the index {} {reason}", place(&index)))?;
    let digest =
        entry.digest.as_deref().map(|digest| digest.strip_prefix(DIGEST).unwrap_or(digest).to_ascii_lowercase());
    let Some(digest) = digest.or_else(|| chart.digest.clone()) else {
        return Err(format!("the index {} has no digest of it: name it with `digest: sha256:...`", place(&index)));
    };
    let Some(url) = entry.urls.first() else {
        return Err(format!("the index {} does not say where it is", place(&index)));
    };
    let url = base.join(url).map_err(|error| format!("the index {} names no address: {error}", place(&index)))?;
    // Credentials are for the host that the operator gave them for.
    let authorization = transport.basic(&transport.host(&url))?;
    let packed = transport.must(&url, authorization.as_ref(), MAX_PACKED).await?;
    match super::sum(&packed) {
        found if found == digest => Ok(packed),
        found => {
            Err(format!("{} has the digest sha256:{found}, and the index says sha256:{}", place(&url), shown(&digest)))
        }
    }
}

/// The entry of a chart in exactly this version.
fn find(text: &[u8], name: &str, version: &str) -> Result<Entry, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8 text".to_owned())?;
    let mut versions = entries(text, name)?;
    if versions.is_empty() {
        return Err(format!("has no chart `{name}`"));
    }
    match versions.iter().position(|entry| entry.version == version) {
        Some(at) => Ok(versions.swap_remove(at)),
        None => {
            let known: Vec<String> = versions.iter().take(10).map(|entry| shown(&entry.version)).collect();
            Err(format!("has no version {version} of `{name}`; it has {}", known.join(", ")))
        }
    }
}

/// The versions of one chart: only its part of an index is read, which may list thousands of others.
fn entries(text: &str, name: &str) -> Result<Vec<Entry>, String> {
    let broken = |error: &dyn std::fmt::Display| {
        let line = error.to_string();
        format!("can't be read: {}", line.lines().next().unwrap_or_default())
    };
    if text.trim_start().starts_with('{') {
        #[derive(Deserialize)]
        struct Index {
            #[serde(default)]
            entries: std::collections::BTreeMap<String, Vec<Entry>>,
        }
        let mut index: Index = serde_json::from_str(text).map_err(|error| broken(&error))?;
        return Ok(index.entries.remove(name).unwrap_or_default());
    }
    match part(text, name) {
        None => Ok(Vec::new()),
        Some(part) => serde_saphyr::from_str(&part).map_err(|error| broken(&error)),
    }
}

/// The block below `entries: NAME:`, moved to the left. An index is written by machines: mappings in blocks, a key a line.
fn part(text: &str, name: &str) -> Option<String> {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let mut lines = text.lines().skip_while(|line| line.trim_end() != "entries:").skip(1);
    let key = |line: &str| {
        let key = line.trim().strip_suffix(':')?;
        Some(key.trim_matches(['"', '\'']).to_owned())
    };
    let depth = loop {
        let line = lines.next()?;
        if line.trim().is_empty() {
            continue;
        }
        // The next key of the index itself.
        if indent(line) == 0 {
            return None;
        }
        if !line.trim_start().starts_with('-') && key(line).as_deref() == Some(name) {
            break indent(line);
        }
    };
    let mut part = String::new();
    for line in lines {
        let item = line.trim_start().starts_with('-');
        let below = line.trim().is_empty() || indent(line) > depth || (item && indent(line) == depth);
        if !below {
            break;
        }
        part.push_str(line.get(depth.min(line.len())..).unwrap_or_default());
        part.push('\n');
    }
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "apiVersion: v1\nentries:\n  db:\n  - apiVersion: v2\n    digest: aa\n    name: db\n    urls:\n    - db-1.0.0.tgz\n    \
                         version: 1.0.0\n  web:\n  - description: |\n      web:\n        not this\n    digest: bb\n    name: web\n    urls:\n    - https://x/web-2.0.0.tgz\n    \
                         version: 2.0.0\n  - digest: cc\n    urls: [web-1.0.0.tgz]\n    version: \"1.0.0\"\ngenerated: \"2026-01-01T00:00:00Z\"\n";

    #[test]
    fn one_version_of_one_chart_is_found() {
        let found = |name, version| find(INDEX.as_bytes(), name, version);
        let entry = |version: &str, url: &str, digest: &str| Entry {
            version: version.into(),
            urls: vec![url.into()],
            digest: Some(digest.into()),
        };
        assert_eq!(found("web", "2.0.0"), Ok(entry("2.0.0", "https://x/web-2.0.0.tgz", "bb")));
        assert_eq!(found("web", "1.0.0"), Ok(entry("1.0.0", "web-1.0.0.tgz", "cc")));
        assert_eq!(found("db", "1.0.0"), Ok(entry("1.0.0", "db-1.0.0.tgz", "aa")));
        assert!(found("web", "3.0.0").unwrap_err().contains("it has 2.0.0, 1.0.0"));
        assert!(found("other", "1.0.0").unwrap_err().contains("no chart `other`"));
    }

    #[test]
    fn an_index_in_json_is_read_too() {
        let text =
            r#"{ "entries": { "web": [{ "version": "1.0.0", "urls": ["web.tgz"], "digest": "aa", "name": "web" }] } }"#;
        assert_eq!(find(text.as_bytes(), "web", "1.0.0").unwrap().urls, ["web.tgz"]);
        assert!(find(b"{", "web", "1.0.0").unwrap_err().contains("can't be read"));
        assert!(find(b"entries:\n  web:\n  - [", "web", "1.0.0").unwrap_err().contains("can't be read"));
        assert!(find(b"\xff", "web", "1.0.0").is_err());
    }
}
