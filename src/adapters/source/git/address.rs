//! Which addresses are taken, and how they are shown.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::ports::source::SourceError;

/// A repository's address, checked: no other transport, no credentials, nothing that git or ssh take for an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Local(PathBuf),
    /// With the origin: scheme, host and port.
    Http(String),
    Ssh,
}

/// What carries the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Local,
    Http,
    Ssh,
}

impl Address {
    /// Reads an address.
    pub(super) fn parse(text: &str) -> Result<Address, SourceError> {
        let refuse = |why: &str| Err(SourceError::Config(format!("the address {:?} {why}", without_credentials(text))));
        if text.is_empty() || text.starts_with('-') || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return refuse("is empty, begins with `-`, or has spaces or control characters in it");
        }
        if text.contains("::") && !text.contains("://") {
            return refuse("names a remote helper, which runs programs; use a path, https or ssh");
        }
        let kind = if text.starts_with('/') {
            Kind::Local(PathBuf::from(text))
        } else if let Some((scheme, rest)) = text.split_once("://") {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
            if user.is_some_and(|user| user.contains(':') || scheme.starts_with("http")) {
                return refuse("has a login in it, which logs and process lists would show; configure a token file");
            }
            if user.is_some_and(|user| user.starts_with('-')) || host.starts_with('-') {
                return refuse("has a host or user that begins with `-`");
            }
            match scheme {
                "file" if authority.is_empty() && path.len() > 1 => Kind::Local(percent_decoded(path)),
                "file" => return refuse("must be file:// and an absolute path"),
                _ if host.is_empty() || path.len() < 2 => return refuse("lacks a host or a path"),
                "https" => Kind::Http(format!("https://{host}")),
                "http" if is_loopback(host) => Kind::Http(format!("http://{host}")),
                "http" => return refuse("is not encrypted; use https (http is taken for this machine itself only)"),
                "ssh" => Kind::Ssh,
                _ => return refuse("has an unknown scheme; use a path, https:// or ssh://"),
            }
        } else {
            match text.split_once(':') {
                Some((host, path)) if !host.contains('/') && !path.is_empty() => {
                    if host.is_empty() || host.split('@').any(|part| part.is_empty() || part.starts_with('-')) {
                        return refuse("has an empty host or user, or one that begins with `-`");
                    }
                    Kind::Ssh
                }
                _ => return refuse("is no address; use an absolute path, https://, ssh:// or user@host:path"),
            }
        };
        Ok(Address { text: text.to_owned(), kind })
    }

    /// The address as git takes it.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// What carries the objects.
    pub(super) fn transport(&self) -> Transport {
        match self.kind {
            Kind::Local(_) => Transport::Local,
            Kind::Http(_) => Transport::Http,
            Kind::Ssh => Transport::Ssh,
        }
    }

    /// The one protocol that git may speak for it, in the form of `GIT_ALLOW_PROTOCOL`: a redirect or a helper cannot
    /// lead to another.
    pub(super) fn protocol(&self) -> &'static str {
        match &self.kind {
            Kind::Local(_) => "file",
            Kind::Http(origin) if origin.starts_with("http:") => "http",
            Kind::Http(_) => "https",
            Kind::Ssh => "ssh",
        }
    }

    /// The folder of a repository on this machine.
    pub(super) fn local_path(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Local(path) => Some(path),
            _ => None,
        }
    }

    /// Scheme, host and port, for https and http.
    pub(super) fn origin(&self) -> Option<&str> {
        match &self.kind {
            Kind::Http(origin) => Some(origin),
            _ => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_credentials(&self.text))
    }
}

/// A text in which every `scheme://user:password@host` has lost what stands before the `@`. The plain user of an ssh
/// address is no secret and stays.
pub(super) fn without_credentials(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c == '/' || c.is_whitespace() || c == '\'' || c == '"').unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(user) if !before.ends_with("ssh://") || after[..user].contains(':') => &after[user + 1..],
            _ => after,
        };
    }
    out.push_str(rest);
    out
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn percent_decoded(path: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = path.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_safe() {
        for (text, transport, protocol) in [
            ("/srv/config.git", Transport::Local, "file"),
            ("file:///srv/config.git", Transport::Local, "file"),
            ("https://git.example.org/team/config.git", Transport::Http, "https"),
            ("https://git.example.org:8443/config", Transport::Http, "https"),
            ("http://127.0.0.1:3000/config.git", Transport::Http, "http"),
            ("http://[::1]:3000/config.git", Transport::Http, "http"),
            ("ssh://git@git.example.org:22/config.git", Transport::Ssh, "ssh"),
            ("git@git.example.org:team/config.git", Transport::Ssh, "ssh"),
        ] {
            let address = Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((address.transport(), address.protocol()), (transport, protocol), "{text}");
        }
        let spaced = Address::parse("file:///srv/my%20config").unwrap();
        assert_eq!(spaced.local_path(), Some(Path::new("/srv/my config")));
        let origin = Address::parse("https://git.example.org:8443/config").unwrap();
        assert_eq!(origin.origin(), Some("https://git.example.org:8443"));
    }

    #[test]
    fn refuses_what_is_not() {
        for text in [
            "",
            "-upload-pack=x",
            "--upload-pack=x",
            "relative/path",
            "ext::sh -c id",
            "ext::id",
            "fd::3",
            "git://git.example.org/x",
            "http://git.example.org/x",
            "http://127.0.0.1.example.org/x",
            "https://user:secret@git.example.org/x",
            "https://secret@git.example.org/x",
            "ssh://user:secret@git.example.org/x",
            "https:///x",
            "https://git.example.org",
            "ssh://-oProxyCommand=id/x",
            "ssh://-oProxyCommand=id@host/x",
            "-oProxyCommand=id:x",
            "git@-oProxyCommand=id:x",
            "file://host/x",
            "https://git.example.org/a\rb",
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn shows_no_credentials() {
        for (text, shown) in [
            ("https://u:p@h/x", "https://h/x"),
            (
                "fatal: unable to access 'https://u:p%40@h/x/': and https://t@h2",
                "fatal: unable to access 'https://h/x/': and https://h2",
            ),
            ("git@h:x", "git@h:x"),
            ("ssh://git@h/x ssh://git:p@h/x", "ssh://git@h/x ssh://h/x"),
            ("no address", "no address"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
