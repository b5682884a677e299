//! Kustomizations and charts, by the real tools where they are there.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::trimtab;

const DOCUMENTS: &str = "\
apiVersion: trimtab/v1
kind: Environment
metadata: { name: production }
spec: { platform: { kubernetes: { namespace: shop } }, config: { REPLICAS: 4 } }
---
apiVersion: trimtab/v1
kind: Release
metadata: { name: web, environment: production }
spec: { version: 1.2.3 }
---
apiVersion: trimtab/v1
kind: App
metadata: { name: web }
spec: { workload: { kubernetes: { SOURCE } } }
";

const KUSTOMIZE: &str = "path: overlays/eu, images: { web: '{{ version }}' }";
const HELM: &str =
    "helm: { chart: chart, values: { replicas: '{{ config.REPLICAS }}', name: shop }, valuesFiles: [eu.yaml] }";

/// A repository of files, whose App takes its objects from here.
pub(super) fn repository(source: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let documents = DOCUMENTS.replace("SOURCE", source);
    for (path, text) in files.iter().chain(&[("app.yaml", documents.as_str())]) {
        let place = dir.path().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
    }
    dir
}

fn run(dir: &Path, path: &str, args: &[&str]) -> (Option<i32>, String) {
    let out: Output = trimtab().current_dir(dir).args(args).env("NO_COLOR", "1").env("PATH", path).output().unwrap();
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (out.status.code(), text)
}

/// PATH with a tool: as it is, or with the folder that the test bed built it in. None where it is nowhere.
pub(super) fn path_with(tool: &str) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let there = |folder: &Path| folder.join(tool).is_file();
    if std::env::split_paths(&path).any(|folder| there(&folder)) {
        return Some(path);
    }
    let cache = std::env::var_os("TRIMTAB_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/trimtab")))?;
    let mut beds = std::fs::read_dir(cache.join("beds")).ok()?.flatten().map(|entry| entry.path());
    let bed = beds.find(|folder| there(folder))?;
    Some(format!("{}:{path}", bed.display()))
}

const OVERLAY: [(&str, &str); 3] = [
    ("base/kustomization.yaml", "resources: [web.yaml]\n"),
    (
        "base/web.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: { name: web }\nspec: { containers: [{ name: web, image: 'web:1' }] }\n",
    ),
    (
        "overlays/eu/kustomization.yaml",
        "resources: [../../base]\nnamePrefix: eu-\nconfigMapGenerator: [{ name: a, literals: [b=c] }]\n",
    ),
];

pub(super) const CHART: [(&str, &str); 4] = [
    ("chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n"),
    ("chart/values.yaml", "replicas: 1\nname: none\nlevel: none\n"),
    (
        "chart/templates/web.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: {{ .Release.Name }}-{{ .Values.name }} }\n\
         spec: { replicas: {{ .Values.replicas }}, paused: {{ eq .Values.level \"high\" }} }\n",
    ),
    ("eu.yaml", "name: eu\nlevel: high\n"),
];

#[test]
fn a_tool_that_is_missing_is_told() {
    for (source, files, tool) in [(KUSTOMIZE, &OVERLAY[..], "kustomize"), (HELM, &CHART[..], "helm")] {
        let (code, told) = run(repository(source, files).path(), "/nonexistent", &["validate"]);
        assert!(code == Some(2) && told.contains(&format!("there is no `{tool}`")), "{told}");
    }
}

/// Nothing is run, so no tool is needed to say so.
#[test]
fn fault_18_a_kustomization_that_leaves_the_repository_is_refused_before_it_is_built() {
    for outside in ["../../../etc", "https://example.com/base", "github.com/example/base", "/etc"] {
        let mut files = OVERLAY;
        let text = format!("resources: ['{outside}']\n");
        files[2].1 = &text;
        let (code, told) = run(repository(KUSTOMIZE, &files).path(), "/nonexistent", &["validate"]);
        assert!(code == Some(2) && told.contains("overlays/eu/kustomization.yaml:1:13"), "{told}");
        assert!(told.contains("security") && !told.contains("there is no `kustomize`"), "{told}");
    }
}

#[test]
fn a_kustomization_is_built_with_what_it_leads_to() {
    let Some(path) = path_with("kustomize") else { return eprintln!("there is no kustomize here") };
    let (code, told) = run(repository(KUSTOMIZE, &OVERLAY).path(), &path, &["render"]);
    assert_eq!(code, Some(0), "{told}");
    for part in ["name: eu-web", "namespace: shop", "image: \"web:1.2.3\"", "name: eu-a-"] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    let mut files = OVERLAY;
    files[0].1 = "resources: [web.yaml]\npatches: [{ path: ../app.yaml }]\n";
    let (code, told) = run(repository(KUSTOMIZE, &files).path(), &path, &["validate"]);
    assert!(code == Some(2) && told.contains("kustomize"), "{told}");
}

