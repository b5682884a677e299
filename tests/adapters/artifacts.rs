//! Artifacts: fetched once, proven, unpacked without harm, readable, removed when nobody needs them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};
use trimtab::adapters::artifacts::{ArtifactLimits, ArtifactStore};
use trimtab::adapters::source::git::{GitConfig, GitSource};
use trimtab::domain::workload::ArtifactRef;
use trimtab::ports::artifacts::{ArtifactError, Artifacts};
use trimtab::ports::source::Source;

struct Bench {
    folder: tempfile::TempDir,
    source: Arc<GitSource>,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        let git = |arguments: &[&str]| {
            let status = Command::new("git")
                .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
                .args(arguments)
                .current_dir(&repo)
                .status();
            assert!(status.unwrap().success(), "git {arguments:?}");
        };
        fs::create_dir_all(repo.join("app/bin")).unwrap();
        git(&["init", "-q", "-b", "main"]);
        fs::write(repo.join("app/bin/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(repo.join("app/bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(repo.join("app/data"), "data").unwrap();
        git(&["add", "."]);
        git(&["commit", "-qm", "one"]);
        let config = GitConfig::new(repo.to_str().unwrap(), "main", folder.path().join("mirror"));
        let source = Arc::new(GitSource::open(config).await.unwrap());
        Bench { folder, source }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("artifacts")
    }

    fn store(&self, limits: ArtifactLimits) -> ArtifactStore {
        ArtifactStore::open(self.root(), self.source.clone(), limits).unwrap()
    }

    /// A file on disk as an artifact.
    fn file(&self, name: &str, bytes: &[u8]) -> ArtifactRef {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        url(&format!("file://{}", path.display()), bytes)
    }

    /// What the store's folder holds.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(self.root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn url(url: &str, content: &[u8]) -> ArtifactRef {
    ArtifactRef::Url { url: url.to_owned(), sha256: hex::encode(Sha256::digest(content)) }
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// An archive of raw entries: whatever names and targets are given, no library checks them.
fn archive(entries: &[(&str, EntryType, &str, u32)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, content, mode) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        let fields = header.as_gnu_mut().unwrap();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        let is_file = *kind == EntryType::Regular;
        if !is_file {
            fields.linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_size(if is_file { content.len() as u64 } else { 0 });
        header.set_cksum();
        builder.append(&header, if is_file { content.as_bytes() } else { &[] }).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_tree_of_the_repository_is_put_there_with_its_modes() {
    let bench = Bench::new().await;
    let head = bench.source.fetch().await.unwrap();
    let oid = bench.source.tree_oid(&head.revision, "app").await.unwrap().unwrap();
    let store = bench.store(ArtifactLimits::default());
    let tree = ArtifactRef::Tree { oid: oid.clone() };
    let folder = store.ensure(&tree).await.unwrap();
    assert_eq!(folder, bench.root().join(format!("tree-{oid}")));
    assert_eq!(fs::read_to_string(folder.join("data")).unwrap(), "data");
    assert_eq!((mode(&folder), mode(folder.join("bin/run")), mode(folder.join("data"))), (0o755, 0o755, 0o644));
    assert_eq!(store.ensure(&tree).await.unwrap(), folder);

    for oid in ["../../etc", "abc", &"g".repeat(40)] {
        let error = store.ensure(&ArtifactRef::Tree { oid: oid.to_owned() }).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Unusable { .. }), "{error}");
    }
    let unknown = store.ensure(&ArtifactRef::Tree { oid: "0".repeat(40) }).await.unwrap_err();
    assert!(matches!(unknown, ArtifactError::Unreachable { .. }), "{unknown}");
}

#[tokio::test]
async fn a_plain_file_becomes_a_program() {
    let bench = Bench::new().await;
    let store = bench.store(ArtifactLimits::default());
    let folder = store.ensure(&bench.file("tool-1.2", b"#!/bin/sh\n")).await.unwrap();
    assert_eq!(fs::read(folder.join("tool-1.2")).unwrap(), b"#!/bin/sh\n");
    assert_eq!(mode(folder.join("tool-1.2")), 0o755);
    assert_eq!(bench.names().len(), 1, "{:?}", bench.names());
}

#[tokio::test]
async fn archives_are_unpacked_with_links_and_modes() {
    let bench = Bench::new().await;
    let store = bench.store(ArtifactLimits::default());
    let content = archive(&[
        ("./", EntryType::Directory, "", 0o700),
        ("./bin/", EntryType::Directory, "", 0o700),
        ("./bin/run", EntryType::Regular, "program", 0o4711),
        ("lib/deep/data", EntryType::Regular, "data", 0o600),
        ("lib/up", EntryType::Symlink, "../bin/run", 0o777),
        ("current", EntryType::Symlink, "lib/deep", 0o777),
        ("copy", EntryType::Link, "bin/run", 0o755),
        ("lib/deep/data", EntryType::Regular, "newer", 0o600),
    ]);
    for artifact in [
        bench.file("app.tar", &content),
        bench.file("app.tar.gz", &gzip(&content)),
        bench.file("b.tgz", &gzip(&content)),
    ] {
        let folder = store.ensure(&artifact).await.unwrap();
        assert_eq!(fs::read_to_string(folder.join("lib/up")).unwrap(), "program");
        assert_eq!(fs::read_to_string(folder.join("current/data")).unwrap(), "newer");
        assert_eq!(fs::read_to_string(folder.join("copy")).unwrap(), "program");
        let modes = ["bin", "bin/run", "copy", "lib/deep", "lib/deep/data"].map(|path| mode(folder.join(path)));
        assert_eq!(modes, [0o755, 0o755, 0o755, 0o755, 0o644]);
    }
    // The two compressed ones have the same content.
    assert_eq!(bench.names().len(), 2, "{:?}", bench.names());
}

#[tokio::test]
async fn an_archive_can_not_reach_outside_or_grow_without_limit() {
    use EntryType::{Block, Fifo, Link, Regular, Symlink};
    let bench = Bench::new().await;
    let outside = bench.folder.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let store = bench.store(ArtifactLimits { download: 1 << 20, unpacked: 10_000, entries: 20 });
    let large = "x".repeat(6_000);
    let absolute = outside.to_str().unwrap();
    type Entry<'a> = (&'a str, EntryType, &'a str, u32);
    let cases: Vec<(&str, Vec<Entry<'_>>, &str)> = vec![
        ("parent", vec![("../outside", Regular, "x", 0o644)], "leaves the archive"),
        ("inner-parent", vec![("a/../../outside", Regular, "x", 0o644)], "leaves the archive"),
        ("absolute", vec![("/tmp/outside", Regular, "x", 0o644)], "leaves the archive"),
        ("link-up", vec![("a", Symlink, "..", 0o777)], "links out"),
        ("link-absolute", vec![("a", Symlink, absolute, 0o777)], "links out"),
        ("link-dots-later", vec![("y", Symlink, ".", 0o777), ("l", Symlink, "y/..", 0o777)], "links out"),
        ("through-link", vec![("d", Symlink, "e", 0o777), ("d/file", Regular, "x", 0o644)], "came before"),
        ("folder-on-link", vec![("d/x", Regular, "", 0o644), ("d", Symlink, "x", 0o777)], "came before"),
        ("hard-link-out", vec![("h", Link, "../outside", 0o644)], "no file of the archive"),
        ("hard-link-link", vec![("s", Symlink, "x", 0o777), ("h", Link, "s", 0o644)], "no file of the archive"),
        ("device", vec![("dev", Block, "", 0o644)], "neither a file"),
        ("fifo", vec![("pipe", Fifo, "", 0o644)], "neither a file"),
        ("large", vec![("a", Regular, &large, 0o644), ("b", Regular, &large, 0o644)], "larger than"),
        ("hard-link-growth", vec![("a", Regular, &large, 0o644), ("b", Link, "a", 0o644)], "larger than"),
        ("many", vec![("a", Regular, "", 0o644); 21], "more than 20 entries"),
        ("empty", vec![], "empty"),
    ];
    for (name, entries, word) in cases {
        let error = store.ensure(&bench.file(&format!("{name}.tar"), &archive(&entries))).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Unusable { .. }), "{name}: {error}");
        assert!(error.to_string().contains(word), "{name}: {error}");
    }
    let bomb = gzip(&vec![0; 900_000]);
    let cut = &gzip(&archive(&[("a", Regular, "content", 0o644)]))[..40];
    for (name, content) in
        [("bomb.tgz", &bomb[..]), ("cut.tgz", cut), ("none.tgz", b"no archive"), ("none.tar", &[7; 2000])]
    {
        let error = store.ensure(&bench.file(name, content)).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Unusable { .. }), "{name}: {error}");
    }
    assert_eq!(fs::read_to_string(outside).unwrap(), "untouched");
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[tokio::test]
async fn what_has_another_sum_is_not_kept() {
    let bench = Bench::new().await;
    let store = bench.store(ArtifactLimits::default());
    let ArtifactRef::Url { url, .. } = bench.file("tool", b"tampered") else { unreachable!() };
    let wrong = ArtifactRef::Url { url, sha256: hex::encode(Sha256::digest(b"original")) };
    match store.ensure(&wrong).await.unwrap_err() {
        ArtifactError::Mismatch { found, .. } => assert_eq!(found, hex::encode(Sha256::digest(b"tampered"))),
        other => panic!("{other}"),
    }
    assert!(bench.names().is_empty(), "{:?}", bench.names());
}

