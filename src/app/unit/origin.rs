//! Where what runs comes from, when nothing is remembered of it: the state was lost, or is that of a backup.

use super::step::StepError;
use super::{Inner, Unit};
use crate::domain::observed::{ObservedUnit, Seen};
use crate::domain::planner::Blocked;
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::state::{UnitState, Wants};

/// So many restarts by an operator are recognised in the id of a group that is taken over.
const MOST_RESTARTS: u32 = 1_000;

impl Unit {
    /// Takes over what runs and is what Git asks for, when nothing is remembered of it: the state was lost, or is that of a backup.
    pub(super) async fn adopt(&self, inner: &mut Inner, observed: &ObservedUnit) -> Result<bool, StepError> {
        let state = inner.log.state();
        if state.effective.is_some() || state.rollout.is_some() {
            return Ok(false);
        }
        let Some(candidate) = &state.candidate else { return Ok(false) };
        let Seen::Known(groups) = &observed.groups else { return Ok(false) };
        let mut living = groups.iter().filter(|group| !group.retiring && group.replicas > 0);
        let (Some(alone), None) = (living.next(), living.next()) else { return Ok(false) };
        let wanted = match &candidate.wants {
            Wants::Run { rendered, .. } => Some((candidate.revision.clone(), rendered)),
            Wants::Gone { .. } => None,
        };
        // After a restored backup it may also be what was verified last by then.
        let verified = state.last_verified.as_ref().map(|verified| (verified.revision.clone(), &verified.rendered));
        let known = wanted.into_iter().chain(verified).find(|(_, rendered)| alone.rendered == **rendered);
        let Some((revision, rendered)) = known.map(|(revision, rendered)| (revision, rendered.clone())) else {
            return Ok(false);
        };
        let desired = self.world.blobs.desired(&rendered).await?;
        let restarts = (0..MOST_RESTARTS).find(|count| desired.group_id(*count) == alone.group).unwrap_or(0);
        tracing::info!(unit = %self.id, %rendered, "taking over what runs");
        let events = [
            UnitEvent::Adopted { rendered: rendered.clone(), restarts },
            UnitEvent::EffectiveSet { revision: revision.clone(), rendered: Some(rendered.clone()) },
            UnitEvent::Verified { revision, rendered, restarts, undo: Vec::new() },
        ];
        self.append(inner, &events).await?;
        Ok(true)
    }
}

/// Why it can't be told yet whether something runs that nothing is remembered of. Until it is seen nothing becomes effective:
/// what does is taken for something that was decided on.
pub(super) fn unseen_origin(state: &UnitState, observed: &ObservedUnit) -> Option<String> {
    match &observed.groups {
        Seen::Unknown(reason) if !is_remembered(state) => {
            Some(Blocked::Unknown(format!("its instances: {reason}")).to_string())
        }
        _ => None,
    }
}

/// Whether it is known where what runs comes from, or somebody said that it does not matter.
fn is_remembered(state: &UnitState) -> bool {
    state.effective.is_some() || state.rollout.is_some() || state.acked.is_some()
}

/// What runs is of a state that nothing is remembered of, and is not what Git asks for: nobody may guess.
pub(super) fn unknown_origin(state: &UnitState, observed: &ObservedUnit) -> Option<String> {
    if is_remembered(state) {
        return None;
    }
    let groups = observed.groups.known()?;
    let group = groups.iter().find(|group| !group.retiring && group.replicas > 0 && !group.found)?;
    let count = groups.len();
    let since = state.restored.map(|backup| format!(" since the backup of {backup}")).unwrap_or_default();
    Some(format!(
        "{count} groups run that nothing is remembered of{since} (version {}, {}), and Git asks for something else",
        group.version,
        group.rendered.short()
    ))
}
