//! One router: its routes as it last confirmed them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::sync::{Notify, watch};

use crate::domain::{id::Epoch, observed::Seen};
use crate::net::client::{Client, ClientError, segment};
use crate::ports::traffic::TrafficError;
use crate::protocol::{
    ErrorBody, ErrorCode, Hello, VERSION,
    router::{PutRoute, RouteConfig, RouteStatus},
};

use super::route::drains;

/// How often a plane is asked who it is.
const HELLO: Duration = Duration::from_secs(2);
/// How often a plane is looked at while something drains there, or while it does not answer.
const CLOSELY: Duration = Duration::from_millis(200);

type Routes = BTreeMap<String, Arc<RouteStatus>>;

/// One router.
#[derive(Debug)]
pub(super) struct Plane {
    client: Client,
    tickets: AtomicU64,
    held: Mutex<Held>,
    /// Something drains or failed: the watcher shall look closely.
    look: Notify,
}

#[derive(Debug)]
struct Held {
    /// `None` before the first answer.
    routes: Option<Seen<Routes>>,
    /// When the question was asked that brought it.
    ticket: u64,
}

impl Plane {
    /// Nothing is known yet.
    pub fn new(socket: PathBuf) -> Self {
        Plane {
            client: Client::new(socket),
            tickets: AtomicU64::new(1),
            held: Mutex::new(Held { routes: None, ticket: 0 }),
            look: Notify::new(),
        }
    }

    /// Its socket, for people.
    pub fn name(&self) -> String {
        format!("the router at {}", self.client.socket().display())
    }

    /// A route as it is known; asks only when nothing was ever known.
    pub async fn route(&self, key: &str) -> Seen<Option<Arc<RouteStatus>>> {
        if self.known(Option::is_none) {
            self.refresh().await;
        }
        self.known(|routes| match routes {
            Some(Seen::Known(routes)) => Seen::Known(routes.get(key).cloned()),
            Some(Seen::Unknown(reason)) => Seen::Unknown(reason.clone()),
            None => Seen::Unknown(format!("{} was not asked yet", self.name())),
        })
    }

    /// The routes that are known for which something holds; asks only when nothing was ever known.
    pub async fn find(&self, holds: impl Fn(&RouteConfig) -> bool) -> Vec<Arc<RouteStatus>> {
        if self.known(Option::is_none) {
            self.refresh().await;
        }
        self.known(|routes| match routes {
            Some(Seen::Known(routes)) => routes.values().filter(|status| holds(&status.route)).cloned().collect(),
            _ => Vec::new(),
        })
    }

    /// A route as it is now, with its counters.
    pub async fn fresh(&self, key: &str) -> Seen<Option<Arc<RouteStatus>>> {
        match self.client.get::<RouteStatus>(&path(key)).await {
            Ok(status) => Seen::Known(Some(Arc::new(status))),
            Err(error) => match error.refusal::<ErrorBody>() {
                Some(ErrorBody { code: ErrorCode::NotFound, .. }) => Seen::Known(None),
                _ => Seen::Unknown(format!("{}: {error}", self.name())),
            },
        }
    }

    /// Sets a route and compares what the plane reads back.
    pub async fn set(&self, epoch: Epoch, config: &RouteConfig) -> Result<(), TrafficError> {
        let body = PutRoute { version: VERSION, epoch, route: config.clone() };
        let result = self.client.json::<RouteStatus>(Method::PUT, &path(&config.key), Some(&body)).await;
        self.refresh().await;
        let confirmed = result.map_err(|error| self.error(&error, epoch))?;
        if confirmed.route != *config {
            let reason =
                format!("it confirmed other settings of {} than it was given; is it an older version?", config.key);
            return Err(TrafficError::Failed { plane: self.name(), reason });
        }
        Ok(())
    }

