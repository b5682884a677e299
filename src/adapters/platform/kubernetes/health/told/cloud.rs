//! What is elsewhere: resources of clouds, clusters, machines, virtual ones among them.

use super::Says::{Degraded, Failed, Healthy, Progressing, Suspended, Unknown};
use super::Test::{Always, Any, Both, For, Is, No, Not, Same, Set, Unsure, Word};
use super::delivery::READY;
use super::{Row, Says, Test};

const PHASE: &str = "/status/phase";

/// What Crossplane manages: it says whether what is asked for was sent, and whether it is there.
const MANAGED: &[(Says, Test)] = &[
    (Suspended, Both(&[Not("Synced"), For("Synced", &["ReconcilePaused"])])),
    (Degraded, Not("LastAsyncOperation")),
    (Degraded, Not("Synced")),
    (Progressing, Not("Ready")),
    (Progressing, Unsure("Ready")),
    (Healthy, Is("Ready")),
    // A definition and what composes.
    (Progressing, Not("Healthy")),
    (Healthy, Is("Healthy")),
    (Healthy, Is("Established")),
    (Healthy, Is("Offered")),
    (Healthy, Is("ValidPipeline")),
    (Healthy, Is("RevisionHealthy")),
];

const PACKAGE: &[(Says, Test)] =
    &[(Healthy, Both(&[Is("Installed"), Is("Healthy")])), (Degraded, Not("Installed")), (Degraded, Not("Healthy"))];

/// They say nothing of themselves, or only who uses them.
const CONFIGURES: &[(Says, Test)] = &[(Healthy, Always)];

