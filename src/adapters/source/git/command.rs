//! Running `git`: its environment, its limits, its time limit, its credentials.
//!
//! The environment is built from nothing, so that neither the daemon's own variables nor a `GIT_DIR` of a hook that
//! started it get through. System configuration is off; the user's is replaced by a file beside the mirror that holds one
//! setting, `safe.directory`, and only for a repository on this machine: git refuses a repository that belongs to
//! another user, and configuring its exact path as the source is the consent that git asks for. It stands in a file
//! and not in an argument because git takes arguments and their like away from the process that serves a local
//! repository. Everything else stands in arguments, which that process therefore does not see: `core.hooksPath` turns
//! off what could run on this side, not the hooks with which the owner of a local repository protects a branch.
//!
//! The program runs in a process group of its own, which is killed as a whole at the time limit or when the caller goes
//! away. A limit on the size of files that it and its children may write is the cap on what one fetch can bring: with
//! `fetch.unpackLimit=1` all of a fetch is one file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::address::{Address, Transport, without_credentials};
use super::config::{Auth, GitConfig, Token};
use super::mirror::{beside, io};
use super::redact::without_token;
use crate::ports::source::SourceError;

/// What is passed on of the daemon's environment: how to find programs, temporary files and the way out.
const PASSED_ON: [&str; 15] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSH_AUTH_SOCK",
];

/// The variable in which the credential helper finds a token that is not in a file.
const TOKEN_VARIABLE: &str = "TRIMTAB_GIT_TOKEN";

/// The oldest git that knows everything used here.
const OLDEST: (u32, u32) = (2, 38);

/// How much of git's output is kept: of what it prints the beginning, of what it complains about the end.
const KEPT: usize = 64 << 10;

/// Git as a program, set up for one remote and one mirror.
pub(super) struct Git {
    address: Address,
    mirror: PathBuf,
    auth: Auth,
    ca_file: Option<PathBuf>,
    timeout: Duration,
}

/// What a finished run left.
#[derive(Debug)]
pub(super) struct Ran {
    /// Whether it ended with 0.
    pub success: bool,
    /// The beginning of its output.
    pub stdout: String,
    /// The end of its complaints, credentials removed.
    pub stderr: String,
}

impl Git {
    /// Checks that there is a git that is new enough.
    pub(super) async fn new(config: &GitConfig, address: Address) -> Result<Git, SourceError> {
        let git = Git {
            address,
            mirror: config.mirror.clone(),
            auth: config.auth.clone(),
            ca_file: config.ca_file.clone(),
            timeout: config.timeout,
        };
        let version = Command::new("git").arg("version").stdin(Stdio::null()).output().await;
        let version = version.map_err(|error| SourceError::NoGit(error.to_string()))?;
        let text = String::from_utf8_lossy(&version.stdout);
        match parse_version(&text) {
            Some(found) if found >= OLDEST => Ok(git),
            _ => Err(SourceError::NoGit(format!("this one says `{}`", text.trim()))),
        }
    }

    /// The remote.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Where host keys are looked up, for messages.
    pub(super) fn known_hosts(&self) -> PathBuf {
        match &self.auth {
            Auth::Ssh { known_hosts, .. } => known_hosts.clone(),
            _ => PathBuf::from("~/.ssh/known_hosts"),
        }
    }

    /// Writes the file that stands for the user's git configuration.
    pub(super) fn write_global_config(&self) -> Result<(), SourceError> {
        let path = self.global_config_path();
        let new = beside(&path, "new");
        io("write", &new, std::fs::write(&new, self.global_config()))?;
        io("write", &path, std::fs::rename(&new, &path))
    }

    /// Whether that file is as it should be.
    pub(super) fn has_global_config(&self) -> bool {
        std::fs::read_to_string(self.global_config_path()).is_ok_and(|text| text == self.global_config())
    }

    fn global_config_path(&self) -> PathBuf {
        beside(&self.mirror, "gitconfig")
    }

