//! What runs, as far as it is known. Not knowing is a value of its own, never an empty list.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::id::{GroupId, RunId};

/// Something that was looked at, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Seen<T> {
    /// It is so.
    Known(T),
    /// It could not be seen; why.
    Unknown(String),
}

impl<T> Seen<T> {
    /// The value, where it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Seen::Known(value) => Some(value),
            Seen::Unknown(_) => None,
        }
    }
}

/// What runs for one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedUnit {
    /// Its groups, retiring ones included.
    pub groups: Seen<Vec<ObservedGroup>>,
    /// Its route; `Known(None)`: there is none.
    pub traffic: Seen<Option<ObservedTraffic>>,
    /// Its preview route.
    pub preview: Seen<Option<ObservedTraffic>>,
    /// The runs that were asked about.
    pub runs: BTreeMap<RunId, Seen<ObservedRun>>,
}

impl ObservedUnit {
    /// The objects of groups that are replaced in place of which there is something to tell, the worst first.
    pub fn notable(&self) -> Vec<(&ObservedInstance, &str)> {
        let groups = self.groups.known().map(Vec::as_slice).unwrap_or_default();
        let objects =
            groups.iter().filter(|group| group.in_place && !group.retiring).flat_map(|group| &group.instances);
        let mut told: Vec<_> = objects.filter_map(|object| Some((object, object.message.as_deref()?))).collect();
        told.sort_by_key(|(object, _)| (object.ready, !object.given_up));
        told
    }

    /// What is no longer asked for and is still there although its removal is under way. Nothing waits for it.
    pub fn dropped(&self) -> impl Iterator<Item = &Leaving> {
        let groups = self.groups.known().map(Vec::as_slice).unwrap_or_default();
        let is_asked = |group: &ObservedGroup, one: &Leaving| group.instances.iter().any(|other| other.id == one.id);
        let staying = groups.iter().filter(|group| !group.retiring);
        staying.flat_map(move |group| group.leaving.iter().filter(move |one| !is_asked(group, one)))
    }
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedGroup {
    /// Which.
    pub group: GroupId,
    /// What it was made from.
    pub rendered: Digest,
    /// The release's version it runs.
    pub version: String,
    /// How many instances are asked for.
    pub replicas: u32,
    /// It is being removed.
    pub retiring: bool,
    /// Its platform replaces it in place: it can be kept or stopped, but not made smaller.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_place: bool,
    /// Somebody else made it, and it is to be taken over by consent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub found: bool,
    /// What of it is being removed and is not gone yet; what is no longer asked for is no instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<Leaving>,
    /// Its instances by slot.
    pub instances: Vec<ObservedInstance>,
}

/// Something that is being removed and is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leaving {
    /// What.
    pub id: String,
    /// Since when, and what it waits for.
    pub message: String,
    /// What can be done so that it goes; `None`: it goes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl ObservedGroup {
    /// How many instances among the first `slots` are ready.
    pub fn ready(&self, slots: u32) -> u32 {
        let ready = self.instances.iter().filter(|instance| instance.ready && instance.slot < slots).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// Whether any of its instances is asked for or there. Before its first hook has ended, a group may be known by its name alone.
    pub fn is_begun(&self) -> bool {
        self.replicas > 0 || !self.instances.is_empty()
    }

    /// That fewer instances are ready than are asked for, and what the first of them says, for people; `None`: all are.
    pub fn shortfall(&self) -> Option<String> {
        let ready = self.ready(u32::MAX);
        (ready < self.replicas).then(|| shortfall(ready, self.replicas, &self.version, self.instances.iter()))
    }
}

/// That only so many of these instances are ready, and what the first says that is not, for people.
pub fn shortfall<'a>(
    ready: u32,
    of: u32,
    version: &str,
    mut instances: impl Iterator<Item = &'a ObservedInstance>,
) -> String {
    let said = |one: &ObservedInstance| Some(format!("; {}: {}", one.id, one.message.as_ref().filter(|_| !one.ready)?));
    let why = instances.find_map(said).unwrap_or_default();
    format!("{ready} of {of} instances of {version} are ready{why}")
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedInstance {
    /// Its id, unique within the unit.
    pub id: String,
    /// Its slot.
    pub slot: u32,
    /// Whether its process runs.
    pub running: bool,
    /// It is being stopped.
    pub stopping: bool,
    /// Whether it may serve.
    pub ready: bool,
    /// Where it serves.
    pub address: Option<SocketAddr>,
    /// When the present process was started.
    pub started: Option<Timestamp>,
    /// How often it was started again.
    pub restarts: u32,
    /// Its platform has given it up: it will not become ready by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
    /// Why it is not ready, for people.
    pub message: Option<String>,
}

/// A route as it was asked of all data planes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedTraffic {
    /// The groups and what they get.
    pub backends: BTreeMap<GroupId, ObservedBackend>,
    /// Requests wait.
    pub hold: bool,
    /// A digest of the rest of the route: listener, host, path, stickiness, probe, time limits.
    pub settings: Digest,
    /// Requests still in flight on instances that were taken out, by instance.
    pub draining: BTreeMap<String, u64>,
    /// It was asked for, and whoever carries the requests has not said yet that it is so; what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<String>,
}

/// What one group gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedBackend {
    /// Its weight.
    pub weight: u32,
    /// Its instances' ids and addresses.
    pub endpoints: BTreeMap<String, SocketAddr>,
    /// Testers' requests go to it, whatever its weight.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub testers: bool,
}

/// A hook's or script's run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ObservedRun {
    /// It was never started.
    NotStarted,
    /// It runs.
    Running,
    /// The same, and what it is at or waits for is known.
    Busy(String),
    /// It ended with this code.
    Exited(i32),
    /// It failed without an exit code (a signal, its timeout, its memory limit); why.
    Failed(String),
    /// It was started and nobody knows how it ended; why.
    Unknown(String),
}
