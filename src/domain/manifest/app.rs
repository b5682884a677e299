//! Apps: what runs, how it is seen to be well, how a new version takes over.

use std::collections::BTreeMap;

use super::analysis::{self, Analysis};
use super::decode::{Context, Fields, name_or_add};
use super::health;
use super::hooks::{self, Hooks};
use super::kubernetes;
use super::node::{Located, Node, Value};
use super::problem::Layer;
use super::process;
use super::secrets::{self, Secrets};
use super::strategy;
use super::values;
use super::workload::{self, Workload};
use crate::domain::desired::RollbackRules;
use crate::domain::id::Name;
use crate::domain::route::{MAX_TESTERS, Tester, Upstream};
use crate::domain::span::Span;
use crate::domain::strategy::Strategy;
use crate::domain::workload::Health;

/// An App's spec, before its references are looked up.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// What runs.
    pub workload: Workload,
    /// What it must not say in clear.
    pub secrets: Secrets,
    /// How many instances.
    pub replicas: u32,
    /// The requests it serves.
    pub route: Option<RouteSpec>,
    /// How its health is seen.
    pub health: Health,
    /// How a new version takes over.
    pub strategy: Strategy,
    /// The analyses by name.
    pub analyses: BTreeMap<Name, Analysis>,
    /// What runs before and after a rollout.
    pub hooks: Hooks,
    /// When a rollout is taken back by itself.
    pub rollback: RollbackRules,
    /// The apps that must be verified first.
    pub depends_on: Vec<Located<Name>>,
    /// Whether it is removed when its Release is.
    pub prune: bool,
}

/// A route, before its listener is looked up.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// The listener's name; without one the only one of the target is taken.
    pub listener: Option<Located<Name>>,
    /// Where the route stands.
    pub at: super::source::Location,
    /// The Host.
    pub host: Option<String>,
    /// The path prefix.
    pub path: String,
    /// How long a client stays on its group.
    pub sticky: Option<Span>,
    /// How long requests to what is taken out may go on.
    pub drain: Span,
    /// How long the answer's head may take.
    pub timeout: Span,
    /// What instances are spoken to in.
    pub upstream: Upstream,
    /// Requests that go to a new version whatever its share.
    pub testers: Vec<Tester>,
}

/// Decodes an App's spec.
pub fn decode(cx: &Context, node: &Node) -> Option<AppSpec> {
    let fields = cx.fields(node, "an App's spec")?;
    let workload =
        fields.required("workload", "{ process: { command: [bin/app] } }", |node| workload::decode(cx, node));
    if matches!(workload, Some(Workload::Kubernetes(_))) {
        kubernetes::refuse(cx, node);
    }
    let secrets = fields.or_else("secrets", BTreeMap::new, |node| match &workload {
        Some(Workload::Kubernetes(_)) => secrets::of_objects(cx, node),
        _ => secrets::decode(cx, node),
    });
    if let (Some(Workload::Process(process)), Some(secrets)) = (&workload, &secrets) {
        secrets::check_environment(cx, secrets, &process.env);
    }
    let replicas = replicas(cx, &fields, workload.as_ref());
    let route = fields.optional("route", |node| route(cx, node));
    let health = cx.within("health", || match &workload {
        Some(Workload::Kubernetes(_)) => health::of_objects(cx, fields.get("health"), fields.at),
        other => {
            let port = other.as_ref().and_then(Workload::process).map(|process| process.port);
            health::decode(cx, fields.get("health"), fields.at, port)
        }
    });
    let strategy = cx.within("strategy", || strategy::decode(cx, fields.get("strategy"), fields.at));
    let analyses = fields.or_else("analyses", BTreeMap::new, |node| analysis::decode(cx, node));
    let hooks = fields.or_else("hooks", Hooks::default, |node| hooks::decode(cx, node));
    let empty = Node::empty_map(fields.at.clone());
    let rollback = cx.within("rollback", || hooks::rollback(cx, fields.get("rollback").unwrap_or(&empty)));
    let depends_on = fields.or_else("dependsOn", Vec::new, |node| depends_on(cx, node));
    let prune = fields.or("prune", true, |node| cx.boolean(node));
    if let (Some(strategy), Some(analyses)) = (&strategy, &analyses) {
        known_analyses(cx, &strategy.analyses, analyses);
    }
    fields.finish();
    Some(AppSpec {
        workload: workload?,
        secrets: secrets?,
        replicas: replicas?,
        route: route?,
        health: health?,
        strategy: strategy?.strategy,
        analyses: analyses?,
        hooks: hooks?,
        rollback: rollback?,
        depends_on: depends_on?,
        prune: prune?,
    })
}

