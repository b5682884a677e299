//! Charts of elsewhere, as they are named: in one exact version, so that Git says what runs.

use std::fmt;

/// A chart of elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteChart {
    /// Where it is.
    pub place: ChartPlace,
    /// Its version; none where its digest alone says which it is.
    pub version: Option<String>,
    /// The SHA-256 of the packed chart, or of its manifest in a registry, in hexadecimal.
    pub digest: Option<String>,
}

/// Where a chart is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChartPlace {
    /// A chart repository, which lists its charts in an `index.yaml`.
    Repository {
        /// Its address.
        url: String,
        /// The chart's name there.
        name: String,
    },
    /// A registry.
    Oci {
        /// `HOST` or `HOST:PORT`
        host: String,
        /// The path of the chart there, its name last.
        path: String,
    },
}

impl RemoteChart {
    /// The chart's own name.
    pub fn name(&self) -> &str {
        match &self.place {
            ChartPlace::Repository { name, .. } => name,
            ChartPlace::Oci { path, .. } => path.rsplit('/').next().unwrap_or(path),
        }
    }
}

impl fmt::Display for RemoteChart {
    /// `oci://registry.example/charts/web:1.2.3@sha256:...`, `https://charts.example.com/web:1.2.3`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            ChartPlace::Repository { url, name } => write!(f, "{}/{name}", url.trim_end_matches('/'))?,
            ChartPlace::Oci { host, path } => write!(f, "oci://{host}/{path}")?,
        }
        if let Some(version) = &self.version {
            write!(f, ":{version}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@sha256:{digest}"),
            None => Ok(()),
        }
    }
}

/// Whether a text is one version and no range: `1.2.3`, `v1.2.3-rc.1+build`.
pub fn is_exact(text: &str) -> bool {
    let plain = text.strip_prefix('v').unwrap_or(text);
    let (rest, build) = plain.split_once('+').map_or((plain, None), |(rest, build)| (rest, Some(build)));
    let (numbers, pre) = rest.split_once('-').map_or((rest, None), |(numbers, pre)| (numbers, Some(pre)));
    let is_number = |part: &str| (1..=20).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = numbers.split('.').collect();
    let words = |text: &str| {
        text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
    };
    text.len() <= 128
        && parts.len() == 3
        && parts.into_iter().all(is_number)
        && [pre, build].into_iter().flatten().all(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_no_version() {
        for text in ["1.2.3", "v1.2.3", "0.0.1-rc.1", "1.2.3+build.5", "10.20.30-a-b+c"] {
            assert!(is_exact(text), "{text}");
        }
        for text in [
            "",
            "1.2",
            "1",
            "^1.2.3",
            "~1.2",
            "1.2.x",
            "*",
            ">=1.2.3",
            "latest",
            "1.2.3 ",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-a..b",
            "1..3",
        ] {
            assert!(!is_exact(text), "{text}");
        }
    }
}
