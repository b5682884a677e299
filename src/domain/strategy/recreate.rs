//! Recreate: requests wait, every old instance ends, then new ones start.

use super::Recreate;
use crate::domain::planner::Draft;

/// One phase that stops first; then the hooks and the watch.
pub(crate) fn phases(draft: &mut Draft<'_>, settings: &Recreate, restart: bool) {
    let mut phase = draft.last();
    phase.name = "the old version ends, the new one starts".into();
    phase.stop_first = Some(draft.hold(settings.hold));
    super::end(draft, phase, restart);
}
