//! Objects that kustomize and helm make, through a change and what it leaves behind.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};
use trimtab::api::types::UnitStatus;

use super::cluster::Namespace;
use super::documents::{UNIT, app, release};
use super::installation::{Installation, tells};
use crate::e2e::remotes::https;

fn of(installation: &Installation) -> Vec<String> {
    let all = installation.namespace.must(&["get", "configmaps", "--output", "name"]);
    let own = all.lines().map(|line| line.trim_start_matches("configmap/").to_owned());
    own.filter(|name| !name.starts_with("kube-root") && !name.starts_with("trimtab-")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kustomization_is_built_applied_and_what_it_no_longer_makes_goes() {
    let kustomization = |word: &str| {
        format!(
            "namePrefix: eu-\nresources: [../base]\nconfigMapGenerator: [{{ name: settings, literals: [word={word}] }}]\n"
        )
    };
    let base = "resources: [plain.yaml]\n";
    let plain = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: plain }\ndata: { word: plain }\n";
    let files = [
        ("deploy/kustomization.yaml", &*kustomization("one")),
        ("base/kustomization.yaml", base),
        ("base/plain.yaml", plain),
    ];
    let Some(installation) = Installation::start(&files) else { return };
    installation.verified(UNIT, "1").await;
    let before = of(&installation);
    assert!(before.len() == 2 && before.iter().all(|name| name.starts_with("eu-")), "{before:?}");
    installation
        .push("second", &[("deploy/kustomization.yaml", &kustomization("two")), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    let after = of(&installation);
    assert!(after.len() == 2 && after.contains(&"eu-plain".into()) && after != before, "{before:?}, then {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_is_filled_in_and_applied() {
    let Some(namespace) = Namespace::new() else { return };
    let chart = "helm: { chart: chart, values: { word: 'w{{ version }}' } }";
    let app = app("").replace("path: deploy", chart);
    let settings = "{{- if .Values.more }}\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: more }\n{{- end }}\n---\napiVersion: v1\nkind: ConfigMap\n\
                    metadata: { name: {{ .Release.Name }}-settings }\ndata: { word: {{ .Values.word }} }\n";
    let files = [
        ("app.yaml", &*app),
        ("chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
        ("chart/values.yaml", "more: true\nword: none\n"),
        ("chart/templates/settings.yaml", settings),
    ];
    let installation = Installation::of("", &files, namespace);
    installation.verified(UNIT, "1").await;
    let word = || installation.namespace.object("configmap/web-settings")["data"]["word"].clone();
    assert_eq!((of(&installation), word()), (vec!["more".into(), "web-settings".into()], "w1".into()));
    installation.push("second", &[("chart/values.yaml", "more: false\nword: none\n"), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    assert_eq!((of(&installation), word()), (vec!["web-settings".into()], "w2".into()));
}

/// A packed chart of one ConfigMap that tells its version.
fn packed(version: &str) -> Vec<u8> {
    let files = [
        ("web/Chart.yaml", format!("apiVersion: v2\nname: web\nversion: {version}\n")),
        ("web/templates/settings.yaml", super::documents::config("settings", "v{{ .Chart.Version }}")),
    ];
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let mut packed = archive.into_inner().unwrap();
    packed.flush().unwrap();
    packed.finish().unwrap()
}

/// A chart repository with two versions; away until it is told to be there.
async fn charts(State(there): State<Arc<AtomicBool>>, uri: Uri) -> Response {
    if !there.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let versions = ["1.2.3", "1.2.4"];
    if let Some(version) = versions.iter().find(|version| uri.path() == format!("/{version}.tgz")) {
        return packed(version).into_response();
    }
    let entry = |version: &&str| {
        let digest = hex::encode(Sha256::digest(packed(version)));
        format!("  - {{ name: web, version: {version}, digest: {digest}, urls: [{version}.tgz] }}\n")
    };
    format!("apiVersion: v1\nentries:\n  web:\n{}", versions.iter().map(entry).collect::<String>()).into_response()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_comes_from_a_repository_with_an_authority_of_its_own_as_soon_as_that_is_there() {
    let Some(namespace) = Namespace::new() else { return };
    let there = Arc::new(AtomicBool::new(true));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inner = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(charts).with_state(there.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let (origin, certificate) = https(inner).await;
    let trusted = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(trusted.path(), certificate).unwrap();
    let host = origin.trim_start_matches("https://");
    let settings = format!("[charts.\"{host}\"]\nca_file = '{}'\n", trusted.path().display());
    let app_of = |version: &str| {
        let chart = format!("helm: {{ chart: {{ repository: '{origin}', name: web, version: {version} }} }}");
        app("").replace("path: deploy", &chart)
    };
    let installation = Installation::configured(&settings, &[("app.yaml", &app_of("1.2.3"))], namespace);
    installation.verified(UNIT, "1").await;
    let word = || installation.namespace.object("configmap/settings")["data"]["word"].clone();
    assert_eq!(word(), "v1.2.3");

    there.store(false, Ordering::Relaxed);
    installation.push("next", &[("app.yaml", &app_of("1.2.4")), ("release.yaml", &release("2"))]);
    let told = |status: &UnitStatus| tells(status, &["503", "can't be fetched"]);
    installation.wait(UNIT, "it is told that the repository is away", told).await;
    assert_eq!(word(), "v1.2.3", "what was fetched goes on being used");
    there.store(true, Ordering::Relaxed);
    installation.verified(UNIT, "2").await;
    assert_eq!(word(), "v1.2.4");
    server.abort();
}
