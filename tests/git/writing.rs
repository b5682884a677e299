//! Building commits, offering them, finding them again, pins.

use std::os::unix::fs::PermissionsExt;

use trimtab::domain::id::Revision;
use trimtab::domain::revert::{ROLLBACK_ID, RevertMessage, Reverted, trailer, trailers};
use trimtab::ports::source::{Edit, EntryKind, PushOutcome, Source, SourceError};

use super::bed::{Bed, author, paths};

fn write(path: &str, content: &str) -> Edit {
    Edit::Write { path: path.into(), content: content.into(), executable: None }
}

fn restore(path: &str, from: &Revision) -> Edit {
    Edit::Restore { path: path.into(), from: from.clone() }
}

#[tokio::test]
async fn edits_make_the_tree_that_they_say() {
    let bed = Bed::new();
    std::fs::write(bed.work().join("run"), "v1").unwrap();
    std::fs::set_permissions(bed.work().join("run"), PermissionsExt::from_mode(0o755)).unwrap();
    let good = bed.push(&[("app/a", "1"), ("app/sub/b", "1"), ("other", "1")]);
    std::fs::remove_file(bed.work().join("app/a")).unwrap();
    let bad = bed.push(&[("app/sub/b", "2"), ("app/added", "2"), ("other", "2")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let edits = [
        restore("app", &good),
        write("run", "v2"),
        write("new/deep/file", "3"),
        write("other/now/a/folder", "4"),
        Edit::Remove { path: "nothing/there".into() },
    ];
    let commit = source.commit(&bad, &edits, &author(), "Roll back").await.unwrap();
    let again = source.commit(&bad, &edits, &author(), "Roll back\n\n").await.unwrap();
    assert_eq!(commit, again, "the same commit built twice differs");
    let listing = source.list(&commit).await.unwrap();
    let seen: Vec<_> = listing.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(seen, ["app/a", "app/sub/b", "new/deep/file", "other/now/a/folder", "run"]);
    let run = listing.entries.last().unwrap();
    assert_eq!(run.kind, EntryKind::Executable);
    assert_eq!(source.tree_oid(&commit, "app").await.unwrap(), source.tree_oid(&good, "app").await.unwrap());
    let info = source.commit_info(&commit).await.unwrap();
    assert_eq!((info.author.as_str(), info.time, &info.parents[..]), ("trimtab", author().time, &[bad.clone()][..]));
    // Git itself finds nothing wrong with it.
    bed.git_in(&bed.mirror(), &["fsck", "--strict", "--no-dangling"]);

    let emptied = source.commit(&bad, &[Edit::Remove { path: "app".into() }], &author(), "x").await.unwrap();
    assert_eq!(source.tree_oid(&emptied, "app").await.unwrap(), None);
    let all = source.commit(&bad, &[restore("", &good)], &author(), "x").await.unwrap();
    assert_eq!(source.tree_oid(&all, "").await.unwrap(), source.tree_oid(&good, "").await.unwrap());
    let unchanged = source.commit(&bad, &[restore("app", &bad)], &author(), "x").await;
    assert!(matches!(unchanged, Err(SourceError::NothingToCommit(_))));
    for path in ["../x", ".git/config", "/etc", "a//b", ""] {
        assert!(source.commit(&bad, &[write(path, "x")], &author(), "x").await.is_err(), "{path}");
    }
    let mut forged = author();
    forged.name = "x <y>\nparent".into();
    assert!(source.commit(&bad, &[write("x", "x")], &forged, "x").await.is_err());
}

#[tokio::test]
async fn a_configured_folder_bounds_what_is_written() {
    let bed = Bed::new();
    let head = bed.push(&[("deploy/a", "1"), ("other", "1")]);
    let mut config = bed.config();
    config.path = "deploy".into();
    let source = trimtab::adapters::source::git::GitSource::open(config).await.unwrap();
    source.fetch().await.unwrap();
    let commit = source.commit(&head, &[write("a", "2"), write("b", "2")], &author(), "x").await.unwrap();
    assert_eq!(source.push(&commit, "main", Some(&head)).await.unwrap(), PushOutcome::Pushed);
    bed.git(&["pull", "-q", "origin", "main"]);
    assert_eq!(bed.git(&["ls-files"]), "deploy/a\ndeploy/b\nother");
}

#[tokio::test]
async fn of_two_pushers_one_loses_and_nothing_is_overwritten() {
    let bed = Bed::new();
    let base = bed.push(&[("a", "1")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let ours = source.commit(&base, &[write("a", "ours")], &author(), "ours").await.unwrap();
    let theirs = bed.push(&[("b", "theirs")]);
    assert_eq!(source.push(&ours, "main", Some(&base)).await.unwrap(), PushOutcome::Lost);
    assert_eq!(source.remote_branch("main").await.unwrap(), Some(theirs.clone()));
    assert_eq!(source.fetch().await.unwrap().revision, theirs);
    let ours = source.commit(&theirs, &[write("a", "ours")], &author(), "ours").await.unwrap();
    assert_eq!(source.push(&ours, "main", Some(&theirs)).await.unwrap(), PushOutcome::Pushed);
    assert_eq!(source.push(&ours, "main", Some(&theirs)).await.unwrap(), PushOutcome::Pushed, "repeating it failed");
    assert_eq!(source.fetch().await.unwrap().revision, ours);
    assert_eq!(paths(&source).await, ["a", "b"]);

    // Even when the remote stands where it is expected: no force.
    let aside = source.commit(&base, &[write("a", "aside")], &author(), "aside").await.unwrap();
    assert!(matches!(source.push(&aside, "main", Some(&ours)).await, Err(SourceError::NotDescendant { .. })));
    assert_eq!(source.push(&aside, "main", None).await.unwrap(), PushOutcome::Lost);
    assert_eq!(source.push(&aside, "trimtab/rollback/1", None).await.unwrap(), PushOutcome::Pushed);
    assert_eq!(source.remote_branch("trimtab/rollback/1").await.unwrap(), Some(aside));
    assert_eq!(source.remote_branch("nothing").await.unwrap(), None);
}

#[tokio::test]
async fn many_pushers_at_once_make_one_winner() {
    let bed = Bed::new();
    let base = bed.push(&[("a", "1")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let mut commits = Vec::new();
    for n in 0..6 {
        commits.push(source.commit(&base, &[write("a", &format!("by {n}"))], &author(), "x").await.unwrap());
    }
    let pushes = commits.iter().map(|commit| source.push(commit, "main", Some(&base)));
    let outcomes = futures_util::future::join_all(pushes).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(|o| **o == PushOutcome::Pushed).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|o| **o == PushOutcome::Lost).count(), 5, "{outcomes:?}");
    let winner = outcomes.iter().position(|o| *o == PushOutcome::Pushed).unwrap();
    assert_eq!(source.fetch().await.unwrap().revision, commits[winner]);
}

#[tokio::test]
async fn a_protected_branch_says_why_and_its_hook_is_the_owners() {
    let bed = Bed::new();
    let head = bed.push(&[("a", "1")]);
    let hook = bed.remote().join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\nwhile read old new ref; do case $ref in refs/heads/main) echo main takes reviewed changes only >&2; exit 1;; esac; done\n").unwrap();
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let commit = source.commit(&head, &[write("a", "2")], &author(), "x").await.unwrap();
    match source.push(&commit, "main", Some(&head)).await.unwrap() {
        PushOutcome::Refused(reason) => assert!(reason.contains("reviewed changes only"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(source.remote_branch("main").await.unwrap(), Some(head));
    assert_eq!(source.push(&commit, "trimtab/rollback/x", None).await.unwrap(), PushOutcome::Pushed);
}

#[tokio::test]
async fn a_rollback_is_found_again_by_its_trailer() {
    let bed = Bed::new();
    let good = bed.push(&[("hello.yaml", "1")]);
    let bad = bed.push(&[("hello.yaml", "2")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let find = async |head: &Revision, limit| source.find_trailer(head, ROLLBACK_ID, "r-1", limit).await.unwrap();
    assert_eq!(find(&bad, 1000).await, None);
    let message = RevertMessage {
        id: &"r-1".into(),
        app: &"hello".parse().unwrap(),
        environment: &"staging".parse().unwrap(),
        reverts: &bad,
        restores: &good,
        why: "unhealthy",
        reverted: Reverted { restored: &["hello.yaml".into()], set: &[] },
    }
    .text();
    let commit = source.commit(&bad, &[restore("hello.yaml", &good)], &author(), &message).await.unwrap();
    assert_eq!(source.push(&commit, "main", Some(&bad)).await.unwrap(), PushOutcome::Pushed);
    // The answer is lost, the daemon dies; others push. A new one looks first.
    drop(source);
    bed.git(&["pull", "-q", "origin", "main"]);
    bed.push(&[("else", "1")]);
    bed.commit(&[("else", "2")]);
    bed.git(&[
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "quote\n\nRollback-Id: r-1 is mentioned here\n\nRollback-Id: r-10",
    ]);
    let head = bed.push(&[]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    assert_eq!(source.find_trailer(&head, "rollback-id", "r-1", 1000).await.unwrap(), Some(commit.clone()));
    assert_eq!(source.find_trailer(&head, ROLLBACK_ID, "r-1", 2).await.unwrap(), None);
    let info = source.commit_info(&commit).await.unwrap();
    assert_eq!(trailer(&trailers(&info.message), "Reverts"), Some(bad.as_str()));
    // Git reads the same trailers.
    let format = "--format=%(trailers:key=Environment,valueonly,separator=%x2C)";
    assert_eq!(bed.git(&["log", "-1", format, commit.as_str()]), "staging");
}

#[tokio::test]
async fn pins_survive_rewritten_history_with_the_remote_gone() {
    let bed = Bed::new();
    let good = bed.push(&[("a", "good")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    source.pin("hello/staging/default/verified", &good).await.unwrap();
    source.pin("hello", &good).await.unwrap();
    bed.git(&["checkout", "-q", "--orphan", "again"]);
    let rewritten = bed.push(&[("a", "rewritten")]);
    source.fetch().await.unwrap();
    std::fs::remove_dir_all(bed.remote()).unwrap();
    bed.git_in(&bed.mirror(), &["gc", "-q", "--prune=now"]);
    drop(source);
    let source = bed.source().await;
    let names: Vec<_> = source.pins().await.unwrap();
    assert_eq!(
        names,
        [("hello".to_owned(), good.clone()), ("hello/staging/default/verified".to_owned(), good.clone())]
    );
    let entry = &source.list(&good).await.unwrap().entries[0];
    assert_eq!(source.read(&entry.oid).await.unwrap(), b"good");
    source.pin("hello", &rewritten).await.unwrap();
    assert_eq!(source.pins().await.unwrap()[0].1, rewritten);
    source.unpin("hello").await.unwrap();
    source.unpin("hello").await.unwrap();
    assert_eq!(source.pins().await.unwrap().len(), 1);
    for bad in ["", "../x", "a b", "a..b", "a.lock", "+"] {
        assert!(source.pin(bad, &good).await.is_err(), "{bad}");
    }
}
