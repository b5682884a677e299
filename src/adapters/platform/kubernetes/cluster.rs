//! One cluster: its connection, what is known of it, and the writes to the units' parents.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use super::apply::fence;
use super::cache::{Cache, KindName, State};
use super::claims::{Claims, is_same};
use super::client::{Call, JSON, Server};
use super::compose::Frame;
use super::connect::Connection;
use super::discovery::Discovery;
use super::fault::Fault;
use super::following::Watch;
use super::heals::Heals;
use super::inventory::{self, Parent};
use super::lacks::{Lack, Lacks};
use super::scope::{Part, Scope};
use super::versions::found::Looked;
use super::versions::parts::{Marks, Role, parts};
use crate::domain::id::{Epoch, GroupId, UnitId};
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::{KubernetesSpec, Object, ObjectId};
use crate::ports::platform::EnsureGroup;

/// How long a cluster may take until its units are known.
pub(super) const READ: Duration = Duration::from_secs(10);
/// What failed so lately need not be tried again to know that it fails.
const JUST_NOW: Duration = Duration::from_secs(2);
/// How often a write to a parent is tried again after somebody else wrote it.
const ROUNDS: u32 = 4;

/// One cluster.
pub struct Cluster {
    /// What it is called, for people.
    pub name: String,
    /// Whose objects.
    pub installation: String,
    /// What is known of it.
    pub cache: Arc<Cache>,
    /// Its kinds.
    pub discovery: Discovery,
    /// What units ask for by now.
    pub claims: Claims,
    /// Who edits what is ours again and again.
    pub heals: Heals,
    /// What units lack before they can go on.
    pub lacks: Lacks,
    /// What of it is followed.
    pub scope: Scope,
    /// Since when groups have been on their way out, by the keys of their parents.
    pub leaving: Mutex<HashMap<String, Instant>>,
    /// What others made and units will take over.
    pub looked: Looked,
    connection: Connection,
    server: tokio::sync::OnceCell<Arc<Server>>,
    pub(super) watches: Mutex<HashMap<(KindName, Part), Watch>>,
    /// The groups of [`Cluster::saw`], by the keys of their parents.
    seen: Mutex<BTreeSet<String>>,
    /// The groups of which all has been applied, by the keys of their parents.
    whole: Mutex<HashMap<String, GroupId>>,
}

impl Cluster {
    /// A cluster that nothing is known of yet.
    pub fn new(connection: Connection, installation: String) -> Self {
        let scope = Scope::new(&connection.namespaces);
        let name = format!("cluster {}", connection.name);
        Cluster {
            cache: Arc::new(Cache::new(&name, &scope)),
            name,
            installation,
            scope,
            discovery: Discovery::default(),
            claims: Claims::default(),
            heals: Heals::default(),
            lacks: Lacks::default(),
            leaving: Mutex::default(),
            looked: Looked::default(),
            connection,
            server: tokio::sync::OnceCell::new(),
            watches: Mutex::default(),
            seen: Mutex::default(),
            whole: Mutex::default(),
        }
    }

    /// Its API server.
    pub async fn server(&self) -> Result<Arc<Server>, Fault> {
        let connect = async { Server::reached_by(&self.connection).await.map(Arc::new) };
        self.server.get_or_try_init(|| connect).await.cloned().map_err(Fault::Unreachable)
    }

