//! Sending traces to a collector by OTLP over HTTP. Whatever the collector does, the daemon's work goes on: spans wait in a
//! queue of their own, and what does not fit or can't be sent is dropped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::{Status, TracerProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::{Layer, Registry};

use super::TARGET;
use crate::secrets::redact::{self, Redactor};

/// How long one request to the collector may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of the process waits for what was not sent yet.
const FAREWELL: Duration = Duration::from_secs(3);

/// Takes spans from the program.
pub type Spans = Box<dyn Layer<Registry> + Send + Sync>;

/// Traces on their way to a collector.
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Begins to send traces to `endpoint`, the collector's address without a path of its own, by `client`.
///
/// # Errors
///
/// The exporter can't be made.
pub fn begin(endpoint: &str, client: reqwest::blocking::Client, installation: &str) -> Result<(Traces, Spans), String> {
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&url)
        .with_timeout(PATIENCE)
        .build()
        .map_err(|error| format!("[telemetry] otlp_endpoint {endpoint}: {error}"))?;
    let resource = Resource::builder()
        .with_service_name("trimtab")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", installation.to_owned()),
        ])
        .build();
    let careful = Careful { exporter, url, failing: AtomicBool::new(false) };
    let provider = SdkTracerProvider::builder().with_batch_exporter(careful).with_resource(resource).build();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("trimtab"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(
            FilterFn::new(|metadata| metadata.is_span() && metadata.target() == TARGET)
                .with_max_level_hint(LevelFilter::INFO),
        );
    Ok((Traces { provider }, Box::new(spans)))
}

impl Traces {
    /// Sends what is left, within a few seconds.
    pub fn end(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FAREWELL) {
            tracing::debug!(%error, "not all traces were sent");
        }
    }
}

/// An exporter that lets no secret out, and that tells once that it can't send, and once that it can again.
#[derive(Debug)]
struct Careful {
    exporter: opentelemetry_otlp::SpanExporter,
    url: String,
    failing: AtomicBool,
}

impl SpanExporter for Careful {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        let redactor = redact::of_process();
        batch.iter_mut().for_each(|span| clean(span, redactor));
        let sent = self.exporter.export(batch).await;
        let failed = sent.is_err();
        if self.failing.swap(failed, Ordering::Relaxed) != failed {
            match &sent {
                Ok(()) => tracing::info!(url = self.url, "traces are taken again"),
                Err(error) => {
                    tracing::warn!(url = self.url, %error, "traces can't be sent, and are dropped until they can");
                }
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Takes what the redactor knows out of everything in a span that is text.
fn clean(span: &mut SpanData, redactor: &Redactor) {
    if redactor.is_empty() {
        return;
    }
    span.name = redactor.text(&span.name).into_owned().into();
    for attribute in &mut span.attributes {
        if let Value::String(text) = &attribute.value {
            attribute.value = Value::from(redactor.text(text.as_str()).into_owned());
        }
    }
    if let Status::Error { description } = &span.status {
        span.status = Status::error(redactor.text(description).into_owned());
    }
}
