//! What the API lists besides units: environments, apps, releases, rollouts. All of it is seen from the units.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::types::{RolloutSummary, RolloutView, UnitHealth, UnitStatus, VersionRef};
use crate::domain::id::{Name, UnitId};

/// An environment with units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentView {
    /// Its name.
    pub name: Name,
    /// Whether nothing in it is reconciled.
    pub suspended: bool,
    /// Its targets.
    pub targets: BTreeSet<Name>,
    /// The apps in it.
    pub apps: BTreeSet<Name>,
    /// How many of its units are of each health.
    pub health: BTreeMap<UnitHealth, u32>,
}

/// An app with units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppView {
    /// Its name.
    pub name: Name,
    /// Where it runs or shall run.
    pub environments: BTreeSet<Name>,
    /// How many of its units are of each health.
    pub health: BTreeMap<UnitHealth, u32>,
}

/// Which version of an app an environment is asked to run, and how far that is true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseView {
    /// The app.
    pub app: Name,
    /// The environment.
    pub environment: Name,
    /// What Git's head asks for; none: nothing any more.
    pub candidate: Option<VersionRef>,
    /// Each target of the environment.
    pub targets: Vec<ReleaseTarget>,
}

/// A release on one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseTarget {
    /// The target.
    pub target: Name,
    /// How its unit stands.
    pub health: UnitHealth,
    /// What is made true there now.
    pub effective: Option<VersionRef>,
    /// The last that passed everything there.
    pub last_verified: Option<VersionRef>,
}

/// A rollout of some unit, in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutEntry {
    /// Whose.
    pub unit: UnitId,
    /// The rollout.
    #[serde(flatten)]
    pub summary: RolloutSummary,
}

/// A rollout of some unit, in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutDetail {
    /// Whose.
    pub unit: UnitId,
    /// The rollout. Of one that is neither the unit's present nor its last one, the phases are not told.
    #[serde(flatten)]
    pub rollout: RolloutView,
}

/// Which rollouts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RolloutFilter {
    /// Only of this app.
    pub app: Option<Name>,
    /// Only in this environment.
    pub environment: Option<Name>,
    /// Only those that have not ended (`true`), or only those that have (`false`).
    pub running: Option<bool>,
}

impl RolloutFilter {
    /// Whether a rollout is meant.
    pub fn matches(&self, unit: &UnitId, running: bool) -> bool {
        self.app.as_ref().is_none_or(|app| *app == unit.app)
            && self.environment.as_ref().is_none_or(|environment| *environment == unit.environment)
            && self.running.is_none_or(|wanted| wanted == running)
    }
}

/// The environments that units are in.
pub fn environments(units: &[UnitStatus], suspended: &[Name]) -> Vec<EnvironmentView> {
    let mut found: BTreeMap<&Name, EnvironmentView> = BTreeMap::new();
    for status in units {
        let name = &status.unit.environment;
        let view = found.entry(name).or_insert_with(|| EnvironmentView {
            name: name.clone(),
            suspended: suspended.contains(name),
            targets: BTreeSet::new(),
            apps: BTreeSet::new(),
            health: BTreeMap::new(),
        });
        view.targets.insert(status.unit.target.clone());
        view.apps.insert(status.unit.app.clone());
        *view.health.entry(status.health).or_default() += 1;
    }
    found.into_values().collect()
}

/// The apps that units are of.
pub fn apps(units: &[UnitStatus]) -> Vec<AppView> {
    let mut found: BTreeMap<&Name, AppView> = BTreeMap::new();
    for status in units {
        let name = &status.unit.app;
        let view = found.entry(name).or_insert_with(|| AppView {
            name: name.clone(),
            environments: BTreeSet::new(),
            health: BTreeMap::new(),
        });
        view.environments.insert(status.unit.environment.clone());
        *view.health.entry(status.health).or_default() += 1;
    }
    found.into_values().collect()
}

/// The releases that units carry out, by app and environment.
pub fn releases(units: &[UnitStatus]) -> Vec<ReleaseView> {
    let mut found: BTreeMap<(&Name, &Name), ReleaseView> = BTreeMap::new();
    for status in units {
        let UnitId { app, environment, target } = &status.unit;
        let view = found.entry((app, environment)).or_insert_with(|| ReleaseView {
            app: app.clone(),
            environment: environment.clone(),
            candidate: None,
            targets: Vec::new(),
        });
        view.candidate = view.candidate.take().or_else(|| status.candidate.clone());
        view.targets.push(ReleaseTarget {
            target: target.clone(),
            health: status.health,
            effective: status.effective.clone(),
            last_verified: status.last_verified.clone(),
        });
    }
    found.into_values().collect()
}
