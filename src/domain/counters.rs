//! What a route's groups have served: counters that only grow, and the differences between two readings of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::GroupId;

/// What one group served since its data plane started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupCounters {
    /// Answers below 500.
    pub served: u64,
    /// Answers of 500 and above, and requests that got no whole answer.
    pub errors: u64,
    /// Times to the answer's head: counts by the buckets of `bounds_us`, plus one for all above.
    pub latency: Vec<u64>,
}

impl GroupCounters {
    /// All requests.
    pub fn requests(&self) -> u64 {
        self.served.saturating_add(self.errors)
    }

    /// What came since an earlier reading; `None` when a counter went back, so that it began anew in between.
    pub fn since(&self, earlier: &GroupCounters) -> Option<GroupCounters> {
        if !earlier.latency.is_empty() && earlier.latency.len() != self.latency.len() {
            return None;
        }
        let before = earlier.latency.iter().copied().chain(std::iter::repeat(0));
        let latency: Option<Vec<u64>> =
            self.latency.iter().zip(before).map(|(now, before)| now.checked_sub(before)).collect();
        Some(GroupCounters {
            served: self.served.checked_sub(earlier.served)?,
            errors: self.errors.checked_sub(earlier.errors)?,
            latency: latency?,
        })
    }
}

/// Counters of a route, cumulative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// They begin at zero when this changes.
    pub start: String,
    /// The upper bounds of the latency buckets in microseconds, growing.
    pub bounds_us: Vec<f64>,
    /// By group.
    pub groups: BTreeMap<GroupId, GroupCounters>,
}

impl Counters {
    /// What a group served since an earlier reading. `None` when the counters began anew in between, or count in other
    /// buckets than then. A group that one of the readings does not have served nothing until then.
    pub fn group_since(&self, earlier: &Counters, group: &GroupId) -> Option<GroupCounters> {
        if self.start != earlier.start || self.bounds_us.len() != earlier.bounds_us.len() {
            return None;
        }
        let none = GroupCounters::default();
        let (now, before) = (self.groups.get(group), earlier.groups.get(group).unwrap_or(&none));
        now.unwrap_or(&none).since(before)
    }
}

/// A percentile of a histogram in microseconds, interpolated within its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percentile {
    /// Nothing was counted.
    Nothing,
    /// So many microseconds, rounded up.
    Micros(u64),
    /// Above the last bound, which is so many microseconds.
    Above(u64),
}

/// The percentile (in hundredths) of counts by buckets. Bounds that are no numbers count as zero.
pub fn percentile(hundredths: u32, counts: &[u64], bounds_us: &[f64]) -> Percentile {
    let total: u128 = counts.iter().map(|count| u128::from(*count)).sum();
    if total == 0 {
        return Percentile::Nothing;
    }
    // The smallest rank, from 1, that has so many hundredths of all at or below it.
    let rank = (total * u128::from(hundredths)).div_ceil(100).max(1);
    let (mut before, mut lower) = (0_u128, 0.0_f64);
    for (bucket, count) in counts.iter().enumerate() {
        let Some(upper) = bounds_us.get(bucket).copied() else { break };
        let after = before + u128::from(*count);
        if after >= rank {
            // `count` is not zero here: `after` has just passed the rank.
            let share = (rank - before) as f64 / *count as f64;
            // The cast saturates, and takes what is no number as zero.
            return Percentile::Micros((lower + (upper - lower) * share).ceil() as u64);
        }
        (before, lower) = (after, upper);
    }
    Percentile::Above(lower.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [f64; 3] = [100.0, 200.0, 400.0];

    #[test]
    fn percentiles_lie_within_their_buckets() {
        assert_eq!(percentile(99, &[0, 0, 0, 0], &BOUNDS), Percentile::Nothing);
        assert_eq!(percentile(50, &[10, 0, 0, 0], &BOUNDS), Percentile::Micros(50));
        assert_eq!(percentile(50, &[5, 0, 5, 0], &BOUNDS), Percentile::Micros(100));
        assert_eq!(percentile(60, &[5, 0, 5, 0], &BOUNDS), Percentile::Micros(240));
        assert_eq!(percentile(99, &[98, 1, 1, 0], &BOUNDS), Percentile::Micros(200));
        assert_eq!(percentile(100, &[0, 0, 7, 0], &BOUNDS), Percentile::Micros(400));
        assert_eq!(percentile(99, &[90, 0, 0, 10], &BOUNDS), Percentile::Above(400));
        assert_eq!(percentile(50, &[90, 0, 0, 10], &BOUNDS), Percentile::Micros(56));
        assert_eq!(percentile(50, &[1], &[]), Percentile::Above(0));
        assert_eq!(percentile(0, &[3, 0, 0, 0], &BOUNDS), Percentile::Micros(34));
        assert_eq!(percentile(50, &[u64::MAX, u64::MAX], &[f64::NAN, 1.0]), Percentile::Micros(0));
    }

    fn group(served: u64, errors: u64, latency: &[u64]) -> GroupCounters {
        GroupCounters { served, errors, latency: latency.to_vec() }
    }

    #[test]
    fn differences_notice_a_new_beginning() {
        let counters = |start: &str, group: &GroupCounters| Counters {
            start: start.into(),
            bounds_us: vec![1.0],
            groups: BTreeMap::from([("a".into(), group.clone())]),
        };
        let (early, late) = (group(5, 1, &[3, 3]), group(9, 2, &[6, 5]));
        let now = counters("x", &late);
        assert_eq!(now.group_since(&counters("x", &early), &"a".into()), Some(group(4, 1, &[3, 2])));
        assert_eq!(now.group_since(&counters("y", &early), &"a".into()), None);
        assert_eq!(counters("x", &early).group_since(&now, &"a".into()), None);
        assert_eq!(now.group_since(&now, &"other".into()), Some(GroupCounters::default()));
        let empty = Counters { groups: BTreeMap::new(), ..now.clone() };
        assert_eq!(now.group_since(&empty, &"a".into()), Some(late));
        assert_eq!(empty.group_since(&now, &"a".into()), None);
    }
}
