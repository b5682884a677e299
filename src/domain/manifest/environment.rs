//! Environments: where apps run, and what differs there.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use super::decode::{Context, Fields};
use super::kubernetes::{self, Cluster};
use super::node::{Located, Node, Value};
use super::problem::Layer;
use super::values;
use crate::domain::id::Name;
use crate::domain::tls::{self, Certificate, Tls};

/// An Environment's spec.
#[derive(Clone, Debug)]
pub struct EnvironmentSpec {
    /// The targets, by wave and name; at least one.
    pub targets: Vec<Target>,
}

/// One place that an environment's apps run on.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name; `default` where the environment has a `platform` only.
    pub name: Located<Name>,
    /// The names it had before, the newest first.
    pub moved_from: Vec<Located<Name>>,
    /// Its wave: it starts when all lower ones are verified.
    pub wave: u32,
    /// What it is.
    pub platform: Platform,
    /// Where the data plane listens for it: the environment's listeners and its own.
    pub listeners: Listeners,
    /// Values for the environment of every process and script, and for `{{ config.NAME }}`: the environment's and its own.
    pub config: Config,
}

/// Listeners by name.
pub type Listeners = BTreeMap<Name, Listener>;

/// Where the data plane takes requests, and in what.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address.
    pub address: Located<SocketAddr>,
    /// The certificates, where it speaks TLS.
    pub tls: Option<Tls>,
}

/// Values by name.
pub type Config = BTreeMap<String, Located<String>>;

/// What all targets of an environment have; `None` where it is wrong.
struct Shared {
    listeners: Option<Listeners>,
    config: Option<Config>,
}

impl Shared {
    /// The same, with what a target has itself.
    fn with(&self, listeners: Option<Listeners>, config: Option<Config>) -> Option<(Listeners, Config)> {
        let (mut all_listeners, mut all_config) = (self.listeners.clone()?, self.config.clone()?);
        all_listeners.extend(listeners?);
        all_config.extend(config?);
        Some((all_listeners, all_config))
    }
}

/// The kinds of platform that this build has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platform {
    /// This machine, through the supervisor.
    Host,
    /// A Kubernetes cluster.
    Kubernetes(Cluster),
}

/// All kinds of platform; those that this build does not have are refused with a word.
const PLATFORMS: [&str; 7] = ["host", "docker", "swarm", "kubernetes", "ecs", "containerInstances", "vm"];

/// Decodes an Environment's spec.
pub fn decode(cx: &Context, node: &Node) -> Option<EnvironmentSpec> {
    let fields = cx.fields(node, "an Environment's spec")?;
    let shared = Shared {
        listeners: fields.or_else("listeners", BTreeMap::new, |node| listeners(cx, node)),
        config: fields.or_else("config", BTreeMap::new, |node| config(cx, node)),
    };
    let targets = targets(cx, &fields, &shared);
    fields.finish();
    Some(EnvironmentSpec { targets: targets? })
}

fn targets(cx: &Context, fields: &Fields<'_>, shared: &Shared) -> Option<Vec<Target>> {
    match (fields.get("platform"), fields.get("targets")) {
        (Some(node), None) => {
            let platform = cx.within("platform", || platform(cx, node));
            let name = Located::new(&node.at, Name::try_from("default").ok()?);
            let (listeners, config) = shared.with(Some(BTreeMap::new()), Some(BTreeMap::new()))?;
            Some(vec![Target { name, moved_from: Vec::new(), wave: 0, platform: platform?, listeners, config }])
        }
        (None, Some(node)) => {
            let mut targets = cx.within("targets", || cx.list(node, |item| target(cx, item, shared)))?;
            if targets.is_empty() {
                cx.schema(
                    &node.at,
                    "an Environment needs at least one target",
                    "add `- { name: first, platform: host }`",
                );
                return None;
            }
            let mut unique = true;
            for (index, target) in targets.iter().enumerate() {
                if targets[..index].iter().any(|other| other.name.value == target.name.value) {
                    let message = format!("target `{}` is given twice", target.name.value);
                    cx.schema(&target.name.at, message, "give each target a name of its own");
                    unique = false;
                }
            }
            for from in targets.iter().flat_map(|target| &target.moved_from) {
                if targets.iter().any(|other| other.name.value == from.value) {
                    let message = format!("target `{}` still exists, so nothing can have moved from it", from.value);
                    cx.report(Layer::Dependency, &from.at, message, "rename the old target, or delete `moved`");
                    unique = false;
                }
            }
            targets.sort_by(|a, b| (a.wave, &a.name.value).cmp(&(b.wave, &b.name.value)));
            unique.then_some(targets)
        }
        (Some(_), Some(node)) => {
            let remedy = "keep `platform` for one target, or `targets` for several";
            cx.schema(&node.at, "both `platform` and `targets` are given", remedy);
            None
        }
        (None, None) => {
            let remedy = "add `platform: { host: {} }`, or `targets` for several places";
            cx.schema(fields.at, "an Environment's spec needs `platform`", remedy);
            None
        }
    }
}

