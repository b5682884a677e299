//! The Services and HTTPRoutes of a unit as the data planes that lead its requests to one version or another.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

use super::record::{Said, observed};
use super::shift::{Shift, settings_of};
use crate::adapters::platform::kubernetes::KubernetesPlatform;
use crate::adapters::platform::kubernetes::cache::State;
use crate::adapters::platform::kubernetes::cluster::Cluster;
use crate::adapters::platform::kubernetes::fault::Fault;
use crate::adapters::platform::kubernetes::inventory::Parent;
use crate::adapters::platform::kubernetes::live::Live;
use crate::domain::action::Which;
use crate::domain::counters::Counters;
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::{Epoch, UnitId};
use crate::domain::observed::{ObservedTraffic, Seen};
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::{KubernetesSpec, Object, ObjectId};
use crate::ports::platform::PlatformError;
use crate::ports::traffic::{SetTraffic, Traffic, TrafficError};

/// How long a route's gateways are waited for right after a write; what takes longer is waited for by looking.
const AT_ONCE: Duration = Duration::from_secs(3);
/// From one look at the endpoints of a new Service to the next.
const LOOK: Duration = Duration::from_millis(50);

impl Cluster {
    async fn set_traffic(&self, epoch: Epoch, request: &SetTraffic) -> Result<(), Fault> {
        let unit = &request.desired.unit;
        let Workload::Kubernetes(spec) = &request.desired.workload else {
            return Err(Fault::Refused(format!("{unit} has no Services")));
        };
        let Some(versioned) = &spec.versioned else {
            return Err(Fault::Refused(format!("{unit} is replaced in place: nothing leads its requests")));
        };
        self.parents_read().await?;
        self.fence_unit(unit, epoch)?;
        let parent = self.parent_for(request, epoch).await?;
        for object in spec.objects.iter().filter(|one| versioned.is_routed(&one.id())) {
            let kind = self.kind_of(spec, object).await?;
            self.read_kind(&object.id(), &kind).await?;
        }
        self.fence_routed(unit, epoch).await?;
        let shift = Shift::of(&self.cache.lock(), request, spec, versioned).map_err(Fault::Refused)?;
        Way { cluster: self, epoch, unit, parent: &parent, spec, shift: &shift }.go().await
    }

    /// The group that Services belong to which lead as it says; written anew where another daemon acted on it last.
    async fn parent_for(&self, request: &SetTraffic, epoch: Epoch) -> Result<Parent, Fault> {
        let unit = &request.desired.unit;
        let parent = {
            let state = self.cache.lock();
            let staying = state.parents_of(unit).filter(|parent| parent.version_of.is_some() && !parent.retiring);
            staying.max_by_key(|parent| (parent.rendered == request.rendered, parent.serial)).cloned()
        };
        let Some(parent) = parent else { return Err(Fault::Failed(format!("no version of {unit} is there"))) };
        match parent.epoch == epoch {
            true => Ok(parent),
            false => self.write_parent(&Parent { epoch, ..parent }).await,
        }
    }

    async fn remove_traffic(&self, epoch: Epoch, unit: &UnitId, which: Which) -> Result<(), Fault> {
        self.parents_read().await?;
        self.fence_unit(unit, epoch)?;
        self.fence_routed(unit, epoch).await?;
        let (all, account) = {
            let state = self.cache.lock();
            let said = Said::of(&state, unit, which);
            let saying = said.routes.iter().chain(&said.services).map(|(id, live, _)| (*id, *live));
            let all = saying.chain(said.beside.iter().copied());
            let all: Vec<(ObjectId, Live)> = all.map(|(id, live)| (id.clone(), live.clone())).collect();
            (all, state.parents_of(unit).find_map(|parent| parent.account.clone()))
        };
        for (id, live) in all {
            let beside = live.led().is_some_and(|led| led.beside.is_some());
            match which == Which::Preview || beside {
                true => self.delete_routed(unit, &id, &live, account.as_deref()).await?,
                false => self.let_go(unit, &id, &live, account.as_deref()).await?,
            }
        }
        Ok(())
    }
}

/// One shift on its way.
struct Way<'a> {
    cluster: &'a Cluster,
    epoch: Epoch,
    unit: &'a UnitId,
    parent: &'a Parent,
    spec: &'a KubernetesSpec,
    shift: &'a Shift,
}

