//! Objects of clusters: read, placed, refused with a place, told apart.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use trimtab::app::objects::read_plain;
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::difference::differences;
use trimtab::domain::manifest::Problem;
use trimtab::domain::objects::native::Reading;
use trimtab::domain::objects::{Files, Found, ObjectSource, Objects, Origins};
use trimtab::domain::render::{Lookups, RenderCache, render_again};
use trimtab::domain::secret::SecretValue;
use trimtab::domain::workload::kubernetes::KubernetesSpec;
use trimtab::domain::workload::{Place, Workload};

use super::documents;

const CLUSTER: &str = "\
apiVersion: trimtab/v1
kind: Environment
metadata: { name: production }
spec:
  platform: { kubernetes: { cluster: eu, namespace: shop, serviceAccount: deployer } }
  config: { LEVEL: warn }
";

const RELEASE: &str = "\
apiVersion: trimtab/v1
kind: Release
metadata: { name: web, environment: production }
spec: { version: 1.2.3 }
";

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - { name: web, image: 'registry.example/web:1.0', env: [{ name: LEVEL, value: info }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: edge }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: web-reader, namespace: nonsense }
rules: []
";

/// An App whose `kubernetes` has these lines.
pub fn app(lines: &str) -> String {
    let spec: String = lines.lines().map(|line| format!("      {line}\n")).collect();
    format!("apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: web }}\nspec:\n  workload:\n    kubernetes:\n{spec}")
}

/// Files beside the documents, as the objects of a revision.
struct Beside<'a> {
    files: BTreeMap<&'a str, &'a str>,
    looks: Cell<usize>,
}

impl Objects for Beside<'_> {
    fn entry(&self, path: &str) -> Option<String> {
        let below: Vec<_> = self.files.iter().filter(|(file, _)| file.starts_with(path)).collect();
        (!below.is_empty()).then(|| format!("{below:?}"))
    }

    fn find(&self, source: &ObjectSource) -> Found {
        self.looks.set(self.looks.get() + 1);
        let Some(path) = source.path() else { return Found::Nothing };
        let Some(oid) = self.entry(path) else { return Found::Nothing };
        let mut files = Files::default();
        for (path, text) in self.files.iter().filter(|(file, _)| file.starts_with(path.as_str())) {
            files.files.push(((*path).to_owned(), text.as_bytes().to_vec()));
        }
        read_plain(files, Origins::from([(path.clone(), Some(oid))]))
    }
}

fn outcome(docs: &[&str], files: &[(&str, &str)]) -> Result<DesiredUnit, Vec<Problem>> {
    let named: Vec<(String, &str)> =
        docs.iter().enumerate().map(|(index, text)| (format!("apps/web/{index}.yaml"), *text)).collect();
    let named: Vec<(&str, &str)> = named.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let set = documents(&named);
    let objects = Beside { files: files.iter().copied().collect(), looks: Cell::new(0) };
    let lookups = Lookups { artifacts: &|_| None, secrets: &|_| SecretValue::Unknown, objects: &objects };
    let mut units = render_again(&set, lookups, &mut RenderCache::default());
    assert_eq!((set.problems().is_empty(), units.len()), (true, 1), "{:?}", set.problems());
    units.remove(0).outcome.map(Arc::unwrap_or_clone)
}

