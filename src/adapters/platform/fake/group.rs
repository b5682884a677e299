//! Groups of instances that take their time.

use std::net::{Ipv4Addr, SocketAddr};

use jiff::Timestamp;

use crate::domain::id::GroupId;
use crate::domain::observed::{ObservedGroup, ObservedInstance};
use crate::domain::plan::GroupSource;
use crate::domain::rollout::clock::after;
use crate::domain::span::Span;

/// How the instances of one version behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// From a start until ready; `None`: never.
    pub ready_after: Option<Span>,
    /// From a start until it exits by itself.
    pub crash_after: Option<Span>,
    /// From a start until it stops being ready, its process running on.
    pub unready_after: Option<Span>,
    /// From an exit until it is started again.
    pub restart_after: Span,
    /// From being told to stop until it has ended.
    pub stop_after: Span,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour {
            ready_after: Some(Span::from_secs(2)),
            crash_after: None,
            unready_after: None,
            restart_after: Span::from_secs(1),
            stop_after: Span::from_secs(1),
        }
    }
}

#[derive(Clone, Debug)]
struct Instance {
    id: String,
    slot: u32,
    address: SocketAddr,
    started: Timestamp,
    ready_at: Option<Timestamp>,
    crash_at: Option<Timestamp>,
    unready_at: Option<Timestamp>,
    back_at: Option<Timestamp>,
    gone_at: Option<Timestamp>,
    stop_after: Span,
    restarts: u32,
    message: Option<String>,
}

impl Instance {
    fn start(&mut self, now: Timestamp, behaviour: &Behaviour) {
        self.started = now;
        self.back_at = None;
        self.ready_at = behaviour.ready_after.map(|span| after(now, span));
        self.crash_at = behaviour.crash_after.map(|span| after(now, span));
        self.unready_at = behaviour.unready_after.map(|span| after(now, span));
        self.stop_after = behaviour.stop_after;
    }

    fn ready(&self, now: Timestamp) -> bool {
        let up = self.back_at.is_none() && self.gone_at.is_none();
        let lost = self.unready_at.is_some_and(|at| at <= now);
        up && !lost && self.ready_at.is_some_and(|at| at <= now)
    }

    fn changes(&self) -> impl Iterator<Item = Timestamp> {
        [self.ready_at, self.crash_at.filter(|_| self.back_at.is_none()), self.unready_at, self.back_at, self.gone_at]
            .into_iter()
            .flatten()
    }
}

/// One group.
#[derive(Clone, Debug)]
pub(super) struct FakeGroup {
    source: GroupSource,
    replicas: u32,
    retiring: bool,
    instances: Vec<Instance>,
}

impl FakeGroup {
    pub fn new(source: GroupSource) -> Self {
        FakeGroup { source, replicas: 0, retiring: false, instances: Vec::new() }
    }

    pub fn version(&self) -> &str {
        &self.source.version
    }

    pub fn replicas(&self) -> u32 {
        self.replicas
    }

    pub fn retiring(&self) -> bool {
        self.retiring
    }

    pub fn resize(
        &mut self,
        group: &GroupId,
        source: &GroupSource,
        replicas: u32,
        now: Timestamp,
        behaviour: &Behaviour,
        next_port: &mut u16,
    ) {
        self.source = source.clone();
        self.retiring = false;
        self.replicas = replicas;
        for one in self.instances.iter_mut().filter(|one| one.slot >= replicas) {
            one.gone_at.get_or_insert(after(now, one.stop_after));
        }
        for slot in 0..replicas {
            if self.instances.iter().any(|one| one.slot == slot && one.gone_at.is_none()) {
                continue;
            }
            self.instances.retain(|one| one.slot != slot);
            *next_port = next_port.wrapping_add(1).max(1_024);
            let mut one = Instance {
                id: format!("{group}-{slot}"),
                slot,
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, *next_port)),
                started: now,
                ready_at: None,
                crash_at: None,
                unready_at: None,
                back_at: None,
                gone_at: None,
                stop_after: behaviour.stop_after,
                restarts: 0,
                message: None,
            };
            one.start(now, behaviour);
            self.instances.push(one);
        }
        self.instances.sort_by_key(|one| one.slot);
    }

    pub fn retire(&mut self, now: Timestamp) {
        self.retiring = true;
        self.replicas = 0;
        for one in &mut self.instances {
            one.gone_at.get_or_insert(after(now, one.stop_after));
        }
    }

    pub fn crash(&mut self, slot: u32, now: Timestamp, behaviour: &Behaviour, why: &str) {
        if let Some(one) = self.instances.iter_mut().find(|one| one.slot == slot && one.gone_at.is_none()) {
            one.back_at = Some(after(now, behaviour.restart_after));
            (one.ready_at, one.crash_at, one.unready_at) = (None, None, None);
            one.message = Some(why.to_owned());
        }
    }

    pub fn doubt(&mut self, until: Timestamp) {
        for one in self.instances.iter_mut().filter(|one| one.ready_at.is_some()) {
            one.ready_at = Some(until);
        }
    }

    /// Everything that was due by now happens.
    pub fn settle(&mut self, now: Timestamp, behaviour: &Behaviour) {
        let crashed: Vec<u32> =
            self.instances.iter().filter(|one| one.crash_at.is_some_and(|at| at <= now)).map(|one| one.slot).collect();
        for slot in crashed {
            self.crash(slot, now, behaviour, "exit code 1");
        }
        for one in &mut self.instances {
            if one.back_at.is_some_and(|at| at <= now) {
                one.restarts += 1;
                one.start(now, behaviour);
            }
        }
        self.instances.retain(|one| one.gone_at.is_none_or(|at| at > now));
    }

    pub fn is_gone(&self) -> bool {
        self.retiring && self.instances.is_empty()
    }

    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.instances.iter().flat_map(Instance::changes).filter(|at| *at > now).min()
    }

    pub fn ready(&self, now: Timestamp) -> u32 {
        u32::try_from(self.instances.iter().filter(|one| one.ready(now)).count()).unwrap_or(u32::MAX)
    }

    pub fn serves(&self, id: &str, now: Timestamp) -> bool {
        self.instances.iter().any(|one| one.id == id && one.ready(now))
    }

    pub fn stopping(&self, id: &str) -> bool {
        self.instances.iter().any(|one| one.id == id && one.gone_at.is_some())
    }

    pub fn observe(&self, group: &GroupId, now: Timestamp) -> ObservedGroup {
        let see = |one: &Instance| ObservedInstance {
            id: one.id.clone(),
            slot: one.slot,
            running: one.back_at.is_none(),
            stopping: one.gone_at.is_some(),
            ready: one.ready(now),
            address: Some(one.address),
            started: Some(one.started),
            restarts: one.restarts,
            given_up: false,
            message: one.message.clone(),
        };
        ObservedGroup {
            group: group.clone(),
            rendered: self.source.rendered.clone(),
            version: self.source.version.clone(),
            replicas: self.replicas,
            retiring: self.retiring,
            in_place: false,
            found: false,
            leaving: Vec::new(),
            instances: self.instances.iter().map(see).collect(),
        }
    }
}
