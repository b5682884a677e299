//! What delivers: Argo, Flux, Flagger, Keptn, Numaproj, Karmada, policies that place things, operators that are installed.

use super::Says::{Degraded, Failed, Healthy, Progressing, Suspended, Unknown};
use super::Test::{Alike, Always, Any, Both, Every, For, Is, No, Not, Same, Set, SomeFalse, Unsure, Word};
use super::{Row, Says, Test};

/// It always says whether it is ready, and what is not is wrong until it is tried again.
pub(super) const READY: &[(Says, Test)] = &[(Degraded, Not("Ready")), (Healthy, Is("Ready"))];

const PHASE: &str = "/status/phase";
const STATUS: &str = "/status/status";
const SHA: &str = "/status/active/dry/sha";
const ASKED_SHA: &str = "/status/proposed/dry/sha";

/// Gates of a promotion, branch by branch.
const GATES: &[(Says, Test)] = &[
    (Degraded, Not("Ready")),
    (Degraded, Any("/status/environments", &Word("/phase", &["failure"]))),
    (Progressing, Any("/status/environments", &No(&Word("/phase", &["success"])))),
    (Healthy, Is("Ready")),
];

/// What Numaflow runs; what Numaplane tried and gave up is said by a label.
const NUMAFLOW: &[(Says, Test)] = &[
    (Degraded, Word(PHASE, &["Failed"])),
    (Degraded, SomeFalse),
    (Degraded, Word("/metadata/labels/numaplane.numaproj.io~1progressive-result-state", &["failed"])),
    // Its manifest asks for that.
    (Healthy, Word(PHASE, &["Running", "Pausing", "Paused"])),
];

/// What rolls these out.
const NUMAPLANE: &[(Says, Test)] = &[
    (Degraded, Not("ProgressiveUpgradeSucceeded")),
    (Progressing, Set("/status/upgradeInProgress")),
    (Progressing, Word(PHASE, &["Pending"])),
    (Progressing, Both(&[Not("ChildResourcesHealthy"), For("ChildResourcesHealthy", &["Progressing"])])),
    (Degraded, Word(PHASE, &["Failed"])),
    (Healthy, Is("MonoVertexPausingOrPaused")),
    (Healthy, Is("PipelinePausingOrPaused")),
    (Degraded, Not("ChildResourcesHealthy")),
    (Healthy, Is("ChildResourcesHealthy")),
];