#[track_caller]
pub fn unit(kubernetes: &str, files: &[(&str, &str)]) -> DesiredUnit {
    outcome(&[CLUSTER, &app(kubernetes), RELEASE], files).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

pub fn spec(desired: &DesiredUnit) -> &KubernetesSpec {
    match &desired.workload {
        Workload::Kubernetes(spec) => spec,
        Workload::Process(_) => panic!("it is one of objects"),
    }
}

fn ids(desired: &DesiredUnit) -> Vec<String> {
    spec(desired).objects.iter().map(|object| object.id().to_string()).collect()
}

fn told(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n\n")).collect()
}

#[test]
fn objects_of_a_folder_are_rendered_in_their_namespaces() {
    let desired = unit(
        "path: deploy",
        &[
            ("apps/web/deploy/a.yaml", DEPLOYMENT),
            ("apps/web/deploy/sub/b.yml", "kind: ConfigMap\napiVersion: v1\nmetadata: {name: c}\n"),
        ],
    );
    assert_eq!(
        ids(&desired),
        [
            "ConfigMap shop/c",
            "Service edge/web",
            "Deployment.apps shop/web",
            "ClusterRole.rbac.authorization.k8s.io web-reader"
        ]
    );
    let place = &spec(&desired).place;
    assert_eq!((place.namespace.as_str(), place.service_account.as_deref()), ("shop", Some("shop/deployer")));
    assert_eq!((desired.replicas, desired.workload.place()), (4, Place::Cluster("eu".parse().unwrap())));
    let again: DesiredUnit = serde_json::from_str(&serde_json::to_string(&desired).unwrap()).unwrap();
    assert_eq!(again.digest(), desired.digest());
}

#[test]
fn one_namespace_can_be_had_for_all() {
    let desired = unit("path: deploy\nnamespace: other", &[("apps/web/deploy/a.yaml", DEPLOYMENT)]);
    assert_eq!(ids(&desired)[..2], ["Service other/web", "Deployment.apps other/web"]);
    assert_eq!(spec(&desired).place.namespace, "other");
}

#[test]
fn custom_kinds_follow_their_definition() {
    let definition = |kind: &str, scope: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: {}s.example.com }}\n\
             spec: {{ group: example.com, scope: {scope}, names: {{ kind: {kind} }} }}\n---\n\
             apiVersion: example.com/v1\nkind: {kind}\nmetadata: {{ name: one }}\n---\n",
            kind.to_lowercase()
        )
    };
    let files = definition("Inner", "Namespaced")
        + &definition("Outer", "Cluster")
        + "apiVersion: elsewhere.com/v1\nkind: Unknown\nmetadata: { name: one }\n";
    let desired = unit("path: deploy.yaml", &[("apps/web/deploy.yaml", &files)]);
    let mut ids = ids(&desired);
    ids.retain(|id| !id.starts_with("Custom"));
    assert_eq!(ids, ["Unknown.elsewhere.com one", "Inner.example.com shop/one", "Outer.example.com one"]);
}

#[test]
fn lists_are_flattened_and_documents_of_trimtab_passed_over() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- { apiVersion: v1, kind: ConfigMap, metadata: { name: a } }\n---\n---\n\
                apiVersion: v1\nkind: ConfigMapList\nitems: [{ metadata: { name: b } }]\n";
    let json = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ConfigMap\",\n\t\"metadata\": { \"name\": \"c\" }\n}\n";
    let files =
        [("apps/web/deploy/app.yaml", RELEASE), ("apps/web/deploy/c.json", json), ("apps/web/deploy/list.yaml", list)];
    assert_eq!(ids(&unit("path: deploy", &files)), ["ConfigMap shop/a", "ConfigMap shop/b", "ConfigMap shop/c"]);
}

#[test]
fn what_the_server_writes_is_left_to_it() {
    let saved = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  uid: x\n  resourceVersion: '5'\n  creationTimestamp: null\n\
                 spec: { clusterIP: 10.0.0.1 }\nstatus: { loadBalancer: {} }\n";
    let desired = unit("path: deploy", &[("apps/web/deploy/a.yaml", saved)]);
    let expected = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a", "namespace": "shop" }, "spec": { "clusterIP": "10.0.0.1" } });
    assert_eq!(Value::from(spec(&desired).objects[0].clone()), expected);
}

#[test]
fn everything_wrong_is_told_with_its_place() {
    let bad = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: a
  labels: { on: true, port: 80 }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: nan }
