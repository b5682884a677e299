//! A text with its wrapped lines joined: `base64`, `openssl` and `xxd -p` break what they encode into lines.

use std::borrow::Cow;

use zeroize::Zeroizing;

/// The shortest line that is taken for one of a wrapped text, in bytes: encoders use 60, 64 and 76. Lines that are shorter are never joined, so that
/// the last line of a log does not wait for the next one.
const SHORTEST_LINE: usize = 40;

/// Where something was left out.
struct Cut {
    /// Where, in the joined text.
    at: usize,
    /// How many bytes were left out there and before.
    total: usize,
}

/// A text without the breaks behind long lines of letters and digits, and the way back to the places in the text itself.
pub(super) struct Joined<'b> {
    bytes: Cow<'b, [u8]>,
    cuts: Vec<Cut>,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(bytes) = &mut self.bytes {
            drop(Zeroizing::new(std::mem::take(bytes)));
        }
    }
}

impl<'b> Joined<'b> {
    pub(super) fn of(text: &'b [u8]) -> Self {
        let mut joined = Joined { bytes: Cow::Borrowed(text), cuts: Vec::new() };
        let (mut out, mut done, mut run, mut at) = (Vec::new(), 0, 0, 0);
        while let Some(byte) = text.get(at) {
            if is_encoded(*byte) {
                (run, at) = (run + 1, at + 1);
                continue;
            }
            let width = if run >= SHORTEST_LINE { wrap(&text[at..]) } else { 0 };
            run = 0;
            if width == 0 {
                at += 1;
                continue;
            }
            out.extend_from_slice(&text[done..at]);
            done = at + width;
            joined.cuts.push(Cut { at: out.len(), total: done - out.len() });
            at = done;
        }
        if !joined.cuts.is_empty() {
            out.extend_from_slice(&text[done..]);
            joined.bytes = Cow::Owned(out);
        }
        joined
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the byte at this place of the joined text stands in the text itself.
    pub(super) fn place(&self, at: usize) -> usize {
        let before = self.cuts.partition_point(|cut| cut.at <= at);
        at + self.cuts[..before].last().map_or(0, |cut| cut.total)
    }

    /// Where in the text itself that ends which ends here in the joined text: before a break that follows.
    pub(super) fn end(&self, end: usize) -> usize {
        end.checked_sub(1).map_or(0, |last| self.place(last) + 1)
    }

    /// Where this place of the text itself, or what follows it where it was left out, is in the joined text.
    pub(super) fn from(&self, place: usize) -> usize {
        let before = self.cuts.partition_point(|cut| cut.at + cut.total <= place);
        let at = place - self.cuts[..before].last().map_or(0, |cut| cut.total);
        self.cuts.get(before).map_or(at, |next| at.min(next.at))
    }
}

fn is_encoded(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// How many bytes a break and the indentation behind it have, with line breaks also as texts of JSON have them. One that the text ends in the middle of
/// counts.
fn wrap(rest: &[u8]) -> usize {
    let mut at = 0;
    let mut broken = false;
    loop {
        let backslashes = rest[at..].iter().take_while(|byte| **byte == b'\\').count();
        match (backslashes, rest.get(at + backslashes)) {
            (_, None) => return rest.len(),
            (0, Some(b'\n')) => (at, broken) = (at + 1, true),
            (0, Some(b'\r')) => at += 1,
            (0, Some(b' ' | b'\t')) if broken => at += 1,
            (1.., Some(b'n')) => (at, broken) = (at + backslashes + 1, true),
            (1.., Some(b'r')) if !broken => at += backslashes + 1,
            _ => return if broken { at } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_joined_and_every_place_is_known() {
        let line = "a".repeat(SHORTEST_LINE);
        for wrap in ["\n", "\r\n", "\n    ", "\\n", "\\r\\n", "\\\\n"] {
            let text = format!("short\n{line}{wrap}{line}{wrap}b c\n");
            let joined = Joined::of(text.as_bytes());
            assert_eq!(joined.bytes(), format!("short\n{line}{line}b c\n").as_bytes(), "{wrap:?}");
            for (at, byte) in joined.bytes().iter().enumerate() {
                let place = joined.place(at);
                assert_eq!(text.as_bytes()[place], *byte, "{wrap:?} at {at}");
                assert_eq!(joined.from(place), at, "{wrap:?} at {at}");
                assert_eq!(joined.end(at + 1), place + 1, "{wrap:?} at {at}");
            }
            let first = 6 + SHORTEST_LINE;
            assert!((first..first + wrap.len()).all(|place| joined.from(place) == first), "{wrap:?}");
        }
    }

    #[test]
    fn a_break_that_is_not_whole_yet_is_left_out() {
        let line = "a".repeat(SHORTEST_LINE);
        for (tail, left) in
            [("\r", ""), ("\\", ""), ("\\\\", ""), ("\n  ", ""), ("\\t", "\\t"), ("\r x", "\r x"), (" ", " ")]
        {
            let text = format!("{line}{tail}");
            assert_eq!(Joined::of(text.as_bytes()).bytes(), format!("{line}{left}").as_bytes(), "{tail:?}");
        }
    }
}
