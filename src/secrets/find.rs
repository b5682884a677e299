//! Where a process finds its identities: in files that it is told of, in an environment variable, in a systemd credential.

use std::path::{Path, PathBuf};

use zeroize::Zeroize as _;

use super::identity::{Identities, IdentityError};
use super::value::SecretBytes;

/// The environment variable that may hold identities themselves, a line each.
pub const VARIABLE: &str = "TRIMTAB_IDENTITY";

/// The systemd credential that may hold identities (`LoadCredential=`, `LoadCredentialEncrypted=`).
pub const CREDENTIAL: &str = "trimtab-identity";

/// All identities at hand, and what is wrong with those that were named and can't be used.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The identities.
    pub identities: Identities,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
}

/// Reads the named files, the variable and the credential. A file that is named must be there.
pub fn identities(files: &[PathBuf]) -> Found {
    let mut found = Found::default();
    let mut take = |outcome: Result<Identities, IdentityError>| match outcome {
        Ok(identities) => found.identities.extend(identities),
        Err(error) => found.problems.push(error.to_string()),
    };
    for file in files {
        take(from_file(file));
    }
    if let Ok(mut text) = std::env::var(VARIABLE) {
        if !text.trim().is_empty() {
            take(Identities::parse(&SecretBytes::from(text.as_str()), &format!("${VARIABLE}")));
        }
        text.zeroize();
    }
    if let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        let file = Path::new(&folder).join(CREDENTIAL);
        if file.exists() {
            take(from_file(&file));
        }
    }
    found
}

/// Reads an identity file.
///
/// # Errors
///
/// It can't be read, or holds nothing that can be used without asking somebody.
pub fn from_file(file: &Path) -> Result<Identities, IdentityError> {
    let origin = format!("the identity file {}", file.display());
    match std::fs::read(file) {
        Ok(bytes) => Identities::parse(&bytes.into(), &origin),
        Err(error) => Err(IdentityError::Unreadable { origin, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::identity::Identity;

    fn problem(bytes: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("identity");
        std::fs::write(&file, bytes).unwrap();
        from_file(&file).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_identity_is_told_without_showing_it() {
        let whole = Identity::X25519(Box::new(age::x25519::Identity::generate())).to_text().unwrap();
        let cut = &whole[..whole.len() - 3];
        let error = problem(cut.as_bytes());
        assert!(error.contains("line 1") && error.contains("cut off") && !error.contains(cut), "{error}");
        for (text, word) in [
            ("", "no identity"),
            ("# only a comment\n", "no identity"),
            ("age-encryption.org/v1\n-> scrypt x 18\n", "passphrase"),
            ("-----BEGIN AGE ENCRYPTED FILE-----\n", "passphrase"),
            ("age1qqqq\n", "public half"),
            ("AGE-PLUGIN-YUBIKEY-1QQ\n", "plugins"),
            ("hello\n", "AGE-SECRET-KEY-1"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "ssh key"),
        ] {
            let error = problem(text.as_bytes());
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(problem(&[0xff, 0xfe]).contains("not text"));
        assert!(from_file(Path::new("/nowhere/at/all")).unwrap_err().to_string().contains("/nowhere/at/all"));
    }
}
