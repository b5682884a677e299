//! Whether an endpoint can serve, as the router sees it. The first check alone gives the first verdict; after that the
//! thresholds of the probe decide. Without a probe an endpoint is looked at by connecting: at first, and after a request
//! could not connect.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Version, header};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::endpoint::Endpoint;
use crate::domain::route::Upstream;
use crate::domain::workload::{Check, Probe};
use crate::protocol::router::EndpointHealth;

/// How soon a failed endpoint is looked at again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest time between two looks at a failed endpoint without a probe.
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How long a connection may take where no probe says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How the router names itself to instances.
const USER_AGENT: &str = "trimtab-router-probe";

/// Starts watching an endpoint on the current runtime, until aborted.
pub fn start(endpoint: &Arc<Endpoint>, probe: Option<Probe>, upstream: Upstream) {
    let task: AbortHandle = tokio::spawn(watch(endpoint.clone(), probe, upstream)).abort_handle();
    endpoint.set_prober(Some(task));
}

async fn watch(endpoint: Arc<Endpoint>, probe: Option<Probe>, upstream: Upstream) {
    let healthy_after = probe.as_ref().map_or(1, |probe| probe.healthy_after);
    let unhealthy_after = probe.as_ref().map_or(1, |probe| probe.unhealthy_after);
    let interval = probe.as_ref().map(|probe| probe.interval.duration());
    let mut row = Row::default();
    let mut retry = FIRST_RETRY;
    loop {
        let healthy = check(&endpoint, probe.as_ref(), upstream).await;
        row.add(healthy);
        let before = endpoint.health();
        let health = match before {
            EndpointHealth::Unknown if healthy => EndpointHealth::Up,
            EndpointHealth::Unknown => EndpointHealth::Down,
            EndpointHealth::Up if row.failures >= unhealthy_after => EndpointHealth::Down,
            EndpointHealth::Down if row.successes >= healthy_after => EndpointHealth::Up,
            unchanged => unchanged,
        };
        if health != before {
            retry = FIRST_RETRY;
            endpoint.set_health(health);
        }
        if health == EndpointHealth::Down {
            sleep(jittered(retry.min(interval.unwrap_or(LAST_RETRY)))).await;
            retry = (retry * 2).min(interval.unwrap_or(LAST_RETRY).max(FIRST_RETRY));
            continue;
        }
        let suspect = endpoint.suspect.notified();
        match interval {
            // A suspicion cuts the interval short; what a request saw counts as the start of a new row.
            Some(interval) => {
                if timeout(jittered(interval), suspect).await.is_ok() {
                    row = Row::default();
                    sleep(jittered(FIRST_RETRY)).await;
                }
            }
            None => {
                suspect.await;
                sleep(jittered(FIRST_RETRY)).await;
            }
        }
    }
}

/// Results in a row.
#[derive(Default)]
struct Row {
    successes: u32,
    failures: u32,
}

impl Row {
    fn add(&mut self, healthy: bool) {
        if healthy {
            *self = Row { successes: self.successes.saturating_add(1), failures: 0 };
        } else {
            *self = Row { successes: 0, failures: self.failures.saturating_add(1) };
        }
    }
}

/// A tenth more or less, so that many endpoints are not looked at in step.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.9..1.1))
}

async fn check(endpoint: &Endpoint, probe: Option<&Probe>, upstream: Upstream) -> bool {
    let limit = probe.map_or(CONNECT_TIMEOUT, |probe| probe.timeout.duration());
    let attempt = async {
        let stream = TcpStream::connect(endpoint.at.address).await?;
        match probe.map(|probe| &probe.check) {
            Some(Check::Http { path }) => http_get(stream, endpoint, path, upstream).await,
            // A command can only be run by who runs the instance, and its supervisor does; from here the port is all there is.
            Some(Check::Tcp {} | Check::Exec { .. }) | None => Ok(()),
        }
    };
    let result = match timeout(limit, attempt).await {
        Ok(result) => result,
        Err(_) => Err(anyhow::anyhow!("no answer within {limit:?}")),
    };
    if let Err(error) = &result {
        tracing::debug!(endpoint = %endpoint.at.id, address = %endpoint.at.address, %error, "check failed");
    }
    result.is_ok()
}

async fn http_get(stream: TcpStream, endpoint: &Endpoint, path: &str, upstream: Upstream) -> anyhow::Result<()> {
    let (io, address) = (TokioIo::new(stream), endpoint.at.address);
    // Driven in place, so that nothing is left behind when the probe is given up. The connection may end together with the
    // answer, which then is there all the same.
    let status = match upstream {
        Upstream::Http1 => {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            let request = Request::get(path)
                .header(header::HOST, address.to_string())
                .header(header::USER_AGENT, USER_AGENT)
                .header(header::CONNECTION, "close")
                .body(Empty::<Bytes>::new())?;
            let mut answer = std::pin::pin!(sender.send_request(request));
            tokio::select! {
                response = &mut answer => response?.status(),
                _ = connection => answer.await?.status(),
            }
        }
        Upstream::Http2 => {
            let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            let request = Request::get(format!("http://{address}{path}"))
                .version(Version::HTTP_2)
                .header(header::USER_AGENT, USER_AGENT)
                .body(Empty::<Bytes>::new())?;
            let mut answer = std::pin::pin!(sender.send_request(request));
            tokio::select! {
                response = &mut answer => response?.status(),
                _ = connection => answer.await?.status(),
            }
        }
    };
    anyhow::ensure!((200..400).contains(&status.as_u16()), "the answer was {status}");
    Ok(())
}
