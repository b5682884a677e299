//! The forms in which a value may stand in a text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use super::SHORTEST;

/// The shortest line of a value of several lines that is looked for by itself, in bytes.
const SHORTEST_LINE: usize = 12;

/// One form of a value, wiped when dropped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form(pub(super) Vec<u8>);

impl Drop for Form {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Adds all forms of a value, and of what it is the base64 of: so stand values under `data` of a Kubernetes Secret.
pub(super) fn forms(value: &[u8], all: &mut BTreeMap<Form, bool>) {
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
