//! Analyses of a rollout: measurements are taken beside the actor, so that the phase is kept true meanwhile.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::step::{Next, StepError};
use super::{Inner, Unit};
use crate::app::perform;
use crate::app::world::World;
use crate::domain::analysis::{Analysis, Measure, Measurement, Outcome};
use crate::domain::hook::ScriptSpec;
use crate::domain::id::{GroupId, Name, RunId, UnitId};
use crate::domain::observed::{ObservedRun, Seen};
use crate::domain::plan::Plan;
use crate::domain::rollout::event::{AnalysisKey, RolloutEvent};
use crate::ports::metrics::MeasureRequest;
use crate::ports::scripts::RunRequest;

/// How often a running script is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// A script that is still not over so long after its own time limit is given up on: the supervisor enforces the limit, and
/// may be away for a while itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// A measurement that is being taken.
pub struct Pending {
    key: String,
    /// What came of it. It stands here before the unit is woken to look for it: whoever is woken by a task finds that still running.
    taken: Arc<OnceLock<Measurement>>,
    task: JoinHandle<()>,
}

impl Pending {
    fn is_over(&self) -> bool {
        self.taken.get().is_some() || self.task.is_finished()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Unit {
    pub(super) async fn begin_analysis(
        &self,
        inner: &mut Inner,
        plan: &Plan,
        key: AnalysisKey,
        name: &Name,
    ) -> Result<Next, StepError> {
        let baseline = match plan.analyses.get(name) {
            Some(analysis) => self.world.metrics.baseline(&self.id, &analysis.measure).await,
            None => None,
        };
        self.record(inner, RolloutEvent::AnalysisBegun { key, baseline }).await
    }

    pub(super) async fn measure(
        &self,
        inner: &mut Inner,
        plan: &Plan,
        key: AnalysisKey,
        name: &Name,
        baseline: Option<Value>,
    ) -> Result<Next, StepError> {
        let Some(target) = plan.target.clone() else {
            return self.record(inner, RolloutEvent::Measured { key, measurement: no_group(name) }).await;
        };
        let number = inner
            .log
            .state()
            .running()
            .and_then(|rollout| rollout.analyses.get(&key))
            .map_or(0, |tally| tally.successes + tally.failures + tally.inconclusive);
        let id = format!("{}/{number}", key.0);
        let subject = Subject { group: target, beside: plan.stable.clone() };
        match self.measurement(inner, plan, &id, name, subject, baseline).await {
            None => Ok(Next::Sleep(None)),
            Some(measurement) => {
                tracing::info!(unit = %self.id, analysis = %name, outcome = ?measurement.outcome, "{}", measurement.detail);
                self.record(inner, RolloutEvent::Measured { key, measurement }).await
            }
        }
    }

    /// Asks of the stable group what the new one failed: a database that is down is no bad release.
    pub(super) async fn check_stable(
        &self,
        inner: &mut Inner,
        plan: &Plan,
        name: &Name,
        baseline: Option<Value>,
    ) -> Result<Next, StepError> {
        let measurement = match plan.stable.clone() {
            None => Some(Measurement { outcome: Outcome::Inconclusive, detail: "nothing stable runs".into() }),
            Some(stable) => {
                let id = format!("stable/{name}");
                self.measurement(inner, plan, &id, name, Subject { group: stable, beside: None }, baseline).await
            }
        };
        let Some(measurement) = measurement else { return Ok(Next::Sleep(None)) };
        // Only a stable version that fails as well speaks against the new one being the cause.
        let passes = measurement.outcome != Outcome::Failure;
        self.record(inner, RolloutEvent::StableChecked { passes, detail: measurement.detail }).await
    }

    /// The result of a measurement once it is there; begins it where it is not under way.
    async fn measurement(
        &self,
        inner: &mut Inner,
        plan: &Plan,
        id: &str,
        name: &Name,
        subject: Subject,
        baseline: Option<Value>,
    ) -> Option<Measurement> {
        if let Some(pending) = inner.pending.take_if(|pending| pending.key == id && pending.is_over()) {
            let taken = pending.taken.get().cloned();
            return Some(taken.unwrap_or_else(|| inconclusive("the measurement broke off".into())));
        }
        if inner.pending.as_ref().is_some_and(|pending| pending.key == id) {
            return None;
        }
        let Some(analysis) = plan.analyses.get(name).cloned() else {
            return Some(inconclusive(format!("the plan holds no analysis {name}")));
        };
        let rollout = inner.log.state().running().map(|rollout| rollout.id.clone())?;
        let source = plan.groups.get(&subject.group).cloned();
        let work = Work {
            world: self.world.clone(),
            unit: self.id.clone(),
            run: RunId(format!("{rollout}/{id}")),
            source,
            analysis,
            subject,
            baseline,
        };
        let wake = self.waker();
        let taken = Arc::new(OnceLock::new());
        let result = taken.clone();
        let task = tokio::spawn(async move {
            // It is set once, here.
            let _ = result.set(work.take().await);
            wake();
        });
        inner.pending = Some(Pending { key: id.to_owned(), taken, task });
        None
    }
}

/// The group in question, and the one that bounds may compare it with.
struct Subject {
    group: GroupId,
    beside: Option<GroupId>,
}

/// One measurement to take.
struct Work {
    world: Arc<World>,
    unit: UnitId,
    run: RunId,
    source: Option<crate::domain::plan::GroupSource>,
    analysis: Analysis,
    subject: Subject,
    baseline: Option<Value>,
}

impl Work {
    async fn take(self) -> Measurement {
        match &self.analysis.measure {
            Measure::Script(script) => self.script(script).await,
            measure => {
                let request = MeasureRequest {
                    unit: self.unit,
                    measure: measure.clone(),
                    target: self.subject.group,
                    stable: self.subject.beside,
                    baseline: self.baseline,
                };
                self.world.metrics.measure(&request).await
            }
        }
    }

    /// Runs the script under its id, so that a daemon that was restarted finds the run that was begun.
    async fn script(&self, script: &ScriptSpec) -> Measurement {
        let Some(source) = &self.source else { return inconclusive("the group is not in the plan".into()) };
        let artifact = match perform::optional(&self.world, script.artifact.as_ref()).await {
            Ok(artifact) => artifact,
            Err(error) => return inconclusive(error.to_string()),
        };
        let secrets = match perform::open(&self.world, &script.secrets).await {
            Ok(secrets) => secrets,
            Err(error) => return inconclusive(error.to_string()),
        };
        let mut script = script.clone();
        script.env.insert("TRIMTAB_GROUP".into(), self.subject.group.to_string());
        let limit = script.timeout.duration() + PATIENCE;
        let request = RunRequest {
            id: self.run.clone(),
            unit: self.unit.clone(),
            rendered: source.rendered.clone(),
            version: source.version.clone(),
            script,
            artifact,
            secrets,
        };
        if let Err(error) = self.world.platforms.host().start_run(self.world.epoch, &request).await {
            return inconclusive(error.to_string());
        }
        let ended = async {
            loop {
                match self.world.platforms.host().run(&self.run).await {
                    (Seen::Known(ObservedRun::Running) | Seen::Unknown(_), _) => tokio::time::sleep(LOOK).await,
                    (Seen::Known(ended), output) => return (ended, output),
                }
            }
        };
        match tokio::time::timeout(limit, ended).await {
            Ok((ended, output)) => judge_script(&ended, &output),
            Err(_) => inconclusive(format!("the script was not over after {limit:?}")),
        }
    }
}

/// Exit code 0 is success and 1 to 125 failure, as shells have it; anything else could not be measured.
fn judge_script(ended: &ObservedRun, output: &str) -> Measurement {
    let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no output");
    let last: String = last.chars().take(200).collect();
    match ended {
        ObservedRun::Exited(0) => Measurement { outcome: Outcome::Success, detail: format!("exit code 0: {last}") },
        ObservedRun::Exited(code @ 1..=125) => {
            Measurement { outcome: Outcome::Failure, detail: format!("exit code {code}: {last}") }
        }
        ObservedRun::Exited(code) => inconclusive(format!("exit code {code}: {last}")),
        ObservedRun::Failed(reason) | ObservedRun::Unknown(reason) => inconclusive(reason.clone()),
        ObservedRun::NotStarted | ObservedRun::Running | ObservedRun::Busy(_) => {
            inconclusive("the script did not end".into())
        }
    }
}

fn no_group(name: &Name) -> Measurement {
    inconclusive(format!("analysis {name} has no group to look at"))
}

fn inconclusive(detail: String) -> Measurement {
    Measurement { outcome: Outcome::Inconclusive, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_did_not_end_by_itself_measures_nothing() {
        for (ended, outcome) in [
            (ObservedRun::Exited(0), Outcome::Success),
            (ObservedRun::Exited(1), Outcome::Failure),
            (ObservedRun::Exited(125), Outcome::Failure),
            (ObservedRun::Exited(127), Outcome::Inconclusive),
            (ObservedRun::Failed("killed by signal 9".into()), Outcome::Inconclusive),
            (ObservedRun::Unknown("the machine restarted".into()), Outcome::Inconclusive),
            (ObservedRun::NotStarted, Outcome::Inconclusive),
        ] {
            assert_eq!(judge_script(&ended, "line\n").outcome, outcome, "{ended:?}");
        }
    }
}
