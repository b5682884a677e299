//! `hooks` and `rollback` of an App.

use std::collections::BTreeSet;

use super::decode::{Context, did_you_mean, list_of};
use super::node::{Located, Node, Value};
use super::values;
use crate::domain::desired::{Gradual, RollbackRules, Trigger};
use crate::domain::id::Name;
use crate::domain::span::Span;

/// The hooks, before their scripts are looked up.
#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// Before anything of the new version is started.
    pub before: Vec<Hook>,
    /// Once it has all traffic.
    pub after: Vec<Hook>,
}

/// One hook.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The Script's name.
    pub script: Located<Name>,
    /// Whether it may run again when nobody knows how it ended.
    pub idempotent: bool,
    /// What a rollback does about it.
    pub on_rollback: OnRollback,
}

/// What a rollback does about a hook.
#[derive(Clone, Debug)]
pub enum OnRollback {
    /// Nothing.
    Nothing,
    /// There is no automatic way back.
    ForwardOnly,
    /// A Script, by name.
    Script(Located<Name>),
}

/// The most hooks of one kind.
const MAX_HOOKS: usize = 100;

/// Decodes `hooks`.
pub fn decode(cx: &Context, node: &Node) -> Option<Hooks> {
    let fields = cx.fields(node, "hooks")?;
    let before = fields.or_else("before", Vec::new, |node| hooks(cx, node));
    let after = fields.or_else("after", Vec::new, |node| hooks(cx, node));
    fields.finish();
    Some(Hooks { before: before?, after: after? })
}

fn hooks(cx: &Context, node: &Node) -> Option<Vec<Hook>> {
    let hooks = cx.list(node, |item| hook(cx, item))?;
    if hooks.len() > MAX_HOOKS {
        cx.schema(&node.at, format!("more than {MAX_HOOKS} hooks"), "let one script do the work of several");
        return None;
    }
    for (index, hook) in hooks.iter().enumerate() {
        if hooks[..index].iter().any(|other| other.script.value == hook.script.value) {
            let message = format!("the script `{}` is run twice here", hook.script.value);
            cx.schema(&hook.script.at, message, "delete one; a run is known by the name of its script");
            return None;
        }
    }
    Some(hooks)
}

fn hook(cx: &Context, node: &Node) -> Option<Hook> {
    if matches!(node.value, Value::Scalar(_)) {
        let script = Located::new(&node.at, values::name(cx, node)?);
        cx.default_taken("idempotent", false);
        cx.default_taken("onRollback", "nothing");
        return Some(Hook { script, idempotent: false, on_rollback: OnRollback::Nothing });
    }
    let fields = cx.fields(node, "a hook")?;
    let script = fields.required("script", "migrate", |node| Some(Located::new(&node.at, values::name(cx, node)?)));
    let idempotent = fields.or("idempotent", false, |node| cx.boolean(node));
    let on_rollback = match fields.get("onRollback") {
        Some(node) => on_rollback(cx, node),
        None => {
            cx.default_taken("onRollback", "nothing");
            Some(OnRollback::Nothing)
        }
    };
    fields.finish();
    Some(Hook { script: script?, idempotent: idempotent?, on_rollback: on_rollback? })
}

fn on_rollback(cx: &Context, node: &Node) -> Option<OnRollback> {
    let (kind, script, at) = cx.choice(node, "what a rollback does", &["nothing", "forwardOnly", "script"])?;
    match (kind, script) {
        ("nothing", None) => Some(OnRollback::Nothing),
        ("forwardOnly", None) => Some(OnRollback::ForwardOnly),
        ("script", Some(node)) => Some(OnRollback::Script(Located::new(&node.at, values::name(cx, node)?))),
        _ => {
            let remedy = "write nothing, forwardOnly, or { script: NAME }";
            cx.schema(at, "this does not say what a rollback does", remedy);
            None
        }
    }
}

const TRIGGERS: [(&str, Trigger); 3] =
    [("unhealthy", Trigger::Unhealthy), ("analysis", Trigger::Analysis), ("hook", Trigger::Hook)];

/// Decodes `rollback`; without it every failure takes a rollout back.
pub fn rollback(cx: &Context, node: &Node) -> Option<RollbackRules> {
    let fields = cx.fields(node, "rollback")?;
    let on = match fields.get("on") {
        Some(node) => cx.within("on", || cx.list(node, |item| trigger(cx, item))),
        None => {
            cx.default_taken("on", "unhealthy, analysis, hook");
            Some(TRIGGERS.iter().map(|(_, trigger)| *trigger).collect())
        }
    };
    let window =
        fields.or("window", Span::from_secs(60), |node| values::span_to(cx, node, Span::from_secs(7 * 24 * 3600)));
    let gradual = fields.optional("gradual", |node| cx.within("gradual", || gradual(cx, node)));
    fields.finish();
    Some(RollbackRules { on: BTreeSet::from_iter(on?), window: window?, gradual: gradual? })
}

/// `gradual: {}`, or with what is no hurry and how long each weight stays.
fn gradual(cx: &Context, node: &Node) -> Option<Gradual> {
    let fields = cx.fields(node, "gradual")?;
    let on = match fields.get("on") {
        Some(node) => cx.within("on", || cx.list(node, |item| trigger(cx, item))),
        None => {
            cx.default_taken("on", "analysis");
            Some(vec![Trigger::Analysis])
        }
    };
    let pause = fields.or("pause", Span::from_secs(10), |node| values::span_to(cx, node, Span::from_secs(600)));
    fields.finish();
    Some(Gradual { on: BTreeSet::from_iter(on?), pause: pause? })
}

fn trigger(cx: &Context, node: &Node) -> Option<Trigger> {
    let text = cx.text(node)?;
    let found = TRIGGERS.iter().find(|(name, _)| *name == text).map(|(_, trigger)| *trigger);
    if found.is_none() {
        let known: Vec<&str> = TRIGGERS.iter().map(|(name, _)| *name).collect();
        let remedy = did_you_mean(text, &known).unwrap_or_else(|| format!("write some of {}", list_of(&known)));
        cx.schema(&node.at, format!("`{text}` is not a failure that takes a rollout back"), remedy);
    }
    found
}