pub(super) static ROWS: &[Row] = &[
    // Argo.
    (
        "argoproj.io",
        &["ApplicationSet"],
        &[
            (Degraded, Is("ErrorOccurred")),
            (Degraded, Not("ResourcesUpToDate")),
            (Progressing, Is("RolloutProgressing")),
            (Healthy, Is("ResourcesUpToDate")),
        ],
    ),
    (
        "argoproj.io",
        &["CronWorkflow"],
        &[(Degraded, Is("SpecError")), (Degraded, Is("SubmissionError")), (Healthy, Always)],
    ),
    ("argoproj.io", &["EventBus"], &[(Degraded, Not("Deployed")), (Healthy, Is("Deployed"))]),
    (
        "argoproj.io",
        &["Workflow"],
        &[(Healthy, Word(PHASE, &["Succeeded"])), (Failed, Word(PHASE, &["Failed", "Error"]))],
    ),
    (
        "argoproj.io",
        &["AnalysisRun", "Experiment"],
        &[
            (Healthy, Word(PHASE, &["Successful"])),
            (Failed, Word(PHASE, &["Failed", "Error"])),
            (Unknown, Word(PHASE, &["Inconclusive"])),
        ],
    ),
    (
        "argoproj.io",
        &["Application"],
        &[
            (Healthy, Word("/status/health/status", &["Healthy"])),
            (Degraded, Word("/status/health/status", &["Degraded"])),
            (Suspended, Word("/status/health/status", &["Suspended"])),
        ],
    ),
    // The promoter of Argo.
    (
        "promoter.argoproj.io",
        &["ArgoCDCommitStatus"],
        &[
            (Degraded, Not("Ready")),
            (Degraded, Both(&[Is("Ready"), No(&Set("/status/applicationsSelected"))])),
            (Healthy, Is("Ready")),
        ],
    ),
    (
        "promoter.argoproj.io",
        &["ChangeTransferPolicy"],
        &[
            (Degraded, Not("Ready")),
            (Healthy, Both(&[Is("Ready"), Set(SHA), Same(SHA, ASKED_SHA)])),
            (Progressing, Is("Ready")),
        ],
    ),
    ("promoter.argoproj.io", &["GitCommitStatus", "WebRequestCommitStatus", "TimedCommitStatus"], GATES),
    (
        "promoter.argoproj.io",
        &["PromotionStrategy"],
        &[
            (Degraded, Not("Ready")),
            (Degraded, Both(&[Is("Ready"), No(&Set("/status/environments"))])),
            (
                Healthy,
                Both(&[
                    Is("Ready"),
                    Alike("/status/environments", "/proposed/dry/sha"),
                    Every(
                        "/status/environments",
                        &Both(&[Set("/active/dry/sha"), Same("/active/dry/sha", "/proposed/dry/sha")]),
                    ),
                ]),
            ),
            (Progressing, Is("Ready")),
        ],
    ),
    // An older version says it by `Reconciled`.
    (
        "promoter.argoproj.io",
        &["PullRequest"],
        &[(Degraded, Not("Ready")), (Degraded, Not("Reconciled")), (Healthy, Is("Ready")), (Healthy, Is("Reconciled"))],
    ),
    ("promoter.argoproj.io", &["CommitStatus", "GitRepository", "ScmProvider", "ClusterScmProvider"], READY),
    // Flux.
    // One of a registry has no status at all.
    (
        "source.toolkit.fluxcd.io",
        &["HelmRepository"],
        &[(Healthy, Word("/spec/type", &["oci"])), (Degraded, Not("Ready")), (Healthy, Is("Ready"))],
    ),
    ("source.toolkit.fluxcd.io", &["GitRepository", "OCIRepository", "Bucket", "HelmChart", "ExternalArtifact"], READY),
    ("kustomize.toolkit.fluxcd.io", &["Kustomization"], READY),
    ("helm.toolkit.fluxcd.io", &["HelmRelease"], READY),
    (
        "image.toolkit.fluxcd.io",
        &["ImagePolicy", "ImageRepository", "ImageUpdateAutomation"],
        &[
            (Progressing, For("Reconciling", &["NewGeneration", "AccessingRepository", "ApplyingPolicy", "Scanning"])),
            (Degraded, Not("Ready")),
            (Healthy, Is("Ready")),
        ],
    ),
    ("notification.toolkit.fluxcd.io", &["Receiver"], READY),
    // Others that roll out.
    (
        "flagger.app",
        &["Canary"],
        &[(Healthy, Word(PHASE, &["Initialized", "Succeeded"])), (Degraded, Word(PHASE, &["Failed"]))],
    ),
    ("pulumi.com", &["Stack"], &[(Healthy, Both(&[Is("Ready"), Set("/status/observedGeneration")]))]),
    (
        "rollouts.kruise.io",
        &["Rollout"],
        &[
            (Degraded, Word(PHASE, &["Disabled", "Terminating"])),
            (Suspended, Word("/status/canaryStatus/currentStepState", &["StepPaused"])),
            (Healthy, Word(PHASE, &["Healthy"])),
        ],
    ),
    // OpenKruise. (What has pods is counted.)
    (
        "apps.kruise.io",
        &["BroadcastJob"],
        &[
            (Healthy, Word(PHASE, &["completed"])),
            (Failed, Word(PHASE, &["failed"])),
            (Suspended, Word(PHASE, &["paused"])),
        ],
    ),
    (
        "game.kruise.io",
        &["GameServer"],
        &[
            (
                Progressing,
                Both(&[Set("/status/currentState"), No(&Same("/status/currentState", "/status/desiredState"))]),
            ),
            (Degraded, Any("/status", &Not("KruisePodReady"))),
            (Healthy, Word("/status/currentState", &["Ready"])),
        ],
    ),
    (
        "apps.openshift.io",
        &["DeploymentConfig"],
        &[
            (Healthy, Both(&[Word("/status/replicas", &["0"]), ROLLED_OUT])),
            (Healthy, Both(&[Is("Available"), ROLLED_OUT])),
            (Progressing, Is("Available")),
            (Progressing, Is("Progressing")),
            (Degraded, Not("Available")),
        ],
    ),
    (
        "core.spinkube.dev",
        &["SpinApp"],
        &[
            (Degraded, For("Progressing", &["ProgressDeadlineExceeded"])),
            // As with a Deployment, whose conditions these are.
            (Healthy, Both(&[Is("Available"), For("Progressing", &["NewReplicaSetAvailable"])])),
            (Progressing, Is("Progressing")),
            (Degraded, Not("Available")),
            (Healthy, Is("Available")),
        ],
    ),
    (
        "spot.io",
        &["SpotDeployment"],
        &[
            (Degraded, Is("InvalidSpec")),
            (Degraded, For("Progressing", &["RolloutAborted", "ProgressDeadlineExceeded"])),
            (Suspended, Is("Paused")),
            (Progressing, Word(PHASE, &["Progressing"])),
            (Healthy, Is("Available")),
        ],
    ),
    (
        "lifecycle.keptn.sh",
        &["KeptnAppVersion", "KeptnTask", "KeptnWorkloadInstance", "KeptnWorkloadVersion"],
        &[(Healthy, Word(STATUS, &["Succeeded"])), (Failed, Word(STATUS, &["Failed"]))],
    ),
    (
        "lifecycle.keptn.sh",
        &["KeptnEvaluation"],
        &[
            (Healthy, Word("/status/overallStatus", &["Succeeded"])),
            (Failed, Word("/status/overallStatus", &["Failed"])),
        ],
    ),
    (
        "metrics.keptn.sh",
        &["Analysis"],
        &[
            (Healthy, Word("/status/pass", &["true"])),
            (Healthy, Word("/status/warning", &["true"])),
            (Failed, Word("/status/pass", &["false"])),
        ],
    ),
    ("metrics.keptn.sh", &["KeptnMetric"], &[(Degraded, Set("/status/errMsg")), (Healthy, Set("/status/value"))]),
    ("numaflow.numaproj.io", &["InterStepBufferService", "MonoVertex", "Pipeline", "Vertex"], NUMAFLOW),
    (
        "numaplane.numaproj.io",
        &["ISBServiceRollout", "MonoVertexRollout", "PipelineRollout", "NumaflowControllerRollout"],
        NUMAPLANE,
    ),
    (
        "tower.ansible.com",
        &["AnsibleJob"],
        &[
            (Healthy, Word("/status/ansibleJobResult/status", &["successful"])),
            (Failed, Word("/status/ansibleJobResult/status", &["failed", "error", "canceled"])),
        ],
    ),
    ("stacks.crossplane.io", &["ClusterStackInstall"], &[(Healthy, Any("/status", &Is("Ready")))]),
    // Operators that are installed by others.
    (
        "operators.coreos.com",
        &["Subscription"],
        &[
            (Degraded, Is("CatalogSourcesUnhealthy")),
            (Degraded, Is("InstallPlanFailed")),
            (Degraded, Is("ResolutionFailed")),
            (
                Degraded,
                Both(&[
                    Set("/status/state"),
                    Is("InstallPlanMissing"),
                    No(&For("InstallPlanMissing", &["ReferencedInstallPlanNotFound"])),
                ]),
            ),
            (Degraded, Word("/status/state", &["UpgradeFailed"])),
            // Whoever wants to approve an update by hand is not waited for, as long as something is installed.
            (
                Healthy,
                Both(&[
                    Word("/spec/installPlanApproval", &["Manual"]),
                    Word("/status/state", &["UpgradePending"]),
                    For("InstallPlanPending", &["RequiresApproval"]),
                    Set("/status/installedCSV"),
                ]),
            ),
            (Progressing, Is("InstallPlanPending")),
            (Progressing, Word("/status/state", &["UpgradeAvailable", "UpgradePending"])),
            (Healthy, Set("/status/state")),
        ],
    ),
    // Policies of Open Cluster Management.
    ("policy.open-cluster-management.io", &["CertificatePolicy"], COMPLIANT),
    (
        "policy.open-cluster-management.io",
        &["ConfigurationPolicy"],
        &[
            (Progressing, No(&Same("/status/lastEvaluatedGeneration", "/metadata/generation"))),
            (Healthy, Word("/status/compliant", &["Compliant"])),
            (Degraded, Set("/status/compliant")),
        ],
    ),
    (
        "policy.open-cluster-management.io",
        &["OperatorPolicy"],
        &[(Degraded, Not("Compliant")), (Healthy, Is("Compliant"))],
    ),
    (
        "policy.open-cluster-management.io",
        &["Policy"],
        &[
            (Healthy, Word("/spec/disabled", &["true"])),
            (Healthy, Word("/status/compliant", &["Compliant"])),
            (Degraded, Set("/status/compliant")),
            // It is placed, and concerns no cluster.
            (Healthy, Both(&[No(&Set("/status/status")), Set("/status/placement")])),
        ],
    ),
    ("camel.apache.org", &["Integration"], READY),
    (
        "proclaim.dogmatiq.io",
        &["DNSSDServiceInstance"],
        &[
            (Degraded, Not("Adopted")),
            (Degraded, For("Advertised", &["AdvertiseError", "UnadvertiseError"])),
            (Unknown, For("Discoverable", &["DiscoveryError"])),
            (Healthy, Is("Discoverable")),
            (Progressing, Unsure("Discoverable")),
        ],
    ),
];

const ROLLED_OUT: Test = Both(&[Is("Progressing"), For("Progressing", &["NewReplicationControllerAvailable"])]);

const COMPLIANT: &[(Says, Test)] =
    &[(Healthy, Word("/status/compliant", &["Compliant"])), (Degraded, Set("/status/compliant"))];
