//! `[telemetry]`: where traces are sent.

use http::Uri;
use serde::{Deserialize, Serialize};

/// `[telemetry]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// A collector that takes OTLP over HTTP (`http://127.0.0.1:4318`); none: no traces are made.
    #[serde(default)]
    pub otlp_endpoint: Option<String>,
}

impl TelemetrySettings {
    /// Whether the address is one.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let Some(endpoint) = &self.otlp_endpoint else { return Ok(()) };
        let wrong = |reason: &str| {
            // It may hold a password, which is not repeated.
            Err(format!("[telemetry] otlp_endpoint {reason}: write it like \"http://127.0.0.1:4318\""))
        };
        let Ok(uri) = endpoint.parse::<Uri>() else { return wrong("is no address") };
        match (uri.scheme_str(), uri.authority()) {
            (Some("http" | "https"), Some(authority)) if authority.as_str().contains('@') => {
                wrong("has a user in it, which would be seen in logs")
            }
            (Some("http" | "https"), Some(_)) if uri.query().is_some() => wrong("has a query"),
            (Some("http" | "https"), Some(_)) => Ok(()),
            _ => wrong("is no http:// or https:// address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_taken() {
        let check = |text: &str| TelemetrySettings { otlp_endpoint: Some(text.into()) }.check();
        for good in ["http://127.0.0.1:4318", "https://collector.example.org/otlp/", "http://[::1]:4318"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "collector:4318", "grpc://x:4317", "http://me:hunter2@x", "http://x/?token=hunter2", "a b"] {
            let error = check(bad).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
