//! Webhooks: a forge says that something was pushed, and the source is due.
//!
//! `POST /hooks/PROVIDER/SOURCE`. The provider is fixed by the URL, never guessed from headers. What comes in is verified over the
//! raw body before anything of it is read, and is only a hint: the state is fetched from the source itself. A delivery is
//! remembered once the source was marked as due; since a daemon reads the source at its start, nothing is lost in between.

pub mod payload;
pub mod verify;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use governor::clock::{Clock, DefaultClock};
use governor::{Quota, RateLimiter, state::keyed::HashMapStateStore};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::auth::Peer;
use super::handlers::{is_json, too_slow};
use super::listen::sender;
use super::operations::problem;
use super::types::Problem;
use crate::app::config::hooks::Provider;
use payload::Decision;

/// The largest body.
pub const BODY_LIMIT: usize = 3 << 20;
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(30);
/// So many deliveries are read at once; the next are told to come again.
const AT_ONCE: usize = 16;
/// So many deliveries of one sender may come at once.
const BURST: u32 = 30;
/// So many senders are remembered before those that were quiet are forgotten.
const SENDERS: usize = 4_096;

/// A URL that deliveries come to.
pub struct Hook {
    /// The forge.
    pub provider: Provider,
    /// The source's name.
    pub source: String,
    /// The branch that is followed.
    pub branch: String,
    /// The secrets that are good: several while one is replaced by another. Never empty.
    pub secrets: Vec<Zeroizing<String>>,
}

/// What becomes of a delivery, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The source is due.
    Accepted,
    /// It had come before.
    Replayed,
    /// It is good and of no interest.
    Ignored,
    /// Its signature is missing or wrong.
    Forged,
    /// It can't be read.
    Malformed,
    /// It is too large.
    TooLarge,
    /// It took too long.
    TooSlow,
    /// Too many came.
    Limited,
    /// It could not be remembered.
    Failed,
}

impl Outcome {
    /// The label of the counter.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Replayed => "replayed",
            Outcome::Ignored => "ignored",
            Outcome::Forged => "forged",
            Outcome::Malformed => "malformed",
            Outcome::TooLarge => "too_large",
            Outcome::TooSlow => "too_slow",
            Outcome::Limited => "limited",
            Outcome::Failed => "failed",
        }
    }
}

/// What deliveries lead to.
#[async_trait]
pub trait Receiver: Send + Sync {
    /// Whether a delivery was taken before.
    ///
    /// # Errors
    ///
    /// The store does not answer.
    async fn known(&self, hook: &str, delivery: &str) -> Result<bool, String>;
    /// The source may have something new.
    fn due(&self);
    /// Remembers a delivery; durable when this returns.
    ///
    /// # Errors
    ///
    /// The store did not take it.
    async fn remember(&self, hook: &str, delivery: &str) -> Result<(), String>;
    /// Counts what became of a delivery.
    fn count(&self, provider: &str, outcome: Outcome);
}

type Limiter = RateLimiter<(IpAddr, String), HashMapStateStore<(IpAddr, String)>, DefaultClock>;

/// All hooks. They can be replaced while deliveries come in.
#[derive(Clone)]
pub struct Hooks {
    inner: Arc<Inner>,
}

struct Inner {
    hooks: RwLock<Arc<Vec<Hook>>>,
    receiver: Arc<dyn Receiver>,
    limiter: Mutex<Arc<Limiter>>,
    permits: Semaphore,
}

impl Hooks {
    /// Hooks that take `rate` deliveries a minute from each sender.
    pub fn new(hooks: Vec<Hook>, rate: NonZeroU32, receiver: Arc<dyn Receiver>) -> Self {
        let inner = Inner {
            hooks: RwLock::new(Arc::new(hooks)),
            receiver,
            limiter: Mutex::new(limiter(rate)),
            permits: Semaphore::new(AT_ONCE),
        };
        Hooks { inner: Arc::new(inner) }
    }

    /// Only these are there from now on.
    pub fn replace(&self, hooks: Vec<Hook>, rate: NonZeroU32) {
        *self.inner.hooks.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(hooks);
        *self.inner.limiter.lock().unwrap_or_else(PoisonError::into_inner) = limiter(rate);
    }

    /// The routes.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/hooks/{provider}/{source}", post(deliver))
            .method_not_allowed_fallback(|| async { super::problem::no_such_method().into_response() })
            .layer(axum::middleware::from_fn(super::traced::trace))
            .with_state(self.clone())
    }

    /// How long a sender has to wait; `None`: not at all.
    fn wait(&self, sender: IpAddr, source: &str) -> Option<Duration> {
        let limiter = self.inner.limiter.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if limiter.len() > SENDERS {
            limiter.retain_recent();
        }
        // A name that is no source's shares one place, so that guessing names fills no memory.
        let hooks = self.inner.hooks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let known = hooks.iter().any(|hook| hook.source == source);
        let key = (sender, if known { source.to_owned() } else { String::new() });
        limiter.check_key(&key).err().map(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
    }
}

