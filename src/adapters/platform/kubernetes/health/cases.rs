//! What kstatus and Argo CD say of objects, and what is said here: `cases.yaml`, and for the kinds that have rules in Argo CD
//! `argo/*.yaml`: its own test cases (Apache-2.0), reduced to what decides them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Health, health};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    /// What `status.Compute` of cli-utils gives.
    kstatus: Kstatus,
    /// What `GetResourceHealth` of Argo CD gives, its customizations included; none where it has no rule for the kind.
    argo: Option<Answer>,
    here: Answer,
    /// Why it is another answer than one of theirs.
    why: Option<String>,
    object: Value,
}

/// The cases of a kind in `argo/*.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    /// Its version, a space, its name.
    kind: String,
    cases: Vec<ArgoCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArgoCase {
    argo: Answer,
    /// Where it is another answer than Argo CD's, and why.
    here: Option<Answer>,
    why: Option<String>,
    metadata: Option<Value>,
    spec: Option<Value>,
    status: Option<Value>,
}

#[derive(Clone, Copy, Deserialize)]
enum Kstatus {
    InProgress,
    Current,
    Failed,
    Terminating,
    Error,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum Answer {
    Progressing,
    Healthy,
    Degraded,
    Suspended,
    Unknown,
    /// A word of Argo CD alone.
    Missing,
}

impl Kstatus {
    fn answer(self) -> Answer {
        match self {
            Kstatus::InProgress | Kstatus::Terminating => Answer::Progressing,
            Kstatus::Current => Answer::Healthy,
            Kstatus::Failed => Answer::Degraded,
            Kstatus::Error => Answer::Unknown,
        }
    }
}

fn answer(health: &Health) -> Answer {
    match health {
        Health::Progressing(_) => Answer::Progressing,
        Health::Healthy => Answer::Healthy,
        Health::Degraded { .. } => Answer::Degraded,
        Health::Suspended(_) => Answer::Suspended,
        Health::Unknown(_) => Answer::Unknown,
    }
}

fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = serde_saphyr::from_str(include_str!("cases.yaml")).expect("the table can be read");
    for case in &mut all {
        let metadata = case.object.as_object_mut().expect("an object is a mapping").entry("metadata");
        metadata.or_insert_with(|| json!({ "name": "a", "generation": 2 }));
    }
    all
}

fn argo_cases() -> Vec<(ArgoCase, Value)> {
    let files = [
        include_str!("argo/built_in.yaml"),
        include_str!("argo/cloud.yaml"),
        include_str!("argo/data.yaml"),
        include_str!("argo/delivery.yaml"),
        include_str!("argo/platform.yaml"),
    ];
    let kinds = files.map(|text| serde_saphyr::from_str::<Vec<Kind>>(text).expect("the table can be read"));
    let object = |kind: &str, case: &ArgoCase| {
        let (version, kind) = kind.split_once(' ').expect("a version, a space, a kind");
        let metadata = case.metadata.clone().unwrap_or_else(|| json!({ "name": "a", "generation": 2 }));
        let mut object = json!({ "apiVersion": version, "kind": kind, "metadata": metadata });
        for (field, value) in [("spec", &case.spec), ("status", &case.status)] {
            if let Some(value) = value {
                object[field] = value.clone();
            }
        }
        object
    };
    let all = kinds.into_iter().flatten().flat_map(|Kind { kind, cases }| {
        let with_object = move |case: ArgoCase| {
            let object = object(&kind, &case);
            (case, object)
        };
        cases.into_iter().map(with_object)
    });
    all.collect()
}

/// All objects that there are cases of.
pub(super) fn objects() -> Vec<Value> {
    cases().into_iter().map(|case| case.object).chain(argo_objects()).collect()
}

/// Those of kinds that have rules in Argo CD.
pub(super) fn argo_objects() -> Vec<Value> {
    argo_cases().into_iter().map(|(_, object)| object).collect()
}

#[test]
fn objects_are_judged_as_by_others_or_for_a_reason_otherwise() {
    let mut wrong = Vec::new();
    for Case { case, kstatus, argo, here, why, object } in cases() {
        let found = health(&object);
        if answer(&found) != here {
            wrong.push(format!("{case}: {found:?}, and not {here:?}"));
        }
        if found != Health::Healthy && found.message().is_none_or(|message| message.trim().is_empty()) {
            wrong.push(format!("{case}: {found:?} says nothing"));
        }
        let differs = kstatus.answer() != here || argo.is_some_and(|argo| argo != here);
        if differs != why.is_some() {
            let what = if differs { "has no reason for another answer" } else { "has a reason for the same answer" };
            wrong.push(format!("{case}: {what}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_kinds_of_argo_cd_are_judged_as_there_or_for_a_reason_otherwise() {
    let all = argo_cases();
    assert!(all.len() > 900, "{} cases", all.len());
    let mut wrong = Vec::new();
    for (case, object) in all {
        let found = health(&object);
        if answer(&found) != case.here.unwrap_or(case.argo) {
            wrong.push(format!("{object}: {found:?}"));
        }
        if case.here.is_some() != case.why.is_some() || case.here == Some(case.argo) {
            wrong.push(format!("{object}: another answer has a reason, and the same one has none"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
