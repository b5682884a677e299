//! What stands around the applications: monitoring, gateways and meshes, scaling, serverless, certificates and secrets, identity,
//! management of APIs.

use super::Says::{Degraded, Healthy, Progressing, Suspended, Unknown};
use super::Test::{Always, Any, Begins, Both, Every, For, Is, No, Not, Set, SomeFalse, Unsure, Word};
use super::delivery::READY;
use super::{Row, Says, Test};

const AVAILABLE: &[(Says, Test)] = &[
    (Progressing, Both(&[Not("Available"), For("Available", &["SomePodsNotReady"])])),
    (Degraded, Not("Available")),
    (Healthy, Is("Available")),
];

/// What Gloo says of each object, by each namespace that reads it or at once, as a word or as its number.
const GLOO: &[(Says, Test)] = &[
    (Degraded, Any("/status/statuses", &Word("/state", &["Rejected", "2", "Warning", "3"]))),
    (Suspended, Any("/status/statuses", &Word("/state", &["Pending", "0"]))),
    (Healthy, Any("/status/statuses", &Word("/state", &["Accepted", "1"]))),
    (Degraded, Word("/status/state", &["Rejected", "2", "Warning", "3"])),
    (Suspended, Word("/status/state", &["Pending", "0"])),
    (Healthy, Word("/status/state", &["Accepted", "1"])),
];

/// What 3scale says of what it has brought to its API.
const THREESCALE: &[(Says, Test)] = &[
    (Healthy, Is("Ready")),
    (Healthy, Is("Synced")),
    (Degraded, Is("Invalid")),
    (Degraded, Is("Orphan")),
    (Degraded, Is("Failed")),
    (Suspended, Is("Waiting")),
    (Suspended, Word("/status/developerUserState", &["suspended"])),
];

const KNATIVE_OPERATOR: &[(Says, Test)] = &[
    (Progressing, Not("Ready")),
    (Progressing, Not("DeploymentsAvailable")),
    (Healthy, Both(&[Is("Ready"), Is("InstallSucceeded")])),
];

const UPDATE: &str = "/status/updateStatus";

