//! In place: the platform itself replaces instance by instance, under the bounds that the workload's own objects set.

use crate::domain::plan::Phase;
use crate::domain::planner::Draft;

/// One phase that names the new version alone; then the hooks and the watch.
pub(crate) fn phases(draft: &mut Draft<'_>, restart: bool) {
    let name = format!("the platform replaces what runs by {}", draft.desired.version);
    let phase = Phase { name, ..draft.last() };
    super::end(draft, phase, restart);
}
