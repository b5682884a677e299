//! The redactor: it knows the values that were decrypted, and replaces them in whatever is told, shown or written down.
//!
//! Also found are a value's base64 (at each of the three alignments, so also within a longer encoded text), URL-encoded,
//! JSON-escaped and hexadecimal forms, and the long lines of a value of several lines. Values of fewer than
//! [`SHORTEST`] bytes are not looked for: they would be found everywhere.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
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
    forms: BTreeSet<Form>,
    matcher: Option<Arc<AhoCorasick>>,
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
        let mut fresh = BTreeSet::new();
        for value in values {
            forms(value.expose(), &mut fresh);
        }
        let mut known = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        let before = known.forms.len();
        known.forms.extend(fresh);
        if known.forms.len() == before {
            return;
        }
        let matcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(known.forms.iter().map(|form| form.0.as_slice()));
        known.matcher = matcher.ok().map(Arc::new);
    }

    fn matcher(&self) -> Option<Arc<AhoCorasick>> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).matcher.clone()
    }

    /// Whether there is nothing to replace.
    pub fn is_empty(&self) -> bool {
        self.matcher().is_none()
    }

    /// The text with every value replaced.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.matcher() {
            Some(matcher) if matcher.is_match(text) => {
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
        let longest = known.forms.iter().map(|form| form.0.len()).max().unwrap_or(0);
        let starts: Vec<Form> = known.forms.iter().cloned().collect();
        Stream { matcher: known.matcher.clone(), starts, longest, held: Zeroizing::new(Vec::new()) }
    }
}

fn replace(matcher: &AhoCorasick, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut end = 0;
    for found in matcher.find_iter(bytes) {
        out.extend_from_slice(&bytes[end..found.start()]);
        out.extend_from_slice(MARK.as_bytes());
        end = found.end();
    }
    out.extend_from_slice(&bytes[end..]);
    out
}

/// See [`Redactor::stream`].
pub struct Stream {
    matcher: Option<Arc<AhoCorasick>>,
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
        // A match that ends where the bytes end may still become a longer one: it is replaced then as well as now.
        for found in matcher.find_iter(self.held.as_slice()) {
            out.extend_from_slice(&self.held[done..found.start()]);
            out.extend_from_slice(MARK.as_bytes());
            done = found.end();
        }
        let keep = self.beginning(done);
        out.extend_from_slice(&self.held[done..keep]);
        let rest = Zeroizing::new(self.held[keep..].to_vec());
        self.held = rest;
        Cow::Owned(out)
    }

    /// Where the longest end of the held bytes begins that a value begins with.
    fn beginning(&self, done: usize) -> usize {
        let first = self.held.len().saturating_sub(self.longest.saturating_sub(1)).max(done);
        let begins = |at: &usize| {
            let tail = &self.held[*at..];
            self.starts.iter().any(|form| form.0.len() > tail.len() && form.0.starts_with(tail))
        };
        (first..self.held.len()).find(begins).unwrap_or(self.held.len())
    }

    /// What was held back, when nothing more comes.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut *self.held)
    }
}

/// Adds all forms of a value.
fn forms(value: &[u8], all: &mut BTreeSet<Form>) {
    let value = value.trim_ascii_end();
    one(value, all);
    if value.contains(&b'\n') {
        let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with(b"-----")).for_each(|line| one(line, all));
    }
}

fn one(value: &[u8], all: &mut BTreeSet<Form>) {
    if value.len() < SHORTEST {
        return;
    }
    let mut add = |form: Vec<u8>| {
        if form.len() >= SHORTEST {
            all.insert(Form(form));
        }
    };
    add(value.to_vec());
    for engine in [&BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD] {
        for shift in 0..3 {
            add(aligned(value, shift, |bytes| engine.encode(bytes)));
        }
    }
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

/// The part of an encoded text that depends on nothing but the value, when so many bytes stand before it.
fn aligned(value: &[u8], shift: usize, encode: impl Fn(&[u8]) -> String) -> Vec<u8> {
    let mut padded = Zeroizing::new(vec![0; shift]);
    padded.extend_from_slice(value);
    let text = encode(&padded).into_bytes();
    // Of the first group all that shares bits with what stands before; of the last what shares bits with what follows.
    let skip = [0, 2, 3][shift];
    let end = text.len() - usize::from(!padded.len().is_multiple_of(3));
    text.get(skip..end).map(<[u8]>::to_vec).unwrap_or_default()
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
    use base64::prelude::BASE64_STANDARD;

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
            let mut stream = redactor().stream();
            let mut out = Vec::new();
            for chunk in text.as_bytes().chunks(piece) {
                out.extend_from_slice(&stream.push(chunk));
            }
            out.extend_from_slice(&stream.finish());
            let shown = String::from_utf8_lossy(&out).into_owned();
            assert!(!shown.contains("ss/w") && shown.contains(MARK) && shown.ends_with("after pa"), "{piece}: {shown}");
            if piece > 40 {
                assert_eq!(out, whole);
            }
        }
    }

    #[test]
    fn lines_of_a_long_value_are_found_by_themselves() {
        let key = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nshort\n-----END KEY-----\n";
        let redactor = Redactor::knowing(&[SecretBytes::from(key)]);
        assert_eq!(redactor.text("x MIIEpAIBAAKCAQEA short"), "x [secret] short");
    }
}
