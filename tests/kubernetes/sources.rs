//! Objects that kustomize and helm make, through a change and what it leaves behind.

use super::cluster::Namespace;
use super::documents::{UNIT, app, release};
use super::installation::Installation;

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
