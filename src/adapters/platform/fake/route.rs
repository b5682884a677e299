//! A route on planes that confirm late, and what is in flight.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::action::TrafficSet;
use crate::domain::id::GroupId;
use crate::domain::observed::{ObservedTraffic, Seen};
use crate::domain::rollout::clock::after;
use crate::domain::span::Span;

/// One route.
#[derive(Clone, Debug)]
pub(super) struct FakeRoute {
    asked: TrafficSet,
    confirmed_at: Timestamp,
    draining: BTreeMap<String, Timestamp>,
    is_new: bool,
}

impl FakeRoute {
    pub fn new(asked: TrafficSet) -> Self {
        FakeRoute { asked, confirmed_at: Timestamp::UNIX_EPOCH, draining: BTreeMap::new(), is_new: true }
    }

    pub fn asked(&self) -> &TrafficSet {
        &self.asked
    }

    /// Sets it and tells which endpoints are new.
    pub fn set(&mut self, asked: TrafficSet, now: Timestamp, confirm: Span, drain: Span) -> Vec<(GroupId, String)> {
        let all = |set: &TrafficSet| -> Vec<(GroupId, String)> {
            let ids = set.backends.iter().flat_map(|(g, b)| b.endpoints.keys().map(|id| (g.clone(), id.clone())));
            ids.collect()
        };
        let (before, now_there) = if self.is_new { (Vec::new(), all(&asked)) } else { (all(&self.asked), all(&asked)) };
        if self.is_new || self.asked != asked {
            self.confirmed_at = after(now, confirm);
        }
        for (_, id) in before.iter().filter(|one| !now_there.contains(one)) {
            self.draining.insert(id.clone(), after(now, drain));
        }
        for (_, id) in &now_there {
            self.draining.remove(id);
        }
        (self.asked, self.is_new) = (asked, false);
        now_there.into_iter().filter(|one| !before.contains(one)).collect()
    }

    pub fn draining(&self, now: Timestamp) -> Vec<String> {
        self.draining.iter().filter(|(_, until)| **until > now).map(|(id, _)| id.clone()).collect()
    }

    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.draining.values().copied().chain([self.confirmed_at]).filter(|at| *at > now).min()
    }

    pub fn observe(&self, now: Timestamp) -> Seen<Option<ObservedTraffic>> {
        if self.confirmed_at > now {
            return Seen::Unknown("1 of 2 planes has not confirmed the last setting".into());
        }
        Seen::Known(Some(ObservedTraffic {
            backends: self.asked.backends.clone(),
            hold: self.asked.hold.is_some(),
            settings: self.asked.settings.clone(),
            draining: self.draining(now).into_iter().map(|id| (id, 1)).collect(),
            unconfirmed: None,
        }))
    }
}
