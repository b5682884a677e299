//! Whether a delivery is from whom it says: each forge's signature over the raw body, compared in constant time.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::app::config::hooks::Provider;

/// How far the clock of a sender of Standard Webhooks may be off, in seconds.
const SKEW: i64 = 300;
/// What a secret of Standard Webhooks begins with; the key in Base64 follows.
pub const STANDARD_SECRET: &str = "whsec_";

/// The signature is missing or not by any of the secrets. It does not say which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is missing or wrong: is the secret the same on both sides?")]
pub struct Forged;

/// Whether the body was signed with one of the secrets.
///
/// # Errors
///
/// [`Forged`].
pub fn verify(
    provider: Provider,
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[Zeroizing<String>],
    now: Timestamp,
) -> Result<(), Forged> {
    let good = match provider {
        Provider::Github => signed(one(headers, "x-hub-signature-256")?, "sha256=", body, secrets),
        Provider::Gitea => signed(one(headers, "x-gitea-signature")?, "", body, secrets),
        Provider::Forgejo => signed(one(headers, "x-forgejo-signature")?, "", body, secrets),
        Provider::Bitbucket => signed(one(headers, "x-hub-signature")?, "sha256=", body, secrets),
        Provider::Gitlab => gitlab(headers, body, secrets, now),
    };
    if good { Ok(()) } else { Err(Forged) }
}

/// The value of a header that has to be there once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, Forged> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| Forged),
        _ => Err(Forged),
    }
}

/// Whether `value` is the prefix and the HMAC-SHA256 of the body in hexadecimal, by one of the secrets.
fn signed(value: &str, prefix: &str, body: &[u8], secrets: &[Zeroizing<String>]) -> bool {
    let Some(Ok(signature)) = value.strip_prefix(prefix).map(hex::decode) else { return false };
    // Every secret is tried, so that the time does not tell which one it was.
    secrets.iter().fold(false, |good, secret| matches(secret.as_bytes(), &[body], &signature) | good)
}

/// Whether this is the HMAC-SHA256 of the parts, one after the other. An empty key signs nothing.
fn matches(key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(signature).is_ok() && !key.is_empty()
}

/// The plain token, or the signature of Standard Webhooks: which one is told by the secret, not by the sender.
fn gitlab(headers: &HeaderMap, body: &[u8], secrets: &[Zeroizing<String>], now: Timestamp) -> bool {
    secrets.iter().fold(false, |good, secret| {
        let this = match secret.strip_prefix(STANDARD_SECRET) {
            Some(key) => standard(headers, body, key, now).unwrap_or(false),
            None => one(headers, "x-gitlab-token").is_ok_and(|token| same(token, secret)),
        };
        good | this
    })
}

fn standard(headers: &HeaderMap, body: &[u8], key: &str, now: Timestamp) -> Result<bool, Forged> {
    let key = Zeroizing::new(STANDARD.decode(key).map_err(|_| Forged)?);
    let (id, at) = (one(headers, "webhook-id")?, one(headers, "webhook-timestamp")?);
    let signatures = one(headers, "webhook-signature")?;
    let seconds: i64 = at.parse().map_err(|_| Forged)?;
    if now.as_second().saturating_sub(seconds).saturating_abs() > SKEW {
        return Err(Forged);
    }
    let parts: [&[u8]; 5] = [id.as_bytes(), b".", at.as_bytes(), b".", body];
    Ok(signatures
        .split(' ')
        .filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok())
        .fold(false, |good, signature| matches(&key, &parts, &signature) | good))
}

