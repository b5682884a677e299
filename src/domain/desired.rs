//! What one revision asks for: the rendered desired state of one unit, with nothing left to look up.
//!
//! A [`DesiredUnit`] is stored as a content-addressed blob under its rendered digest, so that a rollout resumes and a
//! rollback works with Git down and history rewritten. Fields are only ever added, with defaults that are left out.

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::analysis::{Analysis, Measure};
use super::digest::Digest;
use super::hook::{Hooks, OnRollback};
use super::id::{GroupId, Name, UnitId};
use super::objects::generate;
use super::omit;
use super::route::{Tester, Upstream};
use super::secret::SecretRef;
use super::span::Span;
use super::strategy::Strategy;
use super::tls::Tls;
use super::workload::{Health, Workload};

/// The version of the rendered form, the prefix of its digests.
pub const RENDERED: &str = "r1";

/// What shall run for one app in one environment on one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredUnit {
    /// Whose it is.
    pub unit: UnitId,
    /// The release's version.
    pub version: String,
    /// What runs.
    pub workload: Workload,
    /// How many instances.
    pub replicas: u32,
    /// How its health is seen.
    pub health: Health,
    /// The requests it serves; none for a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// How a new version takes over.
    pub strategy: Strategy,
    /// The analyses that the strategy and the rollback rules name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub analyses: BTreeMap<Name, Analysis>,
    /// What runs before and after a rollout.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// When a rollout is taken back by itself.
    pub rollback: RollbackRules,
    /// Apps of the same environment and target that must be verified first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Name>,
    /// Whether it is removed when its Release is.
    pub prune: bool,
    /// The wave of its target: a wave starts when all lower ones are verified.
    #[serde(default, skip_serializing_if = "omit::is_zero")]
    pub wave: u32,
}

impl DesiredUnit {
    /// The rendered digest: two desired states with the same digest ask for the same.
    pub fn digest(&self) -> Digest {
        Digest::of(RENDERED, self)
    }

    /// Whether it serves requests that can be led to one group or another.
    pub fn is_routed(&self) -> bool {
        self.route.is_some() || self.workload.routing().is_some()
    }

    /// The secrets of everything that it runs: its workload, hooks, analyses.
    pub fn secrets(&self) -> impl Iterator<Item = (&String, &SecretRef)> {
        let hooks = self.hooks.before.iter().chain(&self.hooks.after).flat_map(|hook| {
            let back = match &hook.on_rollback {
                OnRollback::Script(script) => Some(script),
                OnRollback::Nothing | OnRollback::ForwardOnly => None,
            };
            std::iter::once(&hook.script).chain(back)
        });
        let measures = self.analyses.values().filter_map(|analysis| match &analysis.measure {
            Measure::Script(script) => Some(script),
            Measure::Router(_) | Measure::Http { .. } => None,
        });
        self.workload.secrets().iter().chain(hooks.chain(measures).flat_map(|script| &script.secrets))
    }

    /// The digests of their values, as far as they are known.
    pub fn secret_digests(&self) -> BTreeSet<Digest> {
        self.secrets().filter_map(|(_, secret)| secret.digest.clone()).collect()
    }

    /// Takes the secrets whose value is not known here for what they are in another state, where it has the same ones: what
    /// nobody could read is not known to have changed.
    pub fn assume_secrets(&mut self, other: &DesiredUnit) {
        let known: BTreeMap<(&String, &String), &Digest> = other
            .secrets()
            .filter_map(|(name, secret)| Some(((name, &secret.from), secret.digest.as_ref()?)))
            .collect();
        let assume = |secrets: &mut BTreeMap<String, SecretRef>| {
            for (name, secret) in secrets.iter_mut().filter(|(_, secret)| secret.digest.is_none()) {
                secret.digest = known.get(&(name, &secret.from)).copied().cloned();
            }
        };
        let before = self.workload.secrets().clone();
        assume(self.workload.secrets_mut());
        if let Workload::Kubernetes(spec) = &mut self.workload {
            let count = spec.objects.len();
            let mut all: Vec<_> = spec.all().cloned().collect();
            generate::follow(&mut all, &before, &spec.secrets);
            for (hook, object) in spec.hooks.iter_mut().zip(all.split_off(count)) {
                hook.object = object;
            }
            spec.objects = all;
        }
        for hook in self.hooks.before.iter_mut().chain(&mut self.hooks.after) {
            assume(&mut hook.script.secrets);
            if let OnRollback::Script(script) = &mut hook.on_rollback {
                assume(&mut script.secrets);
            }
        }
        for analysis in self.analyses.values_mut() {
            if let Measure::Script(script) = &mut analysis.measure {
                assume(&mut script.secrets);
            }
        }
    }

    /// The group that its instances belong to. Instances of different groups are different processes; a change that
    /// leaves the group alone (replicas, strategy, hooks, route) never restarts one. `restarts` counts the restarts that
    /// an operator asked for: each makes a new group of the same desired state.
    pub fn group_id(&self, restarts: u32) -> GroupId {
        let identity = serde_json::json!({
            "version": self.version,
            "workload": self.workload.of_group(),
            "readiness": self.health.readiness,
            "liveness": self.health.liveness,
            "minReady": self.health.min_ready,
            "restarts": (restarts > 0).then_some(restarts),
        });
        GroupId(Digest::of("g1", &identity).short().to_owned())
    }
}

/// The requests that a unit serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The address of the environment's listener.
    pub listen: SocketAddr,
    /// The Host; `None` for any that no other route names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path prefix, `/` for all.
    pub path: String,
    /// How long a client stays on the group it was first sent to; `None`: each request is drawn anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Span>,
    /// How long requests to an instance that was taken out may go on.
    pub drain: Span,
    /// How long the answer's head may take.
    pub timeout: Span,
    /// TLS at the listener; `None`: none. What the environment says of the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What instances are spoken to in.
    #[serde(default, skip_serializing_if = "Upstream::is_default")]
    pub upstream: Upstream,
    /// Requests that go to a new version as soon as it is there, whatever its share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub testers: Vec<Tester>,
}

/// When a rollout is taken back without anybody asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackRules {
    /// The failures that take it back. A failure that is not here stops the rollout where it stands and tells.
    pub on: BTreeSet<Trigger>,
    /// How long after full traffic the new version is still watched before it counts as verified.
    pub window: Span,
    /// The failures after which a canary's weights go back step by step; `None`: they go back at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradual: Option<Gradual>,
}

/// How a canary goes back step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gradual {
    /// The failures that are no hurry.
    pub on: BTreeSet<Trigger>,
    /// How long each weight stays at most on the way back.
    pub pause: Span,
}

/// The failures that may take a rollout back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trigger {
    /// Instances do not become ready in time, exit, or stop being ready while watched.
    Unhealthy,
    /// An analysis fails.
    Analysis,
    /// A hook fails.
    Hook,
}