#[test]
fn a_chart_is_filled_in() {
    let Some(path) = path_with("helm") else { return eprintln!("there is no helm here") };
    let (code, told) = run(repository(HELM, &CHART).path(), &path, &["render"]);
    assert_eq!(code, Some(0), "{told}");
    for part in ["name: web-shop", "replicas: 4", "paused: true", "namespace: shop"] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    let mut files = CHART;
    files[2].1 = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: a, annotations: { helm.sh/hook: pre-install } }\n---\n\
                  apiVersion: v1\nkind: ConfigMap\nmetadata: { name: b }\n---\n\
                  apiVersion: v1\nkind: Pod\nmetadata: { name: c, annotations: { helm.sh/hook: test } }\n";
    let (code, told) = run(repository(HELM, &files).path(), &path, &["render"]);
    assert!(code == Some(0) && told.contains("# hook: Job a runs at PreSync, wave 0"), "{told}");
    assert!(told.contains("# left out: Pod c (helm.sh/hook: test)"), "{told}");
    files[2].1 = "# {{ .Release.Name }}\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: a/b }\n";
    let (code, told) = run(repository(HELM, &files).path(), &path, &["validate"]);
    assert!(code == Some(2) && told.contains("chart/templates/web.yaml (rendered):4:"), "{told}");
    assert!(told.contains("4 | metadata: { name: a/b }") && !told.contains("Chart.yaml"), "{told}");
    files[2].1 = "{{ fail \"no good\" }}";
    let (code, told) = run(repository(HELM, &files).path(), &path, &["validate"]);
    assert!(code == Some(2) && told.contains("no good"), "{told}");
}

#[test]
fn a_chart_is_told_of_its_cluster_by_the_manifest_alone() {
    let Some(path) = path_with("helm") else { return eprintln!("there is no helm here") };
    let mut files = CHART;
    files[2].1 = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: told }\ndata:\n\
                  \x20 monitor: '{{ .Capabilities.APIVersions.Has \"monitoring.coreos.com/v1/ServiceMonitor\" }}'\n\
                  \x20 budget: '{{ .Capabilities.APIVersions.Has \"policy/v1/PodDisruptionBudget\" }}'\n\
                  \x20 version: '{{ .Capabilities.KubeVersion.Minor }}'\n";
    let asking = |more: &str| HELM.replace("helm: { chart: chart,", &format!("helm: {{ chart: chart,{more}"));
    let render = |more: &str| run(repository(&asking(more), &files).path(), &path, &["render"]);
    let (code, told) = render("");
    assert!(code == Some(0) && told.contains("monitor: \"false\"") && told.contains("budget: \"true\""), "{told}");
    let kind = "monitoring.coreos.com/v1/ServiceMonitor";
    let (code, told) = render(&format!(" kubeVersion: \"1.29\", apiVersions: [monitoring.coreos.com/v1, {kind}],"));
    assert!(code == Some(0) && told.contains("monitor: \"true\"") && told.contains("version: \"29\""), "{told}");
    for wrong in [" kubeVersion: --debug,", " kubeVersion: new,", " apiVersions: [--set],", " apiVersions: [a/b/c/d],"]
    {
        let (code, told) = render(wrong);
        assert!(code == Some(2) && told.contains("write for example"), "{wrong}: {told}");
    }
}

/// A packed chart whose files of zeros are this large once they are unpacked.
fn bomb(files: usize, size: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let zeros = vec![0; size];
    let mut add = |path: String, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content).unwrap();
    };
    add("bomb/Chart.yaml".into(), b"apiVersion: v2\nname: bomb\nversion: 0.1.0\n");
    (0..files).for_each(|number| add(format!("bomb/files/{number}"), &zeros));
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
fn fault_24_a_packed_chart_that_unpacks_to_too_much_is_refused_and_leaves_nothing() {
    let Some(path) = path_with("helm") else { return eprintln!("there is no helm here") };
    for (files, size, fits) in [(1, 1 << 10, true), (1, 64 << 20, false), (40, 4 << 20, false)] {
        let dir = repository(HELM, &CHART);
        std::fs::create_dir(dir.path().join("chart/charts")).unwrap();
        let packed = bomb(files, size);
        assert!(packed.len() < 2 << 20, "{} bytes", packed.len());
        std::fs::write(dir.path().join("chart/charts/bomb-0.1.0.tgz"), packed).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let mut command = trimtab();
        command.current_dir(dir.path()).args(["validate"]).env("PATH", &path).env("TMPDIR", scratch.path());
        let out = command.output().unwrap();
        let told = [out.stdout, out.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        let code = if fits { Some(0) } else { Some(2) };
        assert_eq!(out.status.code(), code, "{files} files of {size}: {told}");
        assert!(fits || (told.contains("helm") && told.contains("maximum")), "{told}");
        let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}