fn target(cx: &Context, node: &Node, shared: &Shared) -> Option<Target> {
    let fields = cx.fields(node, "a target")?;
    let name = fields.required("name", "first", |node| Some(Located::new(&node.at, values::name(cx, node)?)));
    let moved_from = fields.optional("moved", |node| super::moved::decode(cx, node, name.as_ref()));
    let wave = fields.or("wave", 0, |node| cx.number(node, 0, 1000));
    let platform = fields.required("platform", "{ host: {} }", |node| platform(cx, node));
    let own_listeners = fields.or_else("listeners", BTreeMap::new, |node| listeners(cx, node));
    let own_config = fields.or_else("config", BTreeMap::new, |node| config(cx, node));
    fields.finish();
    let (listeners, config) = shared.with(own_listeners, own_config)?;
    let moved_from = moved_from?.unwrap_or_default();
    Some(Target { name: name?, moved_from, wave: wave?, platform: platform?, listeners, config })
}

fn platform(cx: &Context, node: &Node) -> Option<Platform> {
    let (kind, settings, at) = cx.choice(node, "a platform", &PLATFORMS)?;
    let empty = Node::empty_map(at.clone());
    let settings = settings.unwrap_or(&empty);
    match kind {
        "host" => {
            cx.fields(settings, "the host platform")?.finish();
            Some(Platform::Host)
        }
        "kubernetes" if cfg!(feature = "kubernetes") => {
            cx.within(kind, || kubernetes::cluster(cx, settings)).map(Platform::Kubernetes)
        }
        _ => {
            let message = format!("this build of trimtab has no `{kind}` platform");
            cx.report(Layer::Compatibility, at, message, "use `platform: { host: {} }`, or a build that has it");
            None
        }
    }
}

fn listeners(cx: &Context, node: &Node) -> Option<Listeners> {
    let Value::Map(entries) = &node.value else {
        cx.wrong_kind(node, "a mapping of listeners");
        return None;
    };
    let mut listeners = BTreeMap::new();
    let mut complete = true;
    for entry in entries {
        let key = Node { at: entry.key_at.clone(), value: text_value(&entry.key) };
        match (values::name(cx, &key), cx.within(&entry.key, || listener(cx, &entry.value))) {
            (Some(name), Some(listener)) => drop(listeners.insert(name, listener)),
            _ => complete = false,
        }
    }
    complete.then_some(listeners)
}

fn listener(cx: &Context, node: &Node) -> Option<Listener> {
    if matches!(node.value, Value::Scalar(_)) {
        return Some(Listener { address: address(cx, node)?, tls: None });
    }
    let fields = cx.fields(node, "a listener")?;
    let address = fields.required("address", "127.0.0.1:8080", |node| address(cx, node));
    let tls = fields.optional("tls", |node| tls(cx, node));
    fields.finish();
    Some(Listener { address: address?, tls: tls? })
}

/// `tls: { certificate: /etc/tls/site.crt, key: /etc/tls/site.key }`, or a list of such pairs for several hosts.
fn tls(cx: &Context, node: &Node) -> Option<Tls> {
    let certificates = match &node.value {
        Value::List(_) => cx.list(node, |item| certificate(cx, item))?,
        _ => vec![certificate(cx, node)?],
    };
    let tls = Tls { certificates };
    if let Err(reason) = tls::check(&tls) {
        cx.schema(&node.at, reason, "write `tls: { certificate: /etc/tls/site.crt, key: /etc/tls/site.key }`");
        return None;
    }
    Some(tls)
}

fn certificate(cx: &Context, node: &Node) -> Option<Certificate> {
    let fields = cx.fields(node, "a certificate")?;
    let certificate = fields.required("certificate", "/etc/tls/site.crt", |node| cx.text(node).map(str::to_owned));
    let key = fields.required("key", "/etc/tls/site.key", |node| cx.text(node).map(str::to_owned));
    fields.finish();
    Some(Certificate { certificate: certificate?, key: key? })
}

fn address(cx: &Context, node: &Node) -> Option<Located<SocketAddr>> {
    let example = "an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:80 or [::1]:8080";
    let address: SocketAddr = cx.parsed(node, "an address to listen on", example)?;
    if address.port() == 0 {
        cx.schema(&node.at, "port 0 lets the machine choose, and then nobody knows where to ask", "name a port");
        return None;
    }
    Some(Located::new(&node.at, address))
}

fn config(cx: &Context, node: &Node) -> Option<Config> {
    let Value::Map(entries) = &node.value else {
        cx.wrong_kind(node, "a mapping of names and texts");
        return None;
    };
    let mut complete = true;
    let mut config = BTreeMap::new();
    for entry in entries {
        complete &= values::variable_name(cx, &entry.key, &entry.key_at);
        if entry.value.is_null() {
            cx.schema(&entry.key_at, format!("`{}` has no value", entry.key), "write \"\" for an empty text");
            complete = false;
            continue;
        }
        if entry.value.as_text().is_some_and(|text| text.contains("{{")) {
            let message = "config is what placeholders are filled in from, and is not filled in itself";
            cx.schema(&entry.value.at, message, "write the value out, or put the placeholder into the App's `env`");
            complete = false;
            continue;
        }
        match values::free_text(cx, &entry.value, false) {
            Some(text) => drop(config.insert(entry.key.clone(), Located::new(&entry.value.at, text))),
            None => complete = false,
        }
    }
    complete.then_some(config)
}

/// A key, to be decoded like a value.
pub fn text_value(text: &str) -> Value {
    Value::Scalar(super::node::Scalar { text: text.to_owned(), plain: false, runtime: false, template: None })
}