    /// Waits until something is known; fails when that takes too long.
    pub(super) async fn cache_until(&self, limit: Duration, done: impl Fn(&State) -> bool) -> Result<(), ()> {
        let mut changes = self.cache.changes();
        let waited = tokio::time::timeout(limit, async {
            loop {
                changes.borrow_and_update();
                if done(&self.cache.lock()) {
                    return;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        });
        waited.await.map_err(drop)
    }

    /// Waits until all units are known. Where they could not be read, it is tried once more and not waited for: whoever asked tells why.
    pub async fn parents_read(&self) -> Result<(), Fault> {
        let (failures, just_now) = {
            let state = self.cache.lock();
            (state.failures, state.failed.is_some_and(|at| at.elapsed() < JUST_NOW))
        };
        if !just_now {
            self.cache.look_now();
            let seen = |state: &State| state.parents_known().is_ok() || state.failures > failures;
            // What is known after that time is told below.
            let _ = self.cache_until(READ, seen).await;
        }
        self.cache.lock().parents_known().map_err(Fault::Unreachable)
    }

    /// The key of a unit that has none yet: the name may have been another unit's that was renamed.
    pub fn fresh_key(&self, unit: &UnitId) -> String {
        let state = self.cache.lock();
        let plain = inventory::key(&self.installation, unit);
        let others = (2_u32..).map(|number| inventory::key(&format!("{}~{number}", self.installation), unit));
        let free = |key: &String| state.parents.get(key).is_none_or(|parent| parent.unit == *unit);
        [plain.clone()].into_iter().chain(others).find(free).unwrap_or(plain)
    }

    /// The number of a group: higher than that of all others of its unit, unless it is there already and stays.
    pub fn serial(&self, request: &EnsureGroup, before: Option<&Parent>) -> u64 {
        if let Some(same) = before.filter(|before| before.group == request.group && !before.retiring) {
            return same.serial;
        }
        let state = self.cache.lock();
        let is_other = |other: &&Parent| before.is_none_or(|before| other.key() != before.key());
        let others = state.parents_of(&request.desired.unit).filter(is_other);
        others.map(|other| other.serial + 1).max().unwrap_or_default()
    }

    /// Refuses who was replaced.
    pub fn fence_unit(&self, unit: &UnitId, epoch: Epoch) -> Result<(), Fault> {
        self.cache.lock().parents_of(unit).try_for_each(|parent| fence(Some(parent), epoch))
    }

    /// Writes a parent: made where it has no version yet, replaced where it is still that version.
    pub async fn write_parent(&self, parent: &Parent) -> Result<Parent, Fault> {
        let mut parent = parent.clone();
        for _ in 0..ROUNDS {
            let body = parent.write(&self.installation).map_err(Fault::Refused)?;
            let all = format!("/api/v1/namespaces/{}/configmaps", parent.namespace);
            let one = format!("{all}/{}", parent.name);
            let call = match parent.resource_version {
                Some(_) => Call::new(Method::PUT, &one),
                None => Call::new(Method::POST, all),
            };
            let answer = self.server().await?.call(&call.with(JSON, &body)).await;
            let error = match answer {
                Ok(answer) => {
                    let version = answer.pointer("/metadata/resourceVersion").and_then(Value::as_str);
                    parent.resource_version = version.map(str::to_owned);
                    self.cache.put_parent(parent.clone());
                    return Ok(parent);
                }
                Err(error) => error,
            };
            match (error.code(), &parent.resource_version) {
                (Some(404), None) => return Err(Fault::NoNamespace(parent.namespace.clone())),
                // It was deleted under us: it is made again.
                (Some(404), Some(_)) => parent.resource_version = None,
                (Some(409), _) => {
                    let seen = self.server().await?.call(&Call::get(&one)).await?;
                    let known = Parent::read(&seen);
                    fence(known.as_ref(), parent.epoch)?;
                    let version = seen.pointer("/metadata/resourceVersion").and_then(Value::as_str);
                    parent.resource_version = version.map(str::to_owned);
                }
                _ => {
                    if let Some(lack) = Lack::of(&error, Some(&parent.namespace)) {
                        self.lacks.note(&parent.unit, lack);
                    }
                    return Err(Fault::Api(error).about(&format!("ConfigMap {}/{}", parent.namespace, parent.name), ""));
                }
            }
        }
        Err(Fault::Failed(format!("others write ConfigMap {}/{} again and again", parent.namespace, parent.name)))
    }

    /// Looks once at what each unit had when this process started: what somebody changed before that is seen by nobody else.
    pub(super) fn audit(&self) {
        let due: Vec<Parent> = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let state = self.cache.lock();
            state.parents.values().filter(|parent| !seen.contains(parent.key())).cloned().collect()
        };
        for parent in due {
            let Some(desired) = self.claims.of(&parent.unit) else { continue };
            let Workload::Kubernetes(spec) = &desired.workload else { continue };
            if parent.rendered != desired.digest() {
                continue;
            }
            let objects = self.objects_of(spec, &parent);
            let applied = |id: &ObjectId, key: &str| {
                let object = objects.iter().find(|object| is_same(spec, object, id))?;
                let frame = Frame { spec, installation: &self.installation, unit: key, restarts: 0 };
                Some(frame.compose(object, id.namespace.as_deref()).body().clone())
            };
            if self.cache.audit(parent.key(), &applied) {
                self.saw(parent.key());
            }
        }
    }

    /// What a group has was compared with what was applied, by this process: from here on the watches tell.
    pub(super) fn saw(&self, key: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
    }

    /// Remembers that all of a group has been applied.
    pub(super) fn note_whole(&self, parent: &Parent) {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        whole.insert(parent.key().to_owned(), parent.group.clone());
    }

    /// Whether all of it was once, by this process, and nothing else since; what was remembered of another group is forgotten.
    pub(super) fn was_whole(&self, parent: &Parent) -> bool {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let was = whole.get(parent.key()) == Some(&parent.group);
        if !was {
            whole.remove(parent.key());
        }
        was
    }

    /// The objects of a group, as they are called for it.
    fn objects_of<'s>(&self, spec: &'s KubernetesSpec, parent: &Parent) -> Cow<'s, [Object]> {
        match (&spec.versioned, &parent.version_of) {
            (Some(versioned), Some(version)) => {
                let marks = Marks { installation: &self.installation, unit: parent.key(), group: &version.group };
                let parts = parts(spec, versioned, &marks).into_iter();
                Cow::Owned(parts.filter(|(_, role)| *role != Role::Routed).map(|(object, _)| object).collect())
            }
            _ => Cow::Borrowed(&spec.objects),
        }
    }
}
