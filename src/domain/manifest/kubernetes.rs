//! A workload of Kubernetes objects, and a cluster as a target.

use std::collections::BTreeMap;

use super::changes::{self, Made, SecretName};
use super::decode::Context;
use super::node::{Located, Node, Value};
use super::problem::Layer;
use super::source::Location;
use super::values;
use crate::domain::id::Name;
use crate::domain::objects::images::ImageOverride;
use crate::domain::objects::patch::Patch;
use crate::domain::objects::{ChartSource, ClusterTold};
use crate::domain::workload::kubernetes::{Drift, HealthRule, Ignore, has_no_status};

/// The most rules of one kind.
const MAX_RULES: usize = 200;

/// A cluster that apps run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its name in the daemon's configuration.
    pub cluster: Name,
    /// The namespace of objects that name none; the app's name where there is none.
    pub namespace: Option<String>,
    /// The service account that is impersonated: `NAME`, in that namespace, or `NAMESPACE/NAME`.
    pub service_account: Option<String>,
}

/// Objects of a cluster, before they are looked up.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// Where they come from.
    pub source: Written,
    /// The namespace of all objects that belong to one, whatever they name themselves.
    pub namespace: Option<Located<String>>,
    /// Changes to single objects.
    pub patches: Vec<Patch>,
    /// Labels of all objects.
    pub labels: BTreeMap<String, String>,
    /// Other images.
    pub images: Vec<ImageOverride>,
    /// ConfigMaps that are made.
    pub config: BTreeMap<String, Made<String>>,
    /// Secrets that are made.
    pub secrets: BTreeMap<String, Made<SecretName>>,
    /// Fields that belong to others.
    pub ignore: Vec<Ignore>,
    /// How certain objects tell that they are well.
    pub health: Vec<HealthRule>,
    /// What is done about objects that somebody else changed.
    pub drift: Drift,
    /// Objects that exist and belong to nobody are taken over.
    pub adopt: bool,
    /// Kinds whose objects may be deleted and made again where a field that changes is immutable.
    pub recreate: Vec<String>,
}

/// Where objects come from.
#[derive(Clone, Debug)]
pub enum Written {
    /// A file or a folder, by its path from the root.
    Path(Located<String>),
    /// A chart.
    Helm(Box<Helm>),
}

/// A chart, and what it is filled in with.
#[derive(Clone, Debug)]
pub struct Helm {
    /// Where it comes from.
    pub chart: Located<ChartSource>,
    /// The name of the release; the App's where there is none.
    pub release: Option<String>,
    /// The values, as JSON.
    pub values: String,
    /// Files of values, which those above go over, by their paths from the root.
    pub files: Vec<String>,
    /// Whether hooks are left out.
    pub skip_hooks: bool,
    /// What it is told of the cluster.
    pub cluster: ClusterTold,
}

impl Written {
    /// Where it is written.
    pub fn at(&self) -> &Location {
        match self {
            Written::Path(path) => &path.at,
            Written::Helm(helm) => &helm.chart.at,
        }
    }
}

/// Decodes the settings of `platform: { kubernetes: ... }`.
pub fn cluster(cx: &Context, node: &Node) -> Option<Cluster> {
    let fields = cx.fields(node, "the kubernetes platform")?;
    let default = Name::try_from("default").ok()?;
    let cluster = fields.or("cluster", default, |node| values::name(cx, node));
    let namespace = fields.optional("namespace", |node| namespace(cx, node));
    let service_account = fields.optional("serviceAccount", |node| service_account(cx, node));
    fields.finish();
    Some(Cluster { cluster: cluster?, namespace: namespace?, service_account: service_account? })
}

/// Decodes `workload: { kubernetes: ... }`.
pub fn decode(cx: &Context, node: &Node) -> Option<Kubernetes> {
    let fields = cx.fields(node, "a kubernetes workload")?;
    let path = fields.optional("path", |node| Some(Located::new(&node.at, values::tree_path(cx, node)?)));
    let helm = fields.optional("helm", |node| helm(cx, node));
    let namespace = fields.optional("namespace", |node| Some(Located::new(&node.at, namespace(cx, node)?)));
    let patches = fields.or_else("patches", Vec::new, |node| changes::patches(cx, node));
    let labels = fields.or_else("labels", BTreeMap::new, |node| changes::labels(cx, node));
    let images = fields.or_else("images", Vec::new, |node| changes::images(cx, node));
    let config = fields.or_else("config", BTreeMap::new, |node| changes::config(cx, node));
    let secrets = fields.or_else("secrets", BTreeMap::new, |node| changes::secrets(cx, node));
    let ignore = fields.or_else("ignore", Vec::new, |node| rules(cx, node, |node| ignore(cx, node)));
    let health = fields.or_else("health", Vec::new, |node| rules(cx, node, |node| health_rule(cx, node)));
    let drift = fields.or_else("drift", Drift::default, |node| drift(cx, node));
    let adopt = fields.or("adopt", false, |node| cx.boolean(node));
    let recreate = fields.or_else("recreate", Vec::new, |node| rules(cx, node, |node| kind(cx, node)));
    fields.finish();
    let source = match (path?, helm?) {
        (Some(path), None) => Written::Path(path),
        (None, Some(helm)) => Written::Helm(Box::new(helm)),
        _ => {
            let message = "objects come from one of `path` and `helm`";
            cx.schema(&node.at, message, "write `path: deploy`, or `helm: { chart: charts/web }`");
            return None;
        }
    };
    Some(Kubernetes {
        source,
        namespace: namespace?,
        patches: patches?,
        labels: labels?,
        images: images?,
        config: config?,
        secrets: secrets?,
        ignore: ignore?,
        health: health?,
        drift: drift?,
        adopt: adopt?,
        recreate: recreate?,
    })
}