data: { a: .nan }
---
kind: ConfigMap
metadata: { name: b }
---
apiVersion: v1
kind: ConfigMap
metadata: { generateName: c- }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: d }
data: { a: 1, a: 2 }
---
apiVersion: v1
kind: Secret
metadata: { name: e }
stringData: { password: hunter2, password: hunter3 }
---
- a list
---
apiVersion: v1
kind: ConfigMap
metadata: { name: same }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: ../up }
";
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: same }\ndata: {}\n---\nbroken: [\n";
    let files = [("apps/web/deploy/a.yaml", bad), ("apps/web/deploy/b.yaml", twice)];
    let problems = outcome(&[CLUSTER, &app("path: deploy"), RELEASE], &files).unwrap_err();
    let told = told(&problems);
    assert!(!told.contains("hunter"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn what_does_not_fit_a_cluster_is_refused() {
    let bad = app("path: deploy")
        + "  route: {}\n  replicas: 3\n  health: { http: /healthz, within: 5m }\n  strategy: { rolling: { maxSurge: 1 } }\n";
    let set = documents(&[("app.yaml", &bad)]);
    let mut out = told(&set.problems());
    let files = [("apps/web/deploy/a.yaml", DEPLOYMENT)];
    let mut wrong = |docs: &[&str]| out += &told(&outcome(docs, &files).unwrap_err());
    wrong(&[CLUSTER, &(app("path: deploy") + "  strategy: { rolling: { maxSurge: 1 } }\n"), RELEASE]);
    wrong(&[
        CLUSTER,
        &(app("path: deploy") + "  strategy: { blueGreen: { previewHost: next.example.org } }\n"),
        RELEASE,
    ]);
    wrong(&[CLUSTER, &app("path: nowhere"), RELEASE]);
    let host = CLUSTER.replace(
        "platform: { kubernetes: { cluster: eu, namespace: shop, serviceAccount: deployer } }",
        "platform: host",
    );
    wrong(&[&host, &app("path: deploy"), RELEASE]);
    let process = "apiVersion: trimtab/v1\nkind: App\nmetadata: { name: web }\nspec: { workload: { process: { command: [a] } } }\n";
    wrong(&[CLUSTER, process, RELEASE]);
    insta::assert_snapshot!(out);
}

#[test]
fn rules_are_read() {
    let desired = unit(
        "path: deploy\nignore:\n- { kind: Deployment, paths: [/spec/replicas] }\n- managers: [vpa]\ndrift: report\nadopt: true\nrecreate: [Job]",
        &[("apps/web/deploy/a.yaml", DEPLOYMENT)],
    );
    let spec = spec(&desired);
    assert_eq!(spec.ignore[0].paths, ["/spec/replicas"]);
    assert_eq!((spec.ignore.len(), spec.adopt, spec.recreate.as_slice()), (2, true, &["Job".to_owned()][..]));
}

#[test]
fn differences_are_told_by_object_and_field() {
    let before = unit("path: deploy", &[("apps/web/deploy/a.yaml", DEPLOYMENT)]);
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: { name: s }\nstringData: { password: hunter2 }\n";
    let with_secret = DEPLOYMENT.to_owned() + secret;
    let changed = with_secret
        .replace("web:1.0", "web:1.1")
        .replace("value: info", "value: warn")
        .replace("name: web-reader", "name: web-other");
    let after = unit("path: deploy", &[("apps/web/deploy/a.yaml", &changed)]);
    let told: Vec<String> = differences(Some(&before), Some(&after))
        .into_iter()
        .map(|one| format!("{}: {:?} -> {:?}, {}", one.path, one.before, one.after, one.effect))
        .collect();
    let objects = "objects.Deployment.apps shop/web.spec.template.spec.containers[web]";
    assert_eq!(
        told,
        [
            "objects.ClusterRole.rbac.authorization.k8s.io web-other: None -> Some(\"an object of 3 fields\"), applies the object".to_owned(),
            "objects.ClusterRole.rbac.authorization.k8s.io web-reader: Some(\"an object of 3 fields\") -> None, applies the object".to_owned(),
            format!("{objects}.env[LEVEL].value: Some(\"info\") -> Some(\"warn\"), applies the object"),
            format!("{objects}.image: Some(\"registry.example/web:1.0\") -> Some(\"registry.example/web:1.1\"), applies the object"),
            "objects.Secret shop/s: None -> Some(\"an object of 5 fields\"), applies the object".to_owned(),
        ]
    );
    let other = unit("path: deploy", &[("apps/web/deploy/a.yaml", &changed.replace("hunter2", "hunter3"))]);
    let secret = &differences(Some(&after), Some(&other))[0];
    assert_eq!((secret.before.as_deref(), secret.after.as_deref()), (Some("hidden"), Some("hidden, changed")));
}

/// A commit that touches one app's objects renders that app, and asks for no other's objects.
#[test]
fn only_what_changed_is_looked_at() {
    let files: Vec<(String, String)> = (0..3)
        .flat_map(|number| {
            let name = format!("web-{number}");
            let rename = |text: &str| {
                text.replace("name: web,", &format!("name: {name},"))
                    .replace("name: web }", &format!("name: {name} }}"))
            };
            [
                (format!("{name}/app.yaml"), rename(&app("path: deploy"))),
                (format!("{name}/release.yaml"), rename(RELEASE)),
            ]
        })
        .chain([("env.yaml".to_owned(), CLUSTER.to_owned())])
        .collect();
    let named: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let set = documents(&named);
    let mut cache = RenderCache::default();
    let mut render = |changed: &str| {
        let text = DEPLOYMENT.replace("web:1.0", changed);
        let files =
            [("web-0/deploy/a.yaml", DEPLOYMENT), ("web-1/deploy/a.yaml", &text), ("web-2/deploy/a.yaml", DEPLOYMENT)];
        let objects = Beside { files: files.into_iter().collect(), looks: Cell::new(0) };
        let lookups = Lookups { artifacts: &|_| None, secrets: &|_| SecretValue::Unknown, objects: &objects };
        let units = render_again(&set, lookups, &mut cache);
        assert!(units.iter().all(|unit| unit.outcome.is_ok()), "{units:#?}");
        (cache.rendered, objects.looks.get())
    };
    assert_eq!((render("web:1.0"), render("web:1.0"), render("web:2.0")), ((3, 3), (0, 0), (1, 1)));
}

#[test]
fn files_that_cannot_be_read_are_refused_whole() {
    let mut reading = Reading::default();
    reading.file("a.yaml", b"\xff\xfe");
    reading.file("b.yaml", &vec![b'#'; 9 << 20]);
    let deep =
        format!("apiVersion: v1\nkind: A\nmetadata: {{ name: a }}\nx: {}{}\n", "[".repeat(5_000), "]".repeat(5_000));
    reading.file("c.yaml", deep.as_bytes());
    let bomb = (1..12).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        text + &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "))
    });
    reading.file("d.yaml", format!("apiVersion: v1\nkind: A\nmetadata: {{ name: a }}\n{bomb}").as_bytes());
    let problems = reading.finish().unwrap_err();
    let files: Vec<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
    assert_eq!(files, ["a.yaml", "b.yaml", "c.yaml", "d.yaml"], "{problems:#?}");
}

#[test]
fn images_labels_and_patches_are_put_over_the_objects() {
    let lines = "\
path: deploy
images: { registry.example/web: '{{ version }}' }
labels: { team: shop }
patches:
- { target: { kind: Deployment }, merge: { spec: { replicas: 3, template: { spec: { containers: [{ name: web, tty: yes }] } } } } }
- { target: { name: web-reader }, json: [{ op: add, path: /rules/-, value: { verbs: [get] } }] }";
    let desired = unit(lines, &[("apps/web/deploy/a.yaml", DEPLOYMENT)]);
    let find = |kind: &str| {
        let found = spec(&desired).objects.iter().find(|object| object.kind() == kind);
        Value::from(found.unwrap().clone())
    };
    let deployment = find("Deployment");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["image"], &container["tty"]), (&json!("registry.example/web:1.2.3"), &json!(true)));
    assert_eq!(deployment["metadata"]["labels"], json!({ "team": "shop" }));
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], json!({ "app": "web", "team": "shop" }));
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], json!({ "app": "web" }));
    assert_eq!(deployment["spec"]["replicas"], json!(3));
    assert_eq!(find("ClusterRole")["rules"], json!([{ "verbs": ["get"] }]));
    assert_eq!(find("Service")["metadata"]["labels"], json!({ "team": "shop" }));
}

