//! From measurements to a verdict. No data is never success.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::analysis::{Analysis, Measurement, Outcome};

/// The measurements of one analysis so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// When it began.
    pub began: Timestamp,
    /// What the measuring side noted down when it began (the counters at that time), for it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<serde_json::Value>,
    /// Measurements that succeeded.
    pub successes: u32,
    /// Measurements that failed.
    pub failures: u32,
    /// Measurements in a row, up to the last, that could not be taken.
    pub inconclusive: u32,
    /// When the last one was taken, and what it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<(Timestamp, Measurement)>,
}

impl Tally {
    /// An analysis that has just begun.
    pub fn begin(at: Timestamp, baseline: Option<serde_json::Value>) -> Self {
        Tally { began: at, baseline, successes: 0, failures: 0, inconclusive: 0, last: None }
    }

    /// Counts one measurement.
    pub fn count(&mut self, at: Timestamp, measurement: Measurement) {
        match measurement.outcome {
            Outcome::Success => (self.successes, self.inconclusive) = (self.successes.saturating_add(1), 0),
            Outcome::Failure => (self.failures, self.inconclusive) = (self.failures.saturating_add(1), 0),
            Outcome::Inconclusive => self.inconclusive = self.inconclusive.saturating_add(1),
        }
        self.last = Some((at, measurement));
    }

    /// How the analysis has come out; `None`: not yet. Limits trip when they are passed, not when they are reached. A failure
    /// comes before everything else, and without a single success nothing succeeds.
    pub fn verdict(&self, analysis: &Analysis) -> Option<Outcome> {
        if self.failures > analysis.failure_limit {
            Some(Outcome::Failure)
        } else if self.inconclusive > analysis.inconclusive_limit {
            Some(Outcome::Inconclusive)
        } else if self.successes >= analysis.count.max(1) {
            Some(Outcome::Success)
        } else {
            None
        }
    }

    /// When the next measurement is due: one interval after the last, or after the beginning.
    pub fn due(&self, analysis: &Analysis) -> Timestamp {
        let last = self.last.as_ref().map_or(self.began, |(at, _)| *at);
        super::rollout::clock::after(last, analysis.interval)
    }

    /// What the last measurement said, for people.
    pub fn detail(&self) -> &str {
        self.last.as_ref().map_or("nothing was measured", |(_, measurement)| measurement.detail.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{analysis::Measure, span::Span};

    fn analysis(count: u32, failure_limit: u32, inconclusive_limit: u32) -> Analysis {
        let measure = Measure::Http { url: "http://localhost".into(), timeout: Span::from_secs(1) };
        Analysis { measure, interval: Span::from_secs(10), count, failure_limit, inconclusive_limit }
    }

    fn tally(outcomes: &[Outcome]) -> Tally {
        let mut tally = Tally::begin(Timestamp::UNIX_EPOCH, None);
        for outcome in outcomes {
            tally.count(Timestamp::UNIX_EPOCH, Measurement { outcome: *outcome, detail: String::new() });
        }
        tally
    }

    #[test]
    fn limits_trip_when_they_are_passed() {
        use Outcome::{Failure as F, Inconclusive as I, Success as S};
        for (limits, outcomes, verdict) in [
            ((2, 0, 0), &[][..], None),
            ((2, 0, 0), &[S], None),
            ((2, 0, 0), &[S, S], Some(S)),
            ((2, 0, 0), &[S, F], Some(F)),
            ((2, 1, 0), &[S, F], None),
            ((2, 1, 0), &[F, S, S], Some(S)),
            ((2, 1, 0), &[F, S, F], Some(F)),
            ((2, 0, 1), &[I], None),
            ((2, 0, 1), &[I, I], Some(I)),
            ((2, 0, 1), &[I, S, I, S], Some(S)),
            ((0, 0, 5), &[], None),
            ((1, 0, 9), &[I, I, I], None),
        ] {
            let (count, failures, inconclusive) = limits;
            assert_eq!(tally(outcomes).verdict(&analysis(count, failures, inconclusive)), verdict, "{outcomes:?}");
        }
    }
}
