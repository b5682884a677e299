//! Secrets at rest: AES-256-GCM under a key of this supervisor, bound to the group or run that they belong to.
//!
//! The key is, in this order: the file that `--secrets-key` names; the systemd credential `trimtab-supervisor-key`, which can
//! be encrypted to the machine's TPM; `secrets.key` in the state folder, made when first needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::SecretsError;
use crate::secrets::local;
use crate::secrets::value::SecretValues;
use crate::supervisor::store::{self, Record};

/// The systemd credential that may hold the key.
pub const CREDENTIAL: &str = "trimtab-supervisor-key";

/// Keeps secrets of groups and runs.
#[derive(Debug)]
pub struct Keeper {
    file: PathBuf,
    /// Whether a missing key may be made: only our own file is ours to make.
    own: bool,
    key: OnceLock<Key>,
}

struct Key(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[key]")
    }
}

/// The values of one group or run.
#[derive(Serialize, Deserialize)]
struct Kept {
    nonce: String,
    sealed: String,
}

impl Record for Kept {
    const FILE: &'static str = "secrets.json";
}

impl Keeper {
    /// A keeper with the key of a file, or that of the machine, or its own in the state folder.
    pub fn new(state: &Path, named: Option<PathBuf>) -> Self {
        let credential = || {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
            Some(Path::new(&folder).join(CREDENTIAL)).filter(|file| file.exists())
        };
        match named.or_else(credential) {
            Some(file) => Keeper { file, own: false, key: OnceLock::new() },
            None => Keeper { file: state.join("secrets.key"), own: true, key: OnceLock::new() },
        }
    }

    /// Keeps values in a folder, durably. Nothing to keep writes nothing.
    pub fn seal(&self, dir: &Path, owner: &str, values: &SecretValues) -> Result<(), SecretsError> {
        if values.is_empty() {
            return Ok(());
        }
        let unreadable = |reason: &str| self.unreadable(dir, reason);
        let plain = Zeroizing::new(serde_json::to_vec(values).map_err(|_| unreadable("they can't be written down"))?);
        let nonce: [u8; 12] = rand::random();
        let payload = Payload { msg: &plain, aad: owner.as_bytes() };
        let sealed =
            self.cipher()?.encrypt((&nonce).into(), payload).map_err(|_| unreadable("they can't be encrypted"))?;
        store::write(dir, &Kept { nonce: hex::encode(nonce), sealed: hex::encode(sealed) })?;
        Ok(())
    }

    /// The values that a folder keeps; none where it keeps none.
    pub fn open(&self, dir: &Path, owner: &str) -> Result<SecretValues, SecretsError> {
        let Some(kept) = store::read::<Kept>(dir)? else { return Ok(SecretValues::new()) };
        let unreadable = |reason: &str| self.unreadable(dir, reason);
        let damaged = "they are damaged, or encrypted under another key";
        let mut nonce = [0; 12];
        hex::decode_to_slice(&kept.nonce, &mut nonce).map_err(|_| unreadable(damaged))?;
        let sealed = hex::decode(&kept.sealed).map_err(|_| unreadable(damaged))?;
        let payload = Payload { msg: &sealed, aad: owner.as_bytes() };
        let plain = self.cipher()?.decrypt((&nonce).into(), payload).map_err(|_| unreadable(damaged))?;
        serde_json::from_slice(&Zeroizing::new(plain)).map_err(|_| unreadable(damaged))
    }

    /// Forgets the values of a folder.
    pub fn forget(&self, dir: &Path) {
        let _ = fs::remove_file(dir.join(Kept::FILE));
    }

    fn unreadable(&self, dir: &Path, reason: &str) -> SecretsError {
        SecretsError::Unreadable { path: dir.join(Kept::FILE), reason: reason.to_owned() }
    }

    fn cipher(&self) -> Result<Aes256Gcm, SecretsError> {
        let key = match self.key.get() {
            Some(key) => key,
            None => {
                let failed = |reason| SecretsError::Key { path: self.file.clone(), reason };
                let key = local::read_or_make(&self.file, self.own).map_err(failed)?;
                self.key.get_or_init(|| Key(key))
            }
        };
        Ok(Aes256Gcm::new((&*key.0).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_shows_nothing_and_is_bound_to_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(dir.path(), None);
        assert!(keeper.open(dir.path(), "a").unwrap().is_empty());
        let values: SecretValues = [("A".to_owned(), "hunter2".into())].into();
        keeper.seal(dir.path(), "a", &values).unwrap();
        let written = fs::read_to_string(dir.path().join("secrets.json")).unwrap();
        assert!(!written.contains("hunter2") && !written.contains(&hex::encode("hunter2")));
        // Another start finds the same key.
        let keeper = Keeper::new(dir.path(), None);
        assert_eq!(keeper.open(dir.path(), "a").unwrap(), values);
        assert!(matches!(keeper.open(dir.path(), "b"), Err(SecretsError::Unreadable { .. })));
        let other = dir.path().join("other");
        fs::write(&other, hex::encode([1; 32])).unwrap();
        let stranger = Keeper::new(dir.path(), Some(other));
        assert!(matches!(stranger.open(dir.path(), "a"), Err(SecretsError::Unreadable { .. })));
        let nowhere = Keeper::new(dir.path(), Some(dir.path().join("nowhere")));
        assert!(matches!(nowhere.seal(dir.path(), "a", &values), Err(SecretsError::Key { .. })));
    }
}
