//! The redactor: it knows the values that were decrypted, and replaces them in whatever is told, shown or written down.
//!
//! Also found are a value's base64 (at each of the three alignments, so also within a longer encoded text), URL-encoded,
//! JSON-escaped and hexadecimal forms, the long lines of a value of several lines, and what a value is the base64 of. Values of fewer than
//! [`SHORTEST`] bytes are not looked for: they would be found everywhere.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use super::value::SecretBytes;

/// What stands for a value.
pub const MARK: &str = "[secret]";

/// The shortest value that is looked for, in bytes.
pub const SHORTEST: usize = 6;

/// The shortest line of a value of several lines that is looked for by itself, in bytes.
const SHORTEST_LINE: usize = 12;

/// Knows values, and replaces them.
#[derive(Clone, Default)]
pub struct Redactor {
    shared: Arc<RwLock<Known>>,
}

/// One form of a value, wiped when dropped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Form(Vec<u8>);

impl Drop for Form {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[derive(Default)]
struct Known {
    /// All forms, and of each whether it is open.
    forms: BTreeMap<Form, bool>,
    matcher: Option<Arc<Matcher>>,
}

/// Finds forms.
struct Matcher {
    automaton: AhoCorasick,
    /// The forms that are open, by their numbers: the character of base64 behind them has bits of the value and of what follows it,
    /// or is the last one, with padding behind it.
    open: Vec<bool>,
}

impl Matcher {
    fn new(forms: &BTreeMap<Form, bool>) -> Option<Self> {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(forms.keys().map(|form| form.0.as_slice()));
        Some(Matcher { automaton: automaton.ok()?, open: forms.values().copied().collect() })
    }

    fn is_match(&self, bytes: &[u8]) -> bool {
        self.automaton.is_match(bytes)
    }

    /// The forms that are in a text, from left to right.
    fn find<'b>(&'b self, bytes: &'b [u8]) -> impl Iterator<Item = Found> + 'b {
        self.automaton.find_iter(bytes).map(|found| {
            let open = self.open.get(found.pattern().as_usize()).is_some_and(|open| *open);
            let behind = if open { behind(&bytes[found.end()..]) } else { 0 };
            Found { start: found.start(), form: found.end(), end: found.end() + behind, open }
        })
    }
}

/// A form in a text.
struct Found {
    start: usize,
    /// Where the form ends.
    form: usize,
    /// Where what belongs to the value ends.
    end: usize,
    open: bool,
}

/// How many of the bytes behind an open form belong to the value: its last character and padding.
fn behind(rest: &[u8]) -> usize {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let character = usize::from(rest.first().is_some_and(is_base64));
    character + rest[character..].iter().take(2).take_while(|byte| **byte == b'=').count()
}

/// The redactor of this process, which its log and every answer pass.
pub fn of_process() -> &'static Redactor {
    static REDACTOR: OnceLock<Redactor> = OnceLock::new();
    REDACTOR.get_or_init(Redactor::default)
}

impl Redactor {
    /// One that knows these values.
    pub fn knowing<'a>(values: impl IntoIterator<Item = &'a SecretBytes>) -> Self {
        let redactor = Redactor::default();
        redactor.learn(values);
        redactor
    }

    /// From now on these values are replaced, too.
    pub fn learn<'a>(&self, values: impl IntoIterator<Item = &'a SecretBytes>) {
        let mut fresh = BTreeMap::new();
        for value in values {
            forms(value.expose(), &mut fresh);
        }
        let mut known = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        fresh.retain(|form, open| known.forms.get(form).is_none_or(|known| *open && !known));
        if fresh.is_empty() {
            return;
        }
        known.forms.extend(fresh);
        known.matcher = Matcher::new(&known.forms).map(Arc::new);
    }

    fn matcher(&self) -> Option<Arc<Matcher>> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).matcher.clone()
    }

    /// Whether there is nothing to replace.
    pub fn is_empty(&self) -> bool {
        self.matcher().is_none()
    }

    /// The text with every value replaced.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.matcher() {
            Some(matcher) if matcher.is_match(text.as_bytes()) => {
                let replaced = replace(&matcher, text.as_bytes());
                Cow::Owned(String::from_utf8(replaced).unwrap_or_else(|_| MARK.to_owned()))
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// Bytes with every value replaced.
    pub fn bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        match self.matcher() {
            Some(matcher) if matcher.is_match(bytes) => Cow::Owned(replace(&matcher, bytes)),
            _ => Cow::Borrowed(bytes),
        }
    }

    /// JSON with every value replaced in its texts, so that it stays JSON; what is no JSON is replaced as bytes.
    pub fn json<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let Some(matcher) = self.matcher() else { return Cow::Borrowed(bytes) };
        if !matcher.is_match(bytes) {
            return Cow::Borrowed(bytes);
        }
        let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
            return Cow::Owned(replace(&matcher, bytes));
        };
        self.value(&mut value);
        serde_json::to_vec(&value).map_or_else(|_| Cow::Owned(replace(&matcher, bytes)), Cow::Owned)
    }

    /// A JSON value with every secret replaced in its texts.
    pub fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(clean) = self.text(text) {
                    text.zeroize();
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.value(member)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A redactor for bytes that come in pieces: what may be the beginning of a value is held back until more is there.
    pub fn stream(&self) -> Stream {
        let known = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let longest = known.forms.keys().map(|form| form.0.len()).max().unwrap_or(0);
        let starts: Vec<Form> = known.forms.keys().cloned().collect();
        let matcher = known.matcher.clone();
        Stream { matcher, starts, longest, held: Zeroizing::new(Vec::new()) }
    }
}

