//! Why something was not done on a cluster.

use super::refusal::ApiError;
use crate::domain::id::Epoch;
use crate::ports::platform::PlatformError;

/// Why something was not done.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Whether it was carried out is not known.
    Unreachable(String),
    /// The server's answer.
    Api(ApiError),
    /// It can't be done as things are.
    Refused(String),
    /// It is wrong in itself: waiting changes nothing.
    Wrong(String),
    /// It may be done later.
    Failed(String),
    /// The namespace of a parent is not there.
    NoNamespace(String),
    /// The cluster has no such kind.
    NoKind {
        /// In which version it is asked for.
        api_version: String,
        /// Which.
        kind: String,
        /// For people.
        told: String,
    },
    /// Another daemon has taken over.
    Stale,
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Fault::Api(error)
    }
}

impl Fault {
    /// The cause alone, for people.
    pub fn why(&self) -> String {
        match self {
            Fault::Unreachable(why) | Fault::Refused(why) | Fault::Wrong(why) | Fault::Failed(why) => why.clone(),
            Fault::Api(error) => error.to_string(),
            Fault::NoNamespace(name) => format!("the app's namespace {name} is not there"),
            Fault::NoKind { told, .. } => told.clone(),
            Fault::Stale => "another daemon has taken over".into(),
        }
    }

    /// Whether waiting changes nothing.
    pub fn is_for_good(&self) -> bool {
        match self {
            Fault::Wrong(_) => true,
            Fault::Api(error) => error.is_for_good(),
            _ => false,
        }
    }

    /// The same, of one object.
    #[must_use]
    pub fn about(self, what: &str, rest: &str) -> Self {
        match self {
            Fault::Stale => Fault::Stale,
            Fault::Unreachable(why) => Fault::Unreachable(why),
            Fault::Api(ApiError::Unreachable(why)) => Fault::Unreachable(why),
            Fault::Api(error) if error.passes() => Fault::Failed(format!("{what}: {error}{rest}")),
            Fault::Api(error) if error.is_for_good() => Fault::Wrong(format!("{what}: {error}{rest}")),
            Fault::Api(error) => Fault::Refused(format!("{what}: {error}{rest}")),
            Fault::Refused(why) => Fault::Refused(format!("{what}: {why}{rest}")),
            Fault::Wrong(why) => Fault::Wrong(format!("{what}: {why}{rest}")),
            Fault::Failed(why) => Fault::Failed(format!("{what}: {why}{rest}")),
            other @ (Fault::NoNamespace(_) | Fault::NoKind { .. }) => other,
        }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn with(self, advice: &str) -> Self {
        match self {
            Fault::Api(ApiError::Refused(mut refusal)) => {
                refusal.message.push_str(advice);
                Fault::Api(ApiError::Refused(refusal))
            }
            other => other,
        }
    }

    /// In the port's words.
    pub fn told(self, platform: &str, epoch: Epoch) -> PlatformError {
        let platform = platform.to_owned();
        match self {
            Fault::Unreachable(reason) | Fault::Api(ApiError::Unreachable(reason)) => {
                PlatformError::Unreachable { platform, reason }
            }
            Fault::Api(error) if error.passes() => PlatformError::Failed { platform, reason: error.to_string() },
            Fault::Api(error) if error.is_for_good() => PlatformError::Wrong { platform, reason: error.to_string() },
            Fault::Api(error) => PlatformError::Refused { platform, reason: error.to_string() },
            Fault::Refused(reason) => PlatformError::Refused { platform, reason },
            Fault::Wrong(reason) => PlatformError::Wrong { platform, reason },
            Fault::Failed(reason) | Fault::NoKind { told: reason, .. } => PlatformError::Failed { platform, reason },
            Fault::NoNamespace(name) => {
                let reason = format!(
                    "the app's namespace {name} is not there: add a Namespace to its objects, or make it with `kubectl \
                     create namespace {name}`"
                );
                PlatformError::Refused { platform, reason }
            }
            Fault::Stale => PlatformError::Stale { platform, epoch },
        }
    }
}
