//! Recipients: who may read a file. One a line in a recipients file, as age has them.

use std::fmt;

use super::post_quantum;

/// The largest recipients file, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// The most recipients of one file.
const MOST: usize = 200;

/// One recipient.
#[derive(Clone)]
pub enum Recipient {
    /// `age1...`
    X25519(age::x25519::Recipient),
    /// `age1pq1...`
    PostQuantum(Box<post_quantum::Recipient>),
    /// `ssh-ed25519 ...` or `ssh-rsa ...`
    Ssh(Box<age::ssh::Recipient>),
}

/// Why a text names no recipients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// A line that is no recipient.
    #[error("line {line} is no recipient: {reason}")]
    Line {
        /// Its number.
        line: usize,
        /// Why.
        reason: String,
    },
    /// There is none.
    #[error("no recipient is named: add a line such as `age1...`, `age1pq1...` or `ssh-ed25519 ...`")]
    None,
    /// There are too many, or the text is too long.
    #[error("more than {MOST} recipients, or more than {MAX_BYTES} bytes")]
    TooMany,
    /// Both kinds in one list.
    #[error(
        "post-quantum recipients (age1pq1...) and others are in one list: files would be no safer than the weaker kind, and age refuses to make them; use one kind"
    )]
    Mixed,
}

impl Recipient {
    /// Reads one recipient.
    ///
    /// # Errors
    ///
    /// What it is instead, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with("AGE-SECRET-KEY-") {
            return Err("this is an identity, the secret half: never write it here; `trimtab secrets keygen -y` tells its recipient".into());
        }
        if text.starts_with("age1pq1") {
            return text.parse().map(|found| Recipient::PostQuantum(Box::new(found))).map_err(str::to_owned);
        }
        if text.starts_with("age1tag") {
            return Err(
                "recipients of hardware keys (age1tag...) are not taken, since the daemon could not read for them"
                    .into(),
            );
        }
        if text.starts_with("ssh-") {
            return match text.parse() {
                Ok(found) => Ok(Recipient::Ssh(Box::new(found))),
                Err(_) => {
                    Err("this ssh key can't be a recipient: ssh-ed25519 and ssh-rsa (2048 to 4096 bits) can".into())
                }
            };
        }
        if let Some(rest) = text.strip_prefix("age1")
            && rest.contains('1')
        {
            return Err("recipients of plugins are not taken: age1..., age1pq1..., ssh-ed25519 and ssh-rsa are".into());
        }
        text.parse()
            .map(Recipient::X25519)
            .map_err(|reason: &str| format!("{reason}; age1..., age1pq1..., ssh-ed25519 and ssh-rsa are taken"))
    }

    /// As age takes it.
    pub fn as_age(&self) -> &dyn age::Recipient {
        match self {
            Recipient::X25519(recipient) => recipient,
            Recipient::PostQuantum(recipient) => recipient.as_ref(),
            Recipient::Ssh(recipient) => recipient.as_ref(),
        }
    }

    fn is_post_quantum(&self) -> bool {
        matches!(self, Recipient::PostQuantum(_))
    }

    /// Its text, cut where it is long.
    pub fn short(&self) -> String {
        shorten(&self.to_string())
    }
}

/// A recipient's text, cut where it is long: post-quantum ones have 2,000 characters.
pub fn shorten(text: &str) -> String {
    match text.get(..64) {
        Some(first) if text.len() > 100 => format!("{first}..."),
        _ => text.to_owned(),
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipient::X25519(recipient) => recipient.fmt(f),
            Recipient::PostQuantum(recipient) => recipient.fmt(f),
            Recipient::Ssh(recipient) => recipient.fmt(f),
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads a recipients file: one a line, `#` begins a comment line.
///
/// # Errors
///
/// The first thing that is wrong, with its line.
pub fn parse_file(text: &str) -> Result<Vec<Recipient>, RecipientError> {
    if text.len() > MAX_BYTES {
        return Err(RecipientError::TooMany);
    }
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_text = line.trim();
        if line_text.is_empty() || line_text.starts_with('#') {
            continue;
        }
        let found = Recipient::parse(line_text);
        all.push(found.map_err(|reason| RecipientError::Line { line: index + 1, reason })?);
    }
    check(&all).map(|()| all)
}

/// Whether files can be encrypted to all of them.
///
/// # Errors
///
/// There are none, too many, or kinds that don't go together.
pub fn check(all: &[Recipient]) -> Result<(), RecipientError> {
    let post_quantum = all.iter().filter(|recipient| recipient.is_post_quantum()).count();
    match all.len() {
        0 => Err(RecipientError::None),
        count if count > MOST => Err(RecipientError::TooMany),
        count if post_quantum != 0 && post_quantum != count => Err(RecipientError::Mixed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_recipient_is_named_with_its_line_and_never_shown() {
        let identity = age::x25519::Identity::generate();
        let public = identity.to_public();
        let secret = age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
        assert_eq!(parse_file(&format!("# me\n\n{public}\n")).unwrap()[0].to_string(), public.to_string());
        let error = parse_file(&format!("{public}\n{secret}\n")).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("secret half") && !error.contains(&secret), "{error}");
        assert_eq!(parse_file("# nobody\n").unwrap_err(), RecipientError::None);
        let quantum = post_quantum::Identity::generate().to_public();
        assert_eq!(parse_file(&format!("{public}\n{quantum}\n")).unwrap_err(), RecipientError::Mixed);
        for (text, word) in [("age1yubikey1qqq", "plugins"), ("ssh-dss AAAA x", "ssh-ed25519"), ("hello", "age1")] {
            assert!(Recipient::parse(text).unwrap_err().contains(word), "{text}");
        }
    }
}
