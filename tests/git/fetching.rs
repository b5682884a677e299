//! Fetching: what moves the head, what does not, and what each failure is called.

use std::time::Duration;

use trimtab::adapters::source::git::{Auth, GitSource, Token};
use trimtab::ports::source::{Source, SourceError};

use super::bed::{Bed, paths};

#[tokio::test]
async fn a_push_moves_the_head_and_the_mirror_outlives_the_remote() {
    let bed = Bed::new();
    let first = bed.push(&[("a.yaml", "1")]);
    let source = bed.source().await;
    assert_eq!(source.head().await.unwrap(), None);
    let head = source.fetch().await.unwrap();
    assert_eq!((head.branch.as_str(), &head.revision), ("main", &first));
    let second = bed.push(&[("b/c.yaml", "2")]);
    assert_eq!(source.fetch().await.unwrap().revision, second);
    assert!(source.is_ancestor(&first, &second).await.unwrap());
    assert!(source.is_ancestor(&second, &second).await.unwrap());
    assert!(!source.is_ancestor(&second, &first).await.unwrap());

    std::fs::rename(bed.remote(), bed.dir.path().join("gone")).unwrap();
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::NotARepository { .. }), "{error}");
    drop(source);
    let source = bed.source().await;
    assert_eq!(source.head().await.unwrap(), Some(second.clone()));
    assert_eq!(paths(&source).await, ["a.yaml", "b/c.yaml"]);
    assert!(source.is_ancestor(&first, &second).await.unwrap());
}

#[tokio::test]
async fn a_rewritten_history_is_seen_and_loses_nothing() {
    let bed = Bed::new();
    let base = bed.push(&[("a", "1")]);
    let old = bed.push(&[("a", "2")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    bed.git(&["reset", "-q", "--hard", base.as_str()]);
    let new = bed.push(&[("a", "3")]);
    assert_eq!(source.fetch().await.unwrap().revision, new);
    assert!(!source.is_ancestor(&old, &new).await.unwrap());
    assert!(source.is_ancestor(&base, &new).await.unwrap());
    assert_eq!(source.list(&old).await.unwrap().entries.len(), 1);
    let never_seen = "0123456789012345678901234567890123456789".into();
    assert!(!source.is_ancestor(&never_seen, &new).await.unwrap());
    assert!(matches!(source.is_ancestor(&new, &never_seen).await, Err(SourceError::Unknown { .. })));
}

#[tokio::test]
async fn a_deleted_branch_and_an_empty_repository_are_told_apart_from_failures() {
    let bed = Bed::new();
    let source = bed.source().await;
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::BranchGone { .. }), "{error}");
    let head = bed.push(&[("a", "1")]);
    source.fetch().await.unwrap();
    bed.git(&["push", "-q", "origin", "HEAD:other"]);
    bed.remote_git(&["update-ref", "-d", "refs/heads/main"]);
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(&error, SourceError::BranchGone { branch, .. } if branch == "main"), "{error}");
    assert!(error.to_string().contains("nothing is removed"), "{error}");
    assert_eq!(source.head().await.unwrap(), Some(head));
}

#[tokio::test]
async fn another_branch_or_address_does_not_inherit_the_head() {
    let bed = Bed::new();
    bed.push(&[("a", "1")]);
    bed.source().await.fetch().await.unwrap();
    let mut config = bed.config();
    config.branch = "main/nested".into();
    assert_eq!(GitSource::open(config).await.unwrap().head().await.unwrap(), None);
}

#[tokio::test]
async fn nobody_listening_is_unreachable_and_silence_times_out() {
    let bed = Bed::new();
    let port = crate::support::free_port();
    let mut config = bed.config();
    config.url = format!("http://127.0.0.1:{port}/config.git");
    let source = GitSource::open(config.clone()).await.unwrap();
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }) && error.is_transient(), "{error}");

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.url = format!("http://127.0.0.1:{}/config.git", silent.local_addr().unwrap().port());
    config.timeout = Duration::from_millis(300);
    let source = GitSource::open(config).await.unwrap();
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::Timeout { .. }), "{error}");
    // The helper that holds the connection was killed with git: the next fetch does not wait for it.
    let (mut connection, _) = silent.accept().unwrap();
    connection.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let mut request = Vec::new();
    std::io::Read::read_to_end(&mut connection, &mut request).expect("the connection is still open");
}

#[tokio::test]
async fn wrong_settings_are_told_at_the_start() {
    let bed = Bed::new();
    let token = || Auth::Token { username: "x".into(), token: Token::Value("secret".into()) };
    type Change<'c> = &'c dyn Fn(&mut trimtab::adapters::source::git::GitConfig);
    let changes: [(Change<'_>, &str); 7] = [
        (&|config| config.url = "https://u:secret@git.example.org/x".into(), "token file"),
        (&|config| config.url = "ext::sh -c touch% /tmp/x".into(), "address"),
        (&|config| config.branch = "-x".into(), "branch"),
        (&|config| config.path = "../up".into(), "path"),
        (&|config| config.mirror = "relative".into(), "absolute"),
        (&|config| config.auth = token(), "https"),
        (&|config| config.timeout = Duration::ZERO, "timeout"),
    ];
    for (change, word) in changes {
        let mut config = bed.config();
        change(&mut config);
        let error = GitSource::open(config).await.err().unwrap_or_else(|| panic!("{word}: was taken")).to_string();
        assert!(error.contains(word) && !error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_repository_of_another_user_is_taken_when_it_is_the_configured_one() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can give a repository to another user");
        return;
    }
    let bed = Bed::new();
    let head = bed.push(&[("a", "1")]);
    let owner = format!("{}:{}", 65534, 65534);
    let remote = bed.remote();
    assert!(std::process::Command::new("chown").args(["-R", &owner]).arg(&remote).status().unwrap().success());
    assert!(!super::bed::git(&remote).args(["ls-remote", "."]).output().unwrap().status.success(), "git does not mind");
    let source = bed.source().await;
    assert_eq!(source.fetch().await.unwrap().revision, head);
}

#[tokio::test]
async fn many_fetches_join_their_packs_and_keep_everything() {
    let bed = Bed::new();
    let source = bed.source().await;
    let mut revisions = Vec::new();
    for n in 0..40 {
        revisions.push(bed.push(&[("a", &n.to_string())]));
        source.fetch().await.unwrap();
    }
    let packs = std::fs::read_dir(bed.mirror().join("objects/pack")).unwrap().flatten();
    let packs = packs.filter(|entry| entry.path().extension().is_some_and(|end| end == "pack")).count();
    assert!(packs <= 33, "{packs} packs");
    for (n, revision) in revisions.iter().enumerate() {
        let listing = source.list(revision).await.unwrap();
        assert_eq!(source.read(&listing.entries[0].oid).await.unwrap(), n.to_string().into_bytes());
    }
}
