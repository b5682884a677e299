//! How a text is written within other texts: in JSON, in a shell's trace, in HTML, in a URL, in another language's quotes.

use std::fmt::Write as _;

use serde_json::Value;

/// What `encodeURI` leaves as it is, beside what every URL does.
const URI: &[u8] = b"!*'()/:@&=+$,;?";

/// A text as others write it; a form that is the text itself may be among them.
pub(super) fn written(text: &str) -> Vec<String> {
    let quoted = Value::String(text.to_owned()).to_string();
    let json = inner(&quoted);
    let json = [json.replace('/', "\\/"), ascii_json(json), json.to_owned()];
    // JSON within a text of JSON, as logs have it.
    let nested = json.iter().map(|text| text.replace('\\', "\\\\").replace('"', "\\\"")).collect::<Vec<_>>();
    // As Rust and others show texts in quotes.
    let mut all = vec![inner(&format!("{text:?}")).to_owned()];
    all.extend(json);
    all.extend(nested);
    all.extend(shell(text));
    all.extend(html(text));
    all
}

/// Bytes as URLs and literals of bytes write them.
pub(super) fn spelled(value: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for upper in [true, false] {
        let strict = percent(value, b"", upper, false);
        all.push(strict.replace('%', "%25"));
        all.push(strict);
        all.push(percent(value, URI, upper, false));
    }
    all.extend([
        percent(value, b"", true, true),
        // `quote` of Python, `encodeURIComponent` and `URLSearchParams` of JavaScript.
        percent(value, b"/", true, false),
        percent(value, b"!*'()", true, false),
        percent(value, b"*", true, true),
    ]);
    all.extend([literal(value, b""), literal(value, b"'"), literal(value, b"\"")]);
    all
}

/// As shells show words: in single quotes, where one is written in two ways; in `$'..'`; and each character by itself, as bash does where it
/// compares with a pattern.
fn shell(text: &str) -> [String; 4] {
    let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
    let escaped = escaped.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
    let each = text.chars().flat_map(|c| ['\\', c]).collect();
    [text.replace('\'', "'\\''"), text.replace('\'', "'\"'\"'"), escaped, each]
}

/// As templates of HTML and XML write texts: they differ in what quotes become.
fn html(text: &str) -> [String; 5] {
    let bare = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quotes = |double: &str, single: &str| bare.replace('"', double).replace('\'', single);
    [
        quotes("&quot;", "&#39;"),
        quotes("&quot;", "&#x27;"),
        quotes("&quot;", "&apos;"),
        quotes("&#34;", "&#39;"),
        bare.clone(),
    ]
}

/// The text between its quotes.
fn inner(quoted: &str) -> &str {
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
}

/// Percent-encoded, but for what no URL encodes and `kept`.
fn percent(value: &[u8], kept: &[u8], upper: bool, plus: bool) -> String {
    let mut out = String::with_capacity(value.len() * 3);
    for byte in value {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) || kept.contains(byte);
        let _ = match (plain, byte) {
            (true, byte) => out.write_char(char::from(*byte)),
            (false, b' ') if plus => out.write_char('+'),
            (false, byte) if upper => write!(out, "%{byte:02X}"),
            (false, byte) => write!(out, "%{byte:02x}"),
        };
    }
    out
}

/// As a literal of bytes, with `\xNN` for what is not printable and a backslash before these quotes.
fn literal(value: &[u8], quotes: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value {
        let _ = match byte {
            b'\n' => out.write_str("\\n"),
            b'\r' => out.write_str("\\r"),
            b'\t' => out.write_str("\\t"),
            b'\\' => out.write_str("\\\\"),
            byte if quotes.contains(byte) => write!(out, "\\{}", char::from(*byte)),
            b' '..=b'~' => out.write_char(char::from(*byte)),
            byte => write!(out, "\\x{byte:02x}"),
        };
    }
    out
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

    #[test]
    fn a_text_is_known_as_shells_templates_and_other_languages_write_it() {
        let value = "it's \"q\" <b>&/+ü";
        let mut all = written(value);
        all.extend(spelled(value.as_bytes()));
        for form in [
            r#"it'\''s "q" <b>&/+ü"#,
            r#"it'"'"'s "q" <b>&/+ü"#,
            r#"it\'s "q" <b>&/+ü"#,
            r#"\i\t\'\s\ \"\q\"\ \<\b\>\&\/\+\ü"#,
            r#"it's \\\"q\\\" <b>&/+ü"#,
            r#"it's \\\"q\\\" <b>&/+\\u00fc"#,
            "it&#x27;s &quot;q&quot; &lt;b&gt;&amp;/+ü",
            "it&#39;s &#34;q&#34; &lt;b&gt;&amp;/+ü",
            "it%27s%20%22q%22%20%3Cb%3E%26/%2B%C3%BC",
            "it's%20%22q%22%20%3Cb%3E%26%2F%2B%C3%BC",
            "it%2527s%2520%2522q%2522%2520%253Cb%253E%2526%252F%252B%25C3%25BC",
            r#"it\'s "q" <b>&/+\xc3\xbc"#,
        ] {
            assert!(all.iter().any(|known| known == form), "{form} is not among {all:#?}");
        }
    }
}
