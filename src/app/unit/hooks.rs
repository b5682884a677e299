//! Hooks of a rollout.

use super::step::{Next, StepError};
use super::{Inner, Unit};
use crate::app::perform;
use crate::domain::id::RunId;
use crate::domain::plan::{HookCall, Plan};
use crate::domain::rollout::event::RolloutEvent;
use crate::domain::unit::event::UnitEvent;
use crate::ports::scripts::RunRequest;

impl Unit {
    /// Starts a hook under its run id. That it was started is durable before; the id makes a second start harmless.
    pub(super) async fn start_hook(
        &self,
        inner: &mut Inner,
        plan: &Plan,
        call: &HookCall,
        run: RunId,
        attempt: u32,
    ) -> Result<Next, StepError> {
        // A hook that undoes something belongs to the version that is left; all others to the one that comes.
        let source = plan.target.as_ref().or(plan.stable.as_ref()).and_then(|group| plan.groups.get(group)).cloned();
        let Some(source) = source else { return Err(StepError::NoGroup) };
        let artifact = perform::optional(&self.world, call.hook.script.artifact.as_ref())
            .await
            .map_err(|error| StepError::Perform(error.into()))?;
        let secrets = perform::open(&self.world, &call.hook.script.secrets)
            .await
            .map_err(|error| StepError::Perform(error.into()))?;
        let started = RolloutEvent::HookStarted { call: call.at.clone(), run: run.clone(), attempt };
        self.append(inner, &[UnitEvent::Rollout(started)]).await?;
        tracing::info!(unit = %self.id, hook = %call.hook.name, %run, "starting a hook");
        let request = RunRequest {
            id: run,
            unit: self.id.clone(),
            rendered: source.rendered,
            version: source.version,
            script: call.hook.script.clone(),
            artifact,
            secrets,
        };
        self.world
            .platforms
            .host()
            .start_run(self.world.epoch, &request)
            .await
            .map_err(|error| StepError::Perform(error.into()))?;
        Ok(Next::Again)
    }
}
