//! Repositories that mean harm: crafted with plumbing, because porcelain would not make them.

use trimtab::adapters::source::git::GitSource;
use trimtab::ports::source::{Source, SourceError};

use super::bed::Bed;

#[tokio::test]
async fn a_tree_that_unfolds_without_end_hits_the_limit() {
    let bed = Bed::new();
    let mut tree = bed.raw_tree(&[("100644", b"f", &bed.blob(b"x"))]);
    for _ in 0..20 {
        let names = [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9"];
        let entries: Vec<(&str, &[u8], &str)> = names.iter().map(|name| ("40000", &name[..], tree.as_str())).collect();
        tree = bed.raw_tree(&entries);
    }
    let head = bed.publish(&tree);
    let empty = bed.raw_tree(&[]);
    let mut config = bed.config();
    config.limits.max_files = 1000;
    let source = GitSource::open(config).await.unwrap();
    source.fetch().await.unwrap();
    assert!(matches!(source.list(&head).await, Err(SourceError::TooLarge { .. })));
    assert!(matches!(source.export_tree(&tree, &bed.dir.path().join("o")).await, Err(SourceError::TooLarge { .. })));
    let before = bed.publish(&empty);
    source.fetch().await.unwrap();
    assert!(matches!(source.changes(&before, &head).await, Err(SourceError::TooLarge { .. })));
}
