//! What keeps data: databases, queues, search, storage, snapshots, backups.

use super::Says::{Degraded, Failed, Healthy, Progressing, Suspended, Unknown};
use super::Test::{Any, Both, Every, For, Is, No, Not, Same, Set, SomeFalse, Word};
use super::delivery::READY;
use super::{Row, Says, Test};

const PHASE: &str = "/status/phase";
const STATE: &str = "/status/state";
const HEALTH: &str = "/status/health";

const fn phase(words: &'static [&'static str]) -> Test {
    Word(PHASE, words)
}

/// What runs once, to its end.
const RUN_OF_ASTRA: &[(Says, Test)] =
    &[(Healthy, Word(STATE, &["Completed"])), (Progressing, Word(STATE, &["Running"])), (Failed, Set(STATE))];

const ELASTIC: &[(Says, Test)] = &[
    (Healthy, Word(HEALTH, &["green"])),
    (Degraded, Word(HEALTH, &["red"])),
    (Progressing, Word(HEALTH, &["yellow"])),
    (Unknown, Set(HEALTH)),
];

const MARIADB: &[(Says, Test)] =
    &[(Degraded, Both(&[Not("Ready"), For("Ready", &["Failed"])])), (Progressing, SomeFalse), (Healthy, Is("Ready"))];

const ALTINITY: &[(Says, Test)] = &[
    (Healthy, Word("/status/status", &["Completed"])),
    (Progressing, Word("/status/status", &["InProgress"])),
    (Degraded, Set("/status/status")),
];

const STRIMZI: &[(Says, Test)] = &[
    // What it said before it was ready may still stand there.
    (Healthy, Is("Ready")),
    // It is being made.
    (Progressing, Both(&[Is("NotReady"), For("NotReady", &["Creating"])])),
    (Degraded, Is("NotReady")),
];

const SNAPSHOT: &[(Says, Test)] =
    &[(Healthy, Word("/status/readyToUse", &["true"])), (Degraded, Any("/status", &Set("/message")))];

/// What RabbitMQ's operator for its objects always says, of each try.
const RABBIT: &[(Says, Test)] = &[
    (Degraded, Both(&[Not("Ready"), For("Ready", &["FailedCreateOrUpdate"])])),
    (Healthy, Both(&[Is("Ready"), For("Ready", &["SuccessfulCreateOrUpdate"])])),
];

