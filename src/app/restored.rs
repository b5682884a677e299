//! What a journal from a backup is told before a daemon opens it.

use std::sync::Arc;

use jiff::Timestamp;

use super::installation_log;
use super::log::{Log, LogError};
use super::unit_log;
use crate::domain::installation::{InstallationEvent, InstallationState};
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::state::UnitState;
use crate::ports::journal::Journal;

/// Writes into every stream of a journal that all before comes from a backup, so that whoever goes on from it looks first.
/// Answers how many units there are.
///
/// # Errors
///
/// A stream can't be read or continued.
pub async fn mark(journal: Arc<dyn Journal>, backup: Timestamp, now: Timestamp) -> Result<usize, LogError> {
    let epoch = journal.claim("restore").await?;
    let stream = installation_log::STREAM.to_owned();
    let mut installation = Log::open(journal.clone(), epoch, stream, InstallationState::default()).await?;
    installation.append(now, &[InstallationEvent::Restored { backup }]).await?;
    let mut count = 0;
    for stream in journal.streams(unit_log::PREFIX).await?.into_keys() {
        let mut unit = Log::open(journal.clone(), epoch, stream, UnitState::default()).await?;
        unit.append(now, &[UnitEvent::Restored { backup }]).await?;
        count += 1;
    }
    Ok(count)
}
