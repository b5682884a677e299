//! A bare repository as the remote, a clone that pushes to it, and a source that mirrors it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use trimtab::adapters::source::git::{GitConfig, GitSource};
use trimtab::domain::id::Revision;
use trimtab::ports::source::{Signature, Source};

/// Folders of one test, removed with it.
pub struct Bed {
    pub dir: TempDir,
}

impl Bed {
    /// An empty remote with a clone beside it.
    pub fn new() -> Bed {
        let bed = Bed { dir: tempfile::tempdir().unwrap() };
        bed.git_in(bed.dir.path(), &["init", "-q", "--bare", "-b", "main", "remote.git"]);
        bed.git_in(bed.dir.path(), &["init", "-q", "-b", "main", "work"]);
        bed.git(&["remote", "add", "origin", bed.remote().to_str().unwrap()]);
        bed
    }

    pub fn remote(&self) -> PathBuf {
        self.dir.path().join("remote.git")
    }

    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub fn mirror(&self) -> PathBuf {
        self.dir.path().join("state/mirror.git")
    }

    pub fn config(&self) -> GitConfig {
        GitConfig::new(self.remote().to_str().unwrap(), "main", self.mirror())
    }

    /// A source on the remote's `main`.
    pub async fn source(&self) -> GitSource {
        GitSource::open(self.config()).await.unwrap()
    }

    /// Writes files in the clone, commits all, pushes; the commit.
    pub fn push(&self, files: &[(&str, &str)]) -> Revision {
        let revision = self.commit(files);
        self.git(&["push", "-q", "--force", "origin", "HEAD:main"]);
        revision
    }

    /// Writes files in the clone and commits all.
    pub fn commit(&self, files: &[(&str, &str)]) -> Revision {
        for (path, content) in files {
            let path = self.work().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "change"]);
        self.revision("HEAD")
    }

    pub fn revision(&self, name: &str) -> Revision {
        Revision(self.git(&["rev-parse", name]))
    }

    /// Runs git in the clone; its output.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.work(), args)
    }

    /// Runs git in the remote; its output.
    #[track_caller]
    pub fn remote_git(&self, args: &[&str]) -> String {
        self.git_in(&self.remote(), args)
    }

    #[track_caller]
    pub fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        self.git_with(dir, args, b"")
    }

    /// Runs git with something on its standard input.
    #[track_caller]
    pub fn git_with(&self, dir: &Path, args: &[&str], input: &[u8]) -> String {
        let mut child = git(dir).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {args:?} failed");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A blob in the remote.
    pub fn blob(&self, content: &[u8]) -> String {
        self.git_with(&self.remote(), &["hash-object", "-w", "--stdin"], content)
    }

    /// A tree in the remote, from raw entries: whatever a crafted repository may hold.
    pub fn raw_tree(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut content = Vec::new();
        for (mode, name, oid) in entries {
            content.extend_from_slice(format!("{mode} ").as_bytes());
            content.extend_from_slice(name);
            content.push(0);
            content.extend((0..20).map(|n| u8::from_str_radix(&oid[2 * n..2 * n + 2], 16).unwrap()));
        }
        self.git_with(&self.remote(), &["hash-object", "-t", "tree", "--literally", "-w", "--stdin"], &content)
    }

    /// Puts a tree of the remote on its `main`.
    pub fn publish(&self, tree: &str) -> Revision {
        let commit = self.remote_git(&["commit-tree", tree, "-m", "crafted"]);
        self.remote_git(&["update-ref", "refs/heads/main", &commit]);
        Revision(commit)
    }
}

/// Git without the configuration of whoever runs the tests.
pub fn git(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .current_dir(dir)
        .env_remove("GIT_DIR")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    for role in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{role}_NAME"), "Ada").env(format!("GIT_{role}_EMAIL"), "ada@example.org");
    }
    command
}

/// A fixed author.
pub fn author() -> Signature {
    Signature {
        name: "trimtab".into(),
        email: "trimtab@example.org".into(),
        time: "2026-01-02T03:04:05Z".parse().unwrap(),
    }
}

/// The paths at the fetched head.
pub async fn paths(source: &GitSource) -> Vec<String> {
    let head = source.head().await.unwrap().unwrap();
    source.list(&head).await.unwrap().entries.into_iter().map(|entry| entry.path).collect()
}
