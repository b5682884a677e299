//! `[hooks]`: who may tell that the source has something new.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::access::SecretSource;
use crate::domain::id::Name;

/// A forge, by how it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// GitHub.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea.
    Gitea,
    /// Forgejo.
    Forgejo,
    /// Bitbucket, Cloud and Data Center.
    Bitbucket,
}

impl Provider {
    /// All of them.
    pub const ALL: [Provider; 5] =
        [Provider::Github, Provider::Gitlab, Provider::Gitea, Provider::Forgejo, Provider::Bitbucket];

    /// As it stands in the URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Provider::Github => "github",
            Provider::Gitlab => "gitlab",
            Provider::Gitea => "gitea",
            Provider::Forgejo => "forgejo",
            Provider::Bitbucket => "bitbucket",
        }
    }
}

/// `[hooks]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSettings {
    /// An address of their own, that serves nothing else. They are served on `[api] listen` as well.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// How many deliveries a minute one sender may make.
    #[serde(default = "default_rate")]
    pub rate: NonZeroU32,
    /// One for each forge that tells: `[[hooks.from]]`.
    #[serde(default)]
    pub from: Vec<HookFrom>,
}

/// `[[hooks.from]]`: `POST /hooks/PROVIDER/SOURCE`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookFrom {
    /// The forge.
    pub provider: Provider,
    /// The last part of the URL.
    #[serde(default = "default_source")]
    pub source: Name,
    /// The secrets that are good; several while one is replaced by another.
    pub secrets: Vec<SecretSource>,
}

fn default_rate() -> NonZeroU32 {
    NonZeroU32::new(60).unwrap_or(NonZeroU32::MIN)
}

fn default_source() -> Name {
    "config".parse().expect("`config` keeps to the alphabet of names")
}

impl Default for HookSettings {
    fn default() -> Self {
        HookSettings { listen: None, rate: default_rate(), from: Vec::new() }
    }
}

impl HookSettings {
    pub(super) fn check(&self) -> Result<(), String> {
        for (index, from) in self.from.iter().enumerate() {
            if from.secrets.is_empty() {
                return Err(format!("[[hooks.from]] {}: there is no webhook without a secret", from.provider.as_str()));
            }
            let same = |other: &HookFrom| other.provider == from.provider && other.source == from.source;
            if self.from[..index].iter().any(same) {
                return Err(format!("[[hooks.from]] {}/{} is there twice", from.provider.as_str(), from.source));
            }
        }
        Ok(())
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        self.from.iter_mut().flat_map(|from| &mut from.secrets).for_each(|secret| secret.resolve(folder));
    }
}

impl HookFrom {
    /// The secrets' texts.
    ///
    /// # Errors
    ///
    /// One of them can't be read.
    pub fn read(&self) -> Result<Vec<Zeroizing<String>>, String> {
        let told = |reason| format!("[[hooks.from]] {}/{}: {reason}", self.provider.as_str(), self.source);
        self.secrets.iter().map(|secret| secret.read().map_err(told)).collect()
    }
}