/// `{ chart: charts/web, release: web, values: { replicas: 2 }, valuesFiles: [production.yaml], hooks: skip }`
fn helm(cx: &Context, node: &Node) -> Option<Helm> {
    let fields = cx.fields(node, "a chart")?;
    let chart =
        fields.required("chart", "charts/web", |node| Some(Located::new(&node.at, super::chart::source(cx, node)?)));
    let release = fields.optional("release", |node| namespace(cx, node));
    let values = fields.or_else("values", || "{}".to_owned(), |node| chart_values(cx, node));
    let files = fields.or_else("valuesFiles", Vec::new, |node| rules(cx, node, |node| values::file_path(cx, node)));
    let skip_hooks = fields.or_else(
        "hooks",
        || false,
        |node| match cx.text(node)? {
            "skip" => Some(true),
            text => {
                cx.schema(&node.at, format!("`{text}` is nothing that is done with hooks"), "write skip, or nothing");
                None
            }
        },
    );
    let version = fields.optional("kubeVersion", |node| kube_version(cx, node));
    let kinds = fields.or_else("apiVersions", Vec::new, |node| rules(cx, node, |node| api_version(cx, node)));
    fields.finish();
    Some(Helm {
        chart: chart?,
        release: release?,
        values: values?,
        files: files?,
        skip_hooks: skip_hooks?,
        cluster: ClusterTold { version: version?, kinds: kinds? },
    })
}

fn kube_version(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let numbers = text.strip_prefix('v').unwrap_or(text).split('.');
    let fine = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    if !(2..=3).contains(&numbers.clone().count()) || !numbers.clone().all(fine) {
        cx.schema(&node.at, format!("`{text}` is not a version of Kubernetes"), "write for example \"1.34\" or 1.34.2");
        return None;
    }
    Some(text.to_owned())
}

