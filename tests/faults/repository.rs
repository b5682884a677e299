//! Repositories that mean harm: crafted with plumbing, because porcelain would not make them.

use trimtab::adapters::source::git::GitSource;
use trimtab::ports::source::{ChangedPath, FileId, Source, SourceError};

use crate::git::bed::Bed;

#[tokio::test]
async fn fault_13_a_shallow_remote_is_named_as_the_cause() {
    let bed = Bed::new();
    bed.push(&[("a", "1")]);
    bed.push(&[("a", "2")]);
    let url = format!("file://{}", bed.remote().display());
    bed.git_in(bed.dir.path(), &["clone", "-q", "--bare", "--depth", "1", &url, "shallow.git"]);
    let mut config = bed.config();
    config.url = bed.dir.path().join("shallow.git").to_str().unwrap().into();
    let error = GitSource::open(config).await.unwrap().fetch().await.unwrap_err().to_string();
    assert!(error.contains("shallow"), "{error}");
}

#[tokio::test]
async fn fault_14_more_than_the_cap_is_refused_and_leaves_nothing() {
    let bed = Bed::new();
    let noise: String = (0..200_000u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let first = bed.push(&[("small", "1")]);
    let mut config = bed.config();
    config.limits.max_fetch_bytes = 100_000;
    let source = GitSource::open(config).await.unwrap();
    source.fetch().await.unwrap();
    bed.push(&[("big", &noise)]);
    let error = source.fetch().await.unwrap_err();
    assert!(matches!(error, SourceError::TooLarge { .. }), "{error}");
    assert_eq!(source.head().await.unwrap(), Some(first));
    let pack = bed.mirror().join("objects/pack");
    let left: Vec<_> = std::fs::read_dir(pack).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("tmp")), "{left:?}");
}

#[tokio::test]
async fn fault_15_everything_that_leaves_the_tree_is_refused_by_name_and_the_rest_is_listed() {
    let bed = Bed::new();
    let file = bed.blob(b"content");
    let link = |target: &str| bed.blob(target.as_bytes());
    let (up, absolute, round, inside) = (link("../../etc"), link("/etc/passwd"), link("d/../../x"), link("d"));
    let git_link = link("d/.git/config");
    let long = vec![b'a'; 300];
    let inner = bed.raw_tree(&[("120000", b"up", &up), ("100644", b"z", &file)]);
    let dot_git = bed.raw_tree(&[("100644", b"config", &file)]);
    let module = "1234567890123456789012345678901234567890";
    let entries: Vec<(&str, &[u8], &str)> = vec![
        ("100644", b"..", &file),
        ("40000", b".GIT", &dot_git),
        ("40000", b".git", &dot_git),
        ("100644", b"a/../../b", &file),
        ("120000", b"absolute", &absolute),
        ("100644", b"bell\x07", &file),
        ("100644", b"bytes\xff", &file),
        ("100644", b"cr\r", &file),
        ("40000", b"d", &inner),
        ("120000", b"git-link", &git_link),
        ("100644", b"good", &file),
        ("120000", b"inside", &inside),
        ("100644", &long, &file),
        ("160000", b"module", module),
        ("120000", b"round", &round),
        ("100644", b"twice", &file),
        ("120000", b"twice", &absolute),
    ];
    let head = bed.publish(&bed.raw_tree(&entries));
    let source = bed.source().await;
    source.fetch().await.unwrap();
    let listing = source.list(&head).await.unwrap();
    assert_eq!(listing.entries.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["d/z", "good", "inside", "twice"]);
    assert!(!listing.is_complete());
    let refused: Vec<String> = listing.refused.iter().map(ToString::to_string).collect();
    for (path, word) in [
        ("..", "unsafe name"),
        (".GIT", "Git's own folder"),
        (".git", "Git's own folder"),
        ("a/../../b", "unsafe name"),
        ("absolute", "/etc/passwd"),
        ("bell\\u{7}", "control"),
        ("bytes\\u{fffd}", "UTF-8"),
        ("cr\\r", "control"),
        ("d/up", "leaves the folder"),
        ("git-link", "leaves the folder"),
        ("module", "submodule"),
        ("round", "leaves the folder"),
        ("twice", "twice"),
    ] {
        let found = refused.iter().any(|line| line.starts_with(&format!("{path}: ")) && line.contains(word));
        assert!(found, "{path} ({word}) in {refused:#?}");
    }
    assert!(refused.iter().any(|line| line.contains("255 bytes")), "{refused:#?}");

    let changes = source.changes(&head, &head).await.unwrap();
    assert!(changes.is_empty());
    // Whoever reads only what was changed is told as well.
    let good = ("100644", b"good".as_slice(), file.as_str());
    let before = bed.publish(&bed.raw_tree(&[good]));
    source.fetch().await.unwrap();
    let other = bed.blob(b"other");
    for entries in [
        vec![("40000", b"..".as_slice(), dot_git.as_str()), good],
        vec![("40000", b".git", &dot_git), good],
        vec![("100644", b"a/b", &file), good],
        vec![("100644", b"good", &other), good],
        vec![good, ("100644", b"good", &other)],
    ] {
        let after = bed.publish(&bed.raw_tree(&entries));
        source.fetch().await.unwrap();
        assert!(!source.list(&after).await.unwrap().is_complete(), "{entries:?}");
        let changes = source.changes(&before, &after).await.unwrap();
        let refused = |change: &ChangedPath| change.after.as_ref().is_some_and(|file| file.mode == FileId::REFUSED);
        assert!(changes.iter().any(refused), "{entries:?}: {changes:?}");
    }
    let next = bed.publish(&bed.raw_tree(&entries[9..]));
    source.fetch().await.unwrap();
    let changes = source.changes(&head, &next).await.unwrap();
    assert!(changes.iter().any(|change| change.path == "d/up"), "{changes:?}");
}

