//! Bytes that come in pieces: a value that is cut anywhere is found as well.

use std::borrow::Cow;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::MARK;
use super::forms::Form;
use super::matcher::{Matcher, replace};

/// See [`Redactor::stream`](super::Redactor::stream).
pub struct Stream {
    pub(super) matcher: Option<Arc<Matcher>>,
    /// All forms, in order.
    pub(super) starts: Vec<Form>,
    pub(super) longest: usize,
    pub(super) held: Zeroizing<Vec<u8>>,
}

impl Stream {
    /// Takes bytes and gives what can be passed on.
    pub fn push<'t>(&mut self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let Some(matcher) = self.matcher.clone() else { return Cow::Borrowed(bytes) };
        self.held.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(self.held.len());
        let mut done = 0;
        let mut keep = self.beginning(done);
        for found in matcher.find(self.held.as_slice()) {
            // It may be part of a longer one that has only begun.
            if found.start >= keep {
                break;
            }
            // What comes next tells what behind it belongs to it.
            if found.open && (found.end == self.held.len() || self.beginning(found.form) < found.end) {
                keep = found.start;
                break;
            }
            out.extend_from_slice(self.held.get(done..found.start).unwrap_or_default());
            out.extend_from_slice(MARK.as_bytes());
            done = found.end;
            if done > keep {
                keep = self.beginning(done);
            }
        }
        out.extend_from_slice(self.held.get(done..keep).unwrap_or_default());
        let rest = Zeroizing::new(self.held[keep..].to_vec());
        self.held = rest;
        Cow::Owned(out)
    }

    /// Where the longest end of the held bytes begins that a value begins with.
    fn beginning(&self, done: usize) -> usize {
        let first = self.held.len().saturating_sub(self.longest.saturating_sub(1)).max(done);
        // What begins with it and is longer comes right after it in their order.
        let begins = |at: &usize| {
            let tail = &self.held[*at..];
            let next = self.starts.partition_point(|form| form.0.as_slice() <= tail);
            self.starts.get(next).is_some_and(|form| form.0.starts_with(tail))
        };
        (first..self.held.len()).find(begins).unwrap_or(self.held.len())
    }

    /// What was held back, when nothing more comes.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.matcher.as_ref().map(|matcher| replace(matcher, &held)).unwrap_or_default()
    }
}
