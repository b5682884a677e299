//! Objects that nobody should write: fields of another type than they have, and statuses that say nothing.

use serde_json::{Value, json};

use super::cases::{argo_objects, objects};
use super::{Health, health, rests};

/// What stands in the place of something else.
fn others() -> Vec<Value> {
    let mut deep = json!("True");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!(""),
        json!("text"),
        json!("9223372036854775807"),
        json!([]),
        json!([null]),
        json!([{}]),
        json!([{ "type": 1, "status": [], "reason": {}, "observedGeneration": "x" }]),
        json!({}),
        json!({ "a": null }),
        deep,
    ]
}

/// The places of all values within, by JSON pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let mut within = |name: String, value: &Value| {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        all.push(at.clone());
        places(value, &at, all);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| within(name.clone(), value)),
        Value::Array(entries) => entries.iter().enumerate().for_each(|(at, value)| within(at.to_string(), value)),
        _ => {}
    }
}

#[test]
fn a_value_of_another_type_is_judged_and_spoken_of() {
    let others = others();
    for object in objects() {
        let mut all = Vec::new();
        places(&object, "", &mut all);
        for place in all {
            for other in &others {
                let mut object = object.clone();
                *object.pointer_mut(&place).expect("a place within") = other.clone();
                let found = health(&object);
                assert!(
                    found == Health::Healthy || found.message().is_some_and(|message| !message.trim().is_empty()),
                    "{object}: {found:?}"
                );
                rests(&object);
            }
        }
    }
}

/// Kinds of which nothing is asked, or that nobody may ever speak of, and those that are well until their controller says otherwise.
const WITHOUT_A_WORD: &[&str] = &[
    "apiextensions.crossplane.io/Composition",
    "apps.kruise.io/AdvancedCronJob",
    "argoproj.io/CronWorkflow",
    "astra.netapp.io/ExecHook",
    "astra.netapp.io/Schedule",
    "aws.upbound.io/ProviderConfig",
    "batch/CronJob",
    // It says it by a label.
    "core.gardener.cloud/Shoot",
    "gateway.networking.k8s.io/BackendTLSPolicy",
    "gateway.networking.k8s.io/GRPCRoute",
    "gateway.networking.k8s.io/HTTPRoute",
    "opentelemetry.io/OpenTelemetryCollector",
    "policy.open-cluster-management.io/Policy",
    "policy/PodDisruptionBudget",
    "source.toolkit.fluxcd.io/HelmRepository",
];

#[test]
fn what_always_says_how_it_is_doing_is_not_well_before_it_has() {
    let silent = [
        json!(null),
        json!({}),
        json!({ "conditions": null }),
        json!({ "conditions": [] }),
        json!({ "conditions": [{}] }),
        json!({ "conditions": [{ "status": "True" }] }),
        json!({ "conditions": [{ "type": "", "status": "True" }] }),
        json!({ "observedGeneration": 2 }),
    ];
    for mut object in argo_objects() {
        let (group, kind) = (super::group(&object).into_owned(), object["kind"].as_str().expect("a kind").to_owned());
        let name = format!("{group}/{kind}");
        if WITHOUT_A_WORD.contains(&name.as_str()) || group == "microgateway.airlock.com" {
            continue;
        }
        for status in &silent {
            object["status"] = status.clone();
            assert_ne!(health(&object), Health::Healthy, "{object}");
        }
    }
}

#[test]
fn a_generation_that_is_another_or_no_number_is_never_taken_for_the_one_that_was_seen() {
    let object = |asked: Value, seen: Value| {
        json!({
            "apiVersion": "example.com/v1", "kind": "Database", "metadata": { "generation": asked },
            "status": { "observedGeneration": seen, "conditions": [{ "type": "Ready", "status": "True" }] },
        })
    };
    for seen in [json!(1), json!(3), json!(i64::MIN), json!(-2), json!("1")] {
        assert!(matches!(health(&object(json!(2), seen.clone())), Health::Progressing(_)), "{seen}");
    }
    for seen in [json!(1e300), json!(u64::MAX), json!(true), json!([2]), json!({})] {
        assert!(matches!(health(&object(json!(2), seen.clone())), Health::Unknown(_)), "{seen}");
    }
    assert_eq!(health(&object(json!(2), json!(2))), Health::Healthy);
}