#[tokio::test]
async fn fault_15_an_export_refuses_what_a_listing_refuses_and_writes_nothing_outside() {
    let bed = Bed::new();
    let file = bed.blob(b"pwned");
    let out = bed.blob(b"../../outside");
    let here = bed.blob(b"..");
    let escape = bed.raw_tree(&[("100644", b"file", &file)]);
    let source = bed.source().await;
    let crafted: Vec<Vec<(&str, &[u8], &str)>> = vec![
        vec![("120000", b"l", &out)],
        vec![("120000", b"l", &here)],
        vec![("160000", b"m", "1234567890123456789012345678901234567890")],
        vec![("40000", b".git", &escape)],
        vec![("100644", b"../up", &file)],
        vec![("100644", b"..", &file)],
        vec![("40000", b"..", &escape)],
    ];
    for entries in crafted {
        let head = bed.publish(&bed.raw_tree(&[("40000", b"app", &bed.raw_tree(&entries))]));
        source.fetch().await.unwrap();
        let oid = source.tree_oid(&head, "app").await.unwrap().unwrap();
        let into = bed.dir.path().join("store/deep").join(&oid);
        let error = source.export_tree(&oid, &into).await.unwrap_err();
        assert!(matches!(error, SourceError::Refused(_)), "{entries:?}: {error}");
        assert!(!into.exists());
    }
    assert_eq!(std::fs::read_dir(bed.dir.path().join("store/deep")).unwrap().count(), 0);

    // A link and a folder of one name: a file must not be written through the link.
    let target = bed.dir.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let link = bed.blob(b"other");
    let both = bed.raw_tree(&[("120000", b"a", &link), ("40000", b"a", &escape)]);
    let head = bed.publish(&bed.raw_tree(&[("40000", b"app", &both)]));
    source.fetch().await.unwrap();
    let oid = source.tree_oid(&head, "app").await.unwrap().unwrap();
    let into = bed.dir.path().join("store/both");
    source.export_tree(&oid, &into).await.unwrap_err();
    assert!(!into.exists());
}

