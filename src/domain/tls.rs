//! What a listener needs to speak TLS, as it is named: never the key itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most certificates of one listener.
pub const MAX_CERTIFICATES: usize = 64;

/// How a file of a certificate that systemd keeps is named.
const CREDENTIAL: &str = "credential:";

/// TLS at a listener. The first certificate is for clients that name no host, or one that none of them is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Its certificates; at least one.
    pub certificates: Vec<Certificate>,
}

/// A certificate and its key: absolute paths on the data plane's host, or `credential:NAME` for what systemd keeps for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The chain in PEM, the certificate itself first.
    pub certificate: String,
    /// The private key in PEM.
    pub key: String,
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.certificate)
    }
}

/// Where a named file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// At this absolute path.
    Path(&'a str),
    /// In the credentials folder of the service, under this name.
    Credential(&'a str),
}

/// Reads the name of a file.
///
/// # Errors
/// It is neither; in words.
pub fn place(name: &str) -> Result<Place<'_>, String> {
    let plain = name.len() <= 1_024 && !name.chars().any(char::is_control);
    match name.strip_prefix(CREDENTIAL) {
        Some(credential) => {
            let fits = plain && !credential.is_empty() && !credential.contains('/') && !credential.starts_with('.');
            fits.then_some(Place::Credential(credential))
                .ok_or_else(|| format!("{credential:?} is no credential's name"))
        }
        None => {
            let absolute = plain && name.starts_with('/') && !name.split('/').any(|part| part == "..");
            absolute.then_some(Place::Path(name)).ok_or_else(|| {
                format!("{name:?} is neither an absolute path without `..` nor `{CREDENTIAL}` and a name")
            })
        }
    }
}

/// Checks what names can show.
///
/// # Errors
/// What is wrong, in words.
pub fn check(tls: &Tls) -> Result<(), String> {
    if tls.certificates.is_empty() || tls.certificates.len() > MAX_CERTIFICATES {
        return Err(format!("a listener with TLS has 1 to {MAX_CERTIFICATES} certificates"));
    }
    tls.certificates.iter().try_for_each(|files| place(&files.certificate).and(place(&files.key)).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_one_place() {
        assert_eq!(place("/etc/tls/a.crt"), Ok(Place::Path("/etc/tls/a.crt")));
        assert_eq!(place("credential:a.key"), Ok(Place::Credential("a.key")));
        for wrong in ["a.crt", "", "/etc/../root/a", "credential:", "credential:a/b", "credential:..", "/a\nb"] {
            assert!(place(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn a_listener_has_a_certificate() {
        let files = Certificate { certificate: "/a".into(), key: "credential:b".into() };
        assert!(check(&Tls { certificates: vec![files.clone()] }).is_ok());
        assert!(check(&Tls { certificates: vec![] }).is_err());
        assert!(check(&Tls { certificates: vec![files; MAX_CERTIFICATES + 1] }).is_err());
    }
}
