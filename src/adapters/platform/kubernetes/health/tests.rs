//! The rules, case by case.

use serde_json::{Value, json};

use super::*;

fn object(api_version: &str, kind: &str, spec: Value, status: Value) -> Value {
    json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "a", "generation": 2 }, "spec": spec, "status": status })
}

#[track_caller]
fn progresses(object: &Value, word: &str) {
    match health(object) {
        Health::Progressing(message) => assert!(message.contains(word), "{message}"),
        other => panic!("{other:?}: {object}"),
    }
}

#[track_caller]
fn fails(object: &Value, word: &str) {
    match health(object) {
        Health::Degraded { message, for_good: true } => assert!(message.contains(word), "{message}"),
        other => panic!("{other:?}: {object}"),
    }
}

fn deployment(status: Value) -> Value {
    let mut status = status;
    status["observedGeneration"] = 2.into();
    object("apps/v1", "Deployment", json!({ "replicas": 2, "progressDeadlineSeconds": 600 }), status)
}

#[test]
fn a_deployment_is_healthy_once_all_of_the_new_version_is_available() {
    let conditions = json!([
        { "type": "Available", "status": "True" },
        { "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" },
    ]);
    let counts = |all: u32, updated: u32, ready: u32, available: u32| {
        deployment(json!({ "replicas": all, "updatedReplicas": updated, "readyReplicas": ready,
            "availableReplicas": available, "conditions": conditions }))
    };
    assert_eq!(health(&counts(2, 2, 2, 2)), Health::Healthy);
    progresses(&counts(1, 1, 1, 1), "there");
    progresses(&counts(2, 1, 2, 2), "new version");
    progresses(&counts(3, 2, 3, 3), "being stopped");
    progresses(&counts(2, 2, 2, 1), "available");
    progresses(&counts(2, 2, 1, 2), "ready");
    let mut unseen = counts(2, 2, 2, 2);
    unseen["status"]["observedGeneration"] = 1.into();
    progresses(&unseen, "newest version");
    let mut paused = counts(2, 1, 2, 2);
    paused["spec"]["paused"] = true.into();
    assert!(matches!(health(&paused), Health::Suspended(_)) && rests(&paused));
    let deadline =
        json!([{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m" }]);
    fails(&deployment(json!({ "conditions": deadline })), "deadline");
    let quota = json!([{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota" }]);
    progresses(&deployment(json!({ "conditions": quota })), "quota");
}

#[test]
fn a_stateful_set_counts_its_revisions_and_partitions() {
    let set = |strategy: Value, current: u32, updated: u32, revisions: (&str, &str)| {
        let status = json!({ "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "currentReplicas": current,
            "updatedReplicas": updated, "currentRevision": revisions.0, "updateRevision": revisions.1 });
        object("apps/v1", "StatefulSet", json!({ "replicas": 3, "updateStrategy": strategy }), status)
    };
    assert_eq!(health(&set(json!({}), 3, 3, ("a", "a"))), Health::Healthy);
    progresses(&set(json!({}), 3, 1, ("a", "b")), "current one");
    progresses(&set(json!({}), 2, 1, ("a", "b")), "current version");
    let partition = json!({ "rollingUpdate": { "partition": 2 } });
    assert_eq!(health(&set(partition.clone(), 2, 1, ("a", "b"))), Health::Healthy);
    progresses(&set(partition, 3, 0, ("a", "b")), "0 of 1");
    assert_eq!(
        health(&object("apps/v1", "StatefulSet", json!({ "updateStrategy": { "type": "OnDelete" } }), json!({}))),
        Health::Healthy
    );
}

#[test]
fn a_daemon_set_and_a_replica_set_count_their_pods() {
    let daemons = |status: Value| object("apps/v1", "DaemonSet", json!({}), status);
    progresses(&daemons(json!({})), "yet to see");
    let all = json!({ "observedGeneration": 2, "desiredNumberScheduled": 1, "currentNumberScheduled": 1,
        "updatedNumberScheduled": 1, "numberAvailable": 1, "numberReady": 1 });
    assert_eq!(health(&daemons(all.clone())), Health::Healthy);
    let mut old = all;
    old["updatedNumberScheduled"] = 0.into();
    progresses(&daemons(old), "new version");
    let replicas = |status: Value| object("apps/v1", "ReplicaSet", json!({ "replicas": 1 }), status);
    progresses(&replicas(json!({ "fullyLabeledReplicas": 0 })), "labelled");
    let all = json!({ "replicas": 1, "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1 });
    assert_eq!(health(&replicas(all)), Health::Healthy);
}

#[test]
fn a_pod_is_what_its_phase_says() {
    let pod = |status: Value| object("v1", "Pod", json!({}), status);
    assert_eq!(health(&pod(json!({ "phase": "Succeeded" }))), Health::Healthy);
    fails(&pod(json!({ "phase": "Failed", "message": "evicted" })), "evicted");
    progresses(&pod(json!({})), "phase");
    progresses(&pod(json!({ "phase": "Pending" })), "pending");
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    assert_eq!(health(&pod(json!({ "phase": "Running", "conditions": ready }))), Health::Healthy);
    progresses(&pod(json!({ "phase": "Running" })), "not ready");
    let looping = json!([{ "name": "web", "state": { "waiting": { "reason": "CrashLoopBackOff" } } }]);
    let looping = health(&pod(json!({ "phase": "Running", "containerStatuses": looping })));
    assert!(matches!(looping, Health::Degraded { for_good: false, message } if message.contains("web")));
    assert!(matches!(health(&pod(json!({ "phase": "Odd" }))), Health::Unknown(_)));
}

#[test]
fn a_job_is_healthy_when_it_is_complete() {
    let job = |status: Value| object("batch/v1", "Job", json!({}), status);
    let ended = |kind: &str| {
        job(json!({ "conditions": [{ "type": kind, "status": "True", "reason": "BackoffLimitExceeded" }] }))
    };
    assert_eq!(health(&ended("Complete")), Health::Healthy);
    fails(&ended("Failed"), "BackoffLimitExceeded");
    progresses(&job(json!({})), "not started");
    progresses(&job(json!({ "startTime": "2026-01-01T00:00:00Z", "active": 1 })), "1 pods at work");
    let suspended = object("batch/v1", "CronJob", json!({ "suspend": true }), json!({}));
    assert!(matches!(health(&suspended), Health::Suspended(_)));
}

#[test]
fn a_definition_must_be_established() {
    let definition = |conditions: Value| {
        object("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({}), json!({ "conditions": conditions }))
    };
    progresses(&definition(json!([])), "being established");
    progresses(
        &definition(json!([{ "type": "Established", "status": "False", "reason": "Installing" }])),
        "established",
    );
    assert_eq!(health(&definition(json!([{ "type": "Established", "status": "True" }]))), Health::Healthy);
    fails(&definition(json!([{ "type": "NamesAccepted", "status": "False", "reason": "Conflict" }])), "Conflict");
}

#[test]
fn small_kinds_have_small_rules() {
    assert_eq!(health(&object("v1", "ConfigMap", json!({}), json!({}))), Health::Healthy);
    assert_eq!(health(&object("v1", "Service", json!({ "type": "ClusterIP" }), json!({}))), Health::Healthy);
    progresses(&object("v1", "Service", json!({ "type": "LoadBalancer" }), json!({})), "cluster IP");
    progresses(&object("v1", "PersistentVolumeClaim", json!({}), json!({ "phase": "Pending" })), "Pending");
    assert_eq!(health(&object("v1", "PersistentVolumeClaim", json!({}), json!({ "phase": "Bound" }))), Health::Healthy);
    let gone =
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    progresses(&gone, "deleted");
}

#[test]
fn kinds_that_nobody_knows_are_judged_by_the_conventions() {
    let custom = |status: Value| object("example.com/v1", "Database", json!({}), status);
    let condition =
        |kind: &str, status: &str| custom(json!({ "conditions": [{ "type": kind, "status": status, "reason": "R" }] }));
    assert_eq!(health(&custom(json!({}))), Health::Healthy);
    assert_eq!(health(&condition("Ready", "True")), Health::Healthy);
    progresses(&condition("Ready", "False"), "R");
    progresses(&condition("Ready", "Unknown"), "R");
    progresses(&condition("Reconciling", "True"), "R");
    fails(&condition("Stalled", "True"), "R");
    assert_eq!(health(&condition("Stalled", "False")), Health::Healthy);
    progresses(&custom(json!({ "observedGeneration": 1 })), "newest version");
    for odd in
        [json!({ "conditions": { "Ready": "True" } }), json!({ "conditions": [1, null] }), json!([]), json!("text")]
    {
        assert!(matches!(health(&custom(odd)), Health::Unknown(_)));
    }
}
