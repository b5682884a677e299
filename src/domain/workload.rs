//! What runs: the processes or objects of an app, how they are started and stopped, how their health is seen.
//!
//! These types are part of what is persisted and sent to the supervisor. A field may be added with a default that is
//! left out when it is written; a field is never renamed or given another meaning (model.md, "Versions").

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub mod hooks;
pub mod http_route;
pub mod kubernetes;
pub mod order;
pub mod versioned;
pub mod waves;

pub use self::kubernetes::KubernetesSpec;
use self::waves::Stage;
use super::hook::{ObjectHook, When};
use super::id::Name;
use super::secret::SecretRef;
use super::span::Span;

/// The kinds of workload. Capabilities belong to (platform, workload kind, data plane) together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Workload {
    /// Processes started on the host itself.
    Process(ProcessSpec),
    /// Objects applied to a Kubernetes cluster.
    Kubernetes(KubernetesSpec),
}

impl Workload {
    /// The secrets it is given, by name.
    pub fn secrets(&self) -> &BTreeMap<String, SecretRef> {
        match self {
            Workload::Process(process) => &process.secrets,
            Workload::Kubernetes(kubernetes) => &kubernetes.secrets,
        }
    }

    /// The same, to be changed.
    pub fn secrets_mut(&mut self) -> &mut BTreeMap<String, SecretRef> {
        match self {
            Workload::Process(process) => &mut process.secrets,
            Workload::Kubernetes(kubernetes) => &mut kubernetes.secrets,
        }
    }

    /// The files it runs from.
    pub fn artifact(&self) -> Option<&ArtifactRef> {
        match self {
            Workload::Process(process) => process.artifact.as_ref(),
            Workload::Kubernetes(_) => None,
        }
    }

    /// The same, without what says where its secrets stand: what decides whether two workloads are the same.
    #[must_use]
    pub fn without_places(&self) -> Self {
        let mut workload = self.clone();
        forget_places(workload.secrets_mut());
        workload
    }

    /// What decides whether two groups of instances are the same.
    pub fn of_group(&self) -> Value {
        let mut workload = self.without_places();
        if let Workload::Kubernetes(kubernetes) = &mut workload {
            // What runs once is no part of what shall be there.
            kubernetes.hooks.clear();
            kubernetes.left_out.clear();
        }
        let part = match &workload {
            Workload::Kubernetes(kubernetes) => kubernetes.of_group(),
            Workload::Process(_) => None,
        };
        part.unwrap_or_else(|| json!(workload))
    }

    /// What leads requests to its groups, where it brings that along, apart from which group has them.
    pub fn routing(&self) -> Option<Value> {
        match self {
            Workload::Process(_) => None,
            Workload::Kubernetes(kubernetes) => Some(json!(kubernetes.routing()?)),
        }
    }

    /// Whether its platform replaces its instances by itself: it is one group at a time, which can't be made smaller.
    pub fn is_in_place(&self) -> bool {
        matches!(self, Workload::Kubernetes(kubernetes) if kubernetes.versioned.is_none())
    }

    /// The stages that a group of it is made in, one after the other; none where all instances are made at once.
    pub fn stages(&self) -> Vec<Stage> {
        match self {
            Workload::Kubernetes(kubernetes) if kubernetes.versioned.is_none() => kubernetes.stages(),
            _ => Vec::new(),
        }
    }

    /// The hooks that it brings along, of a time of a rollout, in their order.
    pub fn hooks(&self, when: When) -> Vec<ObjectHook> {
        match self {
            Workload::Kubernetes(kubernetes) => kubernetes.hooks_when(when),
            Workload::Process(_) => Vec::new(),
        }
    }

    /// What came with it and is not run or made, for people.
    pub fn left_out(&self) -> &[String] {
        match self {
            Workload::Kubernetes(kubernetes) => &kubernetes.left_out,
            Workload::Process(_) => &[],
        }
    }

