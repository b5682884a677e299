//! Who may ask the daemon over the network: `[[api.tokens]]`, and where secrets of the configuration come from.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The shortest secret that is taken: shorter ones can be guessed.
const SHORTEST: usize = 16;
/// The longest.
const LONGEST: usize = 4096;

/// What a token may. Each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See everything.
    Read,
    /// Change something too: promote, abort, roll back, suspend.
    Operate,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Read => "read",
            Role::Operate => "operate",
        })
    }
}

/// `[[api.tokens]]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// Who uses it; stands in the audit log.
    pub name: String,
    /// What it may.
    pub role: Role,
    /// The SHA-256 of the token in hexadecimal, instead of the token itself.
    #[serde(default)]
    pub sha256: Option<String>,
    /// A file with the token.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// An environment variable with the token.
    #[serde(default)]
    pub env: Option<String>,
    /// A credential of systemd (`LoadCredential=`) with the token.
    #[serde(default)]
    pub credential: Option<String>,
}

/// Where a secret is read from: exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSource {
    /// A file.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// An environment variable.
    #[serde(default)]
    pub env: Option<String>,
    /// A credential of systemd (`LoadCredential=`).
    #[serde(default)]
    pub credential: Option<String>,
}

impl SecretSource {
    /// The secret's text, without the line end of its file.
    ///
    /// # Errors
    ///
    /// It is not there, or too short to be one; told without the text.
    pub fn read(&self) -> Result<Zeroizing<String>, String> {
        let (text, place) = match (&self.file, &self.env, &self.credential) {
            (Some(path), None, None) => (from_file(path)?, path.display().to_string()),
            (None, Some(name), None) => {
                let text = std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?;
                (Zeroizing::new(text), format!("${name}"))
            }
            (None, None, Some(name)) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or_else(|| format!("credential {name}: systemd gave none; is `LoadCredential={name}:` set?"))?;
                if name.is_empty() || name.contains('/') || name.starts_with('.') {
                    return Err(format!("{name:?} is not the name of a credential"));
                }
                let path = Path::new(&folder).join(name);
                (from_file(&path)?, format!("credential {name}"))
            }
            _ => return Err("name exactly one of `file`, `env`, `credential`".into()),
        };
        let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
        if text.len() < SHORTEST {
            return Err(format!(
                "{place} has {} characters: at least {SHORTEST} are needed, as from `openssl rand -hex 32`",
                text.len()
            ));
        }
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(format!("{place} holds something else than one line with a secret"));
        }
        Ok(text)
    }

    /// Makes relative paths absolute.
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(file) = &mut self.file {
            *file = folder.join(&*file);
        }
    }
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?.len();
    if size > LONGEST as u64 + 2 {
        return Err(format!("{} is larger than a secret may be ({LONGEST} bytes)", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    Ok(Zeroizing::new(text))
}

impl TokenSettings {
    /// The SHA-256 of the token.
    ///
    /// # Errors
    ///
    /// It can't be read, or is none.
    pub fn hash(&self) -> Result<[u8; 32], String> {
        use sha2::Digest;
        let told = |reason: String| format!("[[api.tokens]] {}: {reason}", self.name);
        let source =
            SecretSource { file: self.file.clone(), env: self.env.clone(), credential: self.credential.clone() };
        match &self.sha256 {
            Some(text) if source == SecretSource::default() => {
                let mut hash = [0; 32];
                hex::decode_to_slice(text.trim(), &mut hash)
                    .map_err(|_| told("sha256 is not 64 hexadecimal digits".into()))?;
                Ok(hash)
            }
            Some(_) => Err(told("`sha256` stands instead of `file`, `env` and `credential`".into())),
            None => Ok(sha2::Sha256::digest(source.read().map_err(told)?.as_bytes()).into()),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let printable = |c: char| c.is_ascii_graphic();
        if self.name.is_empty() || self.name.len() > 63 || !self.name.chars().all(printable) {
            return Err(format!("[[api.tokens]] name {:?}: use 1 to 63 printable characters", self.name));
        }
        Ok(())
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(file) = &mut self.file {
            *file = folder.join(&*file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            SecretSource { file: Some(path.clone()), ..SecretSource::default() }.read().map(|text| text.to_string())
        };
        assert_eq!(read("0123456789abcdef\n").unwrap(), "0123456789abcdef");
        assert!(read("short\n").unwrap_err().contains("at least 16"));
        assert!(read("").unwrap_err().contains("at least 16"));
        assert!(read("0123456789abcdef\nanother line\n").unwrap_err().contains("one line"));
        assert!(SecretSource::default().read().unwrap_err().contains("exactly one"));
    }

    #[test]
    fn a_token_may_be_known_by_its_hash_alone() {
        let settings = |sha256: &str| TokenSettings {
            name: "ci".into(),
            role: Role::Read,
            sha256: Some(sha256.into()),
            file: None,
            env: None,
            credential: None,
        };
        assert_eq!(settings(&"ab".repeat(32)).hash().unwrap(), [0xab; 32]);
        assert!(settings("abc").hash().unwrap_err().contains("64 hexadecimal"));
        let both = TokenSettings { file: Some("x".into()), ..settings(&"ab".repeat(32)) };
        assert!(both.hash().is_err());
    }
}
