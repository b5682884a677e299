//! Canary: a growing share of the traffic, step by step.

use super::{Amount, Canary, Step};
use crate::domain::capabilities::Split;
use crate::domain::plan::{Condition, Phase};
use crate::domain::planner::{Draft, WHOLE};

/// A phase for each weight or size; pauses and analyses hold the phase they stand after.
pub(crate) fn phases(draft: &mut Draft<'_>, settings: &Canary) -> Result<(), String> {
    let mut canary = Sizes { replicas: draft.desired.replicas, weight: 0, scale: None, running: 0 };
    say(draft, settings);
    let mut open: Option<Phase> = None;
    for step in &settings.steps {
        match step {
            Step::Weight(weight) if *weight > WHOLE => {
                return Err(format!("a canary cannot have {weight}% of the traffic"));
            }
            Step::Weight(weight) => canary.weight = *weight,
            Step::Scale(amount) => canary.scale = Some(*amount),
            Step::Pause(span) => {
                hold(draft, &mut open, &mut canary).advance.push(Condition::Pause(*span));
                continue;
            }
            Step::Analysis(name) => {
                hold(draft, &mut open, &mut canary).advance.push(Condition::Analysis(name.clone()));
                continue;
            }
        }
        if let Some(done) = open.take() {
            draft.push(done);
        }
        open = Some(step_phase(draft, &mut canary));
    }
    if let Some(done) = open {
        draft.push(done);
    }
    for phase in draft.phases_mut() {
        phase.gate.clone_from(&settings.gate);
    }
    draft.tail(settings.scale_down_delay, &[], true);
    Ok(())
}

/// What was replaced in place until now can't be made smaller step by step: all of the new version stands beside it, then it goes.
pub(crate) fn beside(draft: &mut Draft<'_>, settings: &Canary) {
    draft.approximations.push(
        "what runs was replaced in place until now, so it has no share that could shrink: the steps begin with the next version"
            .into(),
    );
    let (old, new) = (draft.base.as_ref().map_or(0, |base| base.replicas), draft.desired.replicas);
    let phase = draft.phase(format!("{new} new beside what runs"), old, new);
    draft.push(phase);
    draft.tail(settings.scale_down_delay, &[], true);
}

/// How many instances the canary has.
struct Sizes {
    replicas: u32,
    weight: u32,
    scale: Option<Amount>,
    running: u32,
}

impl Sizes {
    /// By its scale, or in proportion to its weight; never none behind a weight, nor fewer than run when the weight is taken back
    /// to nothing.
    fn next(&mut self) -> u32 {
        let proportional = Amount::Percent(self.weight).up(self.replicas);
        let size = match self.scale {
            Some(amount) => amount.up(self.replicas).min(self.replicas),
            None if self.weight == 0 => self.running,
            None => proportional,
        };
        self.running = size.max(u32::from(self.weight > 0));
        self.running
    }

    /// By shares of the asked number, where instances are all that can be weighed; some of either unless it has all.
    fn ratio(&self) -> u32 {
        let rounded = (u64::from(self.replicas) * u64::from(self.weight) + 50) / 100;
        let most = if self.weight < WHOLE { self.replicas.saturating_sub(1).max(1) } else { self.replicas };
        u32::try_from(rounded).unwrap_or(self.replicas).clamp(u32::from(self.weight > 0), most)
    }
}

/// The phase that a pause or analysis holds: the last one, or one before anything of the canary runs.
fn hold<'p>(draft: &Draft<'_>, open: &'p mut Option<Phase>, canary: &mut Sizes) -> &'p mut Phase {
    open.get_or_insert_with(|| {
        let mut phase = step_phase(draft, canary);
        phase.name = "before the canary".into();
        phase
    })
}

fn step_phase(draft: &Draft<'_>, canary: &mut Sizes) -> Phase {
    let whole = draft.base.as_ref().map_or(0, |base| base.replicas);
    let weight = canary.weight;
    let (old, new, shares) = match draft.split() {
        Split::Weights(grain) => {
            let new = canary.next();
            (whole, new, weigh(weight, grain))
        }
        Split::Replicas | Split::None => {
            let new = canary.ratio();
            let kept = canary.replicas.saturating_sub(new).max(u32::from(weight < WHOLE)).min(whole);
            // What has a route that the other has not keeps all of it until the end.
            let routed = draft.split() == Split::None && draft.base.as_ref().is_some_and(|base| base.traffic.is_some());
            let old = if weight == 0 || routed { whole } else { kept };
            (old, new, (old, new))
        }
    };
    let size = if new == 1 { "1 instance".to_owned() } else { format!("{new} instances") };
    let mut phase = draft.phase(format!("canary at {weight}%, {size}"), old, new);
    if draft.split() != Split::None {
        draft.share(&mut phase, (shares.0, old), (shares.1, new));
    }
    phase
}

/// The weights of old and new as finely as the data plane can: neither nothing nor all unless that is asked for.
fn weigh(weight: u32, grain: u32) -> (u32, u32) {
    if grain == 0 || grain >= WHOLE || (weight * grain).is_multiple_of(WHOLE) {
        return (WHOLE - weight, weight);
    }
    let new = ((weight * grain + WHOLE / 2) / WHOLE).clamp(1, grain.saturating_sub(1).max(1));
    (grain - new, new)
}

/// Says what is not exactly as the steps ask.
fn say(draft: &mut Draft<'_>, settings: &Canary) {
    let weights: Vec<u32> = settings
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Weight(weight) if (1..WHOLE).contains(weight) => Some(*weight),
            _ => None,
        })
        .collect();
    let replicas = draft.desired.replicas;
    match draft.split() {
        Split::Weights(grain) => {
            for weight in weights {
                let (old, new) = weigh(weight, grain);
                if new * WHOLE != weight * (old + new) {
                    draft.approximations.push(format!("{weight}% can be {new} of {grain} only", grain = old + new));
                }
            }
        }
        Split::Replicas => {
            for weight in weights {
                let new = Sizes { replicas, weight, scale: None, running: 0 }.ratio();
                let old = replicas.saturating_sub(new).max(1);
                draft
                    .approximations
                    .push(format!("{weight}% is approximated by the number of instances: {new} new beside {old} old"));
            }
        }
        Split::None if !weights.is_empty() => draft
            .approximations
            .push("there is no route to split: weights are the share of the instances that run the new version".into()),
        Split::None => {}
    }
    let scaled_away =
        settings.steps.iter().any(|step| matches!(step, Step::Scale(Amount::Count(0) | Amount::Percent(0))));
    if scaled_away && !matches!(draft.split(), Split::Replicas) {
        draft.approximations.push("a canary with a weight keeps one instance, whatever its scale".into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_as_fine_as_the_data_plane() {
        assert_eq!(weigh(10, 1_000_000), (90, 10));
        assert_eq!(weigh(10, 16), (14, 2));
        assert_eq!(weigh(1, 16), (15, 1));
        assert_eq!(weigh(99, 16), (1, 15));
        assert_eq!(weigh(50, 16), (50, 50));
        assert_eq!(weigh(0, 16), (100, 0));
        assert_eq!(weigh(100, 16), (0, 100));
    }
}
