//! The mirror when things go wrong on this machine: damage, interrupted fetches, several processes.

use std::path::Path;

use trimtab::adapters::source::git::GitSource;
use trimtab::ports::source::{Source, SourceError};

use super::bed::{Bed, paths};

/// Empties every file of objects, as a power cut does to what was not on disk.
fn damage(mirror: &Path) {
    for entry in std::fs::read_dir(mirror.join("objects/pack")).unwrap().flatten() {
        std::fs::remove_file(entry.path()).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_mirror_is_rebuilt_by_the_next_fetch() {
    let bed = Bed::new();
    let first = bed.push(&[("a", "1")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    source.pin("hello/staging", &first).await.unwrap();
    bed.push(&[("a", "2")]);
    source.fetch().await.unwrap();
    damage(&bed.mirror());
    drop(source);
    let source = bed.source().await;
    let head = bed.push(&[("a", "3")]);
    assert_eq!(source.fetch().await.unwrap().revision, head);
    assert_eq!(paths(&source).await, ["a"]);
    assert_eq!(source.pins().await.unwrap(), [("hello/staging".to_owned(), first.clone())]);
    assert_eq!(source.list(&first).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn damage_seen_while_reading_is_mended_although_nothing_new_was_pushed() {
    let bed = Bed::new();
    let head = bed.push(&[("a", "1")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    damage(&bed.mirror());
    drop(source);
    let source = bed.source().await;
    source.list(&head).await.unwrap_err();
    assert_eq!(source.fetch().await.unwrap().revision, head);
    assert_eq!(paths(&source).await, ["a"]);
}

#[tokio::test]
async fn a_rebuild_takes_pins_over_that_the_remote_no_longer_has() {
    let bed = Bed::new();
    bed.push(&[("a", "1")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let pinned = source.head().await.unwrap().unwrap();
    source.pin("p", &pinned).await.unwrap();
    // The history is rewritten from nothing; the old commit exists in the mirror only.
    bed.git(&["checkout", "-q", "--orphan", "again"]);
    let head = bed.push(&[("b", "1")]);
    bed.remote_git(&["gc", "-q", "--prune=now"]);
    source.fetch().await.unwrap();
    // The new head is damaged, the pinned commit is not.
    std::fs::write(bed.mirror().join("HEAD"), "").unwrap();
    drop(source);
    let source = bed.source().await;
    assert_eq!(source.fetch().await.unwrap().revision, head);
    assert_eq!(source.pins().await.unwrap(), [("p".to_owned(), pinned.clone())]);
    let _ = source.list(&pinned).await;
}

#[tokio::test]
async fn with_the_remote_down_too_damage_is_a_clear_error() {
    let bed = Bed::new();
    bed.push(&[("a", "1")]);
    let source = bed.source().await;
    let head = source.fetch().await.unwrap().revision;
    damage(&bed.mirror());
    std::fs::rename(bed.remote(), bed.dir.path().join("gone")).unwrap();
    drop(source);
    let source = bed.source().await;
    let error = source.list(&head).await.unwrap_err().to_string();
    assert!(error.contains("no commit") || error.contains("damaged"), "{error}");
    source.fetch().await.unwrap_err();
    assert!(bed.mirror().join("refs").is_dir(), "the damaged mirror was thrown away");
}

#[tokio::test]
async fn a_lost_mirror_folder_is_made_again_while_running() {
    let bed = Bed::new();
    let head = bed.push(&[("a", "1")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    std::fs::remove_dir_all(bed.mirror()).unwrap();
    assert_eq!(source.fetch().await.unwrap().revision, head);
    assert_eq!(paths(&source).await, ["a"]);
}

#[tokio::test]
async fn what_a_killed_fetch_left_is_removed() {
    let bed = Bed::new();
    let head = bed.push(&[("a", "1")]);
    bed.source().await.fetch().await.unwrap();
    for left in ["objects/pack/tmp_pack_x1", "objects/pack/tmp_idx_x1", "objects/tmp_obj_x", "packed-refs.lock"] {
        std::fs::write(bed.mirror().join(left), "half").unwrap();
    }
    let source = bed.source().await;
    for left in ["objects/pack/tmp_pack_x1", "objects/pack/tmp_idx_x1", "objects/tmp_obj_x", "packed-refs.lock"] {
        assert!(!bed.mirror().join(left).exists(), "{left}");
    }
    assert_eq!(source.fetch().await.unwrap().revision, head);
}

#[tokio::test]
async fn a_folder_with_something_else_in_it_is_left_alone() {
    let bed = Bed::new();
    std::fs::create_dir_all(bed.mirror()).unwrap();
    std::fs::write(bed.mirror().join("letter"), "dear").unwrap();
    let error = GitSource::open(bed.config()).await.err().unwrap();
    assert!(matches!(error, SourceError::Config(_)), "{error}");
    assert!(bed.mirror().join("letter").exists());
}

#[tokio::test]
async fn two_sources_on_one_mirror_take_turns() {
    let bed = Bed::new();
    bed.push(&[("a", "1")]);
    let (one, two) = (bed.source().await, bed.source().await);
    for n in 0..5 {
        let head = bed.push(&[("a", &format!("x{n}"))]);
        let (a, b) = tokio::join!(one.fetch(), two.fetch());
        assert_eq!((a.unwrap().revision, b.unwrap().revision), (head.clone(), head));
    }
}
