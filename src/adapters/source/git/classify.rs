//! What git's words mean. Git has one exit code for everything, so its messages (in the C locale) are what there is.

use std::path::PathBuf;

use crate::ports::source::SourceError;

/// What is told in an error.
pub(super) struct Told {
    /// The address without credentials.
    pub remote: String,
    /// The branch asked for.
    pub branch: String,
    /// The mirror.
    pub mirror: PathBuf,
    /// Where trusted host keys are kept.
    pub known_hosts: PathBuf,
    /// The cap on a fetch in bytes.
    pub max_fetch_bytes: u64,
}

type Words = &'static [&'static str];

const BRANCH_GONE: Words = &["couldn't find remote ref", "could not find remote ref"];
const TOO_LARGE: Words = &["died of signal 25", "file too large", "file size limit exceeded"];
const HOST_KEY: Words = &["host key verification failed", "remote host identification has changed"];
const AUTH: Words = &[
    "authentication failed",
    "could not read username",
    "could not read password",
    "permission denied (",
    "returned error: 401",
    "returned error: 403",
    "invalid username or password",
    "access denied",
    "http basic: access denied",
];
const NOT_A_REPOSITORY: Words = &[
    "does not appear to be a git repository",
    "' not found",
    "repository not found",
    "returned error: 404",
    "dubious ownership",
    "project you were looking for could not be found",
];
const SHALLOW: Words = &["shallow update not allowed", "shallow roots are not allowed"];
const DISK: Words = &["no space left on device", "disk quota exceeded", "read-only file system"];
/// Said of objects or files of the mirror.
const DAMAGED: Words = &[
    "is corrupt",
    "is empty",
    "bad object",
    "unable to read tree",
    "unable to find",
    "not a git repository",
    "bad config",
    "index file",
    "missing blob",
    "missing tree",
    "missing commit",
    "did not send all necessary objects",
    "unresolved delta",
    "inflate: data stream error",
    "invalid sha1 pointer",
    "bad tree object",
    "failed to read object",
    "packfile",
    "unable to parse object",
    "bad signature",
];
const UNREACHABLE: Words = &[
    "could not resolve host",
    "temporary failure in name resolution",
    "connection refused",
    "connection timed out",
    "connection reset",
    "connection closed",
    "network is unreachable",
    "no route to host",
    "operation timed out",
    "failed to connect",
    "couldn't connect",
    "early eof",
    "hung up unexpectedly",
    "the remote end hung up",
    "rpc failed",
    "broken pipe",
    "returned error: 5",
    "returned error: 429",
    "could not read from remote repository",
    "ssl",
    "tls",
    "certificate",
];

/// The error for a fetch, push or listing that failed with these complaints.
pub(super) fn classify(stderr: &str, told: &Told) -> SourceError {
    let low = stderr.to_lowercase();
    let says = |words: Words| words.iter().any(|word| low.contains(word));
    let (remote, detail) = (told.remote.clone(), detail(stderr));
    if says(TOO_LARGE) {
        too_large(told)
    } else if says(BRANCH_GONE) {
        SourceError::BranchGone { remote, branch: told.branch.clone() }
    } else if says(HOST_KEY) {
        SourceError::HostKey { remote, known_hosts: told.known_hosts.clone(), detail }
    } else if says(AUTH) {
        SourceError::Auth { remote, detail }
    } else if says(NOT_A_REPOSITORY) {
        SourceError::NotARepository { remote, detail }
    } else if says(SHALLOW) {
        let detail =
            format!("{detail}: it is itself a shallow clone and lacks history; deepen it with `git fetch --unshallow`");
        SourceError::Git { remote, detail }
    } else if says(DISK) {
        SourceError::Git { remote: told.mirror.display().to_string(), detail }
    } else if says(DAMAGED) {
        SourceError::Corrupt { mirror: told.mirror.clone(), detail }
    } else if says(UNREACHABLE) {
        SourceError::Unreachable { remote, detail }
    } else {
        SourceError::Git { remote, detail }
    }
}

/// The error for a fetch that brought more than the cap.
pub(super) fn too_large(told: &Told) -> SourceError {
    SourceError::TooLarge {
        what: format!("what {} sends", told.remote),
        limit: format!("{} bytes", told.max_fetch_bytes),
        setting: "limits.maxFetchBytes",
    }
}

/// What to tell of git's complaints: its own fatal word or error first, else what the remote said, in one line.
pub(super) fn detail(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let with = |prefix: &str| lines.iter().copied().filter(|line| line.starts_with(prefix)).collect::<Vec<_>>();
    let mut told = Vec::new();
    // ssh and the remote speak first and know the cause; git's own last word is about the pipe.
    told.extend(lines.iter().copied().filter(|line| is_cause(line)));
    told.extend(with("remote:"));
    told.extend(with("fatal:"));
    told.extend(with("error:"));
    told.extend(with("warning: rejected"));
    if told.is_empty() {
        told.extend(lines.last());
    }
    told.dedup();
    let text = told.join("; ");
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(600).collect();
    if text.is_empty() { "git said nothing".into() } else { text }
}

fn is_cause(line: &str) -> bool {
    line.starts_with("ssh: ")
        || line.contains("Permission denied")
        || line.contains("Host key")
        || line.contains("host key")
        || line.starts_with("Connection ")
        || line.starts_with("Load key")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told {
            remote: "https://h/x".into(),
            branch: "main".into(),
            mirror: "/m".into(),
            known_hosts: "/k".into(),
            max_fetch_bytes: 10,
        }
    }

    #[test]
    fn what_git_says() {
        for (stderr, kind) in [
            ("fatal: couldn't find remote ref refs/heads/main", "BranchGone"),
            (
                "fatal: '/x' does not appear to be a git repository\nfatal: Could not read from remote repository.",
                "NotARepository",
            ),
            ("remote: Repository not found.\nfatal: repository 'https://h/x/' not found", "NotARepository"),
            ("fatal: unable to access 'https://h/x/': Could not resolve host: h", "Unreachable"),
            ("fatal: unable to access 'https://h/x/': The requested URL returned error: 503", "Unreachable"),
            ("fatal: unable to access 'https://h/x/': SSL certificate problem: self-signed certificate", "Unreachable"),
            (
                "ssh: connect to host h port 22: Connection refused\nfatal: Could not read from remote repository.",
                "Unreachable",
            ),
            ("fatal: Authentication failed for 'https://h/x/'", "Auth"),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled", "Auth"),
            ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", "Auth"),
            ("Host key verification failed.\nfatal: Could not read from remote repository.", "HostKey"),
            ("error: index-pack died of signal 25\nfatal: fetch-pack: invalid index-pack output", "TooLarge"),
            ("error: object file objects/aa/bb is empty\nfatal: loose object aabb is corrupt", "Corrupt"),
            ("fatal: not a git repository: '/m'", "Corrupt"),
            ("fatal: something new", "Git"),
            ("", "Git"),
        ] {
            let error = format!("{:?}", classify(stderr, &told()));
            assert!(error.starts_with(kind), "{stderr:?} became {error}");
        }
    }

    #[test]
    fn the_cause_comes_first() {
        let stderr = "Warning: added\ngit@h: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\nPlease make sure";
        assert_eq!(
            detail(stderr),
            "git@h: Permission denied (publickey).; fatal: Could not read from remote repository."
        );
        assert_eq!(detail("x\u{1b}[2J"), "x [2J");
    }
}
