//! In place: the platform itself replaces instance by instance, under the bounds that the workload's own objects set.

use crate::domain::plan::Phase;
use crate::domain::planner::Draft;

/// Phases that name the new version alone, one a stage; then the hooks and the watch.
pub(crate) fn phases(draft: &mut Draft<'_>, restart: bool) {
    let name = format!("the platform replaces what runs by {}", draft.desired.version);
    let mut phase = Phase { name, ..draft.last() };
    draft.rise(&mut phase, if restart { Some(0) } else { None });
    super::end(draft, phase, restart);
}
