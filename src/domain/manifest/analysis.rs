//! `analyses` of an App.

use std::collections::BTreeMap;

use super::bound::{self, Of};
use super::decode::Context;
use super::environment::text_value;
use super::node::{Located, Node, Value};
use super::values;
use crate::domain::analysis::RouterMeasure;
use crate::domain::id::Name;
use crate::domain::span::Span;

/// An analysis, before the script it may name is looked up.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// What is measured.
    pub measure: Measure,
    /// From one measurement to the next.
    pub interval: Span,
    /// How many must succeed.
    pub count: u32,
    /// How many may fail.
    pub failure_limit: u32,
    /// How many in a row may come to nothing.
    pub inconclusive_limit: u32,
}

/// What is measured.
#[derive(Clone, Debug)]
pub enum Measure {
    /// The router's counters.
    Router(RouterMeasure),
    /// A GET.
    Http {
        /// The address.
        url: String,
        /// How long it may take.
        timeout: Span,
    },
    /// A Script, by name.
    Script(Located<Name>),
}

/// Decodes `analyses`: names and what they measure.
pub fn decode(cx: &Context, node: &Node) -> Option<BTreeMap<Name, Analysis>> {
    let Value::Map(entries) = &node.value else {
        cx.wrong_kind(node, "a mapping of names and analyses");
        return None;
    };
    let mut analyses = BTreeMap::new();
    let mut complete = true;
    for entry in entries {
        let key = Node { at: entry.key_at.clone(), value: text_value(&entry.key) };
        let name = values::name(cx, &key);
        let analysis = cx.within(&entry.key, || analysis(cx, &entry.value));
        match (name, analysis) {
            (Some(name), Some(analysis)) => drop(analyses.insert(name, analysis)),
            _ => complete = false,
        }
    }
    complete.then_some(analyses)
}

fn analysis(cx: &Context, node: &Node) -> Option<Analysis> {
    let fields = cx.fields(node, "an analysis")?;
    let given: Vec<(&str, &Node)> =
        ["router", "http", "script"].into_iter().filter_map(|kind| Some((kind, fields.get(kind)?))).collect();
    let measure = match given.as_slice() {
        [(kind, node)] => cx.within(kind, || match *kind {
            "router" => router(cx, node).map(Measure::Router),
            "http" => http(cx, node),
            _ => Some(Measure::Script(Located::new(&node.at, values::name(cx, node)?))),
        }),
        [] => {
            let remedy = "add `router: { errorRate: \"<= 1%\" }`, `http: URL` or `script: NAME`";
            cx.schema(&node.at, "an analysis needs something to measure", remedy);
            None
        }
        [(first, _), (second, node), ..] => {
            let message = format!("both `{first}` and `{second}` are given");
            cx.schema(&node.at, message, "keep one; give the other an analysis of its own");
            None
        }
    };
    let interval = fields.or("interval", Span::from_secs(10), |node| {
        values::span(cx, node, Span::from_millis(100), Span::from_secs(24 * 3600))
    });
    let count = fields.or("count", 1, |node| cx.number(node, 1, 10_000));
    let failures = fields.or("failureLimit", 0, |node| cx.number(node, 0, 10_000));
    let nothing = fields.or("inconclusiveLimit", 30, |node| cx.number(node, 0, 1_000_000));
    fields.finish();
    Some(Analysis {
        measure: measure?,
        interval: interval?,
        count: count?,
        failure_limit: failures?,
        inconclusive_limit: nothing?,
    })
}

fn router(cx: &Context, node: &Node) -> Option<RouterMeasure> {
    let fields = cx.fields(node, "a router analysis")?;
    let error_rate = fields.optional("errorRate", |node| bound::bound(cx, node, Of::Rate));
    let latency_p50 = fields.optional("latencyP50", |node| bound::bound(cx, node, Of::Latency));
    let latency_p95 = fields.optional("latencyP95", |node| bound::bound(cx, node, Of::Latency));
    let latency_p99 = fields.optional("latencyP99", |node| bound::bound(cx, node, Of::Latency));
    let at_least = fields.or("atLeast", 100, |node| cx.number(node, 1, 1_000_000_000));
    fields.finish();
    let measure = RouterMeasure {
        error_rate: error_rate?,
        latency_p50: latency_p50?,
        latency_p95: latency_p95?,
        latency_p99: latency_p99?,
        at_least: u64::from(at_least?),
    };
    let bounds = [measure.error_rate, measure.latency_p50, measure.latency_p95, measure.latency_p99];
    if bounds.iter().all(Option::is_none) {
        let remedy = "add `errorRate: \"<= 1%\"` or `latencyP99: \"<= 250ms\"`";
        cx.schema(&node.at, "a router analysis needs a bound", remedy);
        return None;
    }
    Some(measure)
}

fn http(cx: &Context, node: &Node) -> Option<Measure> {
    let default = Span::from_secs(10);
    if matches!(node.value, Value::Scalar(_)) {
        cx.default_taken("timeout", default);
        return Some(Measure::Http { url: values::url(cx, node, false)?, timeout: default });
    }
    let fields = cx.fields(node, "an http analysis")?;
    let url = fields.required("url", "https://...", |node| values::url(cx, node, false));
    let timeout =
        fields.or("timeout", default, |node| values::span(cx, node, Span::from_millis(10), Span::from_secs(600)));
    fields.finish();
    Some(Measure::Http { url: url?, timeout: timeout? })
}
