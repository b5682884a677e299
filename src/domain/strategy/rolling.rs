//! Rolling: instances are replaced batch by batch, never more than the surge beyond the asked number, never fewer than the
//! asked number less what may be missing.

use super::{Amount, Rolling};
use crate::domain::plan::Phase;
use crate::domain::planner::Draft;

/// One phase a batch. Surge rounds up, unavailable rounds down.
pub(crate) fn phases(draft: &mut Draft<'_>, settings: &Rolling, restart: bool) -> Result<(), String> {
    let replicas = draft.desired.replicas;
    let (surge, missing) = bounds(draft, settings)?;
    let before = draft.base.as_ref().map_or(0, |base| base.replicas);
    let batches = batches(before, replicas, surge, missing);
    let all = batches.len();
    for (number, (old, new)) in batches.into_iter().enumerate() {
        if number + 1 == all {
            break;
        }
        let mut phase = draft.phase(format!("batch {} of {all}: {new} new, {old} old", number + 1), old, new);
        draft.share(&mut phase, (old, old), (new, new));
        draft.push(phase);
    }
    end(draft, format!("batch {all} of {all}: all new"), restart);
    Ok(())
}

/// All new ones beside all old ones, which stay whole until they have no more to do: one phase.
pub(crate) fn at_once(draft: &mut Draft<'_>) {
    draft.approximations.push(
        "what runs is not remembered, so it can't be made smaller batch by batch: all new instances start beside it"
            .into(),
    );
    end(draft, "all new beside the old ones".into(), false);
}

fn end(draft: &mut Draft<'_>, name: String, restart: bool) {
    let phase = Phase { name, ..draft.last() };
    super::end(draft, phase, restart);
}

/// How many instances may be too many and too few.
fn bounds(draft: &mut Draft<'_>, settings: &Rolling) -> Result<(u32, u32), String> {
    let replicas = draft.desired.replicas;
    let mut surge = settings.max_surge.up(replicas);
    let mut missing = settings.max_unavailable.down(replicas).min(replicas);
    if settings.max_surge.is_zero() && settings.max_unavailable.is_zero() {
        return Err("rolling with maxSurge and maxUnavailable both 0 can never begin: raise one of them".into());
    }
    if surge > 0 && !draft.capabilities.surge {
        draft
            .approximations
            .push("this target allows no more instances than are asked for: maxSurge counts as 0".into());
        surge = 0;
    }
    if surge == 0 && missing == 0 {
        draft.approximations.push(format!(
            "maxUnavailable of {replicas} instances rounds down to 0 and there is no surge: one may be missing at a time"
        ));
        missing = 1;
    }
    if surge == 0 && missing >= replicas {
        draft
            .approximations
            .push(format!("with {replicas} instances, no surge and {missing} missing nothing would serve for a while"));
    }
    Ok((surge, missing))
}

/// The sizes of old and new after each batch. New ones are started as far as the surge allows beside the old ones of the batch
/// before; then as many old ones go as the new ones make up for.
fn batches(before: u32, replicas: u32, surge: u32, missing: u32) -> Vec<(u32, u32)> {
    let (mut old, mut new) = (before, 0);
    let mut batches = Vec::new();
    while old > 0 || new < replicas {
        let grown = replicas.saturating_add(surge).saturating_sub(old).min(replicas).max(new);
        let kept = replicas.saturating_sub(missing).saturating_sub(grown).min(old);
        if (kept, grown) == (old, new) {
            break;
        }
        (old, new) = (kept, grown);
        batches.push((old, new));
    }
    batches
}

impl Amount {
    /// So many of a number, rounded up.
    pub fn up(self, of: u32) -> u32 {
        match self {
            Amount::Count(count) => count,
            Amount::Percent(percent) => share(of, percent, 99),
        }
    }

    /// So many of a number, rounded down.
    pub fn down(self, of: u32) -> u32 {
        match self {
            Amount::Count(count) => count,
            Amount::Percent(percent) => share(of, percent, 0),
        }
    }

    fn is_zero(self) -> bool {
        matches!(self, Amount::Count(0) | Amount::Percent(0))
    }
}

fn share(of: u32, percent: u32, round: u64) -> u32 {
    u32::try_from((u64::from(of) * u64::from(percent) + round) / 100).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        assert_eq!((Amount::Percent(25).up(3), Amount::Percent(25).down(3)), (1, 0));
        assert_eq!((Amount::Percent(25).up(10), Amount::Percent(25).down(10)), (3, 2));
        assert_eq!((Amount::Percent(100).up(7), Amount::Count(2).down(7)), (7, 2));
    }

    #[test]
    fn batches_keep_to_both_bounds() {
        assert_eq!(batches(3, 3, 1, 0), [(2, 1), (1, 2), (0, 3)]);
        assert_eq!(batches(3, 3, 0, 1), [(2, 0), (1, 1), (0, 2), (0, 3)]);
        assert_eq!(batches(4, 4, 1, 1), [(2, 1), (0, 3), (0, 4)]);
        assert_eq!(batches(3, 3, 3, 0), [(0, 3)]);
        assert_eq!(batches(1, 1, 1, 0), [(0, 1)]);
        assert_eq!(batches(5, 2, 1, 0), [(2, 0), (1, 1), (0, 2)]);
        assert_eq!(batches(2, 5, 1, 0), [(1, 4), (0, 5)]);
        for (before, replicas, surge, missing) in
            (0..6).flat_map(|b| (1..6).flat_map(move |r| (0..4).flat_map(move |s| (0..4).map(move |m| (b, r, s, m)))))
        {
            if surge == 0 && missing == 0 {
                continue;
            }
            let mut old = before;
            let steps = batches(before, replicas, surge, missing);
            assert_eq!(steps.last().copied().unwrap_or((0, 0)), (0, replicas), "{before} {replicas} {surge} {missing}");
            for (kept, grown) in steps {
                assert!(old + grown <= (replicas + surge).max(old), "too many: {before} {replicas} {surge} {missing}");
                assert!(kept + grown >= (replicas - missing.min(replicas)).min(before), "too few");
                old = kept;
            }
        }
    }
}
