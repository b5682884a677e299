//! Records in the audit log what the daemon [did by itself](crate::domain::deed), by following the journal.
//!
//! The journal has it first: traffic is never kept from going back because an audit log can't be written. What could not be recorded
//! is recorded later, after a crash too: the audit log remembers with each record how far the journal was followed, so that nothing
//! is left out and nothing recorded twice.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::log::Fold;
use super::unit::task::Shared;
use super::unit_log;
use super::world::World;
use crate::domain::audit::Entry;
use crate::domain::deed::deed;
use crate::domain::unit::state::UnitState;
use crate::ports::audit::AuditError;
use crate::ports::journal::{JournalError, Record};

/// So many events are read at once. After so many without a deed, it is remembered that they were read.
const AT_ONCE: usize = 1_000;
/// How long it gathers what happens before it looks: in a rollout one thing comes after the other.
const GATHER: Duration = Duration::from_millis(50);
/// How long it waits before it tries again.
const RETRY: Duration = Duration::from_secs(5);
/// The longest time between two looks, whatever nobody told.
const LONGEST: Duration = Duration::from_secs(600);

/// Why something is not recorded yet.
#[derive(Debug, thiserror::Error)]
pub enum DeedError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// How far the journal was followed.
#[derive(Clone, Copy, Debug)]
pub struct Followed {
    /// Up to here everything is recorded.
    seen: u64,
    /// Up to here, by what the audit log remembers.
    kept: u64,
}

impl Followed {
    /// Where the audit log stands; at the journal's end where that is an older one, put back from a backup.
    ///
    /// # Errors
    ///
    /// Journal or audit log can't be read.
    pub async fn begin(world: &World) -> Result<Self, DeedError> {
        let kept = world.audit.followed().await?;
        let removed = world.journal.removed().await?;
        if kept > 0 && removed > kept {
            tracing::error!(
                "events {kept} to {removed} were removed before what the daemon did in them was recorded in the audit log"
            );
        }
        let reaches = removed >= kept || !world.journal.since(kept.saturating_sub(1), 1).await?.is_empty();
        let mut seen = if reaches { kept } else { removed };
        while !reaches && let Some((_, last)) = world.journal.since(seen, AT_ONCE).await?.last() {
            seen = last.global;
        }
        Ok(Followed { seen, kept })
    }

    /// Records what happened since.
    ///
    /// # Errors
    ///
    /// Journal or audit log failed: what is not recorded is with the next call.
    pub async fn turn(&mut self, world: &World) -> Result<(), DeedError> {
        loop {
            let records = world.journal.since(self.seen, AT_ONCE).await?;
            let Some((_, last)) = records.last() else { return Ok(()) };
            let (seen, more) = (last.global, records.len() == AT_ONCE);
            let deeds: Vec<_> = records.into_iter().filter_map(recorded).collect();
            if !deeds.is_empty() || seen.saturating_sub(self.kept) >= AT_ONCE as u64 {
                world.audit.follow(self.kept, seen, deeds).await?;
                self.kept = seen;
            }
            self.seen = seen;
            if !more {
                return Ok(());
            }
        }
    }
}

/// The deed of an event. One that can't be read, from a later version, is not this version's doing.
fn recorded((stream, record): (String, Record)) -> Option<(Timestamp, Entry)> {
    let unit = unit_log::unit_of(&stream)?;
    let event = UnitState::decode(record.version, record.event).ok()?;
    Some((record.at, deed(&unit, &event)?))
}

/// Follows the journal until stopped.
pub async fn run(world: Arc<World>, shared: Arc<Shared>) {
    let (mut followed, mut told, mut changes) = (None, None, 0);
    loop {
        let wait = match follow(&world, &mut followed).await {
            Ok(()) => {
                told = None;
                LONGEST
            }
            Err(error) => {
                let error = error.to_string();
                if told.as_ref() != Some(&error) {
                    tracing::error!(error, "what the daemon does by itself is not recorded in the audit log yet");
                }
                told = Some(error);
                RETRY
            }
        };
        let gathered = async {
            let seen = world.hub.wait(changes, wait).await;
            tokio::time::sleep(GATHER).await;
            seen
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            seen = gathered => changes = seen,
        }
    }
}

async fn follow(world: &World, followed: &mut Option<Followed>) -> Result<(), DeedError> {
    let mut now = match *followed {
        Some(followed) => followed,
        None => Followed::begin(world).await?,
    };
    let done = now.turn(world).await;
    // Whoever else followed it meanwhile, a daemon that is being taken over: it goes on from there.
    *followed = (!matches!(done, Err(DeedError::Audit(AuditError::Followed { .. })))).then_some(now);
    done
}
