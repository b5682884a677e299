//! A token kept out of messages, in every form in which a remote may repeat it.

/// What stands in its place.
const REPLACEMENT: &str = "[token]";

/// A text without a token: as it is, percent-encoded, in base 64, and in base 64 with its user as HTTP sends it.
pub(super) fn without_token(text: &str, username: &str, token: &str) -> String {
    if token.is_empty() {
        return text.to_owned();
    }
    let login = base64(format!("{username}:{token}").as_bytes());
    let forms = [login, base64(token.as_bytes()), percent_encoded(token), token.to_owned()];
    forms.iter().fold(text.to_owned(), |text, form| text.replace(form.trim_end_matches('='), REPLACEMENT))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            out.push(char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]));
        }
    }
    out
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_token_is_left() {
        for (text, want) in [
            ("plain s3cret/+ here", "plain [token] here"),
            ("https://h/?t=s3cret%2F%2B", "https://h/?t=[token]"),
            ("Basic Ym90OnMzY3JldC8r", "Basic [token]"),
            ("c2VjcmV0 czNjcmV0Lys=", "c2VjcmV0 [token]="),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without_token(text, "bot", "s3cret/+"), want);
        }
        assert_eq!(without_token("as it is", "bot", ""), "as it is");
    }
}
