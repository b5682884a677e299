//! Scripts: what hooks and analyses run.

use std::collections::BTreeMap;

use super::decode::Context;
use super::node::Node;
use super::process::{self, Artifact};
use super::secrets::{self, Secrets};
use super::values;
use crate::domain::span::Span;
use crate::domain::workload::Limits;

/// A Script's spec, before its artifact is looked up and the configuration is added to its environment.
#[derive(Clone, Debug)]
pub struct Script {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its own environment variables.
    pub env: BTreeMap<String, String>,
    /// What it must not say in clear.
    pub secrets: Secrets,
    /// The files it runs from.
    pub artifact: Option<Artifact>,
    /// The user to run as.
    pub user: Option<String>,
    /// Resource limits.
    pub limits: Limits,
    /// After this it is killed and has failed.
    pub timeout: Span,
    /// How much of its output is kept, in bytes.
    pub output_limit: u64,
}

/// A size that shows as it is written.
struct Size(u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&values::show_size(self.0))
    }
}

/// Decodes a Script's spec.
pub fn decode(cx: &Context, node: &Node) -> Option<Script> {
    let fields = cx.fields(node, "a Script's spec")?;
    let artifact = fields.optional("artifact", |node| process::artifact(cx, node));
    let command = match (fields.get("run"), fields.get("command")) {
        (Some(node), None) => cx.within("run", || {
            let text = values::free_text(cx, node, false)?;
            Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), text])
        }),
        (None, Some(node)) => cx.within("command", || values::command(cx, node, false)),
        (Some(_), Some(node)) => {
            cx.schema(&node.at, "both `run` and `command` are given", "keep one of them");
            None
        }
        (None, None) => {
            let remedy = "add `run: |` and the lines of a shell script, or `command: [bin/migrate]`";
            cx.schema(&node.at, "a Script's spec needs `run` or `command`", remedy);
            None
        }
    };
    let env = fields.or_else("env", BTreeMap::new, |node| values::environment(cx, node, false));
    let secrets = fields.or_else("secrets", BTreeMap::new, |node| secrets::decode(cx, node));
    if let (Some(env), Some(secrets)) = (&env, &secrets) {
        secrets::check_environment(cx, secrets, env);
    }
    let user = fields.optional("user", |node| process::user(cx, node));
    let limits = fields.or_else("limits", Limits::default, |node| process::limits(cx, node));
    let timeout = fields.or("timeout", Span::from_secs(300), |node| {
        values::span(cx, node, Span::from_millis(100), Span::from_secs(24 * 3600))
    });
    let output_limit = fields.or("outputLimit", Size(64 << 10), |node| values::size(cx, node, 0, 16 << 20).map(Size));
    fields.finish();
    Some(Script {
        command: command?,
        env: env?,
        secrets: secrets?,
        artifact: artifact?,
        user: user?,
        limits: limits?,
        timeout: timeout?,
        output_limit: output_limit?.0,
    })
}
