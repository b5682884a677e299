//! What a platform says of a change before it is made: what it would make of each object, and what it would refuse.
//!
//! An input of the planner like what is observed. What can't be told is said so, and is never "nothing changes".

use serde::{Deserialize, Serialize};

use super::difference::Difference;

/// What would come of a change. Empty: the platform makes just what it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// What would be touched, by name; what is right already is not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Predicted>,
    /// Why nothing at all can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpredictable: Option<String>,
}

impl Prediction {
    /// Nothing can be told; why.
    pub fn unpredictable(reason: impl Into<String>) -> Self {
        Prediction { objects: Vec::new(), unpredictable: Some(reason.into()) }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.unpredictable.is_none()
    }

    /// What would be refused, each with its reason.
    pub fn refusals(&self) -> impl Iterator<Item = (&str, &str)> {
        self.objects.iter().filter_map(|one| match &one.outcome {
            Outcome::Refused { reason } => Some((one.object.as_str(), reason.as_str())),
            _ => None,
        })
    }
}

/// What would come of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predicted {
    /// What it is called: `Deployment.apps/web`.
    pub object: String,
    /// What would come of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What would come of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub enum Outcome {
    /// It would be made; the platform was not asked about its content.
    New,
    /// It would change so, by the platform's own answer.
    Changed {
        /// The fields; the effect of each says whether it is asked for.
        fields: Vec<Difference>,
    },
    /// It would be deleted and made again.
    Recreated {
        /// Why it can't be changed.
        reason: String,
    },
    /// It would be removed.
    Removed,
    /// It would be refused.
    Refused {
        /// By whom, and why.
        reason: String,
    },
    /// It can't be told.
    Unpredictable {
        /// Why.
        reason: String,
    },
}

/// The effect of a field that is asked for.
pub const ASKED: &str = "asked for";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let told = Prediction {
            objects: vec![
                Predicted { object: "ConfigMap/a".into(), outcome: Outcome::New },
                Predicted { object: "ConfigMap/b".into(), outcome: Outcome::Refused { reason: "no".into() } },
            ],
            unpredictable: None,
        };
        let text = serde_json::to_string(&told).expect("plain data");
        assert_eq!(serde_json::from_str::<Prediction>(&text).expect("it was just written"), told);
        assert_eq!(told.refusals().collect::<Vec<_>>(), [("ConfigMap/b", "no")]);
        assert!(Prediction::default().is_empty() && !Prediction::unpredictable("x").is_empty());
        assert_eq!(serde_json::to_string(&Prediction::default()).expect("plain data"), "{}");
    }
}
