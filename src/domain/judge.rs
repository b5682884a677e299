//! Judges what the router measured: the new group since the analysis began, beside the stable one in the same time.
//!
//! On too few requests nothing is concluded, and no data is never success. A bound that fails decides over one that can't be
//! told. Shares are compared as fractions of whole numbers, without rounding.

use super::analysis::{Bound, Measurement, Outcome, RouterMeasure};
use super::counters::{GroupCounters, Percentile, percentile};

/// One million: bounds come in millionths.
const MILLION: u128 = 1_000_000;

/// What was measured of one group, with the bounds of its latency buckets in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The difference of two readings.
    pub counters: &'a GroupCounters,
    /// The buckets.
    pub bounds_us: &'a [f64],
}

/// The measurement that a sample of the target gives, beside one of the stable group where there is one.
pub fn judge_router(measure: &RouterMeasure, target: Sample<'_>, stable: Option<Sample<'_>>) -> Measurement {
    let requests = target.counters.requests();
    let least = measure.at_least.max(1);
    if requests < least {
        return told(Outcome::Inconclusive, few("the new version", requests, least));
    }
    let latencies = [(50, measure.latency_p50), (95, measure.latency_p95), (99, measure.latency_p99)]
        .into_iter()
        .filter_map(|(hundredths, bound)| {
            bound.map(|bound| with_stable(bound, stable, least, |stable| latency(hundredths, bound, target, stable)))
        });
    let rate =
        measure.error_rate.map(|bound| with_stable(bound, stable, least, |stable| error_rate(bound, target, stable)));
    let findings: Vec<Measurement> = rate.into_iter().chain(latencies).collect();
    if findings.is_empty() {
        return told(Outcome::Inconclusive, "the analysis names no bound".into());
    }
    let outcome = [Outcome::Failure, Outcome::Inconclusive]
        .into_iter()
        .find(|outcome| findings.iter().any(|finding| finding.outcome == *outcome))
        .unwrap_or(Outcome::Success);
    // What decided comes first.
    let (decided, rest): (Vec<_>, Vec<_>) = findings.into_iter().partition(|finding| finding.outcome == outcome);
    let mut details: Vec<String> = decided.into_iter().chain(rest).map(|finding| finding.detail).collect();
    details.dedup();
    told(outcome, details.join("; "))
}

fn told(outcome: Outcome, detail: String) -> Measurement {
    Measurement { outcome, detail }
}

fn few(who: &str, requests: u64, least: u64) -> String {
    let noun = if requests == 1 { "request" } else { "requests" };
    format!("{who} got {requests} {noun}, nothing is concluded from fewer than {least}")
}

/// Hands on the stable group's sample where the bound compares with it, once there is enough of it.
fn with_stable<'a>(
    bound: Bound,
    stable: Option<Sample<'a>>,
    least: u64,
    judge: impl FnOnce(Option<Sample<'a>>) -> Measurement,
) -> Measurement {
    match (bound, stable) {
        (Bound::AtMost(_), _) => judge(None),
        (Bound::TimesStable(_), None) => {
            told(Outcome::Inconclusive, "there is no stable version beside it to compare with".into())
        }
        (Bound::TimesStable(_), Some(sample)) if sample.counters.requests() < least => {
            told(Outcome::Inconclusive, few("the stable version", sample.counters.requests(), least))
        }
        (Bound::TimesStable(_), Some(sample)) => judge(Some(sample)),
    }
}

fn error_rate(bound: Bound, target: Sample<'_>, stable: Option<Sample<'_>>) -> Measurement {
    let (errors, requests) = (u128::from(target.counters.errors), u128::from(target.counters.requests()));
    let (holds, limit) = match (bound, stable) {
        (Bound::TimesStable(factor), Some(stable)) => {
            let (stable_errors, stable_requests) =
                (u128::from(stable.counters.errors), u128::from(stable.counters.requests()));
            let left = errors.saturating_mul(stable_requests).saturating_mul(MILLION);
            let right = stable_errors.saturating_mul(requests).saturating_mul(factor.into());
            let beside = percent(share(stable_errors, stable_requests));
            (left <= right, format!("{} times the stable version's {beside}", decimal(factor.into(), 6)))
        }
        (Bound::AtMost(limit) | Bound::TimesStable(limit), _) => {
            (errors.saturating_mul(MILLION) <= requests.saturating_mul(limit.into()), percent(limit.into()))
        }
    };
    let outcome = if holds { Outcome::Success } else { Outcome::Failure };
    told(outcome, format!("error rate {} of {requests} requests, at most {limit}", percent(share(errors, requests))))
}

