//! `health` of an App: readiness beside its settings, liveness apart.

use super::decode::{Context, Fields};
use super::kubernetes;
use super::node::{Node, Value};
use super::problem::Layer;
use super::source::Location;
use super::values;
use crate::domain::span::Span;
use crate::domain::workload::{Check, Health, Probe};

const HOUR: Span = Span::from_secs(3600);
const DAY: Span = Span::from_secs(24 * 3600);

/// The settings of a probe, with defaults of its role.
struct Defaults {
    interval: Span,
}

const READINESS: Defaults = Defaults { interval: Span::from_secs(1) };
const LIVENESS: Defaults = Defaults { interval: Span::from_secs(5) };

/// Decodes `health`; without it, or without a check in it, a process with a port is ready when its port takes connections.
/// `port`: whether the process has one; `None` where that could not be told.
pub fn decode(cx: &Context, node: Option<&Node>, at: &Location, port: Option<bool>) -> Option<Health> {
    let empty = Node::empty_map(at.clone());
    let fields = cx.fields(node.unwrap_or(&empty), "health")?;
    let check = readiness_check(cx, &fields);
    let inner = check.as_ref().and_then(|(_, inner, _)| inner.as_ref());
    let probe = timing(cx, &fields, inner, &READINESS);
    let within = either(cx, &fields, inner, "within", Span::from_secs(60), |node| {
        values::span(cx, node, Span::from_secs(1), DAY)
    });
    let min_ready = either(cx, &fields, inner, "minReady", Span::ZERO, |node| values::span_to(cx, node, DAY));
    let liveness = fields.optional("liveness", |node| liveness(cx, node, port));
    let found = match check {
        None => None,
        Some((check, inner, at)) => {
            if let Some(inner) = inner {
                inner.finish();
            }
            match check {
                Some(check) => needs_port(cx, &check, at, port).then_some(Some(check)),
                None if port == Some(true) => {
                    cx.default_taken("tcp", "{}");
                    Some(Some(Check::Tcp {}))
                }
                None => Some(None),
            }
        }
    };
    fields.finish();
    let probe = probe?;
    let readiness = found?.map(|check| Probe { check, ..probe });
    Some(Health { readiness, liveness: liveness?, within: within?, min_ready: min_ready? })
}

/// Decodes `health` of objects, whose health the cluster tells: how long they may take, and how long they must be well.
pub fn of_objects(cx: &Context, node: Option<&Node>, at: &Location) -> Option<Health> {
    let empty = Node::empty_map(at.clone());
    let fields = cx.fields(node.unwrap_or(&empty), "health")?;
    let within = fields.or("within", Span::from_secs(600), |node| values::span(cx, node, Span::from_secs(1), DAY));
    let min_ready = fields.or("minReady", Span::ZERO, |node| values::span_to(cx, node, DAY));
    // What is of processes alone was refused with its own word.
    for name in kubernetes::HEALTH_OF_PROCESSES {
        let _ = fields.get(name);
    }
    fields.finish();
    Some(Health { readiness: None, liveness: None, within: within?, min_ready: min_ready? })
}

fn liveness(cx: &Context, node: &Node, port: Option<bool>) -> Option<Probe> {
    let fields = cx.fields(node, "liveness")?;
    let (check, inner, at) = readiness_check(cx, &fields)?;
    let probe = timing(cx, &fields, inner.as_ref(), &LIVENESS);
    if let Some(inner) = inner {
        inner.finish();
    }
    fields.finish();
    let Some(check) = check else {
        cx.schema(&node.at, "liveness needs a check", "add `http: /livez`, `tcp: {}` or `exec: [bin/check]`");
        return None;
    };
    needs_port(cx, &check, at, port).then_some(())?;
    Some(Probe { check, ..probe? })
}

type Found<'a> = (Option<Check>, Option<Fields<'a>>, &'a Location);