#[test]
fn what_fits_no_object_is_refused() {
    let lines = "\
path: deploy
images: { registry.example/wbe: '2' }
config: { settings: { A: 1 } }
patches:
- { target: { kind: DaemonSet }, merge: { a: 1 } }
- { target: { kind: Deployment }, json: [{ op: remove, path: /spec/nothing }] }
- { target: { kind: Service }, merge: { metadata: { name: other } } }";
    let taken = format!("{DEPLOYMENT}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: settings }}\n");
    let docs = [CLUSTER, &app(lines), RELEASE];
    let mut out = told(&outcome(&docs, &[("apps/web/deploy/a.yaml", &taken)]).unwrap_err());
    let bad = "\
path: deploy
images: { 'web:1': '2', web: { }, db: 'a b' }
labels: { 'a b': c, d: 'e f' }
config: { Web: {}, web: { 'a/b': c } }
secrets: { db: environment }
patches: [{ target: {}, merge: {}, json: [] }, { target: {}, json: [{ op: remove, path: /a, value: 1 }, { op: move, path: a }] }]
serviceAccount: x";
    out += &told(&documents(&[("app.yaml", &app(bad))]).problems());
    insta::assert_snapshot!(out);
}

#[test]
fn config_and_secrets_become_objects_that_are_named_by_their_content() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec:\n  containers:\n  - { name: a, image: a, envFrom: \
               [{ configMapRef: { name: settings } }, { configMapRef: { name: all } }, { secretRef: { name: db } }] }\n";
    let app =
        app("path: deploy\nconfig: { settings: { A: '{{ version }}' }, all: environment }\nsecrets: { db: [URL] }")
            + "  secrets: { URL: { file: /db.age } }\n";
    let render = |digest: &str| {
        let set = documents(&[("apps/web/0.yaml", CLUSTER), ("apps/web/1.yaml", &app), ("apps/web/2.yaml", RELEASE)]);
        let value = match digest {
            "" => SecretValue::Unknown,
            digest => SecretValue::Known(trimtab::domain::digest::Digest::from_text(digest)),
        };
        let objects = Beside { files: [("apps/web/deploy/a.yaml", pod)].into(), looks: Cell::new(0) };
        let lookups = Lookups { artifacts: &|_| None, secrets: &move |_| value.clone(), objects: &objects };
        let mut units = render_again(&set, lookups, &mut RenderCache::default());
        Arc::unwrap_or_clone(units.remove(0).outcome.unwrap())
    };
    let (one, other) = (render("s1:aa"), render("s1:bb"));
    let names: Vec<String> = spec(&one).objects.iter().map(|object| object.name().to_owned()).collect();
    let [all, settings, _, db] = names.as_slice() else { panic!("{names:?}") };
    let envs = &spec(&one).objects[2].fields()["spec"]["containers"][0]["envFrom"];
    let expected = json!([{ "configMapRef": { "name": settings } }, { "configMapRef": { "name": all } }, { "secretRef": { "name": db } }]);
    assert_eq!(*envs, expected);
    assert_eq!(spec(&one).objects[0].fields()["data"], json!({ "LEVEL": "warn" }));
    assert_eq!(spec(&one).objects[1].fields()["data"], json!({ "A": "1.2.3" }));
    assert_eq!(spec(&one).objects[3].fields()["data"], json!({ "URL": { "trimtab.dev/secret": "URL" } }));
    assert_eq!(spec(&one).secrets["URL"].from, "db.age");
    assert_eq!(spec(&other).objects[1], spec(&one).objects[1]);
    assert_ne!(spec(&other).objects[3].name(), db);
    // What nobody could read is not known to have changed.
    let mut unread = render("");
    assert_ne!(unread.digest(), one.digest());
    unread.assume_secrets(&one);
    assert_eq!(unread, one);
}