fn latency(hundredths: u32, bound: Bound, target: Sample<'_>, stable: Option<Sample<'_>>) -> Measurement {
    let of = |sample: Sample<'_>| percentile(hundredths, &sample.counters.latency, sample.bounds_us);
    let seen = of(target);
    let (limit, text) = match (bound, stable.map(of)) {
        (Bound::TimesStable(factor), Some(Percentile::Micros(beside))) => {
            let limit = u128::from(beside).saturating_mul(factor.into()) / MILLION;
            let text = format!("{} times the stable version's {}", decimal(factor.into(), 6), time(beside.into()));
            (limit, text)
        }
        (Bound::TimesStable(_), _) => {
            let detail = format!("latency p{hundredths}: the stable version shows none to compare with");
            return told(Outcome::Inconclusive, detail);
        }
        (Bound::AtMost(limit), _) => (limit.into(), time(limit.into())),
    };
    match seen {
        Percentile::Nothing => told(Outcome::Inconclusive, format!("latency p{hundredths}: no request was answered")),
        Percentile::Micros(seen) => {
            let outcome = if u128::from(seen) <= limit { Outcome::Success } else { Outcome::Failure };
            told(outcome, format!("latency p{hundredths} {}, at most {text}", time(seen.into())))
        }
        Percentile::Above(last) => {
            let outcome = if u128::from(last) < limit { Outcome::Inconclusive } else { Outcome::Failure };
            told(outcome, format!("latency p{hundredths} over {}, at most {text}", time(last.into())))
        }
    }
}

/// In millionths, rounded to the nearest.
fn share(part: u128, whole: u128) -> u128 {
    (part.saturating_mul(MILLION).saturating_add(whole / 2)).checked_div(whole).unwrap_or(0)
}

fn percent(millionths: u128) -> String {
    format!("{}%", decimal(millionths, 4))
}

fn time(micros: u128) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{}ms", decimal(micros / 10, 2)),
        _ => format!("{}s", decimal(micros / 10_000, 2)),
    }
}

