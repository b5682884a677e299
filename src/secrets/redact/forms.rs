//! The forms in which a value may stand in a text.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use zeroize::{Zeroize as _, Zeroizing};

use super::SHORTEST;
use super::escapes::{spelled, written};

/// The shortest line of a value of several lines that is looked for by itself, in bytes.
const SHORTEST_LINE: usize = 12;

/// One form of a value, wiped when its last copy is dropped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form(Arc<Wiped>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Wiped(Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Form {
    fn new(bytes: Vec<u8>) -> Self {
        Form(Arc::new(Wiped(bytes)))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0.0
    }
}

/// Forms of values.
#[derive(Clone, Default)]
pub(super) struct Forms {
    /// The value, and how others write it.
    pub(super) plain: BTreeSet<Form>,
    /// In base64 and in hexadecimal digits, which may be wrapped into lines; of each, whether it is open: the character behind it has bits of
    /// the value and of what follows it, or is the last one, with padding behind it.
    pub(super) encoded: BTreeMap<Form, bool>,
}

impl Forms {
    /// Adds all forms of a value, and of what it is the base64 of: so stand values under `data` of a Kubernetes Secret.
    pub(super) fn add(&mut self, value: &[u8]) {
        let value = value.trim_ascii_end();
        self.whole(value);
        let bare: Zeroizing<Vec<u8>> =
            Zeroizing::new(value.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect());
        if let Ok(decoded) = BASE64_STANDARD.decode(&*bare).map(Zeroizing::new) {
            self.whole(decoded.trim_ascii_end());
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.plain.len() + self.encoded.len()
    }

    /// Takes the forms of others, and gives those that were new.
    pub(super) fn take(&mut self, mut others: Forms) -> Forms {
        others.plain.retain(|form| self.plain.insert(form.clone()));
        others.encoded.retain(|form, open| {
            let fresh = self.encoded.get(form).is_none_or(|known| *open && !known);
            if fresh {
                self.encoded.insert(form.clone(), *open);
            }
            fresh
        });
        others
    }

    /// Adds all forms of a value, and of its lines.
    fn whole(&mut self, value: &[u8]) {
        self.one(value);
        if value.contains(&b'\n') {
            let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let told = lines.filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with(b"-----"));
            told.for_each(|line| self.one(line));
        }
    }

    fn one(&mut self, value: &[u8]) {
        if value.len() < SHORTEST {
            return;
        }
        for engine in [&BASE64_STANDARD_NO_PAD, &BASE64_URL_SAFE_NO_PAD] {
            for shift in 0..3 {
                let (form, open) = aligned(value, shift, |bytes| engine.encode(bytes));
                self.encode(form, open);
            }
        }
        self.encode(hex::encode(value).into_bytes(), false);
        self.encode(hex::encode_upper(value).into_bytes(), false);
        self.plain.insert(Form::new(value.to_vec()));
        let mut texts = spelled(value);
        texts.extend(std::str::from_utf8(value).map(written).unwrap_or_default());
        self.plain.extend(texts.into_iter().map(|text| Form::new(text.into_bytes())));
    }

    fn encode(&mut self, form: Vec<u8>, open: bool) {
        if form.len() >= SHORTEST {
            *self.encoded.entry(Form::new(form)).or_default() |= open;
        }
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
