//! Who may still command. The highest epoch is durable before it is obeyed; lower ones are refused.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::records::EpochRecord;
use super::store::{self, StoreError};
use crate::domain::id::Epoch;

/// Why a command was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// Somebody with a higher epoch has taken over.
    #[error("epoch {given} is stale: a holder with epoch {highest} has taken over; stop")]
    Stale {
        /// The command's epoch.
        given: Epoch,
        /// The highest epoch seen.
        highest: Epoch,
    },
    /// The epoch could not be made durable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Admits commands by their epoch.
#[derive(Debug)]
pub struct EpochGate {
    dir: PathBuf,
    highest: Mutex<Epoch>,
}

impl EpochGate {
    /// Goes on from the epoch recorded in a folder.
    pub fn open(dir: PathBuf) -> Result<Self, StoreError> {
        let record = store::read::<EpochRecord>(&dir)?.unwrap_or_default();
        Ok(EpochGate { dir, highest: Mutex::new(record.highest) })
    }

    /// The highest epoch seen.
    pub fn highest(&self) -> Epoch {
        *self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a command, or refuses it. A new highest epoch is durable when this returns.
    pub fn admit(&self, given: Epoch) -> Result<(), EpochError> {
        let mut highest = self.highest.lock().unwrap_or_else(PoisonError::into_inner);
        if given < *highest {
            return Err(EpochError::Stale { given, highest: *highest });
        }
        if given > *highest {
            store::write(&self.dir, &EpochRecord { highest: given })?;
            *highest = given;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_is_remembered_over_a_restart_and_lower_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let gate = EpochGate::open(dir.path().into()).unwrap();
        gate.admit(Epoch(3)).unwrap();
        gate.admit(Epoch(3)).unwrap();
        assert!(matches!(gate.admit(Epoch(2)), Err(EpochError::Stale { given: Epoch(2), highest: Epoch(3) })));
        let again = EpochGate::open(dir.path().into()).unwrap();
        assert_eq!(again.highest(), Epoch(3));
        assert!(again.admit(Epoch(2)).is_err());
    }

    #[test]
    fn an_epoch_that_cannot_be_kept_is_not_obeyed() {
        let dir = tempfile::tempdir().unwrap();
        let gate = EpochGate::open(dir.path().join("missing")).unwrap();
        assert!(matches!(gate.admit(Epoch(1)), Err(EpochError::Store(_))));
        assert_eq!(gate.highest(), Epoch(0));
    }
}