#[tokio::test]
async fn fault_16_a_submodule_is_never_followed() {
    let bed = Bed::new();
    let mark = bed.dir.path().join("mark");
    let file = bed.blob(b"content");
    let module = "1234567890123456789012345678901234567890";
    let touch = format!("touch% {}", mark.display());
    for (url, path) in [
        (format!("ext::sh -c {touch}"), "module"),
        (format!("file://{}", bed.remote().display()), "module"),
        (format!("--upload-pack={touch}"), "module"),
        ("-u./payload".to_owned(), "module"),
        ("../remote.git".to_owned(), "module\r"),
        ("../remote.git".to_owned(), "-u./payload"),
    ] {
        let modules = format!("[submodule \"x\"]\n\tpath = {path}\n\turl = {url}\n\tupdate = !{touch}\n");
        let modules = bed.blob(modules.as_bytes());
        let app = bed.raw_tree(&[("100644", b".gitmodules", &modules), ("160000", path.as_bytes(), module)]);
        let entries: [(&str, &[u8], &str); 4] = [
            ("100644", b".gitmodules", &modules),
            ("40000", b"app", &app),
            ("100644", b"good", &file),
            ("160000", path.as_bytes(), module),
        ];
        let head = bed.publish(&bed.raw_tree(&entries));
        let source = bed.source().await;
        source.fetch().await.unwrap();
        let listing = source.list(&head).await.unwrap();
        assert!(listing.entries.iter().any(|entry| entry.path == "good"), "the rest is listed");
        assert!(!listing.is_complete() && !listing.entries.iter().any(|entry| entry.path.ends_with(path)));
        let oid = source.tree_oid(&head, "app").await.unwrap().unwrap();
        let into = bed.dir.path().join("export");
        source.export_tree(&oid, &into).await.unwrap_err();
        assert!(!into.exists() && !mark.exists(), "{url} at {path:?} was followed");
        assert!(!bed.mirror().join("modules").exists());
    }
}

#[tokio::test]
async fn fault_17_hooks_configuration_and_attributes_of_the_repository_run_nothing() {
    let bed = Bed::new();
    let mark = bed.dir.path().join("mark");
    let script = format!("#!/bin/sh\ntouch {}\n", mark.display());
    let config = format!(
        "[core]\n\tfsmonitor = touch {0}\n\tsshCommand = touch {0}\n[filter \"x\"]\n\tsmudge = touch {0}\n",
        mark.display()
    );
    let modules = format!(
        "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% {}\n\tupdate = !touch {}\n",
        mark.display(),
        mark.display()
    );
    bed.push(&[
        (".gitattributes", "* filter=x\n"),
        (".gitmodules", &modules),
        (".gitconfig", &config),
        ("hooks/post-checkout", &script),
        ("app/hooks/reference-transaction", &script),
        ("app/x", "1"),
    ]);
    // Also what an intruder in the mirror's own folders would leave: hooks are off on this side.
    let source = bed.source().await;
    let hooks = bed.mirror().join("hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    for hook in ["reference-transaction", "post-checkout", "pre-push", "post-rewrite", "pre-auto-gc"] {
        let path = hooks.join(hook);
        std::fs::write(&path, &script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let head = source.fetch().await.unwrap().revision;
    let oid = source.tree_oid(&head, "app").await.unwrap().unwrap();
    source.export_tree(&oid, &bed.dir.path().join("out")).await.unwrap();
    source.push(&head, "copy", None).await.unwrap();
    assert!(!mark.exists(), "something from the repository ran");
}

#[test]
fn fault_18_a_base_outside_of_the_repository_is_refused_with_its_place() {
    for path in [
        "../secrets",
        "a/../../b",
        "/../etc",
        "./../../etc/passwd",
        "https://example.org/base",
        "git::https://example.org/base",
        "ssh://git@example.org/base",
        "git@example.org:base",
    ] {
        let app = crate::manifest::app(&format!(
            "  workload: {{ process: {{ command: [a], artifact: {{ path: '{path}' }} }} }}\n"
        ));
        let release = crate::manifest::release("{ version: 1 }");
        let files = [("env.yaml", crate::manifest::STAGING), ("app.yaml", &app), ("release.yaml", &release)];
        let found = crate::manifest::problems(&files);
        let told = found.iter().find(|problem| problem.file == "app.yaml" && problem.line == 5);
        assert!(told.is_some(), "{path} was taken: {found:?}");
    }
}
