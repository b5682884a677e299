//! Charts of elsewhere: from a real chart repository, from a real registry, and from hosts that mean no good.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use trimtab::adapters::objects::Tools;
use trimtab::adapters::objects::charts::Charts;
use trimtab::adapters::objects::memory::Memory;
use trimtab::adapters::outgoing::Destinations;
use trimtab::domain::objects::ClusterTold;
use trimtab::ports::objects::{Make, ObjectTools as _, Order};
use trimtab::secrets::local::LocalKey;

use super::tools::{CHART, path_with, repository};
use crate::support::{PATIENCE, Running, eventually, free_port, trimtab};

/// A server of files that counts what it is asked.
struct Server {
    address: String,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn file(State((folder, asked)): State<(PathBuf, Arc<AtomicUsize>)>, uri: Uri) -> Response {
    asked.fetch_add(1, Ordering::Relaxed);
    match std::fs::read(folder.join(uri.path().trim_start_matches('/'))) {
        Ok(bytes) => bytes.into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn serve(router: axum::Router) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (address, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

async fn server(folder: &Path) -> Server {
    let asked = Arc::new(AtomicUsize::new(0));
    let router = axum::Router::new().fallback(file).with_state((folder.to_owned(), asked.clone()));
    let (address, task) = serve(router).await;
    Server { address, asked, task }
}

/// Runs a verb where charts are kept in a folder of its own.
async fn run(dir: &Path, cache: &Path, path: &str, verb: &'static str) -> (Option<i32>, String) {
    let mut command = trimtab();
    command.current_dir(dir).arg(verb).env("NO_COLOR", "1").env("PATH", path).env("XDG_CACHE_HOME", cache);
    let out: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (out.status.code(), text)
}

fn helm(path: &str, folder: &Path, args: &[&str]) {
    let out =
        Command::new("helm").current_dir(folder).args(args).env("PATH", path).env("HOME", folder).output().unwrap();
    assert!(out.status.success(), "helm {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A folder with the packed chart `web-1.2.3.tgz`, as helm packs it.
fn packed(path: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in CHART.iter().filter(|(file, _)| file.starts_with("chart/")) {
        let place = dir.path().join(file);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
    }
    std::fs::write(dir.path().join("chart/Chart.yaml"), "apiVersion: v2\nname: web\nversion: 1.2.3\n").unwrap();
    helm(path, dir.path(), &["package", "chart"]);
    dir
}

fn asking(chart: &str) -> tempfile::TempDir {
    repository(&format!("helm: {{ chart: {{ {chart} }}, values: {{ replicas: 4, name: shop }} }}"), &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_of_a_repository_is_fetched_once_and_used_for_good() {
    let Some(path) = path_with("helm") else { return eprintln!("there is no helm here") };
    let (charts, cache) = (packed(&path), tempfile::tempdir().unwrap());
    let server = server(charts.path()).await;
    helm(&path, charts.path(), &["repo", "index", "."]);
    let place = format!("repository: 'http://{}', name: web", server.address);
    let dir = asking(&format!("{place}, version: 1.2.3"));
    let (code, first) = run(dir.path(), cache.path(), &path, "render").await;
    assert!(code == Some(0) && first.contains("kind: Deployment") && first.contains("replicas: 4"), "{first}");
    assert_eq!(server.asked.load(Ordering::Relaxed), 2, "the index and the chart");

    let missing = asking(&format!("{place}, version: 1.2.4"));
    let (code, told) = run(missing.path(), cache.path(), &path, "validate").await;
    assert!(code == Some(2) && told.contains("it has 1.2.3"), "{told}");
    let range = asking(&format!("{place}, version: ^1.2.0"));
    let (code, told) = run(range.path(), cache.path(), &path, "validate").await;
    assert!(code == Some(2) && told.contains("not one version") && told.contains("app.yaml:"), "{told}");

    // Another content under the same version is noticed, wherever it is named.
    let fresh = tempfile::tempdir().unwrap();
    let right = std::fs::read(charts.path().join("web-1.2.3.tgz")).unwrap();
    std::fs::write(charts.path().join("web-1.2.3.tgz"), [right.as_slice(), b"x"].concat()).unwrap();
    let (code, told) = run(dir.path(), fresh.path(), &path, "validate").await;
    assert!(code == Some(2) && told.contains("the index says sha256:"), "{told}");
    let pinned = asking(&format!("{place}, version: 1.2.3, digest: 'sha256:{}'", "0".repeat(64)));
    std::fs::write(charts.path().join("web-1.2.3.tgz"), &right).unwrap();
    let (code, told) = run(pinned.path(), fresh.path(), &path, "validate").await;
    assert!(code == Some(2) && told.contains("is asked for"), "{told}");

    drop(server);
    let (code, again) = run(dir.path(), cache.path(), &path, "render").await;
    assert!(code == Some(0) && again == first, "{again}");
    let (code, told) = run(dir.path(), fresh.path(), &path, "validate").await;
    assert!(code == Some(2) && told.contains("can't be fetched"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_of_a_registry_is_fetched_by_version_and_by_digest() {
    let Some(path) = path_with("helm") else { return eprintln!("there is no helm here") };
    if !Path::new("/usr/bin/docker-registry").exists() {
        return eprintln!("skipped: no docker-registry (tests/run installs it, as root)");
    }
    let (charts, cache) = (packed(&path), tempfile::tempdir().unwrap());
    let port = free_port();
    let config = format!(
        "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: '127.0.0.1:{port}' }}\n",
        charts.path().join("registry").display()
    );
    std::fs::write(charts.path().join("registry.yaml"), config).unwrap();
    let _registry =
        Running::spawn(Command::new("/usr/bin/docker-registry").arg("serve").arg(charts.path().join("registry.yaml")));
    eventually(PATIENCE, "the registry listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
    });
    let host = format!("oci://127.0.0.1:{port}/charts");
    helm(&path, charts.path(), &["push", "web-1.2.3.tgz", &host, "--plain-http"]);
    let dir = asking(&format!("oci: '{host}/web', version: 1.2.3"));
    let (code, told) = run(dir.path(), cache.path(), &path, "render").await;
    assert!(code == Some(0) && told.contains("replicas: 4"), "{told}");

    let client = reqwest::Client::new();
    let manifest = client.get(format!("http://127.0.0.1:{port}/v2/charts/web/manifests/1.2.3"));
    let manifest = manifest.header("Accept", "application/vnd.oci.image.manifest.v1+json").send().await.unwrap();
    let digest = hex::encode(Sha256::digest(manifest.bytes().await.unwrap()));
    let by_digest = asking(&format!("oci: '{host}/web', digest: 'sha256:{digest}'"));
    let (code, told) = run(by_digest.path(), cache.path(), &path, "render").await;
    assert!(code == Some(0) && told.contains("replicas: 4"), "{told}");
    let missing = asking(&format!("oci: '{host}/web', version: 9.9.9"));
    let (code, told) = run(missing.path(), cache.path(), &path, "validate").await;
    assert!(code == Some(2) && told.contains("404"), "{told}");
}

/// A repository with one packed chart of these bytes.
fn hostile(bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let digest = hex::encode(Sha256::digest(bytes));
    let index = format!(
        "apiVersion: v1\nentries:\n  web:\n  - name: web\n    version: 1.2.3\n    digest: {digest}\n    urls: [web.tgz]\n"
    );
    std::fs::write(dir.path().join("index.yaml"), index).unwrap();
    std::fs::write(dir.path().join("web.tgz"), bytes).unwrap();
    dir
}

fn archive(entries: &[(&str, u64)]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    {
        let mut builder = tar::Builder::new(&mut gzip);
        for (path, size) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(*size);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, std::io::Read::take(std::io::repeat(b'a'), *size)).unwrap();
        }
        builder.finish().unwrap();
    }
    gzip.flush().unwrap();
    gzip.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_24_a_chart_that_is_a_bomb_is_capped_and_leaves_nothing() {
    let bomb = archive(&[("web/Chart.yaml", 10), ("web/templates/a.yaml", 64 << 20)]);
    assert!(bomb.len() < 1 << 20);
    let many: Vec<String> = (0..2_500).map(|index| format!("web/{index}")).collect();
    let many = archive(&many.iter().map(|path| (path.as_str(), 0)).collect::<Vec<_>>());
    for (bytes, word) in [
        (bomb, "more than 33554432 bytes"),
        (many, "more than 2000 files"),
        (vec![0; 20 << 20], "more than 16777216 bytes"),
    ] {
        let charts = hostile(&bytes);
        let (server, cache) = (server(charts.path()).await, tempfile::tempdir().unwrap());
        let dir = asking(&format!("repository: 'http://{}', name: web, version: 1.2.3", server.address));
        let path = std::env::var("PATH").unwrap();
        let (code, told) = run(dir.path(), cache.path(), &path, "validate").await;
        assert!(code == Some(2) && told.contains(word), "{word}: {told}");
        let left = walk(cache.path());
        assert!(left.is_empty(), "{left:?}");
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// A registry that wants a token, and gives one for a password alone.
async fn guarded(State(chart): State<Arc<Vec<u8>>>, headers: HeaderMap, uri: Uri) -> Response {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if uri.path() == "/token" {
        // ci:hunter2
        return match authorization == "Basic Y2k6aHVudGVyMg=="
            && uri.query() == Some("service=r&scope=repository%3Aweb%3Apull")
        {
            true => r#"{"token":"good"}"#.into_response(),
            false => StatusCode::UNAUTHORIZED.into_response(),
        };
    }
    if authorization != "Bearer good" {
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"r\",scope=\"repository:web:pull\"");
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response();
    }
    let digest = hex::encode(Sha256::digest(chart.as_slice()));
    match uri.path() {
        "/v2/web/manifests/1.2.3" => {
            let kind = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
            format!(r#"{{"layers":[{{"mediaType":"{kind}","digest":"sha256:{digest}"}}]}}"#).into_response()
        }
        path if path == format!("/v2/web/blobs/sha256:{digest}") => chart.to_vec().into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_a_password_gets_the_operators() {
    use trimtab::adapters::objects::charts::{Charts, Host};
    use trimtab::adapters::outgoing::Destinations;
    use trimtab::domain::objects::chart::{ChartPlace, RemoteChart};
    let chart = Arc::new(archive(&[("web/Chart.yaml", 10)]));
    let (address, task) = serve(axum::Router::new().fallback(guarded).with_state(chart)).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("password"), "hunter2\n").unwrap();
    let charts = |host: Host| {
        let hosts = [(address.clone(), host)].into();
        Charts::new(dir.path().join("charts"), Destinations::default(), hosts)
    };
    let place = ChartPlace::Oci { host: address.clone(), path: "web".into() };
    let wanted = RemoteChart { place, version: Some("1.2.3".into()), digest: None };
    let error = charts(Host::default()).files(&wanted).await.unwrap_err().to_string();
    assert!(error.contains("401"), "{error}");
    let host = Host { user: Some("ci".into()), password_file: Some(dir.path().join("password")), ..Host::default() };
    let files = charts(host).files(&wanted).await.unwrap();
    assert_eq!(files, [("Chart.yaml".to_owned(), b"aaaaaaaaaa".to_vec())]);
    task.abort();
    // What was fetched is used, whoever asks later.
    assert_eq!(charts(Host::default()).files(&wanted).await.unwrap(), files);
}

#[tokio::test]
async fn what_a_chart_makes_up_is_the_same_after_a_restart() {
    let Some(path) = path_with("helm") else { return eprintln!("there is no helm here") };
    let helm = std::env::split_paths(&path).map(|folder| folder.join("helm")).find(|helm| helm.is_file()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let order = |values: &str| Order {
        files: vec![
            ("c/Chart.yaml".into(), "apiVersion: v2\nname: c\nversion: 1.0.0\n".into()),
            ("c/templates/a.yaml".into(), "word: {{ randAlphaNum 24 }}\n".into()),
        ],
        make: Make::Helm {
            chart: "c".into(),
            release: "web".into(),
            namespace: "shop".into(),
            values: values.into(),
            files: Vec::new(),
            skip_hooks: false,
            cluster: ClusterTold::default(),
        },
    };
    let started = |remembers: bool| {
        let charts = Charts::new(dir.path().join("charts"), Destinations::default(), BTreeMap::new());
        let tools = Tools::new(charts, BTreeMap::from([("helm", helm.clone())]));
        let key = Arc::new(LocalKey::new(dir.path().join("key")));
        if remembers { tools.remembering(Memory::new(dir.path().join("made"), key)) } else { tools }
    };
    let first = started(true).make(order("{}")).await.unwrap();
    assert_eq!(started(true).make(order("{}")).await.unwrap(), first);
    assert_ne!(started(true).make(order("{\"a\":1}")).await.unwrap(), first);
    assert_ne!(started(false).make(order("{}")).await.unwrap(), first);
}
