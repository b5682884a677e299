//! Recreate: requests wait, every old instance ends, then new ones start.

use super::Recreate;
use crate::domain::planner::Draft;
use crate::domain::span::Span;

/// One phase that stops first; then the hooks and the watch.
pub(crate) fn phases(draft: &mut Draft<'_>, settings: &Recreate, restart: bool) {
    let mut phase = draft.last();
    phase.name = "the old version ends, the new one starts".into();
    phase.stop_first = Some(draft.hold(settings.hold));
    let hooks = super::calls("after", &draft.desired.hooks.after);
    if hooks.is_empty() || restart {
        draft.watch(&mut phase, Span::ZERO);
        draft.push(phase);
        return;
    }
    draft.push(phase);
    let mut last = draft.last();
    last.name = "hooks after full traffic".into();
    last.enter = hooks;
    draft.watch(&mut last, Span::ZERO);
    draft.push(last);
}
