//! Listing, comparing, reading, exporting.

use std::os::unix::fs::{PermissionsExt, symlink};

use trimtab::adapters::source::git::GitSource;
use trimtab::ports::source::{EntryKind, Source, SourceError, Walk};

use super::bed::Bed;

#[tokio::test]
async fn a_listing_names_every_file_with_kind_size_and_content() {
    let bed = Bed::new();
    std::fs::create_dir_all(bed.work().join("bin")).unwrap();
    std::fs::write(bed.work().join("bin/run"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(bed.work().join("bin/run"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("../a.yaml", bed.work().join("bin/link")).unwrap();
    let head = bed.push(&[("a.yaml", "kind: App\n"), ("ä b/c", "")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let listing = source.list(&head).await.unwrap();
    assert!(listing.is_complete());
    let seen: Vec<_> = listing.entries.iter().map(|e| (e.path.as_str(), e.kind.clone(), e.size)).collect();
    let link = EntryKind::Symlink { target: "a.yaml".into() };
    assert_eq!(
        seen,
        [
            ("a.yaml", EntryKind::File, 10),
            ("bin/link", link, 9),
            ("bin/run", EntryKind::Executable, 10),
            ("ä b/c", EntryKind::File, 0)
        ]
    );
    let oids: Vec<String> = listing.entries.iter().map(|entry| entry.oid.clone()).collect();
    let contents = source.read_many(&oids).await.unwrap();
    assert_eq!(contents, [b"kind: App\n".to_vec(), b"../a.yaml".to_vec(), b"#!/bin/sh\n".to_vec(), b"".to_vec()]);
}

#[tokio::test]
async fn below_a_configured_folder_paths_are_relative_to_it() {
    let bed = Bed::new();
    let head = bed.push(&[("deploy/x/a", "1"), ("deploy/b", "2"), ("other", "3")]);
    let mut config = bed.config();
    config.path = "deploy/".into();
    let source = GitSource::open(config.clone()).await.unwrap();
    source.fetch().await.unwrap();
    let listing = source.list(&head).await.unwrap();
    assert_eq!(listing.entries.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["b", "x/a"]);
    assert_eq!(source.tree_oid(&head, "x").await.unwrap(), Some(bed.git(&["rev-parse", "HEAD:deploy/x"])));
    assert_eq!(source.tree_oid(&head, "").await.unwrap(), Some(bed.git(&["rev-parse", "HEAD:deploy"])));
    assert_eq!(source.tree_oid(&head, "b").await.unwrap(), None);
    assert_eq!(source.tree_oid(&head, "nope/x").await.unwrap(), None);
    let next = bed.push(&[("other", "4"), ("deploy/b", "5")]);
    source.fetch().await.unwrap();
    let changes = source.changes(&head, &next).await.unwrap();
    assert_eq!(changes.iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), ["b"]);
    config.path = "nothing-there".into();
    let elsewhere = GitSource::open(config).await.unwrap();
    assert!(elsewhere.list(&next).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn changes_are_found_by_object_names() {
    let bed = Bed::new();
    let one = bed.push(&[("same/x", "1"), ("edit", "1"), ("gone/y", "1"), ("file-then-folder", "1"), ("mode", "1")]);
    std::fs::remove_file(bed.work().join("file-then-folder")).unwrap();
    std::fs::remove_dir_all(bed.work().join("gone")).unwrap();
    std::fs::set_permissions(bed.work().join("mode"), PermissionsExt::from_mode(0o755)).unwrap();
    let two = bed.push(&[("edit", "2"), ("new/z", "1"), ("file-then-folder/in", "1")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let found = source.changes(&one, &two).await.unwrap();
    let seen: Vec<_> = found.iter().map(|c| (c.path.as_str(), c.before.is_some(), c.after.is_some())).collect();
    assert_eq!(
        seen,
        [
            ("edit", true, true),
            ("file-then-folder", true, false),
            ("file-then-folder/in", false, true),
            ("gone/y", true, false),
            ("mode", true, true),
            ("new/z", false, true)
        ]
    );
    assert_eq!(found[4].after.as_ref().unwrap().mode, 0o100_755);
    assert!(source.changes(&two, &two).await.unwrap().is_empty());
}

#[tokio::test]
async fn ten_thousand_files_and_one_change_among_them() {
    let bed = Bed::new();
    for app in 0..1000 {
        let dir = bed.work().join(format!("apps/app-{app}"));
        std::fs::create_dir_all(&dir).unwrap();
        for file in 0..10 {
            std::fs::write(dir.join(format!("f{file}.yaml")), format!("app: {app}\nfile: {file}\n")).unwrap();
        }
    }
    let one = bed.push(&[]);
    let two = bed.push(&[("apps/app-500/f5.yaml", "changed")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let begun = std::time::Instant::now();
    let listing = source.list(&two).await.unwrap();
    let listed = begun.elapsed();
    let oids: Vec<String> = listing.entries.iter().map(|entry| entry.oid.clone()).collect();
    let contents = source.read_many(&oids).await.unwrap();
    let read = begun.elapsed() - listed;
    let changes = source.changes(&one, &two).await.unwrap();
    println!("10,000 files: listed in {listed:?}, read in {read:?}, compared in {:?}", begun.elapsed() - listed - read);
    assert_eq!((listing.entries.len(), contents.len()), (10_000, 10_000));
    assert_eq!(changes.iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), ["apps/app-500/f5.yaml"]);
}

#[tokio::test]
async fn limits_hold_for_files_and_their_number() {
    let bed = Bed::new();
    let head = bed.push(&[("big", &"x".repeat(2000)), ("d/e/f", "1")]);
    let mut config = bed.config();
    config.limits.max_file_bytes = 1000;
    config.limits.max_files = 4;
    config.limits.max_depth = 1;
    config.limits.max_export_bytes = 1000;
    let source = GitSource::open(config.clone()).await.unwrap();
    source.fetch().await.unwrap();
    let listing = source.list(&head).await.unwrap();
    assert_eq!(listing.refused.len(), 1, "{:?}", listing.refused);
    assert!(listing.refused[0].to_string().contains("d/e: more than 1 folders deep"), "{}", listing.refused[0]);
    let big = listing.entries.iter().find(|entry| entry.path == "big").unwrap();
    let error = source.read(&big.oid).await.unwrap_err().to_string();
    assert!(error.contains("2000 bytes") && error.contains("limits.maxFileBytes"), "{error}");
    let root = source.tree_oid(&head, "").await.unwrap().unwrap();
    let into = bed.dir.path().join("out");
    assert!(matches!(source.export_tree(&root, &into).await, Err(SourceError::TooLarge { .. })));
    assert!(!into.exists());
    config.limits.max_files = 2;
    let source = GitSource::open(config).await.unwrap();
    assert!(matches!(source.list(&head).await, Err(SourceError::TooLarge { .. })));
}

#[tokio::test]
async fn an_export_is_complete_repeatable_and_keeps_modes_and_links() {
    let bed = Bed::new();
    std::fs::create_dir_all(bed.work().join("app/bin")).unwrap();
    std::fs::write(bed.work().join("app/bin/run"), "run").unwrap();
    std::fs::set_permissions(bed.work().join("app/bin/run"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("bin/run", bed.work().join("app/start")).unwrap();
    let head = bed.push(&[("app/data/x", "1"), ("outside", "2")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let oid = source.tree_oid(&head, "app").await.unwrap().unwrap();
    let store = bed.dir.path().join("artifacts");
    let into = store.join(&oid);
    source.export_tree(&oid, &into).await.unwrap();
    let mode = |path: &str| std::fs::symlink_metadata(into.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("bin/run"), mode("data/x"), mode("bin")), (0o755, 0o644, 0o755));
    assert_eq!(std::fs::read_to_string(into.join("start")).unwrap(), "run");
    std::fs::write(into.join("data/x"), "marked").unwrap();
    source.export_tree(&oid, &into).await.unwrap();
    assert_eq!(std::fs::read_to_string(into.join("data/x")).unwrap(), "marked", "an existing folder was written again");
    assert_eq!(std::fs::read_dir(&store).unwrap().count(), 1, "something was left beside it");
    let other = store.join("again");
    let (a, b) = tokio::join!(source.export_tree(&oid, &other), source.export_tree(&oid, &other));
    a.and(b).unwrap();
    assert!(source.export_tree(&"0".repeat(40), &store.join("none")).await.is_err());
}

#[tokio::test]
async fn what_a_killed_export_left_is_removed_by_the_next() {
    let bed = Bed::new();
    let head = bed.push(&[("app/x", "1")]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let oid = source.tree_oid(&head, "app").await.unwrap().unwrap();
    // No process has a number above the kernel's highest.
    let abandoned = bed.dir.path().join(format!(".{oid}.partial-4194305-0"));
    std::fs::create_dir(&abandoned).unwrap();
    source.export_tree(&oid, &bed.dir.path().join(&oid)).await.unwrap();
    assert!(!abandoned.exists());
}

#[tokio::test]
async fn the_log_and_short_names() {
    let bed = Bed::new();
    let first = bed.push(&[("a", "1")]);
    bed.git(&["checkout", "-q", "-b", "side"]);
    let side = bed.commit(&[("b", "1")]);
    bed.git(&["checkout", "-q", "main"]);
    bed.commit(&[("c", "1")]);
    bed.git(&["merge", "-q", "--no-ff", "-m", "Merge side\n\nbody", "side"]);
    let merge = bed.push(&[]);
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let merge = source.commit_info(&merge).await.unwrap().parents[0].clone();
    let info = source.commit_info(&merge).await.unwrap();
    assert_eq!(
        (info.author.as_str(), info.email.as_str(), info.subject.as_str()),
        ("Ada", "ada@example.org", "Merge side")
    );
    assert_eq!((info.message.as_str(), info.parents.len()), ("Merge side\n\nbody\n", 2));
    let full = source.log(&merge, 100, Walk::Full).await.unwrap();
    let line = source.log(&merge, 100, Walk::FirstParent).await.unwrap();
    assert_eq!((full.len(), line.len()), (4, 3));
    assert!(full.iter().any(|c| c.revision == side) && line.iter().all(|c| c.revision != side));
    assert_eq!(line.last().unwrap().revision, first);
    assert_eq!(source.log(&merge, 2, Walk::Full).await.unwrap().len(), 2);
    assert_eq!(source.resolve(&first.as_str()[..10]).await.unwrap(), first);
    for bad in ["abc", "main", "HEAD~1", "--help", &"f".repeat(40)] {
        assert!(source.resolve(bad).await.is_err(), "{bad}");
    }
    // A tree is no commit.
    let tree = source.tree_oid(&first, "").await.unwrap().unwrap();
    assert!(source.resolve(&tree).await.is_err());
    assert!(source.read(&tree).await.is_err());
}
