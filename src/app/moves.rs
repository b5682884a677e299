//! Hands over what was renamed: from the unit of the old name to that of the new one, before either is told anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::catalog::{Entry, Snapshot};
use super::reconciler::{ReconcileError, Reconciler};
use super::unit::Unit;
use super::unit::moving::renamed;
use crate::domain::id::UnitId;
use crate::domain::unit::moving;

/// The units that were renamed and can't be taken over yet: the old name, the new one, and why.
pub type Waiting = BTreeMap<UnitId, (UnitId, String)>;

impl Reconciler {
    /// Hands over every unit that a snapshot renames and that can be handed over now. What can't is held under its old name,
    /// and the new one is not told of anything until then.
    pub(super) async fn hand_over(&self, snapshot: &Snapshot) -> Result<Waiting, ReconcileError> {
        let mut waiting = Waiting::new();
        for (to, entry) in snapshot.units.iter().filter(|(_, entry)| !entry.moved_from.is_empty()) {
            let Some(old) = self.renamed_unit(to, entry, snapshot) else { continue };
            let begun = old.glance().state.moving.as_ref().is_some_and(|moving| moving.to == *to);
            let reason = match self.holds_move(old.id(), to) {
                _ if begun => None,
                Some(reason) => Some(reason),
                None => old.begin_move(to).await?,
            };
            match reason {
                Some(reason) => drop(waiting.insert(old.id().clone(), (to.clone(), reason))),
                None => {
                    self.unit(to.clone()).await?;
                    self.complete_move(&old).await?;
                }
            }
        }
        Ok(waiting)
    }

    /// The unit that was renamed to this one: the first of its former names that holds anything and that Git does not ask
    /// for any more. None where something runs under the new name already: that is then no renaming.
    fn renamed_unit(&self, to: &UnitId, entry: &Entry, snapshot: &Snapshot) -> Option<Arc<Unit>> {
        if self.shared.registry.get(to).is_some_and(|unit| moving::is_alive(&unit.glance().state)) {
            return None;
        }
        let gone = |id: &&UnitId| {
            !snapshot.units.contains_key(*id)
                && !snapshot.broken.contains_key(&(id.app.clone(), id.environment.clone()))
        };
        let known = entry.moved_from.iter().filter(gone).filter_map(|id| self.shared.registry.get(id));
        known.into_iter().find(|unit| moving::is_worth_moving(&unit.glance().state))
    }

    /// Why nothing in the whole installation or environment may be renamed now.
    fn holds_move(&self, from: &UnitId, to: &UnitId) -> Option<String> {
        let installation = &self.shared.installation;
        if installation.state().rewritten.is_some() {
            return Some("the branch's history was rewritten: `trimtab ack` lets it happen".into());
        }
        let by =
            installation.environment_suspended(&from.environment).filter(|_| from.environment != to.environment)?;
        let environment = &from.environment;
        Some(format!(
            "environment {environment} is suspended by {by}: `trimtab unsuspend -e {environment}` lets it happen"
        ))
    }

    /// Completes a renaming that has begun, from wherever it was left. Needs nothing but the journal.
    pub(super) async fn complete_move(&self, old: &Unit) -> Result<(), ReconcileError> {
        let state = old.glance().state.clone();
        let Some(begun) = &state.moving else { return Ok(()) };
        let new = self.known(begun.to.clone()).await?;
        if new.glance().state.taken.as_ref() != Some(&begun.id) {
            let renamed = renamed(&self.world, &state, &begun.to).await?;
            new.take_over(&begun.id, old.id(), renamed).await?;
        }
        old.moved_away(&begun.id).await?;
        Ok(())
    }

    /// The names that workloads still carry which are other units' by now.
    pub(super) fn being_left(&self) -> BTreeSet<UnitId> {
        self.shared.registry.all().iter().filter_map(|unit| unit.glance().state.taking.clone()).collect()
    }
}
