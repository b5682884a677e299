//! A delivery of a forge: the provider on the first line, headers, an empty line, the body.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use sha2::Sha256;
use tower::ServiceExt;
use trimtab::api::auth::Peer;
use trimtab::api::hooks::payload::delivery;
use trimtab::api::hooks::{Hook, Hooks, Outcome, Receiver};
use trimtab::app::config::hooks::Provider;

/// What only the forge and the daemon know.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Whatever carries a signature.
const SIGNATURES: [&str; 6] = [
    "x-hub-signature",
    "x-hub-signature-256",
    "x-gitea-signature",
    "x-forgejo-signature",
    "x-gitlab-token",
    "webhook-signature",
];

/// What deliveries led to.
#[derive(Default)]
struct Seen {
    due: AtomicUsize,
    taken: Mutex<BTreeSet<String>>,
    counted: Mutex<Vec<(String, Outcome)>>,
}

#[async_trait]
impl Receiver for Seen {
    async fn known(&self, hook: &str, delivery: &str) -> Result<bool, String> {
        Ok(self.taken.lock().unwrap().contains(&format!("{hook} {delivery}")))
    }

    fn due(&self) {
        self.due.fetch_add(1, Ordering::Relaxed);
    }

    async fn remember(&self, hook: &str, delivery: &str) -> Result<(), String> {
        self.taken.lock().unwrap().insert(format!("{hook} {delivery}"));
        Ok(())
    }

    fn count(&self, provider: &str, outcome: Outcome) {
        self.counted.lock().unwrap().push((provider.to_owned(), outcome));
    }
}

/// Hooks of all forges, and what comes of deliveries to them.
struct Bed {
    hooks: Hooks,
    seen: Arc<Seen>,
}

impl Bed {
    fn new() -> Bed {
        let seen = Arc::new(Seen::default());
        let hook = |provider| Hook {
            provider,
            source: "config".into(),
            branch: "main".into(),
            secrets: vec![SECRET.to_owned().into()],
        };
        let hooks = Provider::ALL.into_iter().map(hook).collect();
        Bed { hooks: Hooks::new(hooks, NonZeroU32::new(1_000_000).unwrap(), seen.clone()), seen }
    }

    /// The answer to a delivery; `None` where the provider can't stand in a URL.
    async fn deliver(&self, provider: &str, headers: &HeaderMap, body: &[u8]) -> Option<(StatusCode, String)> {
        let uri: Uri = format!("/hooks/{provider}/config").parse().ok()?;
        let mut request = Request::post(uri).body(Body::from(body.to_vec())).unwrap();
        request.headers_mut().clone_from(headers);
        let peer = Peer::Address(SocketAddr::from(([203, 0, 113, 7], 443)));
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.hooks.routes().oneshot(request).await.unwrap();
        let status = response.status();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert!(text.len() < 2_000, "{status}: {} bytes", text.len());
        Some((status, String::from_utf8(text.to_vec()).unwrap()))
    }

    fn due(&self) -> usize {
        self.seen.due.load(Ordering::Relaxed)
    }
}

fn parse(input: &[u8]) -> (String, HeaderMap, &[u8]) {
    let end = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(input.len());
    let body = input.get(end + 2..).unwrap_or_default();
    let mut lines = input[..end].split(|byte| *byte == b'\n');
    let provider = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().map(<[u8]>::trim_ascii).and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (provider, headers, body)
}

/// The headers as the forge itself would send them with this body.
fn signed(provider: Provider, headers: &HeaderMap, body: &[u8]) -> HeaderMap {
    let mut headers = headers.clone();
    SIGNATURES.iter().for_each(|name| drop(headers.remove(*name)));
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    let sum = hex::encode(mac.finalize().into_bytes());
    let (name, value) = match provider {
        Provider::Github => ("x-hub-signature-256", format!("sha256={sum}")),
        Provider::Bitbucket => ("x-hub-signature", format!("sha256={sum}")),
        Provider::Gitea => ("x-gitea-signature", sum),
        Provider::Forgejo => ("x-forgejo-signature", sum),
        Provider::Gitlab => ("x-gitlab-token", SECRET.to_owned()),
    };
    headers.insert(name, value.parse().unwrap());
    headers
}

/// What a stranger sends does nothing, and what a forge sends does it once.
pub fn webhook(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (named, headers, body) = parse(input);
        forged(&named, &headers, body).await;
        for provider in Provider::ALL.into_iter().filter(|provider| provider.as_str() == named) {
            genuine(provider, &headers, body).await;
        }
    });
}

async fn forged(named: &str, headers: &HeaderMap, body: &[u8]) {
    let bed = Bed::new();
    let mut typed = headers.clone();
    typed.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for headers in [headers, &typed] {
        let Some((status, text)) = bed.deliver(named, headers, body).await else { return };
        assert!(status.is_client_error(), "{status}: {text}");
        assert!(!text.contains(SECRET));
    }
    assert!(bed.due() == 0 && bed.seen.taken.lock().unwrap().is_empty(), "a stranger was believed");
    for (provider, outcome) in bed.seen.counted.lock().unwrap().iter() {
        assert!(Provider::ALL.iter().any(|known| known.as_str() == provider), "{provider:?} is a label");
        assert!(matches!(outcome, Outcome::Forged | Outcome::Malformed | Outcome::TooLarge), "{outcome:?}");
    }
}

async fn genuine(provider: Provider, headers: &HeaderMap, body: &[u8]) {
    let (bed, name) = (Bed::new(), provider.as_str());
    let headers = signed(provider, headers, body);
    let (status, text) = bed.deliver(name, &headers, body).await.unwrap();
    let object = serde_json::from_slice(body).is_ok_and(|value: serde_json::Value| value.is_object());
    match status {
        StatusCode::ACCEPTED => assert!(object, "what is no event was taken: {text}"),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => assert_eq!(bed.due(), 0, "{text}"),
        _ => panic!("{status}: {text}"),
    }
    if bed.due() > 0 {
        let value: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert!(value.to_string().contains("main"), "another branch was due");
    }
    let due = bed.due();
    let again = bed.deliver(name, &headers, body).await.unwrap();
    assert_eq!(again.0, status);
    let twice = if delivery(provider, &headers).is_some() { due } else { 2 * due };
    assert_eq!(bed.due(), twice, "a delivery counts once, where it can be told from others: {}", again.1);
    // GitLab's token signs nothing; every other signature is over each byte.
    if provider != Provider::Gitlab {
        let other = [body, b" "].concat();
        assert_eq!(bed.deliver(name, &headers, &other).await.unwrap().0, StatusCode::UNAUTHORIZED);
        assert_eq!(bed.due(), twice);
    }
}
