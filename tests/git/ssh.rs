//! A repository served over ssh by a real sshd, as the user who runs the tests.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use trimtab::adapters::source::git::{Auth, GitConfig, GitSource};
use trimtab::ports::source::{Edit, PushOutcome, Source, SourceError};

use super::bed::{Bed, author};
use crate::support::{PATIENCE, Running, eventually};

const SSHD: &str = "/usr/sbin/sshd";

/// An sshd of its own, with a key that may log in and one that may not.
pub struct Sshd {
    _running: Running,
    port: u16,
    /// Its keys: `host`, `user` (who may log in) and `stranger`.
    pub dir: PathBuf,
}

impl Sshd {
    /// `None`, with the reason printed, where it cannot run.
    pub fn start(root: &Path) -> Option<Sshd> {
        if !Path::new(SSHD).exists() {
            println!("skipped: {SSHD} is not installed");
            return None;
        }
        if nix::unistd::geteuid().is_root() && std::fs::create_dir_all("/run/sshd").is_err() {
            println!("skipped: /run/sshd cannot be made");
            return None;
        }
        // A folder with a space: the paths go through a shell and through ssh's own parsing.
        let dir = root.join("ssh keys");
        std::fs::create_dir(&dir).unwrap();
        for key in ["host", "user", "stranger"] {
            let status =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(key)).status();
            assert!(status.unwrap().success());
        }
        std::fs::copy(dir.join("user.pub"), root.join("authorized")).unwrap();
        std::fs::copy(dir.join("host"), root.join("hostkey")).unwrap();
        // sshd cannot take a bound socket or port 0, so the port may be gone when it starts.
        for _ in 0..10 {
            let port = crate::support::free_port();
            let config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/hostkey\nPidFile none\nAuthorizedKeysFile {0}/authorized\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
                 PermitUserEnvironment no\nLogLevel ERROR\n",
                root.display()
            );
            let file = root.join("sshd_config");
            std::fs::write(&file, config).unwrap();
            let mut command = Command::new(SSHD);
            command.args(["-D", "-e", "-f"]).arg(&file).stderr(Stdio::null()).stdin(Stdio::null());
            let mut running = Running::spawn(&mut command);
            let answers = eventually(PATIENCE, "sshd answers or ends", || {
                if running.0.try_wait().unwrap().is_some() {
                    return Some(false);
                }
                std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(|_| true)
            });
            if answers {
                return Some(Sshd { _running: running, port, dir });
            }
        }
        panic!("sshd found no free port in ten tries");
    }

    pub fn url(&self, path: &Path) -> String {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        format!("ssh://{user}@127.0.0.1:{}{}", self.port, path.display())
    }

    /// A file that trusts the server under one of the keys.
    pub fn known_hosts(&self, key: &str) -> PathBuf {
        let file = self.dir.join(format!("known by {key}"));
        let public = std::fs::read_to_string(self.dir.join(format!("{key}.pub"))).unwrap();
        std::fs::write(&file, format!("[127.0.0.1]:{} {public}", self.port)).unwrap();
        file
    }

    fn config(&self, bed: &Bed, key: &str, host: &str) -> GitConfig {
        let mut config = GitConfig::new(self.url(&bed.remote()), "main", bed.mirror());
        config.auth = Auth::Ssh { key: self.dir.join(key), known_hosts: self.known_hosts(host) };
        config
    }
}

#[tokio::test]
async fn a_key_opens_fetch_and_push_to_a_known_host() {
    let bed = Bed::new();
    let Some(sshd) = Sshd::start(bed.dir.path()) else { return };
    let head = bed.push(&[("a", "1")]);
    let source = GitSource::open(sshd.config(&bed, "user", "host")).await.unwrap();
    assert_eq!(source.fetch().await.unwrap().revision, head);
    assert!(source.watch().is_none());
    let edit = Edit::Write { path: "a".into(), content: "2".into(), executable: None };
    let commit = source.commit(&head, &[edit], &author(), "x").await.unwrap();
    assert_eq!(source.push(&commit, "main", Some(&head)).await.unwrap(), PushOutcome::Pushed);
    assert_eq!(source.remote_branch("main").await.unwrap(), Some(commit));
    bed.remote_git(&["update-ref", "-d", "refs/heads/main"]);
    assert!(matches!(source.fetch().await, Err(SourceError::BranchGone { .. })));
}

#[tokio::test]
async fn an_unknown_host_a_changed_one_and_a_strange_key_are_refused_by_name() {
    let bed = Bed::new();
    let Some(sshd) = Sshd::start(bed.dir.path()) else { return };
    bed.push(&[("a", "1")]);
    for host in ["stranger", "nobody"] {
        std::fs::write(sshd.dir.join("nobody.pub"), "").unwrap();
        let source = GitSource::open(sshd.config(&bed, "user", host)).await.unwrap();
        let error = source.fetch().await.unwrap_err();
        assert!(matches!(error, SourceError::HostKey { .. }), "{host}: {error}");
        assert!(error.to_string().contains("known by"), "{error}");
    }
    let source = GitSource::open(sshd.config(&bed, "stranger", "host")).await.unwrap();
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Auth { .. }), "{error}");
    let mut config = sshd.config(&bed, "user", "host");
    config.url = sshd.url(&bed.dir.path().join("nothing.git"));
    let error = GitSource::open(config).await.unwrap().fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::NotARepository { .. }), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let bed = Bed::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut config = GitConfig::new(format!("ssh://git@127.0.0.1:{port}/x.git"), "main", bed.mirror());
    config.auth = Auth::None;
    if Command::new("ssh").arg("-V").stderr(Stdio::null()).status().is_err() {
        println!("skipped: ssh is not installed");
        return;
    }
    let error = GitSource::open(config).await.unwrap().fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
}