fn limiter(rate: NonZeroU32) -> Arc<Limiter> {
    let burst = NonZeroU32::new(BURST.min(rate.get())).unwrap_or(NonZeroU32::MIN);
    Arc::new(RateLimiter::hashmap(Quota::per_minute(rate).allow_burst(burst)))
}

async fn deliver(
    State(hooks): State<Hooks>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((provider, source)): Path<(String, String)>,
    request: Request,
) -> Response {
    let known = hooks.inner.hooks.read().unwrap_or_else(PoisonError::into_inner).clone();
    let Peer::Address(address) = peer else { return super::problem::no_such_path().into_response() };
    if let Some(wait) = hooks.wait(sender(address), &source) {
        hooks.inner.receiver.count(known_provider(&provider), Outcome::Limited);
        return again_later(wait, "too many deliveries came from there");
    }
    let Some(hook) = known.iter().find(|hook| hook.provider.as_str() == provider && hook.source == source) else {
        return problem(StatusCode::NOT_FOUND, "notFound", "there is no such webhook").into_response();
    };
    let Ok(_permit) = hooks.inner.permits.try_acquire() else {
        hooks.inner.receiver.count(hook.provider.as_str(), Outcome::Limited);
        return again_later(Duration::from_secs(1), "too many deliveries come in at once");
    };
    match take(&hooks, hook, request).await {
        Ok((outcome, message)) => {
            hooks.inner.receiver.count(hook.provider.as_str(), outcome);
            (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "text/plain")], format!("{message}\n")).into_response()
        }
        Err((outcome, refusal)) => {
            hooks.inner.receiver.count(hook.provider.as_str(), outcome);
            tracing::info!(provider = hook.provider.as_str(), source, %address, outcome = outcome.label(), "refused a delivery");
            refusal.into_response()
        }
    }
}

/// The name of a provider, or `unknown`: a counter's labels are not for strangers to choose.
fn known_provider(name: &str) -> &'static str {
    Provider::ALL.into_iter().map(Provider::as_str).find(|known| *known == name).unwrap_or("unknown")
}

fn again_later(wait: Duration, message: &str) -> Response {
    let mut response = problem(StatusCode::TOO_MANY_REQUESTS, "limited", message).into_response();
    let seconds = wait.as_secs() + 1;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

type Refused = (Outcome, Problem);

async fn take(hooks: &Hooks, hook: &Hook, request: Request) -> Result<(Outcome, &'static str), Refused> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    if !is_json(&headers) {
        let message = "set the webhook's content type to application/json";
        let refusal = problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupportedMediaType", message);
        return Err((Outcome::Malformed, refusal));
    }
    let body = read(&headers, body).await?;
    verify::verify(hook.provider, &headers, &body, &hook.secrets, crate::clock::now())
        .map_err(|forged| (Outcome::Forged, problem(StatusCode::UNAUTHORIZED, "unauthorized", forged.to_string())))?;
    let malformed = |(status, message)| (Outcome::Malformed, problem(status, "invalid", message));
    let decision = payload::decide(hook.provider, &headers, &body, &hook.branch).map_err(malformed)?;
    let name = format!("{}/{}", hook.provider.as_str(), hook.source);
    let delivery = payload::delivery(hook.provider, &headers);
    let failed = |reason: String| (Outcome::Failed, problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason));
    if let Some(delivery) = &delivery
        && hooks.inner.receiver.known(&name, delivery).await.map_err(failed)?
    {
        return Ok((Outcome::Replayed, "this delivery was taken before"));
    }
    let answer = match decision {
        Decision::Due => {
            hooks.inner.receiver.due();
            (Outcome::Accepted, "the source is read")
        }
        Decision::Ignored(why) => (Outcome::Ignored, why),
    };
    if let Some(delivery) = &delivery {
        hooks.inner.receiver.remember(&name, delivery).await.map_err(failed)?;
    }
    Ok(answer)
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Refused> {
    let too_large = || {
        let message = format!("a delivery may have {BODY_LIMIT} bytes");
        (Outcome::TooLarge, problem(StatusCode::PAYLOAD_TOO_LARGE, "tooLarge", message))
    };
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|length| length > BODY_LIMIT as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_LIMIT).collect()).await {
        Err(_) => Err((Outcome::TooSlow, too_slow())),
        Ok(Ok(collected)) => Ok(collected.to_bytes().to_vec()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large()),
        Ok(Err(_)) => Err((Outcome::Malformed, problem(StatusCode::BAD_REQUEST, "invalid", "the body broke off"))),
    }
}
