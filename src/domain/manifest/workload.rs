//! The workload of an App, whatever its kind.

use super::decode::Context;
use super::kubernetes::{self, Kubernetes};
use super::node::Node;
use super::problem::Layer;
use super::process::{self, Process};

/// What runs, before it is looked up.
#[derive(Clone, Debug)]
pub enum Workload {
    /// Processes of the host.
    Process(Process),
    /// Objects of a cluster.
    Kubernetes(Kubernetes),
}

impl Workload {
    /// The process, where it is one.
    pub fn process(&self) -> Option<&Process> {
        match self {
            Workload::Process(process) => Some(process),
            Workload::Kubernetes(_) => None,
        }
    }
}

const WORKLOADS: [&str; 6] = ["process", "compose", "kubernetes", "ecs", "containerInstances", "vm"];

/// Decodes `workload`.
pub fn decode(cx: &Context, node: &Node) -> Option<Workload> {
    let (kind, settings, at) = cx.choice(node, "a workload", &WORKLOADS)?;
    let empty = Node::empty_map(at.clone());
    let settings = settings.unwrap_or(&empty);
    match kind {
        "process" => cx.within(kind, || process::decode(cx, settings)).map(Workload::Process),
        "kubernetes" if cfg!(feature = "kubernetes") => {
            cx.within(kind, || kubernetes::decode(cx, settings)).map(Workload::Kubernetes)
        }
        _ => {
            let message = format!("this build of trimtab has no `{kind}` workload");
            cx.report(Layer::Compatibility, at, message, "use `process`, or a build that has it");
            None
        }
    }
}
