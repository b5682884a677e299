//! `strategy` of an App.

use super::decode::Context;
use super::node::{Located, Node, Value};
use super::values;
use crate::domain::id::Name;
use crate::domain::span::Span;
use crate::domain::strategy::{Amount, BlueGreen, Canary, Promote, Recreate, Rolling, Step, Strategy};

const DAY: Span = Span::from_secs(24 * 3600);
const YEAR: Span = Span::from_secs(366 * 24 * 3600);

/// The most steps of a canary.
const MAX_STEPS: usize = 100;

/// A strategy, and the analyses that it names.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The strategy.
    pub strategy: Strategy,
    /// The analyses that must exist.
    pub analyses: Vec<Located<Name>>,
}

/// Decodes `strategy`; without it rolling, a quarter at a time.
pub fn decode(cx: &Context, node: Option<&Node>, at: &super::source::Location) -> Option<Chosen> {
    let mut analyses = Vec::new();
    let Some(node) = node else {
        cx.default_taken("", "rolling");
        let strategy = cx.within("rolling", || rolling(cx, &Node::empty_map(at.clone())))?;
        return Some(Chosen { strategy, analyses });
    };
    let (kind, settings, at) = cx.choice(node, "a strategy", &["rolling", "recreate", "blueGreen", "canary"])?;
    let empty = Node::empty_map(at.clone());
    let settings = settings.unwrap_or(&empty);
    let strategy = cx.within(kind, || match kind {
        "rolling" => rolling(cx, settings),
        "recreate" => recreate(cx, settings),
        "blueGreen" => blue_green(cx, settings, &mut analyses),
        _ => canary(cx, settings, &mut analyses),
    })?;
    Some(Chosen { strategy, analyses })
}

fn rolling(cx: &Context, node: &Node) -> Option<Strategy> {
    let fields = cx.fields(node, "rolling")?;
    let quarter = || Shown(Amount::Percent(25));
    let surge = fields.or("maxSurge", quarter(), |node| values::amount(cx, node).map(Shown));
    let unavailable = fields.or("maxUnavailable", quarter(), |node| values::amount(cx, node).map(Shown));
    fields.finish();
    let (max_surge, max_unavailable) = (surge?.0, unavailable?.0);
    let zero = |amount| matches!(amount, Amount::Count(0) | Amount::Percent(0));
    if zero(max_surge) && zero(max_unavailable) {
        let message = "`maxSurge` and `maxUnavailable` are both zero, so no instance could ever be replaced";
        cx.schema(&node.at, message, "set `maxSurge: 1`");
        return None;
    }
    Some(Strategy::Rolling(Rolling { max_surge, max_unavailable }))
}

/// An amount that shows as it is written.
struct Shown(Amount);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&values::show_amount(self.0))
    }
}

fn recreate(cx: &Context, node: &Node) -> Option<Strategy> {
    let fields = cx.fields(node, "recreate")?;
    let hold = fields.or("hold", Span::from_secs(30), |node| values::span_to(cx, node, Span::from_secs(600)));
    fields.finish();
    Some(Strategy::Recreate(Recreate { hold: hold? }))
}

fn scale_down_delay(cx: &Context, fields: &super::decode::Fields<'_>) -> Option<Span> {
    fields.or("scaleDownDelay", Span::from_secs(30), |node| values::span_to(cx, node, DAY))
}

fn names(cx: &Context, node: &Node, analyses: &mut Vec<Located<Name>>) -> Option<Vec<Name>> {
    let name = |node: &Node| Some(Located::new(&node.at, values::name(cx, node)?));
    // One name may stand without brackets.
    let found = if matches!(node.value, Value::Scalar(_)) { vec![name(node)?] } else { cx.list(node, name)? };
    analyses.extend(found.iter().cloned());
    Some(found.into_iter().map(|name| name.value).collect())
}

