//! The router's own answers, where no instance gave one: plain words, counted by reason.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use super::admit::Refused;
use super::body::ResponseBody;

/// Why the router answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request can't be routed as it is written.
    BadRequest(&'static str),
    /// `CONNECT`.
    Method,
    /// The client stopped sending its body.
    ClientTimeout,
    /// Not let in.
    Refused(Refused),
    /// The instance gave no proper answer.
    BadGateway,
    /// The instance took too long.
    GatewayTimeout,
}

/// The reasons as they stand in the metrics, in the order of [`Refusal::index`].
const REASONS: [&str; 9] = [
    "bad_request",
    "method",
    "client_timeout",
    "no_route",
    "no_endpoint",
    "hold_full",
    "hold_timeout",
    "bad_gateway",
    "gateway_timeout",
];

impl Refusal {
    fn index(self) -> usize {
        match self {
            Refusal::BadRequest(_) => 0,
            Refusal::Method => 1,
            Refusal::ClientTimeout => 2,
            Refusal::Refused(Refused::NoRoute) => 3,
            Refusal::Refused(Refused::NoEndpoint) => 4,
            Refusal::Refused(Refused::HoldFull) => 5,
            Refusal::Refused(Refused::HoldTimeout) => 6,
            Refusal::BadGateway => 7,
            Refusal::GatewayTimeout => 8,
        }
    }

    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Refusal::BadRequest(reason) => (StatusCode::BAD_REQUEST, reason),
            Refusal::Method => (StatusCode::METHOD_NOT_ALLOWED, "this is no forward proxy: CONNECT is not served"),
            Refusal::ClientTimeout => (StatusCode::REQUEST_TIMEOUT, "the request's body stopped coming"),
            Refusal::Refused(Refused::NoRoute) => (StatusCode::NOT_FOUND, "no route answers to this host and path"),
            Refusal::Refused(Refused::NoEndpoint) => {
                (StatusCode::SERVICE_UNAVAILABLE, "no instance can be reached at the moment")
            }
            Refusal::Refused(Refused::HoldFull) => {
                (StatusCode::SERVICE_UNAVAILABLE, "the app is being replaced, and too many requests wait already")
            }
            Refusal::Refused(Refused::HoldTimeout) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the app is being replaced, and it took longer than a request may wait",
            ),
            Refusal::BadGateway => (StatusCode::BAD_GATEWAY, "the instance gave no proper answer"),
            Refusal::GatewayTimeout => (StatusCode::GATEWAY_TIMEOUT, "the instance took too long to answer"),
        }
    }

    /// The answer.
    pub fn response(self) -> Response<ResponseBody> {
        let (status, reason) = self.parts();
        let mut response = Response::new(ResponseBody::text(format!("trimtab: {reason}\n")));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self == Refusal::Refused(Refused::NoRoute) {
            // Its route may have moved to another listener, which the client finds only by connecting anew.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Refusal::Refused(refused)
    }
}

/// How often each reason occurred.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; REASONS.len()]);

impl Refusals {
    /// Counts one.
    pub fn count(&self, refusal: Refusal) {
        self.0[refusal.index()].fetch_add(1, Relaxed);
    }

    /// Writes them in the text format of Prometheus.
    pub fn write(&self, out: &mut String) {
        out.push_str("# HELP trimtab_router_refusals_total Answers that the router gave by itself, by reason.\n");
        out.push_str("# TYPE trimtab_router_refusals_total counter\n");
        for (reason, count) in REASONS.iter().zip(&self.0) {
            // Writing to a string can't fail.
            let _ = writeln!(out, "trimtab_router_refusals_total{{reason=\"{reason}\"}} {}", count.load(Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_name_and_503_says_when_to_come_back() {
        let all = [
            Refusal::BadRequest("x"),
            Refusal::Method,
            Refusal::ClientTimeout,
            Refusal::Refused(Refused::NoRoute),
            Refusal::Refused(Refused::NoEndpoint),
            Refusal::Refused(Refused::HoldFull),
            Refusal::Refused(Refused::HoldTimeout),
            Refusal::BadGateway,
            Refusal::GatewayTimeout,
        ];
        for (index, refusal) in all.into_iter().enumerate() {
            assert_eq!(refusal.index(), index);
            let response = refusal.response();
            assert_eq!(
                response.headers().contains_key(header::RETRY_AFTER),
                response.status() == StatusCode::SERVICE_UNAVAILABLE
            );
        }
    }
}
