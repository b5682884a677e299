//! Kinds of others that tell how they are doing by a word, or by conditions that are not called `Ready`: a table.
//!
//! Only widely used kinds stand here, and of each only what its controller always says: an object of which it says nothing yet is on
//! its way.

use std::borrow::Cow;

use serde_json::Value;

use super::{Condition, Health, conditions};

/// Where it stands.
enum How {
    /// A word in the status, at this place; one that is in none of the lists is on its way.
    Word {
        at: &'static str,
        healthy: &'static [&'static str],
        degraded: &'static [&'static str],
        suspended: &'static [&'static str],
    },
    /// Conditions: it is healthy once all of the first are True, degraded while one of the second is, and rests while one of the third is.
    Conditions { all: &'static [&'static str], wrong: &'static [&'static str], rests: &'static [&'static str] },
}

/// Kinds of a group (of one that ends so, where it begins with a dot), and what they tell.
type Row = (&'static str, &'static [&'static str], How);

const READY: How = all(&["Ready"], &[]);

const fn word(at: &'static str, healthy: &'static [&'static str], degraded: &'static [&'static str]) -> How {
    How::Word { at, healthy, degraded, suspended: &[] }
}

const fn all(all: &'static [&'static str], wrong: &'static [&'static str]) -> How {
    How::Conditions { all, wrong, rests: &[] }
}

/// What says whether it is ready, and by these that it rests.
const fn resting(rests: &'static [&'static str]) -> How {
    How::Conditions { all: &["Ready"], wrong: &[], rests }
}

/// The worst that the rows of a kind tell counts.
static ROWS: &[Row] = &[
    // Those that always say whether they are ready.
    ("cert-manager.io", &["Certificate", "Issuer", "ClusterIssuer"], READY),
    ("external-secrets.io", &["ExternalSecret", "SecretStore", "ClusterSecretStore", "PushSecret"], READY),
    ("external-secrets.io", &["ClusterExternalSecret"], all(&["Ready"], &["NotReady", "PartiallyReady"])),
    ("source.toolkit.fluxcd.io", &["GitRepository", "OCIRepository", "Bucket", "HelmChart"], READY),
    ("kustomize.toolkit.fluxcd.io", &["Kustomization"], READY),
    ("helm.toolkit.fluxcd.io", &["HelmRelease"], READY),
    ("serving.knative.dev", &["Service", "Configuration", "Route", "Revision"], READY),
    ("postgresql.cnpg.io", &["Cluster"], resting(&["cnpg.io/hibernation"])),
    ("keda.sh", &["ScaledObject", "ScaledJob"], resting(&["Paused"])),
    ("k8s.mariadb.com", &["MariaDB"], READY),
    // Conditions of other names.
    (
        "kafka.strimzi.io",
        &["Kafka", "KafkaTopic", "KafkaUser", "KafkaConnect", "KafkaConnector", "KafkaBridge"],
        all(&["Ready"], &["NotReady"]),
    ),
    (
        "monitoring.coreos.com",
        &["Prometheus", "Alertmanager", "PrometheusAgent", "ThanosRuler"],
        all(&["Available"], &[]),
    ),
    ("rabbitmq.com", &["RabbitmqCluster"], all(&["ReconcileSuccess", "ClusterAvailable", "AllReplicasReady"], &[])),
    ("pkg.crossplane.io", &["Provider", "Configuration", "Function"], all(&["Installed", "Healthy"], &[])),
    ("projectcontour.io", &["ExtensionService"], all(&["Valid"], &[])),
    ("argoproj.io", &["ApplicationSet"], all(&["ResourcesUpToDate"], &["ErrorOccurred"])),
    ("argoproj.io", &["CronWorkflow"], all(&[], &["SpecError", "SubmissionError"])),
    ("argoproj.io", &["EventBus"], all(&["Deployed"], &[])),
    // A word.
    ("projectcontour.io", &["HTTPProxy"], word("/status/currentStatus", &["valid"], &["invalid"])),
    (
        "snapshot.storage.k8s.io",
        &["VolumeSnapshot", "VolumeSnapshotContent"],
        word("/status/readyToUse", &["true"], &[]),
    ),
    ("argoproj.io", &["Workflow"], word("/status/phase", &["Succeeded"], &["Failed", "Error"])),
    (
        "argoproj.io",
        &["AnalysisRun", "Experiment"],
        word("/status/phase", &["Successful"], &["Failed", "Error", "Inconclusive"]),
    ),
    (
        "argoproj.io",
        &["Application"],
        How::Word {
            at: "/status/health/status",
            healthy: &["Healthy"],
            degraded: &["Degraded"],
            suspended: &["Suspended"],
        },
    ),
    (
        "acid.zalan.do",
        &["postgresql"],
        word("/status/PostgresClusterStatus", &["Running"], &["CreateFailed", "UpdateFailed", "SyncFailed", "Invalid"]),
    ),
    ("elasticsearch.k8s.elastic.co", &["Elasticsearch"], word("/status/phase", &["Ready"], &["Invalid"])),
    // One node alone can't copy what it has to another, and stays yellow.
    ("elasticsearch.k8s.elastic.co", &["Elasticsearch"], word("/status/health", &["green", "yellow"], &["red"])),
    (
        ".k8s.elastic.co",
        &["Kibana", "Beat", "Logstash", "Agent", "ApmServer", "EnterpriseSearch", "ElasticMapsServer"],
        word("/status/health", &["green"], &["red"]),
    ),
    (
        "minio.min.io",
        &["Tenant"],
        word(
            "/status/currentState",
            &["Initialized"],
            &[
                "Statefulset not controlled by operator",
                "Another MinIO Tenant already exists in the namespace",
                "Tenant credentials are not set properly",
                "Different versions across MinIO Pools",
                "Pool Decommissioning Not Allowed",
            ],
        ),
    ),
    ("ceph.rook.io", &["CephCluster"], word("/status/state", &["Created", "Connected"], &["Error"])),
    // What it warns of is no fault of what was rolled out.
    ("ceph.rook.io", &["CephCluster"], word("/status/ceph/health", &["HEALTH_OK", "HEALTH_WARN"], &["HEALTH_ERR"])),
    (
        "ceph.rook.io",
        &["CephObjectStore", "CephFilesystem", "CephBlockPool"],
        word("/status/phase", &["Ready", "Connected"], &["Failure"]),
    ),
    ("objectbucket.io", &["ObjectBucketClaim"], word("/status/phase", &["Bound"], &["Failed"])),
    ("cluster.x-k8s.io", &["Cluster"], word("/status/phase", &["Provisioned"], &["Failed"])),
    ("cluster.x-k8s.io", &["MachineDeployment", "Machine"], word("/status/phase", &["Running"], &["Failed"])),
    (
        "cdi.kubevirt.io",
        &["DataVolume"],
        How::Word {
            at: "/status/phase",
            healthy: &["Succeeded"],
            degraded: &["Failed", "Unknown"],
            suspended: &["Paused"],
        },
    ),
    (
        "kubevirt.io",
        &["VirtualMachine"],
        How::Word {
            at: "/status/printableStatus",
            healthy: &["Running"],
            degraded: &[
                "CrashLoopBackOff",
                "ErrorUnschedulable",
                "ErrImagePull",
                "ImagePullBackOff",
                "ErrorPvcNotFound",
                "DataVolumeError",
            ],
            suspended: &["Stopped", "Paused"],
        },
    ),
    (
        ".altinity.com",
        &["ClickHouseInstallation", "ClickHouseKeeperInstallation"],
        word("/status/status", &["Completed"], &["Aborted", "Failed"]),
    ),
    (
        ".percona.com",
        &["PerconaServerMongoDB", "PerconaXtraDBCluster", "PerconaPGCluster", "PerconaServerMySQL"],
        How::Word { at: "/status/state", healthy: &["ready"], degraded: &["error"], suspended: &["paused"] },
    ),
    (
        "operator.victoriametrics.com",
        &["VMAgent", "VMAlert", "VMAlertmanager", "VMAuth", "VMCluster", "VMSingle"],
        How::Word {
            at: "/status/updateStatus",
            healthy: &["operational"],
            degraded: &["failed"],
            suspended: &["paused"],
        },
    ),
    ("flagger.app", &["Canary"], word("/status/phase", &["Initialized", "Succeeded"], &["Failed"])),
    (
        "sparkoperator.k8s.io",
        &["SparkApplication"],
        word(
            "/status/applicationState/state",
            &["RUNNING", "SUCCEEDING", "COMPLETED"],
            &["FAILED", "FAILING", "SUBMISSION_FAILED"],
        ),
    ),
];

/// What an object of these kinds tells; none of another kind.
pub(super) fn health(group: &str, kind: &str, object: &Value) -> Option<Health> {
    let of_it = |(named, kinds, _): &&Row| {
        (*named == group || named.starts_with('.') && group.ends_with(named)) && kinds.contains(&kind)
    };
    ROWS.iter().filter(of_it).map(|(_, _, how)| how.health(object)).max_by_key(weight)
}

/// What goes before what.
fn weight(health: &Health) -> u8 {
    match health {
        Health::Healthy => 0,
        Health::Progressing(_) | Health::Unknown(_) => 1,
        Health::Suspended(_) => 2,
        Health::Degraded { .. } => 3,
    }
}

impl How {
    fn health(&self, object: &Value) -> Health {
        match self {
            How::Word { at, healthy, degraded, suspended } => {
                let Some(word) = object.pointer(at).and_then(said) else { return silent() };
                let among = |words: &[&str]| words.contains(&word.as_ref());
                let message = || format!("its {} is {word}", at.rsplit('/').next().unwrap_or(at));
                // What is said of an older version is no news.
                if conditions(object).any(|condition| condition.old) {
                    super::unseen()
                } else if among(healthy) {
                    Health::Healthy
                } else if among(degraded) {
                    Health::Degraded { message: message(), for_good: false }
                } else if among(suspended) {
                    Health::Suspended(message())
                } else {
                    Health::Progressing(message())
                }
            }
            How::Conditions { all, wrong, rests } => by_conditions(object, all, wrong, rests),
        }
    }
}

/// A word of the status; some write a boolean.
fn said(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(word) if !word.is_empty() => Some(word.into()),
        Value::Bool(word) => Some(word.to_string().into()),
        _ => None,
    }
}

