//! Hooks of a rollout.

use super::step::{Next, StepError};
use super::{Inner, Unit};
use crate::app::perform::{self, PerformError};
use crate::domain::hook::{Hook, ObjectHook};
use crate::domain::id::RunId;
use crate::domain::observed::{ObservedUnit, Seen};
use crate::domain::plan::{Called, GroupSource, HookCall, Plan};
use crate::domain::rollout::event::{HookOutcome, RolloutEvent};
use crate::domain::unit::event::UnitEvent;
use crate::ports::platform::{HookRequest, PlatformError};
use crate::ports::scripts::RunRequest;
use crate::secrets::value::SecretValues;

/// Where a hook comes from: one that undoes something belongs to the version that is left, all others to the one that comes.
fn source(plan: &Plan) -> Result<GroupSource, StepError> {
    let group = plan.target.as_ref().or(plan.stable.as_ref()).and_then(|group| plan.groups.get(group));
    group.cloned().ok_or(StepError::NoGroup)
}

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
        let source = source(plan)?;
        let started = RolloutEvent::HookStarted { call: call.at.clone(), run: run.clone(), attempt };
        match &call.what {
            Called::Hook(hook) => self.start_script(inner, source, hook, run, started).await,
            Called::Object(hook) => self.start_object(inner, source, call, hook, run, started).await,
        }
    }

    async fn start_script(
        &self,
        inner: &mut Inner,
        source: GroupSource,
        hook: &Hook,
        run: RunId,
        started: RolloutEvent,
    ) -> Result<Next, StepError> {
        let artifact = perform::fetched(&self.world, &self.id, hook.script.artifact.as_ref())
            .await
            .map_err(|error| StepError::Perform(error.into()))?;
        let secrets =
            perform::open(&self.world, &hook.script.secrets).await.map_err(|error| StepError::Perform(error.into()))?;
        self.append(inner, &[UnitEvent::Rollout(started)]).await?;
        tracing::info!(unit = %self.id, hook = %hook.name, %run, "starting a hook");
        let request = RunRequest {
            id: run,
            unit: self.id.clone(),
            rendered: source.rendered,
            version: source.version,
            script: hook.script.clone(),
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

    async fn start_object(
        &self,
        inner: &mut Inner,
        source: GroupSource,
        call: &HookCall,
        hook: &ObjectHook,
        run: RunId,
        started: RolloutEvent,
    ) -> Result<Next, StepError> {
        let mut request = self.hook_request(&source, hook, run).await?;
        request.secrets = perform::open(&self.world, request.desired.workload.secrets())
            .await
            .map_err(|error| StepError::Perform(error.into()))?;
        self.append(inner, &[UnitEvent::Rollout(started)]).await?;
        tracing::info!(unit = %self.id, hook = %call, run = %request.run, "starting a hook");
        let platform = self.world.platforms.at(&request.desired.workload.place()).map_err(PerformError::from)?;
        match platform.start_hook(self.world.epoch, &request).await {
            Ok(()) => Ok(Next::Again),
            // Nobody here can change that.
            Err(PlatformError::Refused { reason, .. } | PlatformError::Wrong { reason, .. }) => {
                let ended = RolloutEvent::HookEnded { call: call.at.clone(), outcome: HookOutcome::Failed(reason) };
                self.record(inner, ended).await
            }
            Err(error) => Err(StepError::Perform(error.into())),
        }
    }

    async fn hook_request(
        &self,
        source: &GroupSource,
        hook: &ObjectHook,
        run: RunId,
    ) -> Result<HookRequest, StepError> {
        Ok(HookRequest {
            run,
            unit: self.id.clone(),
            desired: self.world.blobs.desired(&source.rendered).await?,
            rendered: source.rendered.clone(),
            restarts: source.restarts,
            number: hook.number,
            secrets: SecretValues::new(),
        })
    }

    /// Looks at the hooks that have been started and are objects.
    pub(super) async fn look_at_hooks(&self, inner: &mut Inner, observed: &mut ObservedUnit) -> Result<(), StepError> {
        let open: Vec<(String, RunId)> = match inner.log.state().running() {
            None => return Ok(()),
            Some(rollout) => {
                let open = rollout.hooks.iter().filter(|(_, hook)| hook.outcome.is_none());
                open.map(|(at, hook)| (at.clone(), hook.run.clone())).collect()
            }
        };
        if open.is_empty() {
            return Ok(());
        }
        let plan = self.rollout_plan(inner).await?;
        for call in plan.phases.iter().chain(&plan.settle).flat_map(|phase| &phase.enter) {
            let run = open.iter().find(|(at, _)| *at == call.at).map(|(_, run)| run.clone());
            let (Called::Object(hook), Some(run)) = (&call.what, run) else { continue };
            let request = self.hook_request(&source(&plan)?, hook, run.clone()).await?;
            let seen = match self.world.platforms.at(&request.desired.workload.place()) {
                Ok(platform) => platform.hook(&request).await,
                Err(error) => Seen::Unknown(error.to_string()),
            };
            observed.runs.insert(run, seen);
        }
        Ok(())
    }
}
