//! What a router that was taken over still owes: its requests in flight and those that wait. The handover's connection stays
//! open, and over it the successor passes on each change before it confirms it, and asks what is left. So a change holds for
//! requests on old connections too, an instance counts as drained only when no process has a request there, and a release
//! reaches whoever waits. One that was itself a successor passes both on to those before it.
//!
//! On the wire: a line of JSON from the successor ([`Word`]), a line back ([`Residue`] of each route).

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use crate::protocol::router::{EndpointStatus, RouteConfig, RouteStatus};

/// How long a predecessor may take to answer before it is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest line.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// What a successor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    /// A route was changed, or deleted.
    Change {
        /// Its key.
        key: String,
        /// What it shall be.
        route: Option<Box<RouteConfig>>,
    },
    /// Nobody will release what is held any more.
    EndHolds {},
    /// What is left?
    Look {},
}

/// What a leaving router still has of one route.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Residue {
    /// The route's key.
    pub key: String,
    /// Requests that wait.
    pub held: u64,
    /// Endpoints with requests in flight.
    pub endpoints: Vec<EndpointStatus>,
}

impl Residue {
    /// What is left of a route, if anything.
    pub fn of(status: RouteStatus) -> Option<Self> {
        let endpoints: Vec<_> = status.endpoints.into_iter().filter(|endpoint| endpoint.in_flight > 0).collect();
        (status.held > 0 || !endpoints.is_empty()).then_some(Residue {
            key: status.route.key,
            held: status.held,
            endpoints,
        })
    }

    /// Adds it to the status of the router in charge.
    pub fn add_to(self, status: &mut RouteStatus) {
        status.held += self.held;
        for endpoint in self.endpoints {
            let same =
                |other: &&mut EndpointStatus| other.group == endpoint.group && other.endpoint == endpoint.endpoint;
            match status.endpoints.iter_mut().find(same) {
                Some(known) => known.in_flight += endpoint.in_flight,
                // What is in force is decided by who is in charge; all else is on its way out.
                None => status.endpoints.push(EndpointStatus { draining: true, ..endpoint }),
            }
        }
    }
}

/// The successor's end.
#[derive(Debug)]
pub struct Predecessor {
    stream: BufReader<UnixStream>,
}

impl Predecessor {
    /// The connection over which it was taken over.
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Predecessor { stream: BufReader::new(UnixStream::from_std(stream)?) })
    }

    /// Says something and hears what is left. After an error it has gone or is to be given up.
    pub async fn tell(&mut self, word: &Word) -> io::Result<Vec<Residue>> {
        let exchange = async {
            write_line(&mut self.stream, word).await?;
            read_line(&mut self.stream).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// The leaving router's end: does as the successor says, until one of them ends.
pub async fn follow(stream: std::os::unix::net::UnixStream, control: Arc<Control>) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_read_timeout(None)?;
    let mut stream = BufReader::new(UnixStream::from_std(stream)?);
    while let Some(word) = read_line(&mut stream).await? {
        let left: Vec<Residue> = control.follow(word).await;
        write_line(&mut stream, &left).await?;
    }
    Ok(())
}

async fn write_line(stream: &mut BufReader<UnixStream>, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

/// The next line; `None` at the end.
async fn read_line<T: for<'de> Deserialize<'de>>(stream: &mut BufReader<UnixStream>) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    stream.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::router::EndpointHealth;
    use crate::router::route::Route;
    use crate::router::testing::{endpoint, route};

    fn status(id: &str, in_flight: u64) -> EndpointStatus {
        EndpointStatus {
            group: "v1".into(),
            endpoint: endpoint(id, 1001),
            health: EndpointHealth::Up,
            in_flight,
            draining: false,
        }
    }

    #[test]
    fn what_is_left_is_added_to_what_is_in_charge() {
        let mut ours = Route::next(route("a"), None, 1).route.status("s");
        let mut theirs = ours.clone();
        assert!(Residue::of(theirs.clone()).is_none(), "nothing is left");
        theirs.held = 2;
        theirs.endpoints = vec![status("one", 3), status("idle", 0), status("gone", 4)];
        Residue::of(theirs).expect("something is left").add_to(&mut ours);
        assert_eq!(ours.held, 2);
        let seen: Vec<_> = ours.endpoints.iter().map(|e| (e.endpoint.id.as_str(), e.in_flight, e.draining)).collect();
        assert_eq!(seen, [("one", 3, false), ("gone", 4, true)]);
    }
}
