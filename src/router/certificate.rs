//! A certificate as it lies on disk: read, checked, and made ready to be used.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::validity;
use crate::domain::tls::{Certificate, Place, place};

/// The largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;
/// The most certificates of a chain.
const MAX_CHAIN: usize = 16;
/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A name leads nowhere.
    #[error("{0}")]
    Name(String),
    /// A file can't be read.
    #[error("{path} can't be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Others can read the key.
    #[error(
        "{path} can be read or written by others (mode {mode:04o}): chmod 0600 it, or 0640 with a group of its own"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// What tells that a file was changed or replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What tells that either file of a certificate was changed. Two that could not be seen are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamps([Option<Stamp>; 2]);

impl Stamps {
    /// Looks at the files.
    pub fn look(files: &Certificate) -> Self {
        let stamp = |name: &str| {
            let meta = fs::metadata(path(name).ok()?).ok()?;
            Some(Stamp {
                device: meta.dev(),
                inode: meta.ino(),
                size: meta.size(),
                modified: (meta.mtime(), meta.mtime_nsec()),
                changed: (meta.ctime(), meta.ctime_nsec()),
            })
        };
        Stamps([stamp(&files.certificate), stamp(&files.key)])
    }
}

/// A certificate that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// It and its key.
    pub key: Arc<CertifiedKey>,
    /// When it ends.
    pub not_after: SystemTime,
}

impl Loaded {
    /// Reads both files and sees that they belong together.
    ///
    /// # Errors
    /// Which file is wrong, and why.
    pub fn read(files: &Certificate) -> Result<Self, CertificateError> {
        let (at, text) = read(&files.certificate, false)?;
        let content = |reason: String| CertificateError::Content { path: at.clone(), reason };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| content(format!("is no certificate in PEM: {error}")))?;
        let Some(first) = chain.first() else { return Err(content("holds no certificate in PEM".into())) };
        if chain.len() > MAX_CHAIN {
            return Err(content(format!("holds {} certificates, the most is {MAX_CHAIN}", chain.len())));
        }
        ParsedCertificate::try_from(first).map_err(|error| content(format!("can't be understood: {error}")))?;
        let not_after =
            validity::not_after(first).ok_or_else(|| content("does not say until when it is valid".into()))?;

        let (key_at, text) = read(&files.key, true)?;
        let content = |reason: String| CertificateError::Content { path: key_at.clone(), reason };
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|_| content("holds no private key in PEM without passphrase".into()))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => content(format!("is not the key of {}", at.display())),
            other => content(format!("can't be used: {other}")),
        })?;
        Ok(Loaded { key: Arc::new(key), not_after })
    }
}

/// Whether a certificate is for a host.
pub fn is_for(key: &CertifiedKey, host: &str) -> bool {
    let Ok(name) = ServerName::try_from(host) else { return false };
    let parsed = key.end_entity_cert().ok().map(ParsedCertificate::try_from);
    parsed.is_some_and(|parsed| parsed.is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok()))
}

fn path(name: &str) -> Result<PathBuf, CertificateError> {
    match place(name).map_err(CertificateError::Name)? {
        Place::Path(path) => Ok(path.into()),
        Place::Credential(credential) => {
            let folder = std::env::var_os(CREDENTIALS).ok_or_else(|| {
                let hint = format!("add `LoadCredential={credential}:PATH` to trimtab-router.service");
                CertificateError::Name(format!(
                    "there is no credential {credential}: the router was given none; {hint}"
                ))
            })?;
            Ok(PathBuf::from(folder).join(credential))
        }
    }
}

fn read(name: &str, secret: bool) -> Result<(PathBuf, Vec<u8>), CertificateError> {
    let path = path(name)?;
    let failed = |source| CertificateError::Read { path: path.clone(), source };
    // Not blocking: what is named may be a pipe that nobody writes to.
    let file = nix::fcntl::open(
        &path,
        nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    );
    let file = File::from(file.map_err(|errno| failed(errno.into()))?);
    let meta = file.metadata().map_err(failed)?;
    let content = |reason: &str| CertificateError::Content { path: path.clone(), reason: reason.into() };
    if !meta.is_file() {
        return Err(content("is no file"));
    }
    // Others have no business with a key; a group of its own may read it.
    if secret && meta.mode() & 0o027 != 0 {
        return Err(CertificateError::Open { path, mode: meta.mode() & 0o7777 });
    }
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(content("is larger than 1 MiB"));
    }
    Ok((path, text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::router::testing::certificate;

    fn mode(path: &str, mode: u32) {
        fs::set_permissions(Path::new(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_pair_is_read_and_knows_its_hosts() {
        let dir = tempfile::tempdir().unwrap();
        let files = certificate(dir.path(), "a", &["a.example", "*.b.example"]);
        let loaded = Loaded::read(&files).unwrap();
        assert!(loaded.not_after > SystemTime::from(crate::clock::now()));
        for (host, fits) in [("a.example", true), ("x.b.example", true), ("b.example", false), ("no host", false)] {
            assert_eq!(is_for(&loaded.key, host), fits, "{host}");
        }
    }

    #[test]
    fn what_can_not_be_used_is_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let files = certificate(dir.path(), "a", &["a.example"]);
        let other = certificate(dir.path(), "b", &["b.example"]);
        let reason = |certificate: &str, key: &str| {
            let files = Certificate { certificate: certificate.into(), key: key.into() };
            Loaded::read(&files).map(|_| ()).unwrap_err().to_string()
        };
        assert!(reason(&files.certificate, &other.key).contains("is not the key of"));
        assert!(reason(&files.key, &files.key).contains("no certificate"));
        assert!(reason(&files.certificate, &files.certificate).contains("others"), "the mode is looked at first");
        assert!(reason("/nowhere/at.all", &files.key).contains("can't be read"));
        assert!(reason("/", &files.key).contains("is no file"));
        assert!(reason("relative", &files.key).contains("absolute"));
        assert!(reason("credential:site", &files.key).contains("LoadCredential"));
        mode(&files.key, 0o640);
        assert!(Loaded::read(&files).is_ok());
        for open in [0o644, 0o660, 0o604] {
            mode(&files.key, open);
            assert!(reason(&files.certificate, &files.key).contains(&format!("{open:04o}")));
        }
    }

    #[test]
    fn a_change_shows() {
        let dir = tempfile::tempdir().unwrap();
        let files = certificate(dir.path(), "a", &["a.example"]);
        let before = Stamps::look(&files);
        assert_eq!(Stamps::look(&files), before);
        certificate(dir.path(), "a", &["a.example", "c.example"]);
        assert_ne!(Stamps::look(&files), before);
    }
}
