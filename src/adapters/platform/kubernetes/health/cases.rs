//! What kstatus and Argo CD say of objects, and what is said here: `cases.yaml`.

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

#[test]
fn objects_are_judged_as_by_others_or_for_a_reason_otherwise() {
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("cases.yaml")).expect("the table can be read");
    let mut wrong = Vec::new();
    for Case { case, kstatus, argo, here, why, mut object } in cases {
        let metadata = object.as_object_mut().expect("an object is a mapping").entry("metadata");
        metadata.or_insert_with(|| json!({ "name": "a", "generation": 2 }));
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
