//! Rules of health that the manifest says itself.

use std::sync::Arc;

use serde_json::Value;

use super::{Health, generation, text};
use crate::domain::digest::Digest;
use crate::domain::objects::cel::{Expression, Subject};
use crate::domain::workload::kubernetes::{HealthRule, ObjectId};

/// The version of what rules mean.
const FORMAT: &str = "h1";

/// The rules of a unit.
#[derive(Debug)]
pub struct Rules {
    /// Tells these rules from others.
    pub mark: Arc<str>,
    written: Vec<HealthRule>,
    read: Vec<Read>,
}

/// The expressions of a rule in the order they are asked in, each with what it says where it holds.
#[derive(Debug)]
struct Read(Vec<(Says, Result<Expression, String>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Suspended,
    Progressing,
    Degraded,
    Healthy,
}

impl Rules {
    /// Reads rules. They were checked when the manifest was read; one that can't be read any more makes its objects `Unknown`.
    pub fn of(written: &[HealthRule]) -> Self {
        let read = written.iter().map(|rule| {
            let all = [
                (Says::Suspended, rule.suspended.as_ref()),
                (Says::Progressing, rule.progressing.as_ref()),
                (Says::Degraded, rule.degraded.as_ref()),
                (Says::Healthy, Some(&rule.healthy)),
            ];
            Read(all.into_iter().filter_map(|(says, text)| Some((says, Expression::read(text?)))).collect())
        });
        Rules { mark: Digest::of(FORMAT, &written).short().into(), read: read.collect(), written: written.to_vec() }
    }

    /// The rules as they are written.
    pub fn written(&self) -> &[HealthRule] {
        &self.written
    }

    /// Whether one of them is for this object.
    pub fn concern(&self, id: &ObjectId) -> bool {
        self.written.iter().any(|rule| rule.concerns(id))
    }

    /// How an object is doing by the first rule that is for it. What its controller has not seen yet is on its way, whatever the
    /// rule would make of an old status.
    pub fn health(&self, id: &ObjectId, object: &Value) -> Health {
        if text(object, "/metadata/deletionTimestamp").is_some() {
            return Health::Progressing("it is being deleted".into());
        }
        if let Some(health) = generation(object) {
            return health;
        }
        let found = self.written.iter().zip(&self.read).find(|(rule, _)| rule.concerns(id));
        match (found, Subject::of(object)) {
            (None, _) => super::health(object),
            (Some(_), Err(why)) => Health::Unknown(why),
            (Some((_, read)), Ok(subject)) => read.health(&subject),
        }
    }
}

impl Read {
    fn health(&self, subject: &Subject<'_>) -> Health {
        let mut unknown = None;
        for (says, expression) in &self.0 {
            let answer = expression.as_ref().map_err(Clone::clone).and_then(|expression| expression.holds(subject));
            match (answer, says) {
                (Ok(false), _) => {}
                (Ok(true), Says::Healthy) => return Health::Healthy,
                (Ok(true), Says::Suspended) => return Health::Suspended(says.words()),
                (Ok(true), Says::Progressing) => return Health::Progressing(says.words()),
                (Ok(true), Says::Degraded) => return Health::Degraded { message: says.words(), for_good: false },
                (Err(why), _) => {
                    unknown.get_or_insert_with(|| format!("its rule `{}` can't be told: {why}", says.name()));
                }
            }
        }
        match unknown {
            Some(why) => Health::Unknown(why),
            None => Health::Progressing("its rule `healthy` does not hold yet".into()),
        }
    }
}

impl Says {
    fn name(self) -> &'static str {
        match self {
            Says::Suspended => "suspended",
            Says::Progressing => "progressing",
            Says::Degraded => "degraded",
            Says::Healthy => "healthy",
        }
    }

    fn words(self) -> String {
        format!("its rule `{}` holds", self.name())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> Rules {
        let text = |text: &str| Some(text.to_owned());
        Rules::of(&[HealthRule {
            kind: "Database".into(),
            group: text("example.com"),
            name: None,
            suspended: text("has(object.spec.paused) && object.spec.paused"),
            progressing: None,
            degraded: text("object.status.phase == 'Failed'"),
            healthy: "object.status.phase == 'Ready'".into(),
        }])
    }

    fn judged(mut object: Value) -> Health {
        object["apiVersion"] = "example.com/v1".into();
        object["kind"] = "Database".into();
        object["metadata"]["generation"] = 2.into();
        let id = ObjectId {
            group: "example.com".into(),
            kind: "Database".into(),
            namespace: Some("shop".into()),
            name: "db".into(),
        };
        assert!(rules().concern(&id));
        rules().health(&id, &object)
    }

    #[test]
    fn the_first_expression_that_holds_decides() {
        assert_eq!(judged(json!({ "spec": {}, "status": { "phase": "Ready" } })), Health::Healthy);
        let degraded = judged(json!({ "spec": {}, "status": { "phase": "Failed" } }));
        assert!(matches!(degraded, Health::Degraded { for_good: false, .. }), "{degraded:?}");
        let suspended = judged(json!({ "spec": { "paused": true }, "status": { "phase": "Failed" } }));
        assert!(matches!(suspended, Health::Suspended(_)), "{suspended:?}");
        let waits = judged(json!({ "spec": {}, "status": { "phase": "Starting" } }));
        assert!(matches!(&waits, Health::Progressing(word) if word.contains("healthy")), "{waits:?}");
    }

    #[test]
    fn what_is_missing_is_unknown_and_what_is_old_is_on_its_way() {
        let missing = judged(json!({ "spec": {}, "status": {} }));
        assert!(matches!(&missing, Health::Unknown(word) if word.contains("`phase`")), "{missing:?}");
        let old = judged(json!({ "spec": {}, "status": { "phase": "Ready", "observedGeneration": 1 } }));
        assert!(matches!(old, Health::Progressing(_)), "{old:?}");
        let gone = judged(
            json!({ "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" }, "status": { "phase": "Ready" } }),
        );
        assert!(matches!(gone, Health::Progressing(_)), "{gone:?}");
    }

    #[test]
    fn rules_are_known_from_other_rules() {
        let mut others = rules().written().to_vec();
        assert_eq!(Rules::of(&others).mark, rules().mark);
        others[0].healthy = "true".into();
        assert_ne!(Rules::of(&others).mark, rules().mark);
    }
}