pub(super) static ROWS: &[Row] = &[
    // Crossplane.
    ("pkg.crossplane.io", &["Provider", "Configuration", "Function"], PACKAGE),
    ("pkg.crossplane.io", &["DeploymentRuntimeConfig", "ControllerConfig", "ImageConfig", "Lock"], CONFIGURES),
    ("apiextensions.crossplane.io", &["Composition", "EnvironmentConfig"], CONFIGURES),
    ("apiextensions.crossplane.io", &["CompositionRevision"], &[(Degraded, Not("ValidPipeline")), (Healthy, Always)]),
    ("ops.crossplane.io", &["Operation"], &[(Healthy, Is("Succeeded")), (Failed, Not("Succeeded"))]),
    ("ops.crossplane.io", &["CronOperation", "WatchOperation"], &[(Degraded, Not("Synced")), (Healthy, Always)]),
    (".crossplane.io", &["ProviderConfig", "ClusterProviderConfig", "ProviderConfigUsage", "StoreConfig"], CONFIGURES),
    (".upbound.io", &["ProviderConfig", "ClusterProviderConfig", "ProviderConfigUsage", "StoreConfig"], CONFIGURES),
    (".crossplane.io", &[], MANAGED),
    (".upbound.io", &[], MANAGED),
    // The clouds' own operators.
    (
        ".cnrm.cloud.google.com",
        &["ConfigConnector", "ConfigConnectorContext"],
        &[(Healthy, Word("/status/healthy", &["true"])), (Degraded, Word("/status/healthy", &["false"]))],
    ),
    (
        ".cnrm.cloud.google.com",
        &[],
        &[
            (Suspended, For("Ready", &["DependencyNotReady"])),
            (Degraded, For("Ready", &["UpdateFailed", "DependencyNotFound"])),
            (Healthy, Is("Ready")),
        ],
    ),
    (
        ".services.k8s.aws",
        &[],
        &[
            (Degraded, Is("ACK.Terminal")),
            (Progressing, Not("Ready")),
            (Healthy, Is("Ready")),
            // Before they said whether they are ready.
            (Healthy, Is("ACK.ResourceSynced")),
        ],
    ),
    (
        "networking.gke.io",
        &["ManagedCertificate"],
        &[
            (Degraded, Any("/status/domainStatus", &Word("/status", &["FailedNotVisible"]))),
            (Healthy, Word("/status/certificateStatus", &["Active"])),
        ],
    ),
    (
        "services.cloud.sap.com",
        &["ServiceBinding", "ServiceInstance"],
        &[(Degraded, Is("Failed")), (Degraded, Not("Succeeded")), (Healthy, Is("Succeeded")), (Healthy, Is("Ready"))],
    ),
    (
        "iammanager.keikoproj.io",
        &["Iamrole"],
        &[
            (Healthy, Word("/status/state", &["Ready"])),
            (
                Degraded,
                Word("/status/state", &["Error", "RolesMaxLimitReached", "PolicyNotAllowed", "RoleNameNotAvailable"]),
            ),
        ],
    ),
    // Clusters and their machines.
    (
        "cluster.x-k8s.io",
        &["Cluster"],
        &[
            (Degraded, Word(PHASE, &["Failed"])),
            (Degraded, Both(&[Not("Ready"), No(&Any("/status/conditions", UNDER_WAY))])),
            (Healthy, Word(PHASE, &["Provisioned"])),
        ],
    ),
    (
        "cluster.x-k8s.io",
        &["MachineDeployment", "Machine"],
        &[(Healthy, Word(PHASE, &["Running"])), (Degraded, Word(PHASE, &["Failed"]))],
    ),
    (
        "cluster.x-k8s.io",
        &["MachinePool"],
        &[(Healthy, Word(PHASE, &["Running", "Scaling"])), (Degraded, Word(PHASE, &["Failed", "Unknown"]))],
    ),
    (
        "cluster.x-k8s.io",
        &["MachineHealthCheck"],
        &[
            (Healthy, Same("/status/expectedMachines", "/status/currentHealthy")),
            (Degraded, Set("/status/currentHealthy")),
        ],
    ),
    (
        "addons.cluster.x-k8s.io",
        &["ClusterResourceSet"],
        &[(Degraded, Not("ResourcesApplied")), (Healthy, Is("ResourcesApplied"))],
    ),
    (
        "controlplane.cluster.x-k8s.io",
        &["AWSManagedControlPlane"],
        &[
            (Degraded, Set("/status/failureMessage")),
            // It answers meanwhile, and says so.
            (Progressing, Is("EKSControlPlaneUpdating")),
            (Healthy, Is("Ready")),
            (Degraded, Any("/status/conditions", &Both(&[Word("/status", &["False"]), Word("/severity", &["Error"])]))),
        ],
    ),
    (
        "core.gardener.cloud",
        &["Shoot"],
        &[
            (Healthy, Word("/metadata/labels/shoot.gardener.cloud~1status", &["healthy"])),
            (Degraded, Word("/metadata/labels/shoot.gardener.cloud~1status", &["unhealthy"])),
            (Unknown, Word("/metadata/labels/shoot.gardener.cloud~1status", &["unknown"])),
        ],
    ),
    ("karpenter.k8s.aws", &["EC2NodeClass"], READY),
    ("karpenter.sh", &["NodePool"], READY),
    (
        "karpenter.sh",
        &["NodeClaim"],
        &[(Suspended, Is("Disrupting")), (Healthy, Is("Ready")), (Degraded, Not("Ready"))],
    ),
    (
        "nmstate.io",
        &["NodeNetworkConfigurationPolicy"],
        &[
            (Healthy, Is("Available")),
            (Degraded, Is("Degraded")),
            (Progressing, Is("Progressing")),
            (Suspended, Is("Ignored")),
        ],
    ),
    // Virtual machines.
    (
        "cdi.kubevirt.io",
        &["DataVolume"],
        &[
            (Healthy, Word(PHASE, &["Succeeded"])),
            (Degraded, Word(PHASE, &["Failed", "Unknown"])),
            (Suspended, Word(PHASE, &["Paused"])),
            (Degraded, Both(&[Not("Running"), For("Running", &["Error"])])),
        ],
    ),
    (
        "kubevirt.io",
        &["VirtualMachine"],
        &[
            (Suspended, Is("Paused")),
            (Suspended, Word("/status/printableStatus", &["Stopped", "Paused"])),
            (
                Degraded,
                Word(
                    "/status/printableStatus",
                    &[
                        "CrashLoopBackOff",
                        "ErrorUnschedulable",
                        "ErrImagePull",
                        "ImagePullBackOff",
                        "ErrorPvcNotFound",
                        "DataVolumeError",
                    ],
                ),
            ),
            (Healthy, Word("/status/printableStatus", &["Running"])),
        ],
    ),
    (
        "kubevirt.io",
        &["VirtualMachineInstance"],
        &[
            (Degraded, Word(PHASE, &["Failed"])),
            (Progressing, Word(PHASE, &["Pending", "Scheduling", "Scheduled"])),
            (Suspended, Word(PHASE, &["Succeeded"])),
            (Unknown, Word(PHASE, &["Unknown"])),
            (Suspended, Is("Paused")),
            (Healthy, Is("Ready")),
            (Degraded, Not("Ready")),
        ],
    ),
];

/// Its Ready is False all the while it is made, and says by this that nothing is wrong.
const UNDER_WAY: &Test = &Both(&[Word("/type", &["Ready"]), Word("/severity", &["Info"])]);