fn replace(matcher: &Matcher, bytes: &[u8]) -> Vec<u8> {
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

/// See [`Redactor::stream`].
pub struct Stream {
    matcher: Option<Arc<Matcher>>,
    /// All forms, in order.
    starts: Vec<Form>,
    longest: usize,
    held: Zeroizing<Vec<u8>>,
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

/// Adds all forms of a value, and of what it is the base64 of: so stand values under `data` of a Kubernetes Secret.
fn forms(value: &[u8], all: &mut BTreeMap<Form, bool>) {
    let value = value.trim_ascii_end();
    whole(value, all);
    let bare: Zeroizing<Vec<u8>> =
        Zeroizing::new(value.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect());
    if let Ok(decoded) = BASE64_STANDARD.decode(&*bare).map(Zeroizing::new) {
        whole(decoded.trim_ascii_end(), all);
    }
}

/// Adds all forms of a value, and of its lines.
fn whole(value: &[u8], all: &mut BTreeMap<Form, bool>) {
    one(value, all);
    if value.contains(&b'\n') {
        let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with(b"-----")).for_each(|line| one(line, all));
    }
}

fn one(value: &[u8], all: &mut BTreeMap<Form, bool>) {
    if value.len() < SHORTEST {
        return;
    }
    let mut put = |form: Vec<u8>, open: bool| {
        if form.len() >= SHORTEST {
            *all.entry(Form(form)).or_default() |= open;
        }
    };
    for engine in [&BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD] {
        for shift in 0..3 {
            let (form, open) = aligned(value, shift, |bytes| engine.encode(bytes));
            put(form, open);
        }
    }
    let mut add = |form: Vec<u8>| put(form, false);
    add(value.to_vec());
    add(hex::encode(value).into_bytes());
    add(hex::encode_upper(value).into_bytes());
    for (upper, plus, strict) in [(true, false, true), (false, false, true), (true, true, true), (true, false, false)] {
        add(percent(value, upper, plus, strict));
    }
    if let Ok(text) = std::str::from_utf8(value) {
        let quoted = Value::String(text.to_owned()).to_string();
        let inner = quoted[1..quoted.len() - 1].to_owned();
        add(inner.replace('/', "\\/").into_bytes());
        add(ascii_json(&inner).into_bytes());
        add(inner.into_bytes());
        // As Rust and others show texts in quotes.
        let debug = format!("{text:?}");
        add(debug.as_bytes()[1..debug.len() - 1].to_vec());
    }
}

/// The part of an encoded text that depends on nothing but the value, when so many bytes stand before it; whether there are bits of the
/// value behind it.
fn aligned(value: &[u8], shift: usize, encode: impl Fn(&[u8]) -> String) -> (Vec<u8>, bool) {
    let mut padded = Zeroizing::new(vec![0; shift]);
    padded.extend_from_slice(value);
    let text = encode(&padded).into_bytes();
    // Of the first group all that shares bits with what stands before; of the last what shares bits with what follows.
    let skip = [0, 2, 3][shift];
    let open = !padded.len().is_multiple_of(3);
    let end = text.len() - usize::from(open);
    (text.get(skip..end).map(<[u8]>::to_vec).unwrap_or_default(), open)
}

fn percent(value: &[u8], upper: bool, plus: bool, strict: bool) -> Vec<u8> {
    let mut out = String::with_capacity(value.len() * 3);
    for byte in value {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b'~')
            || (!strict
                && matches!(
                    byte,
                    b'!' | b'*'
                        | b'\''
                        | b'('
                        | b')'
                        | b'/'
                        | b':'
                        | b'@'
                        | b'&'
                        | b'='
                        | b'+'
                        | b'$'
                        | b','
                        | b';'
                        | b'?'
                ));
        let _ = match (plain, byte) {
            (true, byte) => out.write_char(char::from(*byte)),
            (false, b' ') if plus => out.write_char('+'),
            (false, byte) if upper => write!(out, "%{byte:02X}"),
            (false, byte) => write!(out, "%{byte:02x}"),
        };
    }
    out.into_bytes()
}