pub(super) static ROWS: &[Row] = &[
    // PostgreSQL, MariaDB, MySQL, MongoDB.
    (
        "postgresql.cnpg.io",
        &["Cluster"],
        &[
            (Suspended, Is("cnpg.io/hibernation")),
            (
                Suspended,
                phase(&[
                    "Unable to create required cluster objects",
                    "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
                    "Cluster has incomplete or invalid image catalog",
                    "Cluster is unrecoverable and needs manual intervention",
                ]),
            ),
            (
                Progressing,
                phase(&[
                    "Setting up primary",
                    "Creating a new replica",
                    "Upgrading cluster",
                    "Waiting for the instances to become active",
                    "Promoting to primary cluster",
                ]),
            ),
            (Healthy, Is("Ready")),
            (Degraded, Not("Ready")),
            // Its older versions have no such condition.
            (Healthy, phase(&["Cluster in healthy state"])),
        ],
    ),
    (
        "acid.zalan.do",
        &["postgresql"],
        &[
            (Healthy, Word("/status/PostgresClusterStatus", &["Running"])),
            (Progressing, Word("/status/PostgresClusterStatus", &["Creating", "Updating"])),
            (Degraded, Set("/status/PostgresClusterStatus")),
        ],
    ),
    ("k8s.mariadb.com", &["MariaDB"], MARIADB),
    ("mariadb.mmontes.io", &["MariaDB"], MARIADB),
    (
        "k8s.mariadb.com",
        &["Backup"],
        &[
            (
                Degraded,
                Any(
                    "/status/conditions",
                    &Both(&[
                        Word("/status", &["False"]),
                        Word("/reason", &["CronJobScheduled"]),
                        Word("/message", &["Failed"]),
                    ]),
                ),
            ),
            (Progressing, SomeFalse),
            (Healthy, Is("Complete")),
        ],
    ),
    ("k8s.mariadb.com", &["Database", "Grant", "User"], READY),
    (
        "k8s.mariadb.com",
        &["SqlJob"],
        &[
            (Healthy, Both(&[Is("Complete"), For("Complete", &["JobComplete"])])),
            (Failed, Both(&[Is("Complete"), For("Complete", &["JobFailed"])])),
        ],
    ),
    (
        ".percona.com",
        &["PerconaServerMongoDB", "PerconaXtraDBCluster", "PerconaPGCluster", "PerconaServerMySQL"],
        &[
            (Healthy, Word(STATE, &["ready"])),
            (Degraded, Word(STATE, &["error"])),
            (Suspended, Word(STATE, &["paused"])),
        ],
    ),
    (
        "db.atlasgo.io",
        &["AtlasMigration", "AtlasSchema"],
        &[
            (Healthy, Is("Ready")),
            (Progressing, For("Ready", &["Reconciling", "GettingDevDB"])),
            (Degraded, Not("Ready")),
        ],
    ),
    (".altinity.com", &["ClickHouseInstallation", "ClickHouseKeeperInstallation"], ALTINITY),
    // A rack that is not there yet has no count either.
    ("cassandra.rook.io", &["Cluster"], &[(Healthy, Every("/status/racks", &Same("/members", "/readyMembers")))]),
    // Queues and streams.
    (
        "kafka.strimzi.io",
        &["Kafka", "KafkaTopic", "KafkaUser", "KafkaConnect", "KafkaConnector", "KafkaBridge"],
        STRIMZI,
    ),
    (
        "kafka.banzaicloud.io",
        &["KafkaCluster"],
        &[
            (Progressing, Word(STATE, &["ClusterRollingUpgrading"])),
            (Degraded, Any("/status/brokersState", &No(&Word("/configurationState", &["ConfigInSync"])))),
            (
                Healthy,
                Both(&[
                    Word(STATE, &["ClusterRunning"]),
                    Word("/status/cruiseControlTopicStatus", &["CruiseControlTopicReady"]),
                    Every(
                        "/status/brokersState",
                        &Word(
                            "/gracefulActionState/cruiseControlState",
                            &["GracefulUpscaleSucceeded", "GracefulDownscaleSucceeded"],
                        ),
                    ),
                ]),
            ),
        ],
    ),
    (
        "platform.confluent.io",
        &["Connector"],
        &[
            (Degraded, Word(STATE, &["ERROR"])),
            (Degraded, Both(&[Set("/status/failedTasksCount"), No(&Word("/status/failedTasksCount", &["0"]))])),
            (Healthy, Both(&[Word(STATE, &["CREATED"]), Word("/status/connectorState", &["RUNNING"])])),
        ],
    ),
    (
        "platform.confluent.io",
        &["Connect", "ControlCenter", "Kafka", "KsqlDB", "SchemaRegistry", "Zookeeper", "KRaftController"],
        &[(Healthy, phase(&["RUNNING"]))],
    ),
    (
        "rabbitmq.com",
        &["RabbitmqCluster"],
        &[(Degraded, Not("ReconcileSuccess")), (Healthy, Both(&[Is("ClusterAvailable"), Is("AllReplicasReady")]))],
    ),
    ("rabbitmq.com", &[], RABBIT),
    (
        "zookeeper.pravega.io",
        &["ZookeeperCluster"],
        &[(
            Healthy,
            Both(&[Same("/status/readyReplicas", "/status/replicas"), No(&Word("/status/readyReplicas", &["0"]))]),
        )],
    ),
    // Search and logs. (The nodes of an Elasticsearch are counted: `others`.)
    (
        ".k8s.elastic.co",
        &["Kibana", "Beat", "Logstash", "Agent", "ApmServer", "EnterpriseSearch", "ElasticMapsServer"],
        ELASTIC,
    ),
    ("solr.apache.org", &["SolrCloud"], &[(Healthy, Every("/status/solrNodes", &Word("/ready", &["true"])))]),
    (
        "core.humio.com",
        &["HumioCluster"],
        &[
            (Healthy, Word(STATE, &["Running"])),
            (Degraded, Word(STATE, &["ConfigError"])),
            (Unknown, Word(STATE, &["Unknown"])),
        ],
    ),
    (
        "core.humio.com",
        &["HumioAction", "HumioAlert", "HumioIngestToken", "HumioParser", "HumioRepository", "HumioView"],
        &[
            (Healthy, Word(STATE, &["Exists"])),
            (Degraded, Word(STATE, &["ConfigError"])),
            (Unknown, Word(STATE, &["Unknown"])),
        ],
    ),
    // Storage.
    ("snapshot.storage.k8s.io", &["VolumeSnapshot", "VolumeSnapshotContent"], SNAPSHOT),
    (
        "minio.min.io",
        &["Tenant"],
        &[
            (Healthy, Word("/status/currentState", &["Initialized"])),
            (
                Degraded,
                Word(
                    "/status/currentState",
                    &[
                        "Statefulset not controlled by operator",
                        "Another MinIO Tenant already exists in the namespace",
                        "Tenant credentials are not set properly",
                        "Different versions across MinIO Pools",
                        "Pool Decommissioning Not Allowed",
                    ],
                ),
            ),
        ],
    ),
    (
        "ceph.rook.io",
        &["CephCluster"],
        &[
            (Degraded, Word("/status/ceph/health", &["HEALTH_ERR"])),
            (Degraded, Word(STATE, &["Error"])),
            // What it warns of is no fault of what was rolled out.
            (
                Healthy,
                Both(&[
                    Word("/status/ceph/health", &["HEALTH_OK", "HEALTH_WARN"]),
                    Word(STATE, &["Created", "Connected"]),
                ]),
            ),
        ],
    ),
    (
        "ceph.rook.io",
        &["CephObjectStore", "CephFilesystem", "CephBlockPool"],
        &[(Healthy, phase(&["Ready", "Connected"])), (Degraded, phase(&["Failure"]))],
    ),
    ("objectbucket.io", &["ObjectBucketClaim"], &[(Healthy, phase(&["Bound"])), (Degraded, phase(&["Failed"]))]),
    (
        "ocs.openshift.io",
        &["StorageCluster"],
        &[(Degraded, Is("Degraded")), (Progressing, Is("Progressing")), (Healthy, Is("Available"))],
    ),
    (
        "trident.netapp.io",
        &["TridentBackendConfig"],
        &[
            (Degraded, Word("/status/lastOperationStatus", &["Failed"])),
            (Healthy, Both(&[phase(&["Bound"]), Word("/status/lastOperationStatus", &["Success"])])),
        ],
    ),
    (
        "trident.netapp.io",
        &["TridentOrchestrator"],
        &[(Healthy, Word("/status/status", &["Installed"])), (Degraded, Word("/status/status", &["Failed", "Error"]))],
    ),
    (
        "astra.netapp.io",
        &["AppVault"],
        &[(Healthy, Word(STATE, &["available", "Available"])), (Degraded, Word(STATE, &["failed", "Failed"]))],
    ),
    ("astra.netapp.io", &["Application"], READY),
    ("astra.netapp.io", &["Backup", "ExecHooksRun", "ResourceBackup", "ResticVolumeBackup", "Snapshot"], RUN_OF_ASTRA),
    ("astra.netapp.io", &["ExecHook"], &[(Healthy, Word("/spec/enabled", &["true"]))]),
    // Computing.
    (
        "flink.apache.org",
        &["FlinkDeployment"],
        &[
            (Healthy, Word("/status/reconciliationStatus/success", &["true"])),
            (Healthy, Word("/status/reconciliationStatus/state", &["DEPLOYED"])),
            (Degraded, Word("/status/jobManagerDeploymentStatus", &["ERROR"])),
        ],
    ),
    (
        "sparkoperator.k8s.io",
        &["SparkApplication"],
        &[
            (Healthy, Word("/status/applicationState/state", &["RUNNING", "SUCCEEDING", "COMPLETED"])),
            (Failed, Word("/status/applicationState/state", &["FAILED"])),
            (Degraded, Word("/status/applicationState/state", &["FAILING", "SUBMISSION_FAILED"])),
        ],
    ),
];
