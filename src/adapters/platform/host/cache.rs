//! The supervisor's list of groups, followed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::domain::{id::UnitId, observed::Seen};
use crate::net::client::{Client, ClientError};
use crate::protocol::supervisor::{GroupList, GroupStatus};

/// How long the supervisor is asked to hold an answer back while nothing changes.
const WAIT: Duration = Duration::from_secs(20);
/// How much later than that the answer may come.
const SLACK: Duration = Duration::from_secs(5);
/// From one try to the next while the supervisor does not answer.
const RETRY: Duration = Duration::from_millis(200);

/// A list of groups, by their units: with thousands of them each unit finds its own at once.
#[derive(Debug)]
pub(super) struct Groups {
    list: GroupList,
    by_unit: BTreeMap<UnitId, Vec<usize>>,
}

impl Groups {
    fn new(list: GroupList) -> Self {
        let mut by_unit: BTreeMap<UnitId, Vec<usize>> = BTreeMap::new();
        for (index, group) in list.groups.iter().enumerate() {
            by_unit.entry(group.markers.unit.clone()).or_default().push(index);
        }
        Groups { list, by_unit }
    }

    /// All of them.
    pub fn all(&self) -> &[GroupStatus] {
        &self.list.groups
    }

    /// Those of a unit, of whatever installation.
    pub fn of(&self, unit: &UnitId) -> impl Iterator<Item = &GroupStatus> {
        let indices = self.by_unit.get(unit).map(Vec::as_slice).unwrap_or_default();
        indices.iter().filter_map(|index| self.list.groups.get(*index))
    }
}

impl PartialEq for Groups {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

/// The newest list that is known.
#[derive(Debug)]
pub(super) struct Cache {
    client: Client,
    tickets: AtomicU64,
    held: Mutex<Held>,
    changes: watch::Sender<u64>,
    /// The follower's long poll shall end and look at once.
    look: Notify,
}

#[derive(Debug)]
struct Held {
    /// `None` before the first answer.
    list: Option<Seen<Arc<Groups>>>,
    /// When the question was asked that brought it.
    ticket: u64,
}

impl Cache {
    /// Nothing is known yet.
    pub fn new(client: Client) -> Self {
        Cache {
            client,
            tickets: AtomicU64::new(1),
            held: Mutex::new(Held { list: None, ticket: 0 }),
            changes: watch::Sender::new(0),
            look: Notify::new(),
        }
    }

    /// The list as it is known; asks only when nothing was ever known.
    pub async fn groups(&self) -> Seen<Arc<Groups>> {
        if let Some(list) = self.known() {
            return list;
        }
        self.refresh().await;
        self.known().unwrap_or_else(|| Seen::Unknown("the supervisor was not asked yet".into()))
    }

    /// Asks now and keeps the answer, also that there is none.
    pub async fn refresh(&self) {
        let ticket = self.ticket();
        let answer = self.client.get::<GroupList>("/v1/groups").await;
        if answer.is_err() {
            self.look.notify_one();
        }
        self.take(ticket, answer);
    }

    /// A number that changes with the list.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Something beside the list has changed.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Follows the list for good.
    pub async fn follow(self: Arc<Self>) {
        let patient = self.client.clone().with_timeout(WAIT + SLACK);
        let mut since = None;
        loop {
            let path = match since {
                Some(seq) => format!("/v1/groups?since={seq}&wait={}s", WAIT.as_secs()),
                None => "/v1/groups".to_owned(),
            };
            let ticket = self.ticket();
            tokio::select! {
                answer = patient.get::<GroupList>(&path) => {
                    since = answer.as_ref().ok().map(|list| list.seq);
                    self.take(ticket, answer);
                }
                () = self.look.notified() => since = None,
            }
            if since.is_none() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    fn known(&self) -> Option<Seen<Arc<Groups>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).list.clone()
    }

    /// Keeps an answer unless a newer one is there: by `seq` within one start of the supervisor, else by when it was asked for
    /// (a long poll that was asked for earlier may be answered later, and the other way round).
    fn take(&self, ticket: u64, answer: Result<GroupList, ClientError>) {
        let answer = match answer {
            Ok(list) => Seen::Known(Arc::new(Groups::new(list))),
            Err(error) => Seen::Unknown(error.to_string()),
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = match (&held.list, &answer) {
            (Some(Seen::Known(old)), Seen::Known(new)) if old.list.start == new.list.start => {
                new.list.seq >= old.list.seq
            }
            _ => ticket > held.ticket,
        };
        if !newer {
            return;
        }
        let changed = held.list.as_ref() != Some(&answer);
        *held = Held { list: Some(answer), ticket: ticket.max(held.ticket) };
        drop(held);
        if changed {
            self.changed();
        }
    }
}
