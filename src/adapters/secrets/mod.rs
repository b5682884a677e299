//! Secrets by age identities of this process: age files, files of SOPS, armored values in documents.

mod vault;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::vault::Vault;
use crate::domain::digest::Digest;
use crate::domain::secret::{DIGEST_KEY_FILE, RECIPIENTS_FILE, SecretValue};
use crate::ports::secrets::{Look, SecretError, Secrets};
use crate::secrets::digest::DigestKey;
use crate::secrets::file::Sealed;
use crate::secrets::open::{OpenError, objects, open};
use crate::secrets::{Identities, SecretBytes, redact};

/// How many looks are remembered; beyond, all are forgotten and made again.
const REMEMBERED: usize = 20_000;

/// See the module.
pub struct AgeSecrets {
    identities: Identities,
    /// What is wrong with an identity that was named.
    problems: Vec<String>,
    vault: Vault,
    /// Whether what is for others is unknown, not wrong: on a desk, where nothing is applied.
    offline: bool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// What each ciphertext is, under each key.
    looked: HashMap<[u8; 32], SecretValue>,
    /// The newest ciphertext of each value.
    sealed: HashMap<Digest, Sealed>,
    /// The keys by their ciphertexts.
    keys: HashMap<[u8; 32], Result<DigestKey, String>>,
}

impl AgeSecrets {
    /// Reads with these identities and keeps ciphertexts in a folder. `problems` says which identities were named and
    /// can't be used.
    pub fn new(identities: Identities, problems: Vec<String>, folder: PathBuf) -> Self {
        let secrets =
            AgeSecrets { identities, problems, vault: Vault::new(folder), offline: false, known: Mutex::default() };
        // What was kept may be in the logs of what still runs.
        for sealed in secrets.vault.all() {
            if let Ok(value) = open(&sealed, &secrets.identities) {
                redact::of_process().learn([&value]);
            }
        }
        secrets
    }

    /// For verbs that only look: nothing is kept, and what these identities don't read is unknown.
    pub fn offline(identities: Identities) -> Self {
        let nowhere = Vault::new(PathBuf::from("/nonexistent"));
        AgeSecrets { identities, problems: Vec::new(), vault: nowhere, offline: true, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remedy(&self, recipients: &[String]) -> String {
        let mine = self.identities.recipients();
        let expected = match recipients {
            [] => format!("its recipients (no {RECIPIENTS_FILE} names them)"),
            some => format!("{} ({RECIPIENTS_FILE})", some.join(" or ")),
        };
        if let Some(problem) = self.problems.first() {
            return format!("expected is the identity of {expected}, but {problem}");
        }
        match mine.as_slice() {
            [] => {
                format!("give the daemon the identity of {expected}: `[secrets] identity_files` in its configuration")
            }
            mine => format!(
                "expected is the identity of {expected}, and the daemon is {}: add that as a line to {RECIPIENTS_FILE} and \
                 run `trimtab secrets rotate`, or give the daemon the right identity",
                mine.join(" and ")
            ),
        }
    }

    fn unusable(&self, sealed: &Sealed, error: &OpenError, recipients: &[String]) -> SecretValue {
        let remedy = match error {
            OpenError::NoIdentity | OpenError::NotARecipient { .. } if self.offline => return SecretValue::Unknown,
            OpenError::NoIdentity | OpenError::NotARecipient { .. } => self.remedy(recipients),
            OpenError::NoSuchKey { .. } => "write one of its keys".to_owned(),
            OpenError::Unusable(_) => {
                format!(
                    "`trimtab secrets check` tells more; expected recipients: {}",
                    match recipients {
                        [] => format!("none are named by a {RECIPIENTS_FILE}"),
                        some => some.join(", "),
                    }
                )
            }
        };
        SecretValue::Unusable { message: format!("the secret in {sealed} can't be decrypted: {error}"), remedy }
    }

    fn key(&self, look: &Look<'_>) -> Result<DigestKey, SecretValue> {
        let unusable = |message: String| SecretValue::Unusable {
            message,
            remedy: "`trimtab init` makes one, as does the first `trimtab secrets encrypt`; commit it".to_owned(),
        };
        let Some(sealed) = look.key else {
            return Err(unusable(format!("the repository has no key for the digests of secrets, {DIGEST_KEY_FILE}")));
        };
        let id = identity_of(sealed);
        if let Some(known) = self.known().keys.get(&id) {
            return known.clone().map_err(unusable);
        }
        match open(sealed, &self.identities) {
            Err(error) => Err(self.unusable(sealed, &error, look.recipients)),
            Ok(text) => {
                let key =
                    DigestKey::from_text(&text).ok_or_else(|| format!("{DIGEST_KEY_FILE} holds no key for digests"));
                if key.is_ok() {
                    redact::of_process().learn([&text]);
                }
                self.known().keys.insert(id, key.clone());
                key.map_err(unusable)
            }
        }
    }
}

/// What a ciphertext and the value in it are told by.
fn identity_of(sealed: &Sealed) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [sealed.path.as_bytes(), sealed.key.as_deref().unwrap_or_default().as_bytes(), &sealed.bytes] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update([u8::from(sealed.key.is_some())]);
    hash.finalize().into()
}

#[async_trait]
impl Secrets for AgeSecrets {
    fn objects(&self, sealed: &Sealed) -> Result<Vec<Value>, (String, String)> {
        objects(sealed, &self.identities).map_err(|error| {
            let remedy = match &error {
                OpenError::NoIdentity | OpenError::NotARecipient { .. } if self.offline => {
                    "give an identity in $TRIMTAB_IDENTITY; what SOPS encrypted can be looked at without".to_owned()
                }
                OpenError::NoIdentity | OpenError::NotARecipient { .. } => self.remedy(&[]),
                _ => "encrypt Secrets and ConfigMaps so, and other objects with SOPS; what is no object belongs into \
                      another folder"
                    .to_owned(),
            };
            (format!("the objects in {sealed} can't be known: {error}"), remedy)
        })
    }