fn blue_green(cx: &Context, node: &Node, analyses: &mut Vec<Located<Name>>) -> Option<Strategy> {
    let fields = cx.fields(node, "blueGreen")?;
    let preview_host = fields.optional("previewHost", |node| values::host(cx, node));
    let preview_replicas = fields.optional("previewReplicas", |node| cx.number(node, 1, super::process::MAX_REPLICAS));
    let pre = fields.or_else("prePromotion", Vec::new, |node| names(cx, node, analyses));
    let post = fields.or_else("postPromotion", Vec::new, |node| names(cx, node, analyses));
    let promote = match fields.get("promote") {
        Some(node) => promote(cx, node),
        None => {
            cx.default_taken("promote", "auto");
            Some(Promote::Auto)
        }
    };
    let delay = scale_down_delay(cx, &fields);
    fields.finish();
    Some(Strategy::BlueGreen(BlueGreen {
        preview_host: preview_host?,
        preview_replicas: preview_replicas?,
        pre_promotion: pre?,
        promote: promote?,
        post_promotion: post?,
        scale_down_delay: delay?,
    }))
}

fn promote(cx: &Context, node: &Node) -> Option<Promote> {
    match cx.text(node)? {
        "auto" => Some(Promote::Auto),
        "manual" => Some(Promote::Manual),
        text => match text.parse::<Span>() {
            Ok(span) if span <= YEAR => Some(Promote::After(span)),
            _ => {
                let remedy = "write auto, manual, or a time after which it comes by itself, such as 5m";
                cx.schema(&node.at, format!("`{text}` does not say when the switch comes"), remedy);
                None
            }
        },
    }
}

fn canary(cx: &Context, node: &Node, analyses: &mut Vec<Located<Name>>) -> Option<Strategy> {
    let fields = cx.fields(node, "canary")?;
    let example = "[ { weight: 10 }, { pause: 1m }, { weight: 50 }, { pause: 1m } ]";
    let steps = fields.required("steps", example, |node| {
        let steps = cx.list(node, |item| step(cx, item, analyses))?;
        if steps.is_empty() || steps.len() > MAX_STEPS {
            let message = format!("a canary has 1 to {MAX_STEPS} steps");
            cx.schema(&node.at, message, format!("write steps: {example}"));
            return None;
        }
        Some(steps)
    });
    let gate = fields.or_else("gate", Vec::new, |node| names(cx, node, analyses));
    let delay = scale_down_delay(cx, &fields);
    fields.finish();
    Some(Strategy::Canary(Canary { steps: steps?, gate: gate?, scale_down_delay: delay? }))
}

fn step(cx: &Context, node: &Node, analyses: &mut Vec<Located<Name>>) -> Option<Step> {
    let (kind, value, at) = cx.choice(node, "a step", &["weight", "pause", "analysis", "scale"])?;
    let needed = |example: &str| {
        if value.is_none() {
            cx.schema(at, format!("the step `{kind}` needs a value"), format!("write `{kind}: {example}`"));
        }
        value
    };
    match kind {
        "weight" => values::percent(cx, needed("10")?).map(Step::Weight),
        "scale" => values::amount(cx, needed("25%")?).map(Step::Scale),
        "analysis" => {
            let node = needed("errors")?;
            let name = values::name(cx, node)?;
            analyses.push(Located::new(&node.at, name.clone()));
            Some(Step::Analysis(name))
        }
        _ => pause(cx, value).map(Step::Pause),
    }
}

/// `pause: 30s`, or `pause: {}` until promoted.
fn pause(cx: &Context, value: Option<&Node>) -> Option<Option<Span>> {
    match value {
        None => Some(None),
        Some(node) if matches!(&node.value, Value::Map(entries) if entries.is_empty()) => Some(None),
        Some(node) if matches!(node.value, Value::Map(_)) => {
            cx.schema(&node.at, "a pause is a time", "write `pause: 30s`, or `pause: {}` to wait until promoted");
            None
        }
        Some(node) => values::span_to(cx, node, YEAR).map(Some),
    }
}
