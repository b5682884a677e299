//! Objects that are taken back from somebody who edits them, and how often.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::conflicts::Conflict;
use crate::domain::workload::kubernetes::ObjectId;

/// So often within [`HEALED_WITHIN`] an object is taken back from somebody who edits it: two that fight would never end.
const MOST_HEALS: usize = 6;
/// See [`MOST_HEALS`].
const HEALED_WITHIN: Duration = Duration::from_secs(300);

/// Who changes fields again and again that others have too.
pub(super) fn fought_over(conflicts: &[Conflict]) -> String {
    let one = conflicts.first();
    let (who, what) = one.map(|one| (one.owner.manager.as_str(), one.field.as_str())).unwrap_or_default();
    fights(who, what)
}

/// Who changes the same thing again and again.
pub(super) fn fights(who: &str, what: &str) -> String {
    format!(
        "{who} changes {what} again and again: it was taken back {MOST_HEALS} times in {} minutes and is left as it is for now; end \
         the other, leave the field out here, or name it under `ignore`",
        HEALED_WITHIN.as_secs() / 60
    )
}

/// How often each object was taken back from somebody who edited it.
#[derive(Default)]
pub struct Heals(Mutex<HashMap<ObjectId, VecDeque<Instant>>>);

/// One time that an object is taken back.
pub(super) struct Healing<'a> {
    heals: &'a Heals,
    id: &'a ObjectId,
    allowed: Option<bool>,
}

impl Healing<'_> {
    /// Whether it is not too much. It counts once, whatever of the object somebody changed or added.
    pub fn allow(&mut self) -> bool {
        *self.allowed.get_or_insert_with(|| self.heals.allow(self.id))
    }
}

impl Heals {
    /// An object may have to be taken back. Nothing counts yet.
    pub(super) fn one<'a>(&'a self, id: &'a ObjectId) -> Healing<'a> {
        Healing { heals: self, id, allowed: None }
    }

    /// Whether one more is not too much; it counts.
    fn allow(&self, id: &ObjectId) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, times| times.back().is_some_and(|at| at.elapsed() < HEALED_WITHIN));
        let times = all.entry(id.clone()).or_default();
        times.retain(|at| at.elapsed() < HEALED_WITHIN);
        if times.len() >= MOST_HEALS {
            return false;
        }
        times.push_back(Instant::now());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_taken_back_so_often_and_each_time_counts_once() {
        let id = |name: &str| ObjectId {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: Some("shop".into()),
            name: name.into(),
        };
        let (heals, fought, other) = (Heals::default(), id("fought"), id("other"));
        for time in 0..MOST_HEALS {
            let mut healing = heals.one(&fought);
            // What was added is taken first, then what was changed.
            assert!(healing.allow() && healing.allow(), "{time}");
            let _unasked = heals.one(&fought);
        }
        assert!(!heals.one(&fought).allow());
        assert!(heals.one(&other).allow(), "each object counts by itself");
    }
}
