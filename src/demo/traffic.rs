//! What became of all the requests that the demo has sent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::id::UnitId;

/// The counts of every client; cheap to clone, and all clones are the same counts.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    counts: Arc<Mutex<BTreeMap<UnitId, Counts>>>,
}

#[derive(Clone, Copy, Debug)]
struct Counts {
    answered: u64,
    lost: u64,
}

impl Traffic {
    /// Sets what the client of a unit has counted so far.
    pub fn note(&self, unit: &UnitId, answered: u64, lost: u64) {
        self.lock().insert(unit.clone(), Counts { answered, lost });
    }

    /// Whether anything was counted.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whole entries are replaced, so a panic elsewhere can't have left one half-written.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<UnitId, Counts>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.lock();
        let sum = |count: fn(&Counts) -> u64| counts.values().map(count).sum::<u64>();
        write!(f, "{} requests answered, {} lost", sum(|counts| counts.answered), sum(|counts| counts.lost))?;
        for (unit, counts) in counts.iter().filter(|(_, counts)| counts.lost > 0) {
            write!(f, "; {unit}: {} lost", counts.lost)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_lost_where() {
        let traffic = Traffic::default();
        assert!(traffic.is_empty());
        traffic.note(&"a/dev/default".parse().expect("a unit"), 10, 0);
        traffic.note(&"b/dev/default".parse().expect("a unit"), 5, 2);
        traffic.clone().note(&"b/dev/default".parse().expect("a unit"), 6, 3);
        assert_eq!(traffic.to_string(), "16 requests answered, 3 lost; b/dev/default: 3 lost");
    }
}
