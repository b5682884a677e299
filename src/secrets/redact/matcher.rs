//! Finds the forms of values in a text.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, MatchKind};

use super::MARK;
use super::forms::Form;

/// Finds forms.
pub(super) struct Matcher {
    automaton: AhoCorasick,
    /// The forms that are open, by their numbers: the character of base64 behind them has bits of the value and of what follows it,
    /// or is the last one, with padding behind it.
    open: Vec<bool>,
}

impl Matcher {
    pub(super) fn new(forms: &BTreeMap<Form, bool>) -> Option<Self> {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(forms.keys().map(|form| form.0.as_slice()));
        Some(Matcher { automaton: automaton.ok()?, open: forms.values().copied().collect() })
    }

    pub(super) fn is_match(&self, bytes: &[u8]) -> bool {
        self.automaton.is_match(bytes)
    }

    /// The forms that are in a text, from left to right.
    pub(super) fn find<'b>(&'b self, bytes: &'b [u8]) -> impl Iterator<Item = Found> + 'b {
        self.automaton.find_iter(bytes).map(|found| {
            let open = self.open.get(found.pattern().as_usize()).is_some_and(|open| *open);
            let behind = if open { behind(&bytes[found.end()..]) } else { 0 };
            Found { start: found.start(), form: found.end(), end: found.end() + behind, open }
        })
    }
}

/// A form in a text.
pub(super) struct Found {
    pub(super) start: usize,
    /// Where the form ends.
    pub(super) form: usize,
    /// Where what belongs to the value ends.
    pub(super) end: usize,
    pub(super) open: bool,
}

/// How many of the bytes behind an open form belong to the value: its last character and padding.
fn behind(rest: &[u8]) -> usize {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let character = usize::from(rest.first().is_some_and(is_base64));
    character + rest[character..].iter().take(2).take_while(|byte| **byte == b'=').count()
}

/// A text with [`MARK`] in the place of every form.
pub(super) fn replace(matcher: &Matcher, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut end = 0;
    for found in matcher.find(bytes) {
        // The next may begin with what seemed to belong to the one before it.
        out.extend_from_slice(bytes.get(end..found.start).unwrap_or_default());
        out.extend_from_slice(MARK.as_bytes());
        end = found.end;
    }
    out.extend_from_slice(&bytes[end..]);
    out
}
