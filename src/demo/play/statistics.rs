//! Whether a share that was observed can come from the weight that was set.

use std::time::Duration;

use super::sampler::Sample;

/// How many standard deviations an observed share may be off. One in 30,000 draws is further off by chance.
const SIGMAS: f64 = 4.0;

/// What is left out after a change of weights: answers to requests that had been sent before it.
const SETTLING: Duration = Duration::from_millis(250);

/// A time in which the weight of a version stayed the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// The version's share of the weights, 0 to 1, as the router read it back.
    pub weight: f64,
    /// When it began.
    pub from: Duration,
    /// Answers of the version in it.
    pub hits: u64,
    /// Answers of all versions in it.
    pub answers: u64,
}

impl Stretch {
    /// The share of the answers that the version gave.
    pub fn share(&self) -> f64 {
        self.hits as f64 / self.answers.max(1) as f64
    }

    /// How far the share may be from the weight by chance: for a draw by request, and one answer for what a smooth
    /// spread over several workers rounds.
    pub fn tolerance(&self) -> f64 {
        let answers = self.answers.max(1) as f64;
        SIGMAS * (self.weight * (1.0 - self.weight) / answers).sqrt() + 1.0 / answers
    }

    /// Whether the share fits the weight.
    pub fn fits(&self) -> bool {
        self.answers > 0 && (self.share() - self.weight).abs() <= self.tolerance()
    }
}

/// Cuts samples into stretches of equal weight of one version.
pub fn stretches(samples: &[Sample], version: &str) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut rest = samples;
    while let Some(first) = rest.first() {
        let weight = first.weight(version);
        let length = rest.iter().take_while(|sample| same(sample.weight(version), weight)).count();
        let (stretch, next) = rest.split_at(length);
        rest = next;
        let settled = stretch.iter().find(|sample| sample.at >= first.at + SETTLING);
        let (hits, answers) = match (settled, stretch.last()) {
            (Some(begin), Some(end)) => {
                let total = |sample: &Sample| sample.answers.values().sum::<u64>();
                (end.answered(version) - begin.answered(version), total(end) - total(begin))
            }
            _ => (0, 0),
        };
        stretches.push(Stretch { weight, from: first.at, hits, answers });
    }
    stretches
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

/// Whether the weights that a rollout must pass appear in the stretches, in their order.
pub fn passes(stretches: &[Stretch], weights: &[f64]) -> bool {
    let mut seen = stretches.iter();
    weights.iter().all(|weight| seen.any(|stretch| same(stretch.weight, *weight)))
}

/// The samples' versions and weights, for a message: `10% of 412 answers at weight 10%`.
pub fn describe(stretches: &[Stretch]) -> String {
    let told = stretches.iter().filter(|stretch| stretch.answers > 0 && stretch.weight > 0.0);
    let told: Vec<_> = told
        .map(|stretch| {
            let (share, weight) = (stretch.share() * 100.0, stretch.weight * 100.0);
            format!("{share:.1}% of {} at {weight:.0}%", stretch.answers)
        })
        .collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sample(at: u64, weight: f64, one: u64, two: u64) -> Sample {
        Sample {
            at: Duration::from_millis(at),
            weights: BTreeMap::from([("1".into(), 1.0 - weight), ("2".into(), weight)]),
            answers: BTreeMap::from([("1".into(), one), ("2".into(), two)]),
        }
    }

    #[test]
    fn samples_are_cut_where_the_weight_changes() {
        let samples = [
            sample(0, 0.0, 0, 0),
            sample(300, 0.0, 60, 0),
            sample(400, 0.1, 80, 0),
            sample(700, 0.1, 134, 6),
            sample(2_700, 0.1, 494, 46),
            sample(2_800, 1.0, 500, 50),
        ];
        let found = stretches(&samples, "2");
        let told: Vec<_> = found.iter().map(|it| (it.weight, it.hits, it.answers)).collect();
        assert_eq!(told, [(0.0, 0, 0), (0.1, 40, 400), (1.0, 0, 0)]);
        assert!(found[1].fits());
        assert!(passes(&found, &[0.1, 1.0]));
        assert!(!passes(&found, &[0.1, 0.5, 1.0]) && !passes(&found, &[1.0, 0.1]));
    }

    #[test]
    fn a_share_that_chance_does_not_explain_does_not_fit() {
        let stretch = |hits, answers, weight| Stretch { weight, from: Duration::ZERO, hits, answers };
        assert!(stretch(52, 400, 0.1).fits());
        assert!(!stretch(100, 400, 0.1).fits());
        assert!(!stretch(0, 400, 0.1).fits());
        assert!(!stretch(0, 0, 0.1).fits(), "no answers prove nothing");
        assert!(stretch(400, 400, 1.0).fits());
        assert!(!stretch(395, 400, 1.0).fits());
    }
}