impl Way<'_> {
    /// Leads requests there. Where somebody has to confirm what comes before, and takes long, the rest is done once that was seen.
    async fn go(&self) -> Result<(), Fault> {
        let shift = self.shift;
        let arrived = shift.has_arrived(&self.cluster.cache.lock(), self.unit);
        if !shift.through.is_empty() && !arrived {
            self.stand_beside(&shift.passing).await?;
            self.have_endpoints(&shift.passing).await?;
            self.lead(self.parent, &shift.through).await?;
            if !self.are_confirmed(false).await {
                return Ok(());
            }
        }
        self.stand_beside(&shift.beside).await?;
        if !arrived {
            self.have_endpoints(&shift.beside).await?;
        }
        self.lead(self.parent, &shift.services).await?;
        self.lead(self.parent, &shift.routes).await?;
        let surplus = self.surplus();
        if surplus.is_empty() || !self.are_confirmed(true).await {
            return Ok(());
        }
        for (id, live) in surplus {
            self.cluster.delete_routed(self.unit, &id, &live, self.parent.account.as_deref()).await?;
        }
        Ok(())
    }

    async fn are_confirmed(&self, last: bool) -> bool {
        let confirmed = |state: &State| self.shift.is_confirmed(state, self.unit, last);
        self.cluster.cache_until(AT_ONCE, confirmed).await.is_ok()
    }

    /// What no longer leads any requests: Services beside others, and routes that whoever has all requests does not ask for.
    fn surplus(&self) -> Vec<(ObjectId, Live)> {
        let record = &self.shift.record;
        let state = self.cluster.cache.lock();
        let said = Said::of(&state, self.unit, record.which);
        let alone = record.beside.is_empty();
        let routes = said.routes.iter().filter(|(id, _, _)| alone && !record.routes.contains_key(&id.name));
        let routes = routes.map(|(id, live, _)| (*id, *live));
        let beside = said.beside.iter().filter(|(id, _)| !record.beside.contains(&id.name)).copied();
        routes.chain(beside).map(|(id, live)| (id.clone(), live.clone())).collect()
    }

    /// Makes Services beside others so, each one of its version's.
    async fn stand_beside(&self, all: &[(Object, String)]) -> Result<(), Fault> {
        for (object, group) in all {
            let parent = {
                let state = self.cluster.cache.lock();
                let of = |parent: &&Parent| parent.version_of.as_ref().is_some_and(|version| version.group == *group);
                state.parents_of(self.unit).find(of).cloned()
            };
            let missing = || Fault::Failed(format!("no version {group} of {} is there", self.unit));
            self.lead(&parent.ok_or_else(missing)?, std::slice::from_ref(object)).await?;
        }
        Ok(())
    }

    /// Waits until Services lead to pods: a route that gives one without any a share makes errors of it.
    async fn have_endpoints(&self, all: &[(Object, String)]) -> Result<(), Fault> {
        let begun = Instant::now();
        for (object, _) in all {
            let namespace = object.namespace().unwrap_or(&self.spec.place.namespace);
            let account = self.parent.account.as_deref();
            while !self.cluster.has_endpoints(namespace, object.name(), account).await? {
                if begun.elapsed() > AT_ONCE {
                    return Err(Fault::Failed(format!("Service/{} leads to no pod yet", object.name())));
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    async fn lead(&self, parent: &Parent, objects: &[Object]) -> Result<(), Fault> {
        for object in objects {
            self.cluster.send_fenced(self.epoch, parent, self.spec, object).await?;
        }
        Ok(())
    }
}

impl KubernetesPlatform {
    fn refused(&self, fault: Fault, epoch: Epoch) -> TrafficError {
        match self.told(fault, epoch) {
            PlatformError::Unreachable { platform: plane, reason } => TrafficError::Unreachable { plane, reason },
            PlatformError::Stale { platform: plane, epoch } => TrafficError::Stale { plane, epoch },
            PlatformError::Refused { platform: plane, reason } | PlatformError::Wrong { platform: plane, reason } => {
                TrafficError::Refused { plane, reason }
            }
            PlatformError::Failed { platform: plane, reason } => TrafficError::Failed { plane, reason },
        }
    }
}

#[async_trait]
impl Traffic for KubernetesPlatform {
    async fn observe(&self, unit: &UnitId, kind: Which) -> Seen<Option<ObservedTraffic>> {
        let state = self.cluster.cache.lock();
        if let Err(reason) = state.parents_seen() {
            return Seen::Unknown(reason);
        }
        observed(&state, unit, kind).map_or_else(Seen::Unknown, Seen::Known)
    }

    fn settings(&self, desired: &DesiredUnit, kind: Which) -> Digest {
        settings_of(desired, kind)
    }

    async fn set(&self, epoch: Epoch, request: &SetTraffic) -> Result<(), TrafficError> {
        self.cluster.set_traffic(epoch, request).await.map_err(|fault| self.refused(fault, epoch))
    }

    async fn remove(&self, epoch: Epoch, unit: &UnitId, kind: Which) -> Result<(), TrafficError> {
        self.cluster.remove_traffic(epoch, unit, kind).await.map_err(|fault| self.refused(fault, epoch))
    }

    async fn counters(&self, unit: &UnitId) -> Seen<Counters> {
        Seen::Unknown(format!("the Services of {unit} don't count what they carry"))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.cluster.cache.changes()
    }

    async fn check(&self) -> Result<Vec<String>, TrafficError> {
        Ok(Vec::new())
    }
}
