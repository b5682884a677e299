//! Identities: the secret halves, by which files are read. Files of age and of ssh, never ones behind a passphrase: the
//! daemon has nobody to ask.

use std::fmt;

use age::secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::post_quantum;
use super::recipient::Recipient;
use super::value::SecretBytes;

/// The largest identity file, in bytes.
const MAX_BYTES: usize = 256 << 10;

/// One identity.
#[derive(Clone)]
pub enum Identity {
    /// `AGE-SECRET-KEY-1...`
    X25519(Box<age::x25519::Identity>),
    /// `AGE-SECRET-KEY-PQ-1...`
    PostQuantum(Box<post_quantum::Identity>),
    /// An OpenSSH or PEM private key without a passphrase.
    Ssh(Box<age::ssh::Identity>),
}

/// Why identities can't be had. Nothing of the file is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Someone would have to type a passphrase.
    #[error(
        "{origin} is protected by a passphrase, and a daemon has nobody to ask for it: use an identity without one (`trimtab secrets keygen`), kept in a file of mode 0400 or as a systemd credential, which can be encrypted to the machine"
    )]
    Passphrase {
        /// Where it is from.
        origin: String,
    },
    /// A line that is no identity.
    #[error("{origin}, line {line}: {reason}")]
    Line {
        /// Where it is from.
        origin: String,
        /// The line's number.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// There is none in it.
    #[error(
        "{origin} holds no identity: it should have a line that begins with AGE-SECRET-KEY-1, or be an ssh private key"
    )]
    Empty {
        /// Where it is from.
        origin: String,
    },
    /// An ssh key that can't be used.
    #[error(
        "{origin} is an ssh key that can't be used: {reason}; ssh-ed25519 and ssh-rsa keys without a passphrase can"
    )]
    Ssh {
        /// Where it is from.
        origin: String,
        /// Why.
        reason: String,
    },
    /// The file can't be read.
    #[error("{origin} can't be read: {reason}")]
    Unreadable {
        /// Where it should be.
        origin: String,
        /// The system's word.
        reason: String,
    },
}

impl Identity {
    /// Who is written to so that this identity reads it.
    pub fn recipient(&self) -> Option<Recipient> {
        match self {
            Identity::X25519(identity) => Some(Recipient::X25519(identity.to_public())),
            Identity::PostQuantum(identity) => Some(Recipient::PostQuantum(Box::new(identity.to_public()))),
            Identity::Ssh(identity) => age::ssh::Recipient::try_from(identity.as_ref().clone())
                .ok()
                .map(|found| Recipient::Ssh(Box::new(found))),
        }
    }

    /// As age takes it.
    pub fn as_age(&self) -> &dyn age::Identity {
        match self {
            Identity::X25519(identity) => identity.as_ref(),
            Identity::PostQuantum(identity) => identity.as_ref(),
            Identity::Ssh(identity) => identity.as_ref(),
        }
    }

    /// The text to keep it in an identity file; `None` for ssh keys, which have files of their own.
    pub fn to_text(&self) -> Option<Zeroizing<String>> {
        match self {
            Identity::X25519(identity) => Some(Zeroizing::new(identity.to_string().expose_secret().to_owned())),
            Identity::PostQuantum(identity) => Some(identity.to_text()),
            Identity::Ssh(_) => None,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[identity]")
    }
}

/// All identities at hand.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    all: Vec<Identity>,
}

impl Identities {
    /// Reads an identity file: age identities a line each, or one ssh private key. `origin` names it in errors.
    ///
    /// # Errors
    ///
    /// It holds none, or one that can't be used without asking somebody.
    pub fn parse(bytes: &SecretBytes, origin: &str) -> Result<Self, IdentityError> {
        let origin = origin.to_owned();
        let unreadable = |reason: &str| IdentityError::Unreadable { origin: origin.clone(), reason: reason.to_owned() };
        let bytes = bytes.expose();
        if bytes.len() > MAX_BYTES {
            return Err(unreadable("it is too large for an identity file"));
        }
        let trimmed = bytes.trim_ascii_start();
        if trimmed.starts_with(b"age-encryption.org/") || trimmed.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
            return Err(IdentityError::Passphrase { origin });
        }
        if trimmed.starts_with(b"-----BEGIN ") {
            return ssh(trimmed, origin).map(|identity| Identities { all: vec![identity] });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable("it is not text"))?;
        let mut all = Vec::new();
        for (index, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong =
                |reason: &str| IdentityError::Line { origin: origin.clone(), line: index, reason: reason.to_owned() };
            all.push(native(line).map_err(wrong)?);
        }
        if all.is_empty() { Err(IdentityError::Empty { origin }) } else { Ok(Identities { all }) }
    }

    /// Takes over others.
    pub fn extend(&mut self, others: Identities) {
        self.all.extend(others.all);
    }

    /// One identity.
    pub fn one(identity: Identity) -> Self {
        Identities { all: vec![identity] }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Identity> {
        self.all.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Their public halves, for people.
    pub fn recipients(&self) -> Vec<String> {
        self.all.iter().filter_map(Identity::recipient).map(|recipient| recipient.short()).collect()
    }
}

fn native(line: &str) -> Result<Identity, &'static str> {
    if line.starts_with("AGE-SECRET-KEY-PQ-1") {
        return line.parse().map(|found| Identity::PostQuantum(Box::new(found)));
    }
    if line.starts_with("AGE-SECRET-KEY-1") {
        let found = line.parse().map(|found| Identity::X25519(Box::new(found)));
        return found.map_err(|_| "this identity is cut off or mistyped");
    }
    Err(match line {
        line if line.starts_with("AGE-PLUGIN-") => {
            "identities of plugins are not taken: a daemon runs no other program for them"
        }
        line if line.starts_with("age1") || line.starts_with("ssh-") => {
            "this is a recipient, the public half; the identity is wanted here"
        }
        _ => "this is no identity: it should begin with AGE-SECRET-KEY-1",
    })
}

fn ssh(bytes: &[u8], origin: String) -> Result<Identity, IdentityError> {
    let damaged = |_| IdentityError::Ssh { origin: origin.clone(), reason: "it is cut off or damaged".into() };
    match age::ssh::Identity::from_buffer(bytes, None).map_err(damaged)? {
        age::ssh::Identity::Encrypted(_) => Err(IdentityError::Passphrase { origin }),
        age::ssh::Identity::Unsupported(_) => {
            Err(IdentityError::Ssh { origin, reason: "its kind is not one that age can use".into() })
        }
        identity @ age::ssh::Identity::Unencrypted(_) => Ok(Identity::Ssh(Box::new(identity))),
    }
}