fn silent() -> Health {
    Health::Progressing("its controller has yet to say how it is doing".into())
}

fn by_conditions(object: &Value, all: &[&str], wrong: &[&str], rests: &[&str]) -> Health {
    let of = |kind: &str| conditions(object).find(|condition| condition.kind == kind);
    if let Some(rest) = rests.iter().filter_map(|kind| of(kind)).find(Condition::is_true) {
        return Health::Suspended(rest.words());
    }
    // What it said before it was ready may still stand there.
    let ready = of("Ready").is_some_and(|ready| ready.is_true() && !ready.old);
    if let Some(fault) = wrong.iter().filter_map(|kind| of(kind)).find(|fault| fault.is_true() && !ready) {
        return match (fault.old, fault.reason) {
            (true, _) => super::unseen(),
            // Strimzi says so of what it makes.
            (_, "Creating") => Health::Progressing(fault.words()),
            _ => Health::Degraded { message: fault.words(), for_good: false },
        };
    }
    let missing = all.iter().find_map(|kind| match of(kind) {
        None => Some(silent()),
        Some(condition) if condition.old => Some(super::unseen()),
        Some(condition) => (!condition.is_true()).then(|| Health::Progressing(condition.words())),
    });
    missing.unwrap_or(Health::Healthy)
}
