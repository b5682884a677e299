//! Apps: what runs, how it is seen to be well, how a new version takes over.

use std::collections::BTreeMap;

use super::analysis::{self, Analysis};
use super::decode::{Context, Fields, name_or_add};
use super::health;
use super::hooks::{self, Hooks};
use super::node::{Located, Node, Value};
use super::problem::Layer;
use super::process::{self, Process};
use super::strategy;
use super::values;
use crate::domain::desired::RollbackRules;
use crate::domain::id::Name;
use crate::domain::span::Span;
use crate::domain::strategy::Strategy;
use crate::domain::workload::Health;

/// An App's spec, before its references are looked up.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// What runs.
    pub workload: Process,
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
}

/// Decodes an App's spec.
pub fn decode(cx: &Context, node: &Node) -> Option<AppSpec> {
    let fields = cx.fields(node, "an App's spec")?;
    let workload =
        fields.required("workload", "{ process: { command: [bin/app] } }", |node| process::workload(cx, node));
    let replicas = replicas(cx, &fields, workload.as_ref());
    let route = fields.optional("route", |node| route(cx, node));
    let port = workload.as_ref().map(|workload| workload.port);
    let health = cx.within("health", || health::decode(cx, fields.get("health"), fields.at, port));
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
/// same where the spec says nothing.
fn replicas(cx: &Context, fields: &Fields<'_>, workload: Option<&Process>) -> Option<u32> {
    if let Some(node) = fields.get("replicas") {
        return cx.number(node, 0, process::MAX_REPLICAS);
    }
    match workload?.replicas {
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
    fields.finish();
    Some(RouteSpec {
        listener: listener?,
        at: node.at.clone(),
        host: host?,
        path: path?,
        sticky: sticky?,
        drain: drain?,
        timeout: timeout?,
    })
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
