//! A unit under a new name: what the old one gives, and what the new one takes. See [`crate::domain::unit::moving`].

use std::collections::BTreeMap;

use super::step::{Next, StepError};
use super::{Inner, Unit};
use crate::app::blobs::BlobError;
use crate::app::log::LogError;
use crate::app::observe::groups;
use crate::app::world::World;
use crate::domain::action::Which;
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::{MoveId, UnitId};
use crate::domain::observed::Seen;
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::moving;
use crate::domain::unit::state::UnitState;
use crate::domain::workload::Place;
use crate::ports::platform::EnsureGroup;
use crate::secrets::value::SecretValues;

impl Unit {
    /// Stops this unit for good, since everything goes over to another name. Answers why that can't be now.
    ///
    /// # Errors
    ///
    /// Those of the journal.
    pub async fn begin_move(&self, to: &UnitId) -> Result<Option<String>, LogError> {
        let mut inner = self.lock().await;
        if let Some(reason) = moving::hindrance(inner.log.state()) {
            return Ok(Some(reason));
        }
        let id = MoveId(uuid::Uuid::now_v7().to_string());
        tracing::info!(unit = %self.id, %to, "renamed");
        self.append(&mut inner, &[UnitEvent::MoveBegun { id, to: to.clone() }]).await?;
        Ok(None)
    }

    /// Takes over everything that is remembered of a renamed unit. Repeating it is harmless.
    ///
    /// # Errors
    ///
    /// Those of the journal; something runs under this name already.
    pub async fn take_over(&self, id: &MoveId, from: &UnitId, state: UnitState) -> Result<(), LogError> {
        let mut inner = self.lock().await;
        if inner.log.state().taken.as_ref() == Some(id) {
            return Ok(());
        }
        let taken = UnitEvent::TakenOver { id: id.clone(), from: from.clone(), state: Box::new(state) };
        self.append(&mut inner, &[taken]).await?;
        self.wake();
        Ok(())
    }

    /// The new name has everything.
    ///
    /// # Errors
    ///
    /// Those of the journal.
    pub async fn moved_away(&self, id: &MoveId) -> Result<(), LogError> {
        let mut inner = self.lock().await;
        inner.moving = None;
        self.append(&mut inner, &[UnitEvent::MovedAway { id: id.clone() }]).await
    }

    /// Gives what runs under the old name this one's, processes and connections untouched. Each part that has the new name
    /// already is left as it is, so that it can be repeated.
    pub(super) async fn take_workload(&self, inner: &mut Inner, from: &UnitId) -> Result<Next, StepError> {
        let place = self.place(inner.log.state()).await;
        let groups = match groups(&self.world, from, &place).await {
            Seen::Known(groups) => groups,
            Seen::Unknown(reason) => {
                let message = format!("what runs under the old name {from} can't be seen: {reason}");
                self.publish(inner, |glance| glance.blocked = Some(message));
                return Ok(Next::Sleep(Some(super::step::BLOCKED_RETRY)));
            }
        };
        // What is on its way out ends under the old name.
        for group in groups.into_iter().filter(|group| !group.retiring) {
            let desired = self.world.blobs.desired(&group.rendered).await?;
            let desired = DesiredUnit { unit: self.id.clone(), ..desired.as_ref().clone() };
            let rendered = self.world.blobs.put_desired(self.world.epoch, &desired.clone().into()).await?;
            let request = EnsureGroup {
                desired,
                rendered,
                group: group.group,
                restarts: 0,
                replicas: group.replicas,
                artifact: None,
                secrets: SecretValues::new(),
            };
            let platform = self.world.platforms.at(&place).map_err(crate::app::perform::PerformError::from)?;
            let taken = platform.take_over(self.world.epoch, from, &request).await;
            taken.map_err(crate::app::perform::PerformError::from)?;
        }
        // What runs on a cluster has no route here.
        let routes = [Which::Main, Which::Preview].into_iter().filter(|_| place == Place::Host);
        for kind in routes {
            let taken = self.world.traffic.take_over(self.world.epoch, from, &self.id, kind).await;
            taken.map_err(crate::app::perform::PerformError::from)?;
        }
        tracing::info!(unit = %self.id, %from, "taken over under the new name");
        self.append(inner, &[UnitEvent::WorkloadTaken {}]).await?;
        Ok(Next::Again)
    }
}

/// The state of a unit in the words of its new name: every desired state that it names is stored anew with that name.
///
/// # Errors
///
/// One without which nothing can be kept true is not in the store.
pub async fn renamed(world: &World, state: &UnitState, to: &UnitId) -> Result<UnitState, BlobError> {
    let needed = moving::needed(state);
    let mut names: BTreeMap<Digest, Digest> = BTreeMap::new();
    for digest in moving::digests(state) {
        let desired = match world.blobs.desired(&digest).await {
            Ok(desired) => desired,
            // Nobody can ask for what nobody can render: it is never met again.
            Err(BlobError::Missing { .. }) if !needed.contains(&digest) => continue,
            Err(error) => return Err(error),
        };
        let desired = DesiredUnit { unit: to.clone(), ..desired.as_ref().clone() };
        names.insert(digest, world.blobs.put_desired(world.epoch, &desired.into()).await?);
    }
    Ok(moving::renamed(state, |digest| names.get(digest).unwrap_or(digest).clone()))
}
