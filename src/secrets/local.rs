//! A key of this machine, in a file of its own: what is encrypted under it shows nothing in copies of other files.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The bytes before what is encrypted: they make the same text another one each time the text changes.
const NONCE: usize = 12;

/// Held by who may make a key: two that did it at once would each go on with another one, and one file has one.
static MAKING: Mutex<()> = Mutex::new(());

/// Reads the key of a file: 64 hexadecimal digits. One that is `own` is made where there is none.
///
/// # Errors
///
/// What is wrong with the file.
pub fn read_or_make(file: &Path, own: bool) -> Result<Zeroizing<[u8; 32]>, String> {
    let _making = own.then(|| MAKING.lock().unwrap_or_else(PoisonError::into_inner));
    match fs::read(file).map(Zeroizing::new) {
        Ok(text) => {
            let mut key = Zeroizing::new([0; 32]);
            hex::decode_to_slice(text.trim_ascii(), &mut *key)
                .map_err(|_| "it is not 64 hexadecimal digits (`openssl rand -hex 32`)".to_owned())?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::NotFound && own => {
            let key = Zeroizing::new(rand::random::<[u8; 32]>());
            write(file, &key).map_err(|error| error.to_string())?;
            Ok(key)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn write(file: &Path, key: &[u8; 32]) -> io::Result<()> {
    let temporary = file.with_extension("key.new");
    let mut options = OpenOptions::new();
    let mut written = options.create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    written.write_all(Zeroizing::new(hex::encode(key)).as_bytes())?;
    written.sync_all()?;
    fs::rename(&temporary, file)?;
    file.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

/// Encrypts under the key of a file, which is read or made when it is first needed. The same text for the same owner gives the same
/// bytes.
pub struct LocalKey {
    file: PathBuf,
    keys: OnceLock<Keys>,
}

struct Keys {
    cipher: Aes256Gcm,
    nonce: Zeroizing<[u8; 32]>,
    id: String,
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[key of {}]", self.file.display())
    }
}

impl LocalKey {
    /// The key of a file.
    pub fn new(file: PathBuf) -> Self {
        LocalKey { file, keys: OnceLock::new() }
    }

    fn keys(&self) -> Result<&Keys, String> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys);
        }
        let key = read_or_make(&self.file, true)
            .map_err(|reason| format!("the key in {} can't be used: {reason}", self.file.display()))?;
        let derive = |use_of: &str| Zeroizing::new(keyed(&key, &[use_of.as_bytes()]));
        let keys = Keys {
            cipher: Aes256Gcm::new((&*derive("trimtab/local/cipher/1")).into()),
            nonce: derive("trimtab/local/nonce/1"),
            id: hex::encode(&derive("trimtab/local/id/1")[..4]),
        };
        Ok(self.keys.get_or_init(|| keys))
    }

    /// What this key is told from others by.
    ///
    /// # Errors
    ///
    /// The key can't be had.
    pub fn id(&self) -> Result<&str, String> {
        Ok(&self.keys()?.id)
    }

    /// Encrypts a text, bound to its owner.
    ///
    /// # Errors
    ///
    /// The key can't be had.
    pub fn seal(&self, owner: &str, plain: &[u8]) -> Result<Vec<u8>, String> {
        let keys = self.keys()?;
        let mac = keyed(&keys.nonce, &[owner.as_bytes(), plain]);
        let mut sealed = mac[..NONCE].to_vec();
        let payload = Payload { msg: plain, aad: owner.as_bytes() };
        let rest = keys.cipher.encrypt(mac[..NONCE].into(), payload);
        sealed.extend(rest.map_err(|_| "it is too long to be encrypted".to_owned())?);
        Ok(sealed)
    }

    /// The text that was encrypted for this owner.
    ///
    /// # Errors
    ///
    /// It is damaged, of another owner or key, or the key can't be had.
    pub fn open(&self, owner: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let wrong = || format!("it is damaged, or encrypted under another key than that of {}", self.file.display());
        let (nonce, rest) = sealed.split_at_checked(NONCE).ok_or_else(wrong)?;
        let payload = Payload { msg: rest, aad: owner.as_bytes() };
        self.keys()?.cipher.decrypt(nonce.into(), payload).map(Zeroizing::new).map_err(|_| wrong())
    }
}

/// HMAC-SHA256 of texts, each with its length.
fn keyed(key: &[u8; 32], texts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    for text in texts {
        mac.update(&(text.len() as u64).to_be_bytes());
        mac.update(text);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_a_new_key_at_the_same_time_gets_the_same_one() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let file = dir.path().join(format!("{round}.key"));
            let together = std::sync::Barrier::new(4);
            let keys = std::thread::scope(|scope| {
                let one = || {
                    together.wait();
                    read_or_make(&file, true).unwrap()
                };
                let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
            });
            let kept = read_or_make(&file, false).unwrap();
            assert!(keys.iter().all(|key| **key == *kept), "in round {round}");
        }
    }

    #[test]
    fn what_is_sealed_is_the_same_each_time_and_opens_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("values.key");
        let sealed = LocalKey::new(file.clone()).seal("a", b"hunter2").unwrap();
        let key = LocalKey::new(file.clone());
        assert_eq!(key.seal("a", b"hunter2").unwrap(), sealed);
        assert_ne!(key.seal("a", b"hunter3").unwrap()[..NONCE], sealed[..NONCE]);
        assert_eq!(&**key.open("a", &sealed).unwrap(), b"hunter2");
        assert!(key.open("b", &sealed).is_err() && key.open("a", &sealed[..4]).is_err());
        let other = LocalKey::new(dir.path().join("other.key"));
        assert!(other.open("a", &sealed).unwrap_err().contains("another key"));
        assert_ne!(other.id().unwrap(), key.id().unwrap());
        fs::write(&file, "x").unwrap();
        assert!(LocalKey::new(file).seal("a", b"").unwrap_err().contains("64 hexadecimal"));
    }
}
