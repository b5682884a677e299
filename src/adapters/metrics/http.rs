//! A GET whose status is the measurement.

use std::time::Duration;

use reqwest::{ClientBuilder, Url, redirect};

use super::inconclusive;
use crate::adapters::outgoing::Destinations;
use crate::adapters::web::Web;
use crate::domain::analysis::{Measurement, Outcome};

const REDIRECTS: usize = 5;

/// A client that follows a few redirects within the same host: an answer of somebody else is no measurement.
pub(super) fn client(destinations: &Destinations) -> Web {
    let destinations = destinations.clone();
    Web::new(move || builder(&destinations))
}

fn builder(destinations: &Destinations) -> ClientBuilder {
    let rule = destinations.clone();
    let redirects = redirect::Policy::custom(move |attempt| {
        if let Some(first) = attempt.previous().first()
            && let Err(forbidden) = rule.check_redirect(first, attempt.url())
        {
            return attempt.error(forbidden);
        }
        let same_host = attempt.previous().last().is_some_and(|from| from.host_str() == attempt.url().host_str());
        if same_host && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
    });
    reqwest::Client::builder()
        .redirect(redirects)
        .dns_resolver(destinations.resolver())
        .user_agent(concat!("trimtab/", env!("CARGO_PKG_VERSION")))
        // Each measurement asks for itself: a kept connection would go on asking an instance that no longer gets traffic.
        .pool_max_idle_per_host(0)
}

/// 200-299 is success, 400-599 failure; anything else could not be measured.
pub(super) async fn measure(web: &Web, destinations: &Destinations, url: &str, timeout: Duration) -> Measurement {
    let Ok(parsed) = Url::parse(url) else { return inconclusive("the analysis's URL can't be read".into()) };
    let name = name(&parsed);
    if let Err(forbidden) = destinations.check(&parsed) {
        return inconclusive(format!("GET {name} is not asked: {forbidden}"));
    }
    let http = match web.client() {
        Ok(http) => http,
        Err(reason) => return inconclusive(format!("GET {name} is not asked: {reason}")),
    };
    match http.client.get(parsed).timeout(timeout).send().await {
        Ok(response) => {
            let status = response.status();
            let outcome = match status.as_u16() {
                200..=299 => Outcome::Success,
                400..=599 => Outcome::Failure,
                _ => Outcome::Inconclusive,
            };
            Measurement { outcome, detail: format!("GET {name} was answered with {status}") }
        }
        Err(error) if error.is_timeout() => inconclusive(format!("GET {name} was not answered within {timeout:?}")),
        Err(error) => inconclusive(format!("GET {name} failed: {}", http.root_cause(error))),
    }
}

/// The URL for people: without user, password and query, where secrets may stand.
fn name(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