/// JSON with everything beyond ASCII escaped.
fn ascii_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(out, "\\u{unit:04x}");
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "pa\"ss/wörd ?1+";

    fn redactor() -> Redactor {
        Redactor::knowing(&[SecretBytes::from(VALUE)])
    }

    #[test]
    fn every_form_is_replaced() {
        let json = serde_json::to_string(VALUE).unwrap();
        let mut shown = vec![
            VALUE.to_owned(),
            json[1..json.len() - 1].to_owned(),
            json[1..json.len() - 1].replace('/', "\\/"),
            hex::encode(VALUE),
            format!("{VALUE:?}"),
            "pa%22ss%2Fw%C3%B6rd%20%3F1%2B".to_owned(),
            "pa%22ss%2Fw%C3%B6rd+%3F1%2B".to_owned(),
            "pa%22ss%2fw%c3%b6rd%20%3f1%2b".to_owned(),
        ];
        for before in ["", "u", "us", "use"] {
            for after in ["", "x", "xy"] {
                shown.push(BASE64_STANDARD.encode(format!("{before}{VALUE}{after}")));
            }
        }
        for form in shown {
            let clean = redactor().text(&format!("<{form}>")).into_owned();
            assert!(clean.contains(MARK), "{form} is not found");
            assert!(
                !clean.contains("ss/w") && !clean.contains("YSJzcy93") && !clean.contains("w%C3"),
                "{form}: {clean}"
            );
        }
        assert_eq!(redactor().text("nothing here"), "nothing here");
    }

    #[test]
    fn nothing_stays_behind_the_base64_of_a_value() {
        for value in ["hunter2", "hunter22", "hunter222"] {
            let redactor = Redactor::knowing(&[SecretBytes::from(value)]);
            let encoded = BASE64_STANDARD.encode(value);
            let bare = encoded.trim_end_matches('=');
            for (text, clean) in [
                (format!("<{encoded}>"), "<[secret]>"),
                (format!("{encoded}\n"), "[secret]\n"),
                (format!("{bare}:{encoded}"), "[secret]:[secret]"),
                (encoded.clone(), "[secret]"),
                (format!("{bare} ==="), "[secret] ==="),
                (format!("{bare}{value}"), "[secret][secret]"),
            ] {
                assert_eq!(redactor.text(&text), clean, "{text}");
                for piece in 1..=text.len() {
                    assert_eq!(in_pieces(&redactor, &text, piece), clean, "{text} by {piece}");
                }
            }
        }
    }

    #[test]
    fn a_value_that_begins_with_another_or_holds_it_is_replaced_as_a_whole() {
        let values = ["hunter2", "hunter2-and-more", "in hunter2-and-more"].map(SecretBytes::from);
        let redactor = Redactor::knowing(&values);
        for (text, clean) in [
            ("hunter2-and-more", "[secret]"),
            ("hunter2-and-mo", "[secret]-and-mo"),
            ("hunter2", "[secret]"),
            ("in hunter2-and-more.", "[secret]."),
            ("in hunter2-and-mor", "in [secret]-and-mor"),
        ] {
            assert_eq!(redactor.text(text), clean);
            for piece in 1..=text.len() {
                assert_eq!(in_pieces(&redactor, text, piece), clean, "{text} by {piece}");
            }
        }
    }

    fn in_pieces(redactor: &Redactor, text: &str, piece: usize) -> String {
        let mut stream = redactor.stream();
        let mut out = Vec::new();
        text.as_bytes().chunks(piece).for_each(|chunk| out.extend_from_slice(&stream.push(chunk)));
        out.extend_from_slice(&stream.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_stays_json_and_short_values_are_left_alone() {
        let redactor = Redactor::knowing(&[SecretBytes::from("123456"), SecretBytes::from("abc")]);
        let clean = redactor.json(br#"{"number":123456,"text":"x123456y","abc":"abc"}"#).into_owned();
        assert_eq!(String::from_utf8(clean).unwrap(), r#"{"abc":"abc","number":123456,"text":"x[secret]y"}"#);
    }

    #[test]
    fn a_stream_cut_anywhere_shows_nothing() {
        let text = format!("before {VALUE} between {} after pa", BASE64_STANDARD.encode(VALUE));
        let whole = redactor().bytes(text.as_bytes()).into_owned();
        for piece in 1..text.len() {
            let shown = in_pieces(&redactor(), &text, piece);
            assert!(!shown.contains("ss/w") && shown.contains(MARK) && shown.ends_with("after pa"), "{piece}: {shown}");
            assert_eq!(shown.as_bytes(), whole, "{piece}");
        }
    }

    #[test]
    fn what_a_value_is_the_base64_of_is_found_too() {
        let encoded = BASE64_STANDARD.encode("hunter2-data\n");
        for value in [encoded.clone(), format!("{}\n{}\n", &encoded[..8], &encoded[8..])] {
            let redactor = Redactor::knowing(&[SecretBytes::from(value.as_str())]);
            assert_eq!(redactor.text("who knows hunter2-data"), "who knows [secret]");
            assert!(redactor.text(&encoded).starts_with("[secret]"));
        }
    }

    #[test]
    fn lines_of_a_long_value_are_found_by_themselves() {
        let key = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nshort\n-----END KEY-----\n";
        let redactor = Redactor::knowing(&[SecretBytes::from(key)]);
        assert_eq!(redactor.text("x MIIEpAIBAAKCAQEA short"), "x [secret] short");
    }
}
