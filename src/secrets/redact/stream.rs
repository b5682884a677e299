//! Bytes that come in pieces: a value that is cut anywhere is found as well.

use std::borrow::Cow;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::MARK;
use super::forms::Form;
use super::joined::Joined;
use super::matcher::{Matcher, replace};

/// See [`Redactor::stream`](super::Redactor::stream).
pub struct Stream {
    pub(super) matcher: Option<Arc<Matcher>>,
    pub(super) plain: Starts,
    pub(super) encoded: Starts,
    pub(super) held: Zeroizing<Vec<u8>>,
}

/// What values begin with.
#[derive(Default)]
pub(super) struct Starts {
    /// All forms, in order.
    forms: Vec<Form>,
    longest: usize,
}

impl Starts {
    pub(super) fn of<'f>(forms: impl Iterator<Item = &'f Form>) -> Self {
        let forms: Vec<Form> = forms.cloned().collect();
        let longest = forms.iter().map(|form| form.bytes().len()).max().unwrap_or(0);
        Starts { forms, longest }
    }

    /// Where the longest end of a text begins that a form begins with and goes on from.
    fn beginning(&self, text: &[u8], done: usize) -> usize {
        let first = text.len().saturating_sub(self.longest.saturating_sub(1)).max(done);
        // What begins with it and is longer comes right after it in their order.
        let begins = |at: &usize| {
            let tail = &text[*at..];
            let next = self.forms.partition_point(|form| form.bytes() <= tail);
            self.forms.get(next).is_some_and(|form| form.bytes().starts_with(tail))
        };
        (first..text.len()).find(begins).unwrap_or(text.len())
    }
}

impl Stream {
    /// Takes bytes and gives what can be passed on.
    pub fn push<'t>(&mut self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let Some(matcher) = self.matcher.clone() else { return Cow::Borrowed(bytes) };
        self.held.extend_from_slice(bytes);
        let joined = Joined::of(&self.held);
        let mut out = Vec::with_capacity(self.held.len());
        let mut done = 0;
        let mut keep = self.beginning(&joined, done);
        for found in matcher.find(&self.held, &joined) {
            // It may be part of a longer one that has only begun.
            if found.start >= keep {
                break;
            }
            // What comes next tells what behind it belongs to it.
            if found.waits || (found.end > found.form && self.beginning(&joined, found.form) < found.end) {
                keep = found.start;
                break;
            }
            out.extend_from_slice(self.held.get(done..found.start).unwrap_or_default());
            out.extend_from_slice(MARK.as_bytes());
            done = done.max(found.end);
            if done > keep {
                keep = self.beginning(&joined, done);
            }
        }
        out.extend_from_slice(self.held.get(done..keep).unwrap_or_default());
        let rest = Zeroizing::new(self.held[keep..].to_vec());
        drop(joined);
        self.held = rest;
        Cow::Owned(out)
    }

    /// Where the longest end of the held bytes begins that a value begins with.
    fn beginning(&self, joined: &Joined<'_>, done: usize) -> usize {
        let plain = self.plain.beginning(&self.held, done);
        let encoded = self.encoded.beginning(joined.bytes(), joined.from(done));
        match encoded < joined.bytes().len() {
            true => plain.min(joined.place(encoded)),
            false => plain,
        }
    }

    /// What was held back, when nothing more comes.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.matcher.as_ref().map(|matcher| replace(matcher, &held)).unwrap_or_default()
    }
}
