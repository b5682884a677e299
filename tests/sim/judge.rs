//! What must hold at every moment, whatever was pushed and whatever failed: the model that the simulation is judged by.

use std::collections::{BTreeMap, BTreeSet};

use trimtab::domain::digest::Digest;
use trimtab::domain::id::{Revision, RollbackId, UnitId};
use trimtab::domain::observed::Seen;
use trimtab::domain::revert::{REVERTS, ROLLBACK_ID};
use trimtab::domain::rollout::event::{Outcome, RolloutEvent};
use trimtab::domain::unit::event::{UnitEvent, upcast};
use trimtab::domain::unit::state::{UnitState, Wants};

use super::world::{Outside, kind};

/// A unit as its records tell, read by the judge himself.
#[derive(Default)]
pub struct Told {
    pub state: UnitState,
    read: usize,
    /// Something has served in full once: from then on it must not stop.
    served: bool,
    /// What Git asked for when its rollout was called off, until it asks for something else or somebody has it tried again.
    called_off: Option<Digest>,
}

/// Reads along and remembers what was wrong.
#[derive(Default)]
pub struct Judge {
    pub wrong: Vec<String>,
    pub told: BTreeMap<UnitId, Told>,
    pub decided: BTreeMap<RollbackId, (UnitId, Revision)>,
    /// The commits of tried states that somebody let be tried again.
    pub cleared: BTreeSet<UnitId>,
    /// The least that must serve, by unit; not judged while instances are killed from outside.
    pub least: BTreeMap<UnitId, u32>,
    /// Instances were killed from outside: what serves is not the daemon's fault.
    pub rough: bool,
}

impl Judge {
    /// Reads what is new and looks at what is there.
    pub fn look(&mut self, outside: &Outside) {
        let known = self.wrong.len();
        self.read(outside);
        for (unit, fake) in &outside.platforms {
            for violation in &fake.violations {
                let line = format!("{unit}: {violation}");
                if !self.wrong.contains(&line) {
                    self.wrong.push(line);
                }
            }
            self.serves(outside, unit);
        }
        if self.wrong.len() > known {
            let tail: Vec<_> = outside.trace.iter().rev().take(60).rev().collect();
            panic!("{:#?}\nafter {:#?}", self.wrong, tail);
        }
    }

    fn read(&mut self, outside: &Outside) {
        for (stream, records) in &outside.store.streams {
            let Some(unit) = stream.strip_prefix("unit/").and_then(|unit| unit.parse::<UnitId>().ok()) else {
                continue;
            };
            let told = self.told.entry(unit.clone()).or_default();
            for record in &records[told.read..] {
                let event = upcast(record.version, record.event.clone()).unwrap();
                called_off(told, &event);
                match &event {
                    UnitEvent::RolloutStarted { to: Some(to), .. } if told.called_off.as_ref() == Some(to) => {
                        self.wrong.push(format!("{unit}: {to} is rolled out again, though it was called off"));
                    }
                    UnitEvent::RolloutStarted { to: Some(to), .. } if told.state.quarantine.contains_key(to) => {
                        self.wrong.push(format!("{unit}: {to} is rolled out again, though it is quarantined"));
                    }
                    UnitEvent::RollbackDecided { id, bad_revision, .. } => {
                        self.decided.insert(id.clone(), (unit.clone(), bad_revision.clone()));
                    }
                    UnitEvent::QuarantineCleared { .. } => {
                        self.cleared.insert(unit.clone());
                    }
                    _ => {}
                }
                if let Err(error) = told.state.apply(&event, record.at) {
                    self.wrong.push(format!("{unit}: {error}: {event:?}"));
                }
            }
            told.read = records.len();
            for held in &told.state.held {
                if held.message.is_empty() || held.remedy.is_empty() {
                    self.wrong.push(format!("{unit}: held without a reason: {held:?}"));
                }
            }
        }
    }

