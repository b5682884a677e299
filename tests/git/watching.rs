//! Marks from local repositories.

use trimtab::ports::source::Source;

use super::bed::Bed;
use crate::support::PATIENCE;

#[tokio::test]
async fn a_push_to_a_local_repository_is_marked_and_fetching_is_not() {
    let bed = Bed::new();
    let source = bed.source().await;
    let mut marks = source.watch().expect("a local repository can be watched");
    for n in 0..3 {
        let head = bed.push(&[("a", &n.to_string())]);
        loop {
            tokio::time::timeout(PATIENCE, marks.changed()).await.expect("no mark came").unwrap();
            if source.fetch().await.unwrap().revision == head {
                break;
            }
        }
    }
    // Packed references and nested branches are branches as well.
    bed.remote_git(&["pack-refs", "--all"]);
    tokio::time::timeout(PATIENCE, marks.changed()).await.expect("packing is not seen").unwrap();
    bed.git(&["push", "-q", "origin", "HEAD:feature/x/y"]);
    tokio::time::timeout(PATIENCE, marks.changed()).await.expect("a nested branch is not seen").unwrap();
    // Reading is no change: after the marks have settled, fetches and listings make none.
    while tokio::time::timeout(std::time::Duration::from_millis(500), marks.changed()).await.is_ok() {}
    for _ in 0..3 {
        source.fetch().await.unwrap();
        source.remote_branch("main").await.unwrap();
    }
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(200), marks.changed()).await;
    assert!(quiet.is_err(), "a fetch marks its own source");
}

#[tokio::test]
async fn a_clone_with_a_work_tree_is_watched_and_a_remote_one_is_not() {
    let bed = Bed::new();
    bed.push(&[("a", "1")]);
    let mut config = bed.config();
    config.url = format!("file://{}", bed.work().display());
    let source = trimtab::adapters::source::git::GitSource::open(config.clone()).await.unwrap();
    let mut marks = source.watch().expect("a clone can be watched");
    let head = bed.commit(&[("a", "2")]);
    tokio::time::timeout(PATIENCE, marks.changed()).await.expect("no mark came").unwrap();
    assert_eq!(source.fetch().await.unwrap().revision, head);
    config.url = "https://git.example.org/x".into();
    config.mirror = bed.dir.path().join("other.git");
    assert!(trimtab::adapters::source::git::GitSource::open(config).await.unwrap().watch().is_none());
}
