//! What an artifact is called in the store, and how it is laid out. Pure.

use reqwest::Url;

use crate::domain::{digest::Digest, workload::ArtifactRef};
use crate::ports::artifacts::ArtifactError;

/// An artifact from elsewhere, checked.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    /// From where: https, http on this machine, or a file.
    pub url: Url,
    /// In lower case.
    pub sha256: String,
    /// What becomes of it.
    pub layout: Layout,
}

/// How what was fetched is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// An archive.
    Tar,
    /// A compressed archive.
    TarGz,
    /// One executable file of this name.
    Executable(String),
}

impl Remote {
    /// Checks URL and sum.
    pub fn parse(url: &str, sha256: &str) -> Result<Self, ArtifactError> {
        let unusable = |reason: &str| ArtifactError::Unusable { artifact: url.to_owned(), reason: reason.to_owned() };
        if sha256.len() != 64 || !is_hex(sha256) {
            return Err(unusable("its sha256 is not 64 hexadecimal digits"));
        }
        let parsed = Url::parse(url).map_err(|error| unusable(&error.to_string()))?;
        check_url(&parsed).map_err(|reason| unusable(&reason))?;
        let last = parsed.path().rsplit('/').next().unwrap_or_default();
        let layout = if last.ends_with(".tar.gz") || last.ends_with(".tgz") {
            Layout::TarGz
        } else if last.ends_with(".tar") {
            Layout::Tar
        } else {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
            if last.is_empty() || last.len() > 200 || last.starts_with('.') || !last.bytes().all(plain) {
                return Err(unusable(
                    "the last part of its path becomes the program's name: letters, digits and ._-+ only, not beginning with a dot",
                ));
            }
            Layout::Executable(last.to_owned())
        };
        Ok(Remote { url: parsed, sha256: sha256.to_ascii_lowercase(), layout })
    }

    /// The URL for people: without user, password and query, where secrets may stand.
    pub fn name(&self) -> String {
        let mut url = self.url.clone();
        // Refused only for URLs that have no host, and those have no user either.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    }
}

/// Whether something is fetched from there: nobody may change it on the way.
pub(super) fn check_url(url: &Url) -> Result<(), String> {
    match url.scheme() {
        "https" | "file" => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        "http" => Err("http:// is for this machine only; use https://".to_owned()),
        other => Err(format!("{other}:// is not fetched from; use https:// or file://")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The name of the folder of an artifact.
pub(super) fn folder(artifact: &ArtifactRef) -> Result<String, ArtifactError> {
    match artifact {
        ArtifactRef::Tree { oid } if (oid.len() == 40 || oid.len() == 64) && is_hex(oid) => {
            Ok(format!("tree-{}", oid.to_ascii_lowercase()))
        }
        ArtifactRef::Tree { .. } => Err(ArtifactError::Unusable {
            artifact: name(artifact),
            reason: "this is not the full object name of a Git tree".into(),
        }),
        ArtifactRef::Url { url, sha256 } => {
            let remote = Remote::parse(url, sha256)?;
            let layout = match &remote.layout {
                Layout::Tar => "tar".to_owned(),
                Layout::TarGz => "targz".to_owned(),
                Layout::Executable(name) => Digest::of_bytes("name", name.as_bytes()).short().to_owned(),
            };
            Ok(format!("url-{}-{layout}", remote.sha256))
        }
    }
}

/// Whether a name in the store's folder is one of [`folder`].
pub(super) fn is_folder(name: &str) -> bool {
    name.starts_with("tree-") || name.starts_with("url-")
}

/// An artifact for people.
pub(super) fn name(artifact: &ArtifactRef) -> String {
    match artifact {
        ArtifactRef::Tree { oid } => format!("tree {}", oid.chars().take(64).collect::<String>().escape_default()),
        ArtifactRef::Url { url, sha256 } => {
            Remote::parse(url, sha256).map_or_else(|_| "(a URL that can't be used)".to_owned(), |remote| remote.name())
        }
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