/// `replicas` is a field of the spec, so that a Release sets it for every kind of workload; beside the process it says the
/// same where the spec says nothing. Objects of a cluster are counted when they are looked up.
fn replicas(cx: &Context, fields: &Fields<'_>, workload: Option<&Workload>) -> Option<u32> {
    if let Some(node) = fields.get("replicas") {
        return cx.number(node, 0, process::MAX_REPLICAS);
    }
    let Workload::Process(process) = workload? else { return Some(0) };
    match process.replicas {
        Some(replicas) => Some(replicas),
        None => {
            cx.default_taken("replicas", 1);
            Some(1)
        }
    }
}

fn route(cx: &Context, node: &Node) -> Option<RouteSpec> {
    let fields = cx.fields(node, "a route")?;
    let listener = fields.optional("listener", |node| Some(Located::new(&node.at, values::name(cx, node)?)));
    let host = fields.optional("host", |node| values::host(cx, node));
    let path = fields.or("path", "/".to_owned(), |node| values::url_path(cx, node));
    let sticky =
        fields.optional("sticky", |node| values::span(cx, node, Span::from_secs(1), Span::from_secs(30 * 24 * 3600)));
    let drain = fields.or("drain", Span::from_secs(30), |node| values::span_to(cx, node, Span::from_secs(24 * 3600)));
    let timeout = fields.or("timeout", Span::from_secs(60), |node| {
        values::span(cx, node, Span::from_millis(10), Span::from_secs(24 * 3600))
    });
    let upstream = fields.optional("upstream", |node| upstream(cx, node));
    let testers = fields.or_else("testers", Vec::new, |node| testers(cx, node));
    fields.finish();
    Some(RouteSpec {
        listener: listener?,
        at: node.at.clone(),
        host: host?,
        path: path?,
        sticky: sticky?,
        drain: drain?,
        timeout: timeout?,
        upstream: upstream?.unwrap_or_default(),
        testers: testers?,
    })
}

fn upstream(cx: &Context, node: &Node) -> Option<Upstream> {
    match cx.text(node)? {
        "http1" => Some(Upstream::Http1),
        "http2" => Some(Upstream::Http2),
        text => {
            let message = format!("`{text}` is nothing that an instance is spoken to in");
            cx.schema(&node.at, message, "write http1, or http2 for HTTP/2 without TLS");
            None
        }
    }
}

/// `[{ header: x-version, value: next }, { cookie: tester, value: "1" }]`
fn testers(cx: &Context, node: &Node) -> Option<Vec<Tester>> {
    let testers = cx.list(node, |item| tester(cx, item))?;
    if testers.len() > MAX_TESTERS {
        cx.schema(&node.at, format!("a route has at most {MAX_TESTERS} kinds of testers"), "remove some");
        return None;
    }
    Some(testers)
}

fn tester(cx: &Context, node: &Node) -> Option<Tester> {
    let fields = cx.fields(node, "a tester")?;
    let text = |node: &Node| cx.text(node).map(str::to_owned);
    let (header, cookie) = (fields.optional("header", text)?, fields.optional("cookie", text)?);
    let value = fields.required("value", "next", text);
    fields.finish();
    let (at, value) = (&node.at, value?);
    let tester = match (header, cookie) {
        (Some(name), None) => Tester::Header { name: name.to_ascii_lowercase(), value },
        (None, Some(name)) => Tester::Cookie { name, value },
        _ => {
            let message = "a tester is told by one `header` or one `cookie`";
            cx.schema(at, message, "write `{ header: x-version, value: next }`");
            return None;
        }
    };
    match tester.check() {
        Ok(()) => Some(tester),
        Err(reason) => {
            cx.schema(at, reason, "write something like `{ header: x-version, value: next }`");
            None
        }
    }
}

fn depends_on(cx: &Context, node: &Node) -> Option<Vec<Located<Name>>> {
    let name = |node: &Node| Some(Located::new(&node.at, values::name(cx, node)?));
    if matches!(node.value, Value::Scalar(_)) { Some(vec![name(node)?]) } else { cx.list(node, name) }
}

fn known_analyses(cx: &Context, named: &[Located<Name>], analyses: &BTreeMap<Name, Analysis>) {
    let known: Vec<&str> = analyses.keys().map(Name::as_str).collect();
    for name in named.iter().filter(|name| !analyses.contains_key(&name.value)) {
        let remedy = name_or_add(name.value.as_str(), &known, "define it under `analyses`");
        let message = format!("there is no analysis `{}` in this App", name.value);
        cx.report(Layer::Dependency, &name.at, message, remedy);
    }
}
