//! Where a unit may go back to.

use super::state::{UnitState, Verified};
use crate::domain::digest::Digest;

impl UnitState {
    /// What was verified, the newest first, as far back as it is remembered.
    pub fn verified(&self) -> impl Iterator<Item = &Verified> {
        std::iter::successors(self.last_verified.as_ref(), |verified| verified.before.as_deref())
    }

    /// Where what fails leads back to by itself, and what somebody leaves without saying where to: the newest verified state that is
    /// another one and that nothing was found against since. One that was verified and was left for its faults is not returned to
    /// unless somebody names it.
    pub fn way_back(&self, from: &Digest) -> Option<&Verified> {
        self.verified().find(|verified| verified.rendered != *from && !self.quarantine.contains_key(&verified.rendered))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::event::UnitEvent;
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::from_text(format!("r1:{text}"))
    }

    /// Some states verified in this order, and some of them in quarantine.
    fn state(verified: &[&str], quarantined: &[&str]) -> UnitState {
        let passed = verified.iter().map(|text| UnitEvent::Verified {
            revision: (*text).into(),
            rendered: digest(text),
            restarts: 0,
            undo: Vec::new(),
        });
        let failed = quarantined
            .iter()
            .map(|text| UnitEvent::Quarantined { rendered: digest(text), reason: "somebody went back from it".into() });
        let mut state = UnitState::default();
        for event in passed.chain(failed) {
            state.apply(&event, Timestamp::UNIX_EPOCH).unwrap();
        }
        state
    }

    #[test]
    fn the_way_back_leads_past_what_is_quarantined() {
        for (verified, quarantined, from, good) in [
            (&["a"][..], &[][..], "x", Some("a")),
            (&["a", "b"], &[], "x", Some("b")),
            (&["a", "b"], &[], "b", Some("a")),
            (&["a", "b"], &["a"], "x", Some("b")),
            // Somebody went back from b, and x came before a was reached.
            (&["a", "b"], &["b"], "x", Some("a")),
            (&["a", "b"], &["b"], "a", None),
            (&["a", "b"], &["a", "b"], "x", None),
            (&["a"], &[], "a", None),
            (&[], &[], "x", None),
        ] {
            let state = state(verified, quarantined);
            let found = state.way_back(&digest(from)).map(|verified| verified.rendered.clone());
            assert_eq!(found, good.map(digest), "{verified:?} without {quarantined:?} from {from}");
        }
    }
}