    /// Where it runs.
    pub fn place(&self) -> Place {
        match self {
            Workload::Process(_) => Place::Host,
            Workload::Kubernetes(kubernetes) => Place::Cluster(kubernetes.place.cluster.clone()),
        }
    }
}

fn forget_places(secrets: &mut BTreeMap<String, SecretRef>) {
    secrets.values_mut().for_each(|secret| secret.from.clear());
}

/// The platform connection that a workload belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// This machine, through the supervisor.
    Host,
    /// A Kubernetes cluster, by its name in the daemon's configuration.
    Cluster(Name),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Host => f.write_str("this host"),
            Place::Cluster(name) => write!(f, "cluster {name}"),
        }
    }
}

/// A process that is started `replicas` times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessSpec {
    /// The files it runs from; its working directory is a private copy of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactRef>,
    /// The program and its arguments. `{{ port }}`, `{{ instance }}` and `{{ slot }}` are left for the supervisor, which alone
    /// knows them. A program with a `/` in it is looked up in the working directory, any other in PATH.
    pub command: Vec<String>,
    /// The whole environment of the process; nothing is inherited but what the supervisor's documentation names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What it gets beside the environment and must not be said in clear, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
    /// The user to run as; the supervisor's own where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Resource limits.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// How it is stopped.
    #[serde(default)]
    pub stop: Stop,
    /// Whether the process listens on a port that the supervisor allocates.
    #[serde(default = "yes")]
    pub port: bool,
    /// Each of stdout and stderr is kept up to this many bytes, in two files of half the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_limit: Option<u64>,
}

fn yes() -> bool {
    true
}

impl ProcessSpec {
    /// As [`Workload::without_places`].
    #[must_use]
    pub fn without_places(&self) -> Self {
        let mut process = self.clone();
        forget_places(&mut process.secrets);
        process
    }
}

/// Files that a process runs from, named by content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArtifactRef {
    /// A folder of the configuration repository, by the object name of its Git tree.
    Tree {
        /// The full hexadecimal object name.
        oid: String,
    },
    /// A file from elsewhere. A `.tar.gz`, `.tgz` or `.tar` is unpacked; anything else is put in place as an executable file
    /// under the last part of the URL's path.
    Url {
        /// `https://`, `http://` or `file://`.
        url: String,
        /// The hexadecimal SHA-256 that its bytes must have.
        sha256: String,
    },
}

/// Limits of one instance. What the kernel cannot enforce is said by the platform, never silently dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Thousandths of one CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Limits::default()
    }
}

/// How an instance is stopped: a signal to its main process, a time to leave, then the kill of its whole tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    /// `TERM`, `INT`, `QUIT`, `HUP`, `USR1` or `USR2`.
    pub signal: String,
    /// How long it may take before it is killed.
    pub grace: Span,
}

impl Default for Stop {
    fn default() -> Self {
        Stop { signal: "TERM".into(), grace: Span::from_secs(10) }
    }
}

/// How health is seen: readiness decides over traffic and progress, liveness over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Whether an instance may serve. Without one an instance is ready once it has run for `min_ready`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Whether an instance must be restarted. Without one only its exit is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// How long a group may take until all of it is ready; time spent in pauses does not count.
    pub within: Span,
    /// How long an instance must be ready without interruption before it counts as available.
    #[serde(default)]
    pub min_ready: Span,
}

/// One check, repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// What is checked.
    pub check: Check,
    /// From the end of one check to the start of the next.
    pub interval: Span,
    /// After this a check has failed.
    pub timeout: Span,
    /// Successes in a row until it is healthy.
    pub healthy_after: u32,
    /// Failures in a row until it is unhealthy.
    pub unhealthy_after: u32,
}

/// What a probe checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// A GET to the instance's port; a status of 200-399 is success.
    Http {
        /// The path, beginning with `/`.
        path: String,
    },
    /// The port takes a connection.
    Tcp {},
    /// A command in the instance's working directory and environment; exit code 0 is success.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
    },
}