#[test]
fn secrets_and_objects_name_each_other() {
    let wrong = |kubernetes: &str, secrets: &str, object: &str| {
        let app = app(kubernetes) + secrets;
        let map = format!("apiVersion: v1\nkind: Secret\nmetadata: {{ name: a }}\ndata: {object}\n");
        told(&outcome(&[CLUSTER, &app, RELEASE], &[("apps/web/deploy/a.yaml", &map)]).unwrap_err())
    };
    let url = "  secrets: { URL: { file: /db.age } }\n";
    let mut out = wrong("path: deploy\nsecrets: { db: { url: ULR } }", url, "{}");
    out += &wrong("path: deploy", url, "{}");
    out += &wrong("path: deploy", "", "{ a: { trimtab.dev/secret: URL } }");
    insta::assert_snapshot!(out);
}

#[test]
fn the_last_of_a_key_counts_in_what_a_chart_makes_and_nowhere_else() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: { a: '1', b: '2', a: '3' }\n";
    let mut told = Reading::default();
    told.told("chart", text.as_bytes());
    let objects = told.finish().unwrap();
    assert_eq!(objects[0].object.fields()["metadata"]["labels"], serde_json::json!({ "a": "3", "b": "2" }));
    let mut written = Reading::default();
    written.file("a.yaml", text.as_bytes());
    assert!(written.finish().unwrap_err()[0].message.contains("given twice"));
}

#[test]
fn orders_of_other_tools_and_encrypted_files_are_refused() {
    let annotated = |name: &str, value: &str| {
        let text =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: a, annotations: {{ {name}: '{value}' }} }}\n");
        let mut reading = Reading::default();
        reading.file("a.yaml", text.as_bytes());
        reading.finish().map(|objects| objects.len()).map_err(|problems| problems[0].message.clone())
    };
    for wave in ["0", "-5", "+3"] {
        assert_eq!(annotated("argocd.argoproj.io/sync-wave", wave), Ok(1), "{wave}");
    }
    assert!(annotated("argocd.argoproj.io/sync-wave", "first").is_err_and(|message| message.contains("is no wave")));
    for (name, value) in [("argocd.argoproj.io/hook", "Before"), ("argocd.argoproj.io/hook", "PostDelete")] {
        assert!(annotated(name, value).is_err_and(|message| message.contains(value)), "{value}");
    }
    for (name, value) in
        [("argocd.argoproj.io/hook", "PreSync"), ("helm.sh/hook", "post-install"), ("helm.sh/hook", "test")]
    {
        assert_eq!(annotated(name, value), Ok(1), "{value}");
    }
    let mut reading = Reading::default();
    let text = "apiVersion: v1\nkind: Secret\nmetadata: { name: a }\ndata: { a: 'ENC[AES256_GCM,data:x]' }\n";
    reading.file("a.yaml", text.as_bytes());
    let problems = reading.finish().unwrap_err();
    assert!(problems[0].message.contains("SOPS") && problems[0].snippet.is_empty(), "{problems:?}");
}