    /// Never fewer serve than the strategy allows, as long as every version that has traffic can serve.
    fn serves(&mut self, outside: &Outside, unit: &UnitId) {
        let Some(least) = self.least.get(unit) else { return };
        let (Some(told), Some(fake)) = (self.told.get_mut(unit), outside.platforms.get(unit)) else { return };
        let weights = fake.weights();
        let Seen::Known(groups) = fake.observe().groups else { return };
        let routed = groups.iter().filter(|group| weights.get(&group.group).is_some_and(|weight| *weight > 0));
        let able =
            routed.clone().count() > 0 && routed.clone().all(|group| matches!(kind(&group.version), 'g' | 'e' | 'h'));
        told.served = able && (told.served || fake.serving() >= *least);
        let asked_for = told.state.effective.as_ref().is_some_and(|effective| effective.rendered.is_some());
        if told.served && able && asked_for && !self.rough && fake.serving() < *least {
            self.wrong.push(format!("{unit}: only {} serve, {least} must: {weights:?} {groups:#?}", fake.serving()));
        }
    }

    /// Exactly one revert for each rollback that was decided and is recorded; none for anything else.
    pub fn reverts(&mut self, outside: &Outside) {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (_, id) in outside.git.with_trailer(ROLLBACK_ID) {
            *seen.entry(id).or_default() += 1;
        }
        for (id, count) in &seen {
            if *count != 1 {
                self.wrong.push(format!("rollback {id} stands in {count} commits"));
            }
            if !self.decided.contains_key(&RollbackId(id.clone())) {
                self.wrong.push(format!("rollback {id} was never decided"));
            }
        }
        let mut of: BTreeMap<(UnitId, String), usize> = BTreeMap::new();
        for (revision, reverts) in outside.git.with_trailer(REVERTS) {
            let ids = outside.git.with_trailer(ROLLBACK_ID);
            let id = ids.into_iter().find(|(at, _)| *at == revision).map(|(_, id)| id).unwrap_or_default();
            if let Some((unit, _)) = self.decided.get(&RollbackId(id)) {
                *of.entry((unit.clone(), reverts)).or_default() += 1;
            }
        }
        for ((unit, bad), count) in of {
            if count > 1 && !self.cleared.contains(&unit) {
                self.wrong.push(format!("{unit}: {count} reverts of {bad}"));
            }
        }
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
    }
}

/// Remembers what was called off, but for new instances of what runs.
fn called_off(told: &mut Told, event: &UnitEvent) {
    let state = &told.state;
    let asked = match state.candidate.as_ref().map(|candidate| &candidate.wants) {
        Some(Wants::Run { rendered, .. }) => Some(rendered),
        _ => None,
    };
    match event {
        UnitEvent::Rollout(RolloutEvent::Ended { outcome: Outcome::Aborted { .. } }) => {
            let target = state.target.as_ref().and_then(|(target, _)| target.rendered.as_ref());
            let verified = state.last_verified.as_ref().map(|verified| &verified.rendered);
            told.called_off = target.filter(|target| asked == Some(target) && verified != Some(target)).cloned();
        }
        UnitEvent::CandidateSeen { rendered, .. } if asked != Some(rendered) => told.called_off = None,
        UnitEvent::Retried { .. } | UnitEvent::RollbackDecided { trigger: None, .. } => told.called_off = None,
        _ => {}
    }
}

/// What the last look at a unit says against its having converged to this version; `None`: it has.
pub fn unsettled(outside: &Outside, told: &Told, unit: &UnitId, version: &str, replicas: u32) -> Option<String> {
    let state = &told.state;
    let Some(Wants::Run { rendered, version: wanted }) = state.candidate.as_ref().map(|candidate| &candidate.wants)
    else {
        return Some("Git asks for nothing".into());
    };
    if wanted != version {
        return Some(format!("it believes that Git asks for {wanted}"));
    }
    let verified: Option<&Digest> = state.last_verified.as_ref().map(|verified| &verified.rendered);
    if verified != Some(rendered) {
        return Some(format!("{version} is not verified; held by {:?}", state.held));
    }
    if let Some(rollout) = state.running() {
        return Some(format!("rollout {} has not ended", rollout.id));
    }
    let fake = &outside.platforms[unit];
    let sizes: Vec<_> = fake.sizes().into_values().collect();
    if sizes != [(replicas, replicas)] || fake.serving() != replicas {
        return Some(format!("{sizes:?} run and {} serve, not {replicas}", fake.serving()));
    }
    None
}
