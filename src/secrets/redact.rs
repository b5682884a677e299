//! The redactor: it knows the values that were decrypted, and replaces them in whatever is told, shown or written down.
//!
//! Also found are a value's base64 (at each of the three alignments, so also within a longer encoded text) and hexadecimal digits, both also
//! wrapped into lines; how URLs, JSON, HTML, a shell's trace and literals of other languages write it; the long lines of a value of several
//! lines, and what a value is the base64 of. Values of fewer than [`SHORTEST`] bytes are not looked for: they would be found everywhere.

mod escapes;
mod forms;
mod joined;
mod matcher;
mod stream;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use serde_json::Value;
use zeroize::{Zeroize as _, Zeroizing};

use self::forms::Forms;
use self::matcher::{Matcher, replace};
use self::stream::Starts;
pub use self::stream::Stream;
use super::value::SecretBytes;

/// What stands for a value.
pub const MARK: &str = "[secret]";

/// The shortest value that is looked for, in bytes.
pub const SHORTEST: usize = 6;

/// Knows values, and replaces them.
#[derive(Clone, Default)]
pub struct Redactor {
    shared: Arc<RwLock<Known>>,
}

#[derive(Default)]
struct Known {
    forms: Forms,
    matcher: Option<Arc<Matcher>>,
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
        let mut forms = Forms::default();
        for value in values {
            forms.add(value.expose());
        }
        let mut known = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.forms.take(forms);
        if fresh.len() == 0 {
            return;
        }
        let before = known.matcher.as_deref().cloned().unwrap_or_default();
        known.matcher = before.with(fresh).map(Arc::new);
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
        let plain = Starts::of(known.forms.plain.iter());
        let encoded = Starts::of(known.forms.encoded.keys());
        let matcher = known.matcher.clone();
        Stream { matcher, plain, encoded, held: Zeroizing::new(Vec::new()) }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;

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
    fn what_an_encoder_wraps_into_lines_is_found_in_pieces_too() {
        let value = (0..40).map(|number| format!("{number:03}")).collect::<String>();
        let redactor = Redactor::knowing(&[SecretBytes::from(value.as_str())]);
        for before in ["", "u", "us", "user:"] {
            for encoded in [BASE64_STANDARD.encode(format!("{before}{value}\n")), hex::encode(&value)] {
                for (width, between) in [(76, "\n"), (64, "\r\n"), (60, "\n  "), (64, "\\n")] {
                    let lines: Vec<&str> =
                        encoded.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
                    let text = format!("before\n{}\nafter", lines.join(between));
                    let clean = redactor.text(&text).into_owned();
                    // What stands before the value in its first line, and after it in its last.
                    assert!(clean.contains(MARK) && clean.len() < 45, "{clean}");
                    assert!(clean.starts_with("before\n") && clean.ends_with("\nafter"), "{clean}");
                    assert_eq!(redactor.json(text.as_bytes()), clean.as_bytes());
                    for piece in (1..=text.len()).step_by(7) {
                        assert_eq!(in_pieces(&redactor, &text, piece), clean, "{text} by {piece}");
                    }
                }
            }
        }
    }

    #[test]
    fn values_that_are_learnt_one_after_the_other_are_all_found() {
        let values: Vec<String> = (0..300).map(|number| format!("value-{number:03}-end")).collect();
        let redactor = Redactor::default();
        values.iter().for_each(|value| redactor.learn([&SecretBytes::from(value.as_str())]));
        let sizes = redactor.matcher().unwrap().sizes();
        assert!(sizes.len() <= 8 && sizes.is_sorted_by(|one, next| one > next), "{sizes:?}");
        // The first of them once more, in another tier than what it overlaps with.
        redactor.learn([&SecretBytes::from("000-end and more")]);
        let text = values.join(" ") + " and more; " + &BASE64_STANDARD.encode(&values[7]);
        let clean = [vec![MARK; 300].join(" "), format!(" and more; {MARK}")].concat();
        assert_eq!(redactor.text(&text), clean);
        for piece in [1, 7, 64] {
            assert_eq!(in_pieces(&redactor, &text, piece), clean, "by {piece}");
        }
        assert_eq!(redactor.text("value-000-end and more"), MARK);
    }

    #[test]
    fn a_line_of_a_log_does_not_wait_for_the_next_one() {
        let mut stream = redactor().stream();
        let first = BASE64_STANDARD.encode(VALUE);
        assert_eq!(
            stream.push(format!("ends with {}\n", &first[..5]).as_bytes()),
            format!("ends with {}\n", &first[..5]).as_bytes()
        );
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