#[tokio::test]
async fn urls_that_could_be_tampered_with_or_named_badly_are_refused() {
    let bench = Bench::new().await;
    let store = bench.store(ArtifactLimits::default());
    for (bad, word) in [
        ("http://example.com/tool", "https://"),
        ("ftp://example.com/tool", "not fetched from"),
        ("https://example.com/", "program's name"),
        ("https://example.com/.hidden", "program's name"),
        ("https://example.com/a%2f..%2fb", "program's name"),
        ("no url", "relative URL"),
    ] {
        let error = store.ensure(&url(bad, b"")).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Unusable { .. }) && error.to_string().contains(word), "{bad}: {error}");
    }
    let error = store.ensure(&ArtifactRef::Url { url: "https://example.com/a".into(), sha256: "12".into() }).await;
    assert!(error.unwrap_err().to_string().contains("64 hexadecimal"));
}

/// Serves on a free port of this machine until the runtime ends.
async fn serve(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_callers_fetch_once() {
    let bench = Bench::new().await;
    let store = Arc::new(bench.store(ArtifactLimits::default()));
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let base = serve(Router::new().route(
        "/tool",
        get(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async { "content" }
        }),
    ))
    .await;
    let artifact = url(&format!("{base}/tool?token=secret"), b"content");
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (store, artifact) = (store.clone(), artifact.clone());
            tokio::spawn(async move { store.ensure(&artifact).await.unwrap() })
        })
        .collect();
    for caller in callers {
        assert_eq!(fs::read(caller.await.unwrap().join("tool")).unwrap(), b"content");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_can_not_be_fetched_says_why_and_leaves_nothing() {
    let bench = Bench::new().await;
    let store = bench.store(ArtifactLimits { download: 1000, ..ArtifactLimits::default() });
    let base = serve(
        Router::new()
            .route("/gone", get(|| async { StatusCode::NOT_FOUND }))
            .route("/large", get(|| async { "x".repeat(1001) }))
            .route("/file", get(|| async { Redirect::temporary("file:///etc/passwd") }))
            .route("/plain", get(|| async { Redirect::temporary("http://192.0.2.1/tool") }))
            .route("/loop", get(|| async { Redirect::temporary("/loop") }))
            .route("/moved", get(|| async { Redirect::temporary("/here") }))
            .route("/here", get(|| async { "found" })),
    )
    .await;
    for (path, word) in [
        ("gone", "404"),
        ("large", "larger than the 1000 bytes"),
        ("file", "307"),
        ("plain", "for this machine only"),
        ("loop", "too many redirects"),
    ] {
        let error = store.ensure(&url(&format!("{base}/{path}?token=secret"), b"")).await.unwrap_err();
        assert!(error.to_string().contains(word), "{path}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let error = store.ensure(&url("http://127.0.0.1:1/tool?token=secret", b"")).await.unwrap_err();
    assert!(matches!(error, ArtifactError::Unreachable { .. }) && !error.to_string().contains("secret"), "{error}");
    assert!(bench.names().is_empty(), "{:?}", bench.names());
    store.ensure(&url(&format!("{base}/moved"), b"found")).await.unwrap();
}

#[tokio::test]
async fn what_is_not_in_use_goes_and_what_a_killed_daemon_left_too() {
    let bench = Bench::new().await;
    let store = bench.store(ArtifactLimits::default());
    let (kept, gone) = (bench.file("kept", b"1"), bench.file("gone", b"2"));
    let folder = store.ensure(&kept).await.unwrap();
    store.ensure(&gone).await.unwrap();
    fs::write(bench.root().join("notes"), "not ours").unwrap();
    store.keep_only(std::slice::from_ref(&kept)).await.unwrap();
    assert_eq!(bench.names(), ["notes", folder.file_name().unwrap().to_str().unwrap()]);
    store.ensure(&gone).await.unwrap();

    fs::create_dir_all(bench.root().join(".scratch-1/files")).unwrap();
    drop(store);
    bench.store(ArtifactLimits::default());
    assert_eq!(bench.names().len(), 3, "{:?}", bench.names());
}
