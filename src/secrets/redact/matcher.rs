//! Finds the forms of values in a text.

use std::cmp::Reverse;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};

use super::MARK;
use super::forms::{Form, Forms};
use super::joined::Joined;

/// What is new takes in the tiers that are less than this many times as large.
const GROWTH: usize = 4;

/// Finds forms. Each tier is several times as large as the next one: one secret more makes up a small tier, and where many come one after the
/// other, each is built into few tiers and not into one of all that are known each time.
#[derive(Clone, Default)]
pub(super) struct Matcher {
    tiers: Vec<Arc<Tier>>,
}

/// Finds some forms.
struct Tier {
    forms: Forms,
    plain: AhoCorasick,
    encoded: AhoCorasick,
    /// Which of the encoded forms are open, by their numbers.
    open: Vec<bool>,
}

impl Matcher {
    /// One that finds these forms too; `None`: there are more than an automaton can tell apart.
    pub(super) fn with(&self, mut forms: Forms) -> Option<Self> {
        let mut tiers = self.tiers.clone();
        while let Some(last) = tiers.pop_if(|last| last.forms.len() < GROWTH * forms.len()) {
            forms.take(last.forms.clone());
        }
        tiers.push(Arc::new(Tier::new(forms)?));
        Some(Matcher { tiers })
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.tiers.iter().map(|tier| tier.forms.len()).collect()
    }

    pub(super) fn is_match(&self, bytes: &[u8]) -> bool {
        let joined = Joined::of(bytes);
        self.tiers.iter().any(|tier| tier.plain.is_match(bytes) || tier.encoded.is_match(joined.bytes()))
    }

    /// The forms that are in a text, from left to right; those that overlap are one.
    pub(super) fn find(&self, bytes: &[u8], joined: &Joined<'_>) -> Vec<Found> {
        let mut all: Vec<Found> = self.tiers.iter().flat_map(|tier| tier.find(bytes, joined)).collect();
        all.sort_by_key(|found| (found.start, Reverse(found.form)));
        all.dedup_by(|next, before| before.takes(next));
        all
    }
}

impl Tier {
    fn new(forms: Forms) -> Option<Self> {
        let plain = automaton(forms.plain.iter())?;
        let encoded = automaton(forms.encoded.keys())?;
        let open = forms.encoded.values().copied().collect();
        Some(Tier { forms, plain, encoded, open })
    }

    fn find(&self, bytes: &[u8], joined: &Joined<'_>) -> Vec<Found> {
        let plain = self.plain.find_iter(bytes).map(|found| {
            let (start, form) = (found.start(), found.end());
            Found { start, form, end: form, waits: false }
        });
        let encoded = self.encoded.find_iter(joined.bytes()).map(|found| {
            let open = self.open.get(found.pattern().as_usize()).is_some_and(|open| *open);
            let end = found.end() + if open { behind(&joined.bytes()[found.end()..]) } else { 0 };
            let waits = open && end == joined.bytes().len();
            let [form, end] = [found.end(), end].map(|at| joined.end(at));
            Found { start: joined.place(found.start()), form, end, waits }
        });
        plain.chain(encoded).collect()
    }
}

fn automaton<'f>(forms: impl Iterator<Item = &'f Form>) -> Option<AhoCorasick> {
    let forms = forms.map(Form::bytes);
    AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(forms).ok()
}

/// A form in a text.
pub(super) struct Found {
    pub(super) start: usize,
    /// Where the form ends.
    pub(super) form: usize,
    /// Where what belongs to the value ends.
    pub(super) end: usize,
    /// Whether more of the text would tell where it ends.
    pub(super) waits: bool,
}

impl Found {
    /// Takes in one that begins within this form.
    fn takes(&mut self, next: &Found) -> bool {
        if next.start >= self.form {
            return false;
        }
        if next.form > self.form {
            self.form = next.form;
            self.waits = next.waits;
        }
        self.end = self.end.max(next.end);
        true
    }
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
    for found in matcher.find(bytes, &Joined::of(bytes)) {
        // The next may begin with what seemed to belong to the one before it.
        out.extend_from_slice(bytes.get(end..found.start).unwrap_or_default());
        out.extend_from_slice(MARK.as_bytes());
        end = end.max(found.end);
    }
    out.extend_from_slice(&bytes[end..]);
    out
}