pub(super) static ROWS: &[Row] = &[
    // Monitoring.
    ("monitoring.coreos.com", &["Prometheus", "Alertmanager", "PrometheusAgent", "ThanosRuler"], AVAILABLE),
    (
        "operator.victoriametrics.com",
        &["VMAgent", "VMAlert", "VMAlertmanager", "VMAuth", "VMCluster", "VMSingle", "VLCluster", "VLSingle"],
        &[
            (Healthy, Word(UPDATE, &["operational"])),
            (Degraded, Word(UPDATE, &["failed"])),
            (Suspended, Word(UPDATE, &["paused"])),
        ],
    ),
    // Of rules, users and what is scraped its older versions say nothing.
    (
        "operator.victoriametrics.com",
        &[],
        &[
            (Degraded, Word(UPDATE, &["failed"])),
            (Suspended, Word(UPDATE, &["paused"])),
            (Progressing, Word(UPDATE, &["expanding"])),
            (Healthy, Always),
        ],
    ),
    (
        "grafana.integreatly.org",
        &["Grafana"],
        &[
            (Degraded, Word("/status/stageStatus", &["failed"])),
            (Healthy, Both(&[Word("/status/stage", &["complete"]), Word("/status/stageStatus", &["success"])])),
        ],
    ),
    (
        "grafana.integreatly.org",
        &["GrafanaDatasource"],
        &[(Degraded, Word("/status/NoMatchingInstances", &["true"])), (Healthy, Set("/status/uid"))],
    ),
    (
        "grafana.integreatly.org",
        &["GrafanaDashboard", "GrafanaFolder"],
        &[
            (Degraded, SomeFalse),
            (Healthy, Any("/status/conditions", &Both(&[Set("/type"), Word("/status", &["True"])]))),
        ],
    ),
    ("grafana-org-operator.kubitus-project.gitlab.io", &[], READY),
    (
        "coralogix.com",
        &["Alert", "RecordingRuleGroupSet"],
        &[(Degraded, Not("RemoteSynced")), (Healthy, Is("RemoteSynced"))],
    ),
    ("datadoghq.com", &["DatadogMetric"], &[(Degraded, Is("Error")), (Degraded, Not("Valid")), (Healthy, Is("Valid"))]),
    (
        "jaegertracing.io",
        &["Jaeger"],
        &[(Healthy, Word("/status/phase", &["Running"])), (Degraded, Word("/status/phase", &["Failed"]))],
    ),
    // Gateways and meshes.
    ("projectcontour.io", &["ExtensionService"], &[(Degraded, Not("Valid")), (Healthy, Is("Valid"))]),
    (
        "projectcontour.io",
        &["HTTPProxy"],
        &[
            (Healthy, Word("/status/currentStatus", &["valid"])),
            // It is included by another: alone it is none.
            (Healthy, Both(&[Set("/spec/includes"), Not("Valid")])),
            (Degraded, Word("/status/currentStatus", &["invalid"])),
        ],
    ),
    (
        "gateway.solo.io",
        &["Gateway", "MatchableHttpGateway", "RouteOption", "RouteTable", "VirtualHostOption", "VirtualService"],
        GLOO,
    ),
    ("gloo.solo.io", &["Proxy", "Settings", "Upstream", "UpstreamGroup"], GLOO),
    (
        "install.istio.io",
        &["IstioOperator"],
        &[
            (Unknown, Word("/status/status", &["NONE", "0"])),
            (Healthy, Word("/status/status", &["HEALTHY", "3"])),
            (Degraded, Word("/status/status", &["ERROR", "4"])),
        ],
    ),
    (
        "kiali.io",
        &["Kiali"],
        // It keeps a condition of a type twice, and of the two the one that is True counts.
        &[
            (Healthy, Is("Successful")),
            (Degraded, Any("/status/conditions", &Both(&[Word("/type", &["Failure"]), Word("/status", &["True"])]))),
        ],
    ),
    (
        "route.openshift.io",
        &["Route"],
        &[
            (Degraded, Any("/status/ingress", &Not("Admitted"))),
            (Healthy, Both(&[Set("/status/ingress"), Every("/status/ingress", &Is("Admitted"))])),
        ],
    ),
    (
        "operator.openshift.io",
        &["IngressController"],
        &[
            (Degraded, Is("Degraded")),
            (Progressing, Not("DeploymentReplicasAllAvailable")),
            (Progressing, Is("Progressing")),
            (Healthy, Is("Available")),
        ],
    ),
    // Scaling. (A fallback while its metrics are away is no fault of what was rolled out.)
    (
        "keda.sh",
        &["ScaledObject", "ScaledJob"],
        &[
            (Degraded, Not("Ready")),
            (Degraded, For("Ready", &["PartialTriggerError"])),
            (Suspended, Is("Paused")),
            (Healthy, Is("Ready")),
        ],
    ),
    // Serverless, and what serves models.
    (
        "serving.knative.dev",
        &["Service"],
        &[(Degraded, SomeFalse), (Healthy, Both(&[Is("Ready"), Is("ConfigurationsReady"), Is("RoutesReady")]))],
    ),
    ("serving.knative.dev", &["Configuration", "Route", "Revision"], READY),
    ("operator.knative.dev", &["KnativeServing", "KnativeEventing"], KNATIVE_OPERATOR),
    (
        "serving.kserve.io",
        &["InferenceService"],
        &[
            (Suspended, Is("Stopped")),
            (Progressing, Word("/status/modelStatus/transitionStatus", &["InProgress"])),
            (
                Degraded,
                Both(&[
                    Set("/status/modelStatus/transitionStatus"),
                    No(&Word("/status/modelStatus/transitionStatus", &["UpToDate"])),
                ]),
            ),
            (Healthy, Is("Ready")),
        ],
    ),
    (
        "openfaas.com",
        &["Function"],
        &[
            (Degraded, Not("Ready")),
            (Degraded, Is("Stalled")),
            (Suspended, Both(&[Is("Ready"), Word("/status/replicas", &["0"])])),
            (Healthy, Both(&[Is("Ready"), Set("/status/replicas")])),
            (Suspended, Is("Ready")),
        ],
    ),
    // Certificates and secrets.
    (
        "kubernetes-client.io",
        &["ExternalSecret"],
        &[(Healthy, Word("/status/status", &["SUCCESS"])), (Degraded, Begins("/status/status", "ERROR"))],
    ),
    ("onepassword.com", &["OnePasswordItem"], READY),
    (
        "external-secrets.io",
        &["ClusterExternalSecret"],
        &[(Healthy, Is("Ready")), (Degraded, Is("PartiallyReady")), (Degraded, Is("NotReady"))],
    ),
    ("external-secrets.io", &["ExternalSecret", "SecretStore", "ClusterSecretStore", "PushSecret"], READY),
    (
        "cert-manager.io",
        &["Certificate"],
        &[
            (Healthy, Is("Ready")),
            // The first one is on its way.
            (Progressing, Is("Issuing")),
            (Degraded, Not("Ready")),
            (Progressing, Unsure("Ready")),
        ],
    ),
    ("cert-manager.io", &["Issuer", "ClusterIssuer"], READY),
    ("certmanager.k8s.io", &["Certificate", "Issuer", "ClusterIssuer"], READY),
    // Identity and policies.
    ("k8s.keycloak.org", &["Keycloak"], &[(Healthy, Is("Ready")), (Degraded, Is("HasErrors"))]),
    ("kyverno.io", &["Policy", "ClusterPolicy"], &[(Healthy, Is("Ready"))]),
    // Management of APIs.
    (
        "apps.3scale.net",
        &["APIManager"],
        &[
            (
                Healthy,
                Both(&[
                    Set("/status/deployments/ready"),
                    No(&Set("/status/deployments/starting")),
                    No(&Set("/status/deployments/stopped")),
                ]),
            ),
            (Healthy, Is("Available")),
            (Degraded, Both(&[Not("Available"), No(&For("Available", &[""]))])),
        ],
    ),
    (
        "capabilities.3scale.net",
        &["Application"],
        &[(Suspended, Word("/status/state", &["suspended"])), (Healthy, Is("Ready")), (Degraded, Not("Ready"))],
    ),
    (
        "capabilities.3scale.net",
        &["Tenant"],
        &[(Degraded, Not("Ready")), (Healthy, Both(&[Is("Ready"), Set("/status/tenantId"), Set("/status/adminId")]))],
    ),
    (
        "capabilities.3scale.net",
        &[
            "ActiveDoc",
            "ApplicationAuth",
            "Backend",
            "CustomPolicyDefinition",
            "DeveloperAccount",
            "DeveloperUser",
            "OpenAPI",
            "Product",
            "ProxyConfigPromote",
        ],
        THREESCALE,
    ),
];