    fn global_config(&self) -> String {
        let Some(path) = self.address.local_path() else {
            return String::new();
        };
        let mut text = String::from("[safe]\n");
        let real = std::fs::canonicalize(path).ok();
        for path in std::iter::once(path.to_owned()).chain(real) {
            for path in [path.join(".git"), path] {
                let quoted = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
                text.push_str(&format!("\tdirectory = \"{quoted}\"\n"));
            }
        }
        text
    }

    /// Copies a reference with its history from one repository of this machine to another; `false` if git could not.
    pub(super) async fn copy_ref(&self, from: &Path, into: &Path, reference: &str) -> Result<bool, SourceError> {
        let refspec = format!("+{reference}:{reference}");
        let (from, into) = (from.display().to_string(), into.to_owned());
        let args =
            ["fetch", "--quiet", "--no-tags", "--no-auto-maintenance", "--no-write-fetch-head", "--", &from, &refspec];
        Ok(self.run_over("file", &into, &args, None).await?.success)
    }

    /// Runs git on a repository with these arguments, which must not come from the outside unchecked. No file that it
    /// writes may get larger than `cap`.
    ///
    /// An exit code other than 0 is no error here; what it means is for the caller to say.
    pub(super) async fn run(&self, repository: &Path, args: &[&str], cap: Option<u64>) -> Result<Ran, SourceError> {
        self.check_token()?;
        self.run_over(self.address.protocol(), repository, args, cap).await
    }