/// Whether two texts are the same, in a time that does not depend on where they differ.
fn same(given: &str, secret: &str) -> bool {
    let hash = |text: &str| <[u8; 32]>::from(Sha256::digest(text.as_bytes()));
    bool::from(hash(given).ct_eq(&hash(secret))) && !secret.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"Hello, World!";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn secrets(texts: &[&str]) -> Vec<Zeroizing<String>> {
        texts.iter().map(|text| Zeroizing::new((*text).to_owned())).collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn good(provider: Provider, pairs: &[(&'static str, &str)], known: &[&str]) -> bool {
        verify(provider, &headers(pairs), BODY, &secrets(known), at(1_700_000_000)).is_ok()
    }

    fn sign(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }

    /// The vector of GitHub's documentation.
    const SECRET: &str = "It's a Secret to Everybody";
    const HEX: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn githubs_own_vector_is_good_and_everything_near_it_is_not() {
        let signature = format!("sha256={HEX}");
        assert!(good(Provider::Github, &[("x-hub-signature-256", &signature)], &[SECRET]));
        assert!(good(Provider::Github, &[("x-hub-signature-256", &signature)], &["the next secret", SECRET]));
        assert!(!good(Provider::Github, &[("x-hub-signature-256", &signature)], &["another secret"]));
        assert!(!good(Provider::Github, &[("x-hub-signature-256", &signature)], &[]));
        assert!(!good(Provider::Github, &[], &[SECRET]), "missing");
        for wrong in ["", "sha256=", HEX, "sha1=00", "sha256=zz", &signature[..signature.len() - 2]] {
            assert!(!good(Provider::Github, &[("x-hub-signature-256", wrong)], &[SECRET]), "{wrong:?}");
        }
        let twice = [("x-hub-signature-256", signature.as_str()), ("x-hub-signature-256", signature.as_str())];
        assert!(!good(Provider::Github, &twice, &[SECRET]), "two headers");
        assert!(!good(Provider::Github, &[("x-hub-signature", &signature)], &[SECRET]), "the header of SHA-1");
    }

    #[test]
    fn each_provider_has_its_own_header() {
        let prefixed = format!("sha256={HEX}");
        assert!(good(Provider::Gitea, &[("x-gitea-signature", HEX)], &[SECRET]));
        assert!(good(Provider::Forgejo, &[("x-forgejo-signature", HEX)], &[SECRET]));
        assert!(good(Provider::Bitbucket, &[("x-hub-signature", &prefixed)], &[SECRET]));
        assert!(!good(Provider::Gitea, &[("x-hub-signature-256", &prefixed)], &[SECRET]));
        assert!(!good(Provider::Bitbucket, &[("x-hub-signature", HEX)], &[SECRET]));
        assert!(!good(Provider::Gitea, &[("x-gitea-signature", "")], &[SECRET]), "what Gitea sends without a secret");
    }

    #[test]
    fn an_empty_secret_signs_nothing() {
        let signature = hex::encode(sign(b"", &[BODY]));
        assert!(!good(Provider::Gitea, &[("x-gitea-signature", &signature)], &[""]));
        assert!(!good(Provider::Gitlab, &[("x-gitlab-token", "")], &[""]));
    }

    #[test]
    fn gitlabs_token_is_compared_whole() {
        let known = ["0123456789abcdef"];
        assert!(good(Provider::Gitlab, &[("x-gitlab-token", "0123456789abcdef")], &known));
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeF"] {
            assert!(!good(Provider::Gitlab, &[("x-gitlab-token", wrong)], &known), "{wrong:?}");
        }
        assert!(!good(Provider::Gitlab, &[], &known));
    }

    #[test]
    fn standard_webhooks_are_signed_with_id_and_time() {
        let key = [7_u8; 32];
        let secret = format!("{STANDARD_SECRET}{}", STANDARD.encode(key));
        let now = 1_700_000_000_i64;
        let signature = |at: i64| {
            let parts: [&[u8]; 5] = [b"msg-1", b".", &at.to_string().into_bytes(), b".", BODY];
            format!("v1,{}", STANDARD.encode(sign(&key, &parts)))
        };
        let check = |at: i64, signature: &str| {
            let text = at.to_string();
            let pairs = [("webhook-id", "msg-1"), ("webhook-timestamp", &text), ("webhook-signature", signature)];
            good(Provider::Gitlab, &pairs, &[&secret])
        };
        assert!(check(now, &signature(now)));
        assert!(check(now - 299, &signature(now - 299)) && check(now + 299, &signature(now + 299)));
        assert!(!check(now - 301, &signature(now - 301)) && !check(now + 301, &signature(now + 301)));
        assert!(check(now, &format!("v1,AAAA v1a,x {}", signature(now))), "one of several");
        assert!(!check(now, &signature(now - 1)), "of another time");
        assert!(!check(i64::MIN, &signature(now)) && !check(i64::MAX, &signature(now)));
        assert!(!good(Provider::Gitlab, &[("x-gitlab-token", &secret)], &[&secret]), "the key itself is no token");
    }
}