    fn look(&self, look: &Look<'_>) -> SecretValue {
        let key = match self.key(look) {
            Ok(key) => key,
            // What is wrong with the file itself is told whoever looks.
            Err(SecretValue::Unknown) => {
                return match open(look.sealed, &self.identities) {
                    Ok(_) => SecretValue::Unknown,
                    Err(error) => self.unusable(look.sealed, &error, look.recipients),
                };
            }
            Err(unusable) => return unusable,
        };
        let mut hash = Sha256::new();
        hash.update(identity_of(look.sealed));
        hash.update(look.key.map(identity_of).unwrap_or_default());
        let id: [u8; 32] = hash.finalize().into();
        let looked = self.known().looked.get(&id).cloned();
        if let Some(value) = looked {
            if let SecretValue::Known(digest) = &value {
                self.known().sealed.insert(digest.clone(), look.sealed.clone());
            }
            return value;
        }
        let value = match open(look.sealed, &self.identities) {
            Ok(value) => {
                redact::of_process().learn([&value]);
                let digest = key.digest(&value);
                self.known().sealed.insert(digest.clone(), look.sealed.clone());
                SecretValue::Known(digest)
            }
            // Not remembered: who is expected may be told better next time.
            Err(error) => return self.unusable(look.sealed, &error, look.recipients),
        };
        let mut known = self.known();
        if known.looked.len() >= REMEMBERED {
            known.looked.clear();
        }
        known.looked.insert(id, value.clone());
        value
    }

    async fn keep(&self, digests: &BTreeSet<Digest>) -> Result<(), SecretError> {
        let wanted: Vec<(Digest, Sealed)> = {
            let known = self.known();
            digests.iter().filter_map(|digest| Some((digest.clone(), known.sealed.get(digest)?.clone()))).collect()
        };
        if wanted.is_empty() {
            return Ok(());
        }
        let vault = self.vault.clone();
        blocking(move || wanted.iter().try_for_each(|(digest, sealed)| vault.keep(digest, sealed))).await
    }

    async fn open(&self, digest: &Digest) -> Result<SecretBytes, SecretError> {
        let newest = self.known().sealed.get(digest).cloned();
        let sealed = match newest {
            Some(sealed) => sealed,
            None => {
                let (vault, wanted) = (self.vault.clone(), digest.clone());
                let kept = blocking(move || vault.get(&wanted)).await?;
                kept.ok_or_else(|| SecretError::Missing { digest: digest.clone() })?
            }
        };
        let value = open(&sealed, &self.identities).map_err(|error| SecretError::Unreadable {
            from: sealed.to_string(),
            reason: error.to_string(),
            remedy: self.remedy(&[]),
        })?;
        redact::of_process().learn([&value]);
        Ok(value)
    }

    async fn keep_only(&self, digests: &BTreeSet<Digest>) -> Result<(), SecretError> {
        self.known().sealed.retain(|digest, _| digests.contains(digest));
        let (vault, digests) = (self.vault.clone(), digests.clone());
        blocking(move || vault.keep_only(&digests)).await
    }

    async fn check(&self) -> Result<String, String> {
        if let Some(problem) = self.problems.first() {
            return Err(problem.clone());
        }
        let all = self.vault.all();
        for sealed in &all {
            if let Err(error) = open(sealed, &self.identities) {
                return Err(format!(
                    "{sealed}, which what runs now was made from, can't be decrypted any more: {error}; keep the former \
                     identity beside the new one until something newer is verified"
                ));
            }
        }
        Ok(match self.identities.recipients().as_slice() {
            [] => "there is no identity, and none is needed so far".to_owned(),
            mine => format!("reads what is encrypted to {}; {} ciphertexts are kept", mine.join(" or "), all.len()),
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SecretError> + Send + 'static,
) -> Result<T, SecretError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|stopped| {
        Err(SecretError::Store { path: "the ciphertexts".into(), what: "reached", reason: stopped.to_string() })
    })
}