    async fn run_over(
        &self,
        protocol: &str,
        repository: &Path,
        args: &[&str],
        cap: Option<u64>,
    ) -> Result<Ran, SourceError> {
        let mut command = self.command(cap);
        command.env("GIT_ALLOW_PROTOCOL", protocol);
        command.arg("--git-dir").arg(repository).args(self.settings()).args(args);
        let mut child = command.spawn().map_err(|error| SourceError::NoGit(error.to_string()))?;
        let group = child.id().map(|id| Group(Pid::from_raw(id.cast_signed())));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async { tokio::join!(child.wait(), beginning(stdout), end(stderr)) };
        let Ok((status, stdout, stderr)) = tokio::time::timeout(self.timeout, work).await else {
            drop(group);
            let _ = child.wait().await;
            return Err(SourceError::Timeout { remote: self.address.to_string(), after: self.timeout });
        };
        // It has ended: its number may be given to someone else now.
        group.into_iter().for_each(std::mem::forget);
        let status = status.map_err(|error| SourceError::NoGit(error.to_string()))?;
        Ok(Ran {
            success: status.success(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: self.redacted(&String::from_utf8_lossy(&stderr)),
        })
    }

    fn command(&self, cap: Option<u64>) -> Command {
        // The limit is set by a shell, in units of 512 bytes, because it has to be set in the child.
        let blocks = cap.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.div_ceil(512).to_string());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"ulimit -c 0; ulimit -f "$1" || exit 125; shift; exec "$@""#, "sh", &blocks, "git"]);
        command.env_clear().envs(PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
        command
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.global_config_path())
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1");
        if self.address.transport() == Transport::Ssh {
            command.env("GIT_SSH_COMMAND", self.ssh_command());
        }
        if let Auth::Token { token: Token::Value(value), .. } = &self.auth {
            command.env(TOKEN_VARIABLE, value);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }

    fn settings(&self) -> Vec<OsString> {
        let mut settings: Vec<String> = [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "credential.helper=",
            "fetch.unpackLimit=1",
            "gc.auto=0",
            "maintenance.auto=false",
            "submodule.recurse=false",
            "ssh.variant=ssh",
            "push.gpgSign=false",
        ]
        .map(str::to_owned)
        .into();
        if let (Auth::Token { username, token }, Some(origin)) = (&self.auth, self.address.origin()) {
            let secret = match token {
                Token::File(path) => format!("$(cat {})", shell_quoted(&path.display().to_string())),
                Token::Value(_) => format!("${TOKEN_VARIABLE}"),
            };
            let helper = format!(
                r#"!f() {{ test "$1" = get && printf 'username=%s\npassword=%s\n' {} "{secret}"; }}; f"#,
                shell_quoted(username)
            );
            settings.push(format!("credential.{origin}.helper={helper}"));
        }
        if let Some(file) = &self.ca_file {
            settings.push(format!("http.sslCAInfo={}", file.display()));
        }
        settings.into_iter().flat_map(|setting| [OsString::from("-c"), setting.into()]).collect()
    }

    fn ssh_command(&self) -> String {
        let mut command =
            String::from("ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ControlPath=none -o ConnectTimeout=20");
        if let Auth::Ssh { key, known_hosts } = &self.auth {
            // A second unquoting happens in ssh itself, so a path with spaces needs quotes of its own.
            let option = |name: &str, path: &Path| {
                shell_quoted(&format!("{name}=\"{}\"", path.display().to_string().replace('%', "%%")))
            };
            command.push_str(&format!(
                " -o IdentitiesOnly=yes -o IdentityAgent=none -o GlobalKnownHostsFile=/dev/null -o {} -o {}",
                option("IdentityFile", key),
                option("UserKnownHostsFile", known_hosts),
            ));
        }
        command
    }

    /// A missing token file would look like a wrong token.
    fn check_token(&self) -> Result<(), SourceError> {
        let unreadable = |detail: String| Err(SourceError::Auth { remote: self.address.to_string(), detail });
        let (what, path) = match &self.auth {
            Auth::Token { token: Token::File(path), .. } => ("token", path),
            Auth::Ssh { key, .. } => ("ssh key", key),
            _ => return Ok(()),
        };
        match std::fs::read(path) {
            Ok(content) if content.trim_ascii().is_empty() => {
                unreadable(format!("the {what} file {} is empty", path.display()))
            }
            Ok(_) => Ok(()),
            Err(error) => unreadable(format!("the {what} file {} cannot be read: {error}", path.display())),
        }
    }

    /// A text without the token, should a remote repeat it, and without logins in addresses.
    fn redacted(&self, text: &str) -> String {
        let (username, token) = match &self.auth {
            Auth::Token { username, token: Token::Value(value) } => (username, value.clone()),
            Auth::Token { username, token: Token::File(path) } => {
                (username, std::fs::read_to_string(path).unwrap_or_default())
            }
            _ => return without_credentials(text),
        };
        without_token(&without_credentials(text), username, token.trim())
    }
}

/// A process group that is killed when this is dropped.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = killpg(self.0, Signal::SIGKILL);
    }
}

async fn beginning(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    read(pipe, |chunk| kept.extend_from_slice(&chunk[..chunk.len().min(KEPT - kept.len())])).await;
    kept
}

async fn end(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    read(pipe, |chunk| {
        kept.extend_from_slice(chunk);
        kept.drain(..kept.len().saturating_sub(KEPT));
    })
    .await;
    kept
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 8192];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        take(&buffer[..count]);
    }
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix("git version ")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, want) in [
            ("git version 2.39.5\n", Some((2, 39))),
            ("git version 2.43.0.windows.1", Some((2, 43))),
            ("git version 3.0", Some((3, 0))),
            ("", None),
        ] {
            assert_eq!(parse_version(text), want);
        }
    }

    #[tokio::test]
    async fn credentials_stand_in_no_argument() {
        let mut config = GitConfig::new("https://git.example.org/x", "main", "/mirror");
        config.auth = Auth::Token { username: "bot's".into(), token: Token::Value("hunter2".into()) };
        let git = Git::new(&config, Address::parse(&config.url).unwrap()).await.unwrap();
        assert!(!format!("{:?}", git.settings()).contains("hunter2"));
        assert!(format!("{:?}", git.settings()).contains("credential.https://git.example.org.helper="));
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(git.redacted("remote: hunter2 https://a:b@c/d"), "remote: [token] https://c/d");
    }
}