/// The check among `http`, `tcp` and `exec`, and its own mapping, which may hold the settings too.
fn readiness_check<'a>(cx: &'a Context, fields: &Fields<'a>) -> Option<Found<'a>> {
    let given: Vec<(&'static str, &'a Node)> =
        ["http", "tcp", "exec"].into_iter().filter_map(|kind| Some((kind, fields.get(kind)?))).collect();
    let (kind, node) = match given.as_slice() {
        [] => return Some((None, None, fields.at)),
        [one] => *one,
        [(first, _), (second, node), ..] => {
            let message = format!("both `{first}` and `{second}` are given");
            cx.schema(&node.at, message, format!("keep one; a Release changes it with `{first}: null`"));
            return None;
        }
    };
    let (check, inner) = cx.within(kind, || match kind {
        "http" => http(cx, node),
        "tcp" => tcp(cx, node),
        _ => exec(cx, node),
    });
    Some((Some(check?), inner, &node.at))
}

fn http<'a>(cx: &'a Context, node: &'a Node) -> (Option<Check>, Option<Fields<'a>>) {
    if matches!(node.value, Value::Scalar(_)) {
        return (values::url_path(cx, node).map(|path| Check::Http { path }), None);
    }
    let Some(fields) = cx.fields(node, "an http check") else { return (None, None) };
    let path = fields.required("path", "/healthz", |node| values::url_path(cx, node));
    (path.map(|path| Check::Http { path }), Some(fields))
}

fn tcp<'a>(cx: &'a Context, node: &'a Node) -> (Option<Check>, Option<Fields<'a>>) {
    let fields = cx.fields(node, "a tcp check");
    (fields.is_some().then_some(Check::Tcp {}), fields)
}

fn exec<'a>(cx: &'a Context, node: &'a Node) -> (Option<Check>, Option<Fields<'a>>) {
    if !matches!(node.value, Value::Map(_)) {
        return (values::command(cx, node, true).map(|command| Check::Exec { command }), None);
    }
    let Some(fields) = cx.fields(node, "an exec check") else { return (None, None) };
    let command = fields.required("command", "[bin/check]", |node| values::command(cx, node, true));
    (command.map(|command| Check::Exec { command }), Some(fields))
}

/// Whether a check that asks a port has one to ask.
fn needs_port(cx: &Context, check: &Check, at: &Location, port: Option<bool>) -> bool {
    let fine = port != Some(false) || matches!(check, Check::Exec { .. });
    if !fine {
        let remedy = "delete `port: false`, or check with `exec`";
        cx.report(Layer::Compatibility, at, "this check asks a port, and the process has none", remedy);
    }
    fine
}

/// The settings of a probe, without its check.
fn timing(cx: &Context, outer: &Fields<'_>, inner: Option<&Fields<'_>>, defaults: &Defaults) -> Option<Probe> {
    let short = Span::from_millis(50);
    let interval = either(cx, outer, inner, "interval", defaults.interval, |node| values::span(cx, node, short, HOUR));
    let timeout = either(cx, outer, inner, "timeout", Span::from_secs(2), |node| values::span(cx, node, short, HOUR));
    let healthy_after = either(cx, outer, inner, "healthyAfter", 1, |node| cx.number(node, 1, 1000));
    let unhealthy_after = either(cx, outer, inner, "unhealthyAfter", 3, |node| cx.number(node, 1, 1000));
    Some(Probe {
        check: Check::Tcp {},
        interval: interval?,
        timeout: timeout?,
        healthy_after: healthy_after?,
        unhealthy_after: unhealthy_after?,
    })
}

/// A setting that stands either beside the check or in it.
fn either<T: ToString>(
    cx: &Context,
    outer: &Fields<'_>,
    inner: Option<&Fields<'_>>,
    name: &'static str,
    default: T,
    decode: impl Fn(&Node) -> Option<T>,
) -> Option<T> {
    let beside = outer.get(name);
    let within = inner.and_then(|inner| inner.get(name));
    if let (Some(beside), Some(within)) = (beside, within) {
        let message = format!("`{name}` is given twice, beside the check and in line {} in it", within.at.line);
        cx.schema(&beside.at, message, "keep one of them");
        return None;
    }
    match beside.or(within) {
        Some(node) => decode(node),
        None => {
            cx.default_taken(name, default.to_string());
            Some(default)
        }
    }
}