    /// Removes a route.
    pub async fn remove(&self, epoch: Epoch, key: &str) -> Result<(), TrafficError> {
        let path = format!("{}?epoch={epoch}", path(key));
        let result = self.client.bytes(Method::DELETE, &path, None::<&()>).await;
        self.refresh().await;
        result.map(|_| ()).map_err(|error| self.error(&error, epoch))
    }

    /// Who it is.
    pub async fn hello(&self) -> Result<Hello, TrafficError> {
        self.client.get::<Hello>("/v1/hello").await.map_err(|error| self.error(&error, Epoch(0)))
    }

    /// Notices for good when it was restarted, when it is gone, and how instances drain. `changes` is raised then.
    pub async fn watch(self: Arc<Self>, changes: watch::Sender<u64>) {
        let mut start: Option<String> = None;
        loop {
            let close = self.known(|routes| match routes {
                Some(Seen::Known(routes)) => routes.values().any(|status| drains(status)),
                _ => true,
            });
            if close {
                if self.refresh().await {
                    changes.send_modify(|count| *count += 1);
                }
            } else {
                // A plane that does not answer here is looked at, and found gone, by the refresh.
                let now = self.hello().await.ok().map(|hello| hello.start);
                if (now.is_none() || now != start) && self.refresh().await {
                    changes.send_modify(|count| *count += 1);
                }
                start = now;
            }
            tokio::select! {
                () = tokio::time::sleep(if close { CLOSELY } else { HELLO }) => {}
                () = self.look.notified() => {}
            }
        }
    }

    /// Asks for all routes now and keeps the answer, also that there is none; whether it differs from what was known.
    async fn refresh(&self) -> bool {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let answer = match self.client.get::<Vec<RouteStatus>>("/v1/routes").await {
            Ok(routes) => Seen::Known(
                routes.into_iter().map(|status| (status.route.key.clone(), Arc::new(status))).collect::<Routes>(),
            ),
            Err(error) => Seen::Unknown(format!("{}: {error}", self.name())),
        };
        let watch_closely = match &answer {
            Seen::Known(routes) => routes.values().any(|status| drains(status)),
            Seen::Unknown(_) => true,
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if ticket < held.ticket {
            return false;
        }
        let differs = match (&held.routes, &answer) {
            (Some(Seen::Known(old)), Seen::Known(new)) => !same(old, new),
            (Some(Seen::Unknown(_)), Seen::Unknown(_)) => false,
            _ => true,
        };
        *held = Held { routes: Some(answer), ticket };
        drop(held);
        if differs && watch_closely {
            self.look.notify_one();
        }
        differs
    }

    fn known<T>(&self, look: impl FnOnce(&Option<Seen<Routes>>) -> T) -> T {
        look(&self.held.lock().unwrap_or_else(PoisonError::into_inner).routes)
    }

    fn error(&self, error: &ClientError, epoch: Epoch) -> TrafficError {
        let plane = self.name();
        let ClientError::Refused { status, .. } = error else {
            return TrafficError::Unreachable { plane, reason: error.to_string() };
        };
        match error.refusal::<ErrorBody>() {
            Some(ErrorBody { code: ErrorCode::StaleEpoch, .. }) => TrafficError::Stale { plane, epoch },
            Some(ErrorBody { code: ErrorCode::Failed, message }) => TrafficError::Failed { plane, reason: message },
            Some(ErrorBody { message, .. }) => TrafficError::Refused { plane, reason: message },
            None if status.is_server_error() => TrafficError::Failed { plane, reason: error.to_string() },
            None => TrafficError::Refused { plane, reason: error.to_string() },
        }
    }
}

fn path(key: &str) -> String {
    format!("/v1/routes/{}", segment(key))
}

/// Whether two answers say the same about what is observed: settings and draining, not counters.
fn same(old: &Routes, new: &Routes) -> bool {
    old.len() == new.len()
        && old.iter().zip(new).all(|((old_key, old), (new_key, new))| {
            old_key == new_key
                && old.start == new.start
                && old.route == new.route
                && super::route::observed(old).draining == super::route::observed(new).draining
        })
}