/// A whole number of 10^-places, without idle zeros.
fn decimal(value: u128, places: u32) -> String {
    let unit = 10_u128.pow(places);
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = format!("{rest:0width$}", width = places as usize);
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [f64; 3] = [10_000.0, 100_000.0, 1_000_000.0];

    fn group(served: u64, errors: u64, latency: [u64; 4]) -> GroupCounters {
        GroupCounters { served, errors, latency: latency.to_vec() }
    }

    fn measure(error_rate: Option<Bound>, latency_p99: Option<Bound>, at_least: u64) -> RouterMeasure {
        RouterMeasure { error_rate, latency_p50: None, latency_p95: None, latency_p99, at_least }
    }

    #[track_caller]
    fn check(
        measure: &RouterMeasure,
        target: &GroupCounters,
        stable: Option<&GroupCounters>,
        expected: Outcome,
        detail: &str,
    ) {
        let sample = |counters| Sample { counters, bounds_us: &BOUNDS };
        let measurement = judge_router(measure, sample(target), stable.map(sample));
        assert_eq!((measurement.outcome, measurement.detail.as_str()), (expected, detail));
    }

    #[test]
    fn absolute_bounds_are_inclusive_and_exact() {
        let one_percent = measure(Some(Bound::AtMost(10_000)), None, 100);
        check(
            &one_percent,
            &group(99, 1, [100, 0, 0, 0]),
            None,
            Outcome::Success,
            "error rate 1% of 100 requests, at most 1%",
        );
        check(
            &one_percent,
            &group(197, 3, [200, 0, 0, 0]),
            None,
            Outcome::Failure,
            "error rate 1.5% of 200 requests, at most 1%",
        );
        check(
            &one_percent,
            &group(98_999_999, 1_000_001, [0; 4]),
            None,
            Outcome::Failure,
            "error rate 1% of 100000000 requests, at most 1%",
        );
    }

    #[test]
    fn too_few_requests_conclude_nothing() {
        let bounds = measure(Some(Bound::AtMost(0)), None, 100);
        let few = "the new version got 99 requests, nothing is concluded from fewer than 100";
        check(&bounds, &group(0, 99, [0; 4]), None, Outcome::Inconclusive, few);
        let none = "the new version got 0 requests, nothing is concluded from fewer than 1";
        check(&measure(Some(Bound::AtMost(0)), None, 0), &group(0, 0, [0; 4]), None, Outcome::Inconclusive, none);
        let nothing = measure(None, None, 1);
        check(&nothing, &group(9, 0, [9, 0, 0, 0]), None, Outcome::Inconclusive, "the analysis names no bound");
    }

    #[test]
    fn a_comparison_needs_enough_of_the_stable_version_too() {
        let bounds = measure(Some(Bound::TimesStable(1_500_000)), None, 100);
        let target = group(97, 3, [100, 0, 0, 0]);
        check(
            &bounds,
            &target,
            Some(&group(98, 2, [100, 0, 0, 0])),
            Outcome::Success,
            "error rate 3% of 100 requests, at most 1.5 times the stable version's 2%",
        );
        check(
            &bounds,
            &target,
            Some(&group(981, 19, [1000, 0, 0, 0])),
            Outcome::Failure,
            "error rate 3% of 100 requests, at most 1.5 times the stable version's 1.9%",
        );
        let few = "the stable version got 1 request, nothing is concluded from fewer than 100";
        check(&bounds, &target, Some(&group(1, 0, [1, 0, 0, 0])), Outcome::Inconclusive, few);
        let none = "there is no stable version beside it to compare with";
        check(&bounds, &target, None, Outcome::Inconclusive, none);
        // Where the stable version has no error, one is too many.
        let clean = group(1000, 0, [1000, 0, 0, 0]);
        let none = "error rate 3% of 100 requests, at most 1.5 times the stable version's 0%";
        check(&bounds, &target, Some(&clean), Outcome::Failure, none);
    }

    #[test]
    fn latencies_compare_by_percentile() {
        let absolute = measure(None, Some(Bound::AtMost(20_000)), 1);
        check(&absolute, &group(100, 0, [100, 0, 0, 0]), None, Outcome::Success, "latency p99 9.9ms, at most 20ms");
        check(&absolute, &group(100, 0, [90, 10, 0, 0]), None, Outcome::Failure, "latency p99 91ms, at most 20ms");
        check(&absolute, &group(10, 0, [0, 0, 0, 10]), None, Outcome::Failure, "latency p99 over 1s, at most 20ms");
        check(&absolute, &group(0, 10, [0; 4]), None, Outcome::Inconclusive, "latency p99: no request was answered");
        let lax = measure(None, Some(Bound::AtMost(5_000_000)), 1);
        check(&lax, &group(10, 0, [0, 0, 0, 10]), None, Outcome::Inconclusive, "latency p99 over 1s, at most 5s");

        let compared = measure(None, Some(Bound::TimesStable(2_000_000)), 1);
        let stable = group(100, 0, [100, 0, 0, 0]);
        let detail = "latency p99 9.9ms, at most 2 times the stable version's 9.9ms";
        check(&compared, &stable, Some(&stable), Outcome::Success, detail);
        let detail = "latency p99 91ms, at most 2 times the stable version's 9.9ms";
        check(&compared, &group(100, 0, [90, 10, 0, 0]), Some(&stable), Outcome::Failure, detail);
        let slow = group(100, 0, [0, 0, 0, 100]);
        let detail = "latency p99: the stable version shows none to compare with";
        check(&compared, &stable, Some(&slow), Outcome::Inconclusive, detail);
    }

    #[test]
    fn a_failure_decides_and_is_told_first() {
        let bounds = measure(Some(Bound::AtMost(500_000)), Some(Bound::AtMost(1)), 1);
        check(
            &bounds,
            &group(100, 0, [100, 0, 0, 0]),
            None,
            Outcome::Failure,
            "latency p99 9.9ms, at most 1us; error rate 0% of 100 requests, at most 50%",
        );
        let bounds = measure(Some(Bound::AtMost(0)), Some(Bound::TimesStable(1)), 1);
        check(
            &bounds,
            &group(0, 9, [0; 4]),
            None,
            Outcome::Failure,
            "error rate 100% of 9 requests, at most 0%; there is no stable version beside it to compare with",
        );
    }

    #[test]
    fn huge_counts_do_not_overflow() {
        let bounds = measure(Some(Bound::TimesStable(u64::MAX)), Some(Bound::TimesStable(u64::MAX)), 1);
        let huge = group(u64::MAX, u64::MAX, [u64::MAX; 4]);
        let sample = Sample { counters: &huge, bounds_us: &BOUNDS };
        judge_router(&bounds, sample, Some(sample));
    }
}