/// `monitoring.coreos.com/v1`, or with a kind after it.
fn api_version(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let is_word = |word: &str| {
        !word.is_empty()
            && !word.starts_with('-')
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    if text.len() > 253 || !(1..=3).contains(&text.split('/').count()) || !text.split('/').all(is_word) {
        let remedy = "write for example `monitoring.coreos.com/v1`, or `monitoring.coreos.com/v1/ServiceMonitor`";
        cx.schema(&node.at, format!("`{text}` is not a version of an API"), remedy);
        return None;
    }
    Some(text.to_owned())
}

fn chart_values(cx: &Context, node: &Node) -> Option<String> {
    if !matches!(node.value, Value::Map(_)) {
        cx.wrong_kind(node, "a mapping of values");
        return None;
    }
    changes::value(cx, node).map(|value| value.to_string())
}

/// A list of rules, not too long.
pub fn rules<T>(cx: &Context, node: &Node, decode: impl FnMut(&Node) -> Option<T>) -> Option<Vec<T>> {
    if node.items().len() > MAX_RULES {
        cx.schema(&node.at, "too many rules", format!("write at most {MAX_RULES}"));
        return None;
    }
    cx.list(node, decode)
}

fn namespace(cx: &Context, node: &Node) -> Option<String> {
    values::name(cx, node).map(|name| name.to_string())
}

fn service_account(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let label = |text: &str| text.parse::<Name>().is_ok();
    let fine = match text.split_once('/') {
        Some((namespace, name)) => label(namespace) && name.split('.').all(label),
        None => text.split('.').all(label),
    };
    if !fine {
        cx.schema(&node.at, format!("`{text}` is not a service account"), "write `NAME` or `NAMESPACE/NAME`");
        return None;
    }
    Some(text.to_owned())
}

/// `{ kind: Deployment, name: web, paths: [/spec/replicas], managers: [kube-controller-manager] }`
fn ignore(cx: &Context, node: &Node) -> Option<Ignore> {
    let fields = cx.fields(node, "a rule of what is ignored")?;
    let kind = fields.optional("kind", |node| kind(cx, node));
    let name = fields.optional("name", |node| cx.text(node).map(str::to_owned));
    let paths = fields.or_else("paths", Vec::new, |node| rules(cx, node, |node| pointer(cx, node)));
    let managers =
        fields.or_else("managers", Vec::new, |node| rules(cx, node, |node| cx.text(node).map(str::to_owned)));
    fields.finish();
    let rule = Ignore { kind: kind?, name: name?, paths: paths?, managers: managers? };
    if rule.paths.is_empty() && rule.managers.is_empty() {
        let remedy = "add `paths: [/spec/replicas]`, or `managers: [NAME]`";
        cx.schema(&node.at, "this rule ignores nothing", remedy);
        return None;
    }
    Some(rule)
}

/// `{ kind: Certificate, group: cert-manager.io, healthy: "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')" }`
fn health_rule(cx: &Context, node: &Node) -> Option<HealthRule> {
    let fields = cx.fields(node, "a rule of health")?;
    let kind = fields.required("kind", "Certificate", |node| kind_of_group(cx, node));
    let group = fields.optional("group", |node| cx.text(node).map(str::to_owned));
    let name = fields.optional("name", |node| cx.text(node).map(str::to_owned));
    let suspended = fields.optional("suspended", |node| expression(cx, node));
    let progressing = fields.optional("progressing", |node| expression(cx, node));
    let degraded = fields.optional("degraded", |node| expression(cx, node));
    let healthy = fields.required("healthy", "object.status.phase == 'Ready'", |node| expression(cx, node));
    fields.finish();
    let (kind, group) = match (kind?, group?) {
        (kind, None) => match kind.split_once('.') {
            Some((kind, group)) => (kind.to_owned(), Some(group.to_owned())),
            None => (kind, None),
        },
        (kind, Some(group)) => (kind, Some(group)),
    };
    if has_no_status(group.as_deref().unwrap_or_default(), &kind) {
        let message = format!("objects of the kind {kind} have no status: they are well as soon as they are there");
        cx.schema(&node.at, message, "remove this rule");
        return None;
    }
    Some(HealthRule {
        kind,
        group,
        name: name?,
        suspended: suspended?,
        progressing: progressing?,
        degraded: degraded?,
        healthy: healthy?,
    })
}

/// An expression over an object.
fn expression(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if let Err(why) = readable(text) {
        let remedy = "write it in CEL over `object`: object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')";
        cx.schema(&node.at, format!("this expression can't be used: {why}"), remedy);
        return None;
    }
    Some(text.to_owned())
}

#[cfg(feature = "kubernetes")]
fn readable(text: &str) -> Result<(), String> {
    crate::domain::objects::cel::Expression::read(text).map(drop)
}

#[cfg(not(feature = "kubernetes"))]
fn readable(_text: &str) -> Result<(), String> {
    Err("this build of trimtab has no `kubernetes` platform, and so does not read expressions".into())
}

/// A JSON pointer.
pub fn pointer(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if !text.starts_with('/') || text.len() > 1_024 {
        let message = format!("`{text}` is not a path within an object");
        cx.schema(&node.at, message, "write the steps down to the field, each after a `/`: /spec/replicas");
        return None;
    }
    Some(text.to_owned())
}

/// `Deployment`
fn kind(cx: &Context, node: &Node) -> Option<String> {
    let text = kind_of_group(cx, node)?;
    if let Some((kind, _)) = text.split_once('.') {
        cx.schema(&node.at, "a kind stands here without its group", format!("write {kind}"));
        return None;
    }
    Some(text)
}

/// `Deployment` or `Deployment.apps`
pub fn kind_of_group(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let (kind, group) = text.split_once('.').unwrap_or((text, "apps"));
    let fine = kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !group.is_empty()
        && group.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    if !fine {
        cx.schema(&node.at, format!("`{text}` is not a kind"), "write it as in `kind:`, such as Deployment");
        return None;
    }
    Some(text.to_owned())
}

fn drift(cx: &Context, node: &Node) -> Option<Drift> {
    match cx.text(node)? {
        "heal" => Some(Drift::Heal),
        "report" => Some(Drift::Report),
        text => {
            let message = format!("`{text}` is nothing that is done about drift");
            cx.schema(&node.at, message, "write heal, or report");
            None
        }
    }
}

/// Reports fields that only make sense where trimtab itself starts and watches instances.
pub fn refuse(cx: &Context, spec: &Node) {
    let report = |at: &super::Location, message: &str, remedy: &str| {
        cx.report(Layer::Compatibility, at, message, remedy);
    };
    for entry in spec.entries().iter().filter(|entry| !entry.value.is_null()) {
        let at = &entry.key_at;
        match entry.key.as_str() {
            "route" => report(
                at,
                "objects of a cluster get their requests there, not from trimtab's router",
                "delete `route`; a Service, Ingress or HTTPRoute is an object like another",
            ),
            "replicas" => report(
                at,
                "how many pods there are stands in the objects",
                "delete `replicas` and write it into the Deployment, or leave it to an autoscaler",
            ),
            "health" => {
                let own = ["within", "minReady"];
                for inner in entry.value.entries().iter().filter(|inner| !own.contains(&inner.key.as_str())) {
                    if HEALTH_OF_PROCESSES.contains(&inner.key.as_str()) {
                        let remedy = "delete it; probes stand in the pods";
                        report(&inner.key_at, "the cluster tells the health of its objects", remedy);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The fields of `health` that are of processes alone.
pub const HEALTH_OF_PROCESSES: [&str; 8] =
    ["http", "tcp", "exec", "liveness", "interval", "timeout", "healthyAfter", "unhealthyAfter"];
