//! The daemon's ports on the [`Outside`]. What belongs to one life of the daemon is its [`Line`]: when it dies, no call through it
//! comes back any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use trimtab::adapters::clock::{Anchor, Sources};
use trimtab::domain::action::{Action, TrafficSet, Which};
use trimtab::domain::analysis::{Measure, Measurement, Outcome};
use trimtab::domain::capabilities::{Capabilities, Split};
use trimtab::domain::counters::Counters;
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::digest::Digest;
use trimtab::domain::id::{Epoch, GroupId, Revision, RunId, UnitId};
use trimtab::domain::observed::{ObservedGroup, ObservedRun, ObservedTraffic, Seen};
use trimtab::domain::plan::GroupSource;
use trimtab::domain::route::RouteSettings;
use trimtab::domain::secret::SecretValue;
use trimtab::domain::workload::ArtifactRef;
use trimtab::ports::artifacts::{ArtifactError, Artifacts};
use trimtab::ports::journal::{Journal, JournalError, NewEvent, Record};
use trimtab::ports::metrics::{MeasureRequest, Metrics};
use trimtab::ports::platform::{EnsureGroup, LogStream, Platform, PlatformError};
use trimtab::ports::scripts::RunRequest;
use trimtab::ports::secrets::{Look, SecretError, Secrets};
use trimtab::ports::source::{
    ChangedPath, CommitInfo, Edit, EntryKind, FileId, Head, Listing, PushOutcome, Signature, Source, SourceError,
    TreeEntry, Walk,
};
use trimtab::ports::traffic::{SetTraffic, Traffic, TrafficError};
use trimtab::secrets::SecretBytes;
use trimtab::secrets::file::Sealed;

use super::repository;
use super::world::{Moment, Outside, kind};

/// What came of an effect.
enum Effect<T> {
    Done(T),
    /// Nothing has happened.
    Failed,
    /// It has happened.
    Lost,
}

/// What connects one life of the daemon to the outside.
pub struct Line {
    outside: Arc<Mutex<Outside>>,
    dead: AtomicBool,
    pub died: Notify,
}

impl Line {
    pub fn new(outside: Arc<Mutex<Outside>>) -> Arc<Self> {
        Arc::new(Line { outside, dead: AtomicBool::new(false), died: Notify::new() })
    }

    pub fn now(&self) -> Timestamp {
        self.outside().now
    }

    pub fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    /// A look at what is outside; never comes back to the dead.
    async fn look<T>(&self, look: impl FnOnce(&mut Outside) -> T) -> T {
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        look(&mut self.outside())
    }

    fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap()
    }

    /// An effect; the daemon may die before or after it, it may fail, its answer may be lost.
    async fn effect<T>(&self, what: &str, act: impl FnOnce(&mut Outside) -> T) -> Effect<T> {
        self.counted(what, true, act).await
    }

    /// An effect that neither fails nor is half known.
    async fn sure<T>(&self, what: &str, act: impl FnOnce(&mut Outside) -> T) -> T {
        match self.counted(what, false, act).await {
            Effect::Done(value) => value,
            Effect::Failed | Effect::Lost => unreachable!("it was not asked to fail"),
        }
    }

    async fn counted<T>(&self, what: &str, may_fail: bool, act: impl FnOnce(&mut Outside) -> T) -> Effect<T> {
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let (effect, dies) = {
            let mut outside = self.outside();
            outside.effects += 1;
            let number = outside.effects;
            let weather = &mut outside.weather;
            let mut death = weather.death.filter(|(at, _)| *at == number).map(|(_, moment)| moment);
            if weather.dice.permille(weather.deaths) {
                death = Some(if weather.dice.permille(500) { Moment::Before } else { Moment::After });
            }
            let fails = may_fail && weather.dice.permille(weather.failures);
            let lost = may_fail && weather.dice.permille(weather.lost);
            if death == Some(Moment::Before) {
                outside.note(format_args!("#{number} dies before: {what}"));
                (Effect::Failed, true)
            } else if fails {
                outside.note(format_args!("#{number} fails: {what}"));
                (Effect::Failed, death.is_some())
            } else {
                let word = if death.is_some() { "dies after: " } else { "" };
                outside.note(format_args!("#{number} {word}{what}"));
                let value = act(&mut outside);
                (if lost { Effect::Lost } else { Effect::Done(value) }, death.is_some())
            }
        };
        if dies {
            self.kill();
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        effect
    }
}

/// All ports at once: they share a line.
#[derive(Clone)]
pub struct Ports(pub Arc<Line>);

/// The machine never restarts in the simulation; its wall clock is off at will.
impl Sources for Ports {
    fn wall(&self) -> Timestamp {
        self.0.outside().wall()
    }

    fn since_boot(&self) -> (String, SignedDuration) {
        ("boot".into(), self.0.outside().now.duration_since(Timestamp::UNIX_EPOCH))
    }

    fn anchor(&self) -> Option<Anchor> {
        self.0.outside().anchor.clone()
    }

    fn keep(&self, anchor: &Anchor) {
        self.0.outside().anchor = Some(anchor.clone());
    }
}

#[async_trait]
impl Journal for Ports {
    async fn claim(&self, _holder: &str) -> Result<Epoch, JournalError> {
        Ok(self
            .0
            .sure("claim", |out| {
                out.store.epoch = Epoch(out.store.epoch.0 + 1);
                out.store.epoch
            })
            .await)
    }

    async fn append(
        &self,
        stream: &str,
        expected: u64,
        epoch: Epoch,
        at: Timestamp,
        events: &[NewEvent],
    ) -> Result<u64, JournalError> {
        let names: Vec<String> = events.iter().map(|event| name(&event.event)).collect();
        let act = |out: &mut Outside| {
            if epoch != out.store.epoch {
                return Err(JournalError::Stale { mine: epoch, current: out.store.epoch });
            }
            let store = &mut out.store;
            let records = store.streams.entry(stream.to_owned()).or_default();
            let actual = records.len() as u64;
            if actual != expected {
                return Err(JournalError::Conflict { stream: stream.to_owned(), expected, actual });
            }
            for event in events {
                store.records += 1;
                let seq = records.len() as u64 + 1;
                let (version, event) = (event.version, event.event.clone());
                records.push(Record { seq, global: store.records, epoch, at, version, event });
            }
            Ok(records.len() as u64)
        };
        // A store that says no has written nothing.
        let full = self.0.look(|out| out.weather.dice.permille(out.weather.failures)).await;
        if full {
            return Err(JournalError::Failed { path: "journal".into(), reason: "the disk is full".into() });
        }
        self.0.sure(&format!("{stream}: {}", names.join(", ")), act).await
    }

    async fn read(&self, stream: &str, after: u64) -> Result<Vec<Record>, JournalError> {
        let skip = usize::try_from(after).unwrap();
        Ok(self.0.look(|out| out.store.streams.get(stream).map(|all| all[skip..].to_vec()).unwrap_or_default()).await)
    }

    async fn streams(&self, prefix: &str) -> Result<BTreeMap<String, u64>, JournalError> {
        let all = self.0.look(|out| {
            let named = out.store.streams.iter().filter(|(name, _)| name.starts_with(prefix));
            named.map(|(name, records)| (name.clone(), records.len() as u64)).collect()
        });
        Ok(all.await)
    }

    async fn before(&self, _global: u64, _limit: usize) -> Result<Vec<(String, Record)>, JournalError> {
        Ok(Vec::new())
    }

    async fn since(&self, _global: u64, _limit: usize) -> Result<Vec<(String, Record)>, JournalError> {
        Ok(Vec::new())
    }

    async fn put_snapshot(
        &self,
        stream: &str,
        seq: u64,
        _epoch: Epoch,
        version: u32,
        state: &Value,
    ) -> Result<(), JournalError> {
        let snapshot = (seq, version, state.clone());
        self.0.sure("snapshot", |out| out.store.snapshots.insert(stream.to_owned(), snapshot)).await;
        Ok(())
    }

    async fn snapshot(&self, stream: &str) -> Result<Option<(u64, u32, Value)>, JournalError> {
        Ok(self.0.look(|out| out.store.snapshots.get(stream).cloned()).await)
    }

    async fn put_blob(&self, digest: &Digest, _epoch: Epoch, bytes: &[u8]) -> Result<(), JournalError> {
        self.0.sure("blob", |out| out.store.blobs.insert(digest.clone(), bytes.to_vec())).await;
        Ok(())
    }

    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(self.0.look(|out| out.store.blobs.get(digest).cloned()).await)
    }

    async fn remove_records(&self, _epoch: Epoch, _keep: u64, _since: Timestamp) -> Result<u64, JournalError> {
        Ok(0)
    }

    async fn removed(&self) -> Result<u64, JournalError> {
        Ok(0)
    }

    async fn blobs(&self) -> Result<Vec<Digest>, JournalError> {
        Ok(self.0.look(|out| out.store.blobs.keys().cloned().collect()).await)
    }

    async fn remove_blobs(&self, _epoch: Epoch, digests: &[Digest]) -> Result<u64, JournalError> {
        let act = |out: &mut Outside| digests.iter().filter(|digest| out.store.blobs.remove(digest).is_some()).count();
        Ok(self.0.sure(&format!("{} blobs removed", digests.len()), act).await as u64)
    }

    async fn verify(&self) -> Result<u64, JournalError> {
        Ok(self.0.look(|out| out.store.records).await)
    }
}

/// The name of an event, for people.
fn name(event: &Value) -> String {
    match event {
        Value::String(text) => text.clone(),
        Value::Object(map) => match map.iter().next() {
            Some((key, inner)) if key == "rollout" => format!("rollout {}", name(inner)),
            Some((key, Value::String(text))) if key == "event" => text.clone(),
            Some((key, inner)) => format!("{key}{}", version_of(inner)),
            None => String::new(),
        },
        other => other.to_string(),
    }
}

fn version_of(inner: &Value) -> String {
    inner.get("version").and_then(Value::as_str).map(|version| format!(" {version}")).unwrap_or_default()
}

fn unreachable() -> PlatformError {
    PlatformError::Unreachable { platform: "the simulation".into(), reason: "no answer".into() }
}

impl Ports {
    /// One effect on a unit's platform.
    async fn on_platform(&self, what: &str, epoch: Epoch, act: impl FnOnce(&mut Outside)) -> Result<(), PlatformError> {
        let act = |out: &mut Outside| {
            if out.weather.platform_down > out.now {
                return Err(unreachable());
            }
            if epoch < out.platform_epoch {
                return Err(PlatformError::Stale { platform: "the simulation".into(), epoch });
            }
            out.platform_epoch = epoch;
            out.changes += 1;
            act(out);
            Ok(())
        };
        match self.0.effect(what, act).await {
            Effect::Done(result) => result,
            Effect::Lost => Err(unreachable()),
            Effect::Failed => {
                Err(PlatformError::Failed { platform: "the simulation".into(), reason: "out of luck".into() })
            }
        }
    }

    async fn on_router(&self, what: &str, epoch: Epoch, act: impl FnOnce(&mut Outside)) -> Result<(), TrafficError> {
        let gone = || TrafficError::Unreachable { plane: "the simulation".into(), reason: "no answer".into() };
        let act = |out: &mut Outside| {
            if out.weather.router_down > out.now {
                return Err(gone());
            }
            if epoch < out.router_epoch {
                return Err(TrafficError::Stale { plane: "the simulation".into(), epoch });
            }
            out.router_epoch = epoch;
            out.changes += 1;
            act(out);
            Ok(())
        };
        match self.0.effect(what, act).await {
            Effect::Done(result) => result,
            Effect::Lost => Err(gone()),
            Effect::Failed => {
                Err(TrafficError::Failed { plane: "the simulation".into(), reason: "out of luck".into() })
            }
        }
    }
}

#[async_trait]
impl Platform for Ports {
    async fn capabilities(&self, desired: &DesiredUnit) -> Seen<Capabilities> {
        Seen::Known(Capabilities {
            versioned_groups: true,
            in_place: false,
            surge: true,
            split: if desired.route.is_some() { Split::Weights(1_000_000) } else { Split::None },
            hold: true,
            preview: true,
            drain: true,
            measures: true,
            runs: true,
        })
    }

    async fn observe(&self, unit: &UnitId) -> Seen<Vec<ObservedGroup>> {
        self.0
            .look(|out| match out.weather.platform_down > out.now {
                true => Seen::Unknown("the supervisor does not answer".into()),
                false => out.platform(unit).observe().groups,
            })
            .await
    }

    async fn units(&self) -> Seen<Vec<UnitId>> {
        Seen::Known(self.0.look(|out| out.platforms.keys().cloned().collect()).await)
    }

    async fn ensure_group(&self, epoch: Epoch, request: &EnsureGroup) -> Result<(), PlatformError> {
        let unit = &request.desired.unit;
        let version = request.desired.version.clone();
        let source = GroupSource { rendered: request.rendered.clone(), restarts: 0, version: version.clone() };
        let action = Action::EnsureGroup { group: request.group.clone(), source, replicas: request.replicas };
        let act = |out: &mut Outside| {
            out.teach(unit, &version);
            out.platform(unit).perform(&action).unwrap();
        };
        self.on_platform(&format!("{unit}: {action}"), epoch, act).await
    }

    async fn retire_group(&self, epoch: Epoch, unit: &UnitId, group: &GroupId) -> Result<(), PlatformError> {
        let action = Action::RetireGroup { group: group.clone() };
        let act = |out: &mut Outside| out.platform(unit).perform(&action).unwrap();
        self.on_platform(&format!("{unit}: {action}"), epoch, act).await
    }

    async fn start_run(&self, epoch: Epoch, request: &RunRequest) -> Result<(), PlatformError> {
        let act = |out: &mut Outside| out.start_run(&request.unit, &request.id, &request.version);
        self.on_platform(&format!("{}: run {}", request.unit, request.version), epoch, act).await
    }

    async fn run(&self, id: &RunId) -> (Seen<ObservedRun>, String) {
        let look = |out: &mut Outside| {
            if out.weather.platform_down > out.now {
                return Seen::Unknown("the supervisor does not answer".into());
            }
            let of = out.platforms.values().find(|fake| fake.started.contains_key(id));
            of.map_or(Seen::Known(ObservedRun::NotStarted), |fake| fake.observe_run(id))
        };
        (self.0.look(look).await, String::new())
    }

    async fn kill_run(&self, _epoch: Epoch, _id: &RunId) -> Result<(), PlatformError> {
        Ok(())
    }

    async fn logs(&self, _: &UnitId, _: &GroupId, _: Option<&str>, _: u32) -> Result<String, PlatformError> {
        Ok(String::new())
    }

    async fn follow_logs(&self, _: &UnitId, _: &GroupId, _: Option<&str>, _: u32) -> Result<LogStream, PlatformError> {
        Ok(futures_util::stream::empty().boxed())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }

    async fn check(&self) -> Result<Vec<String>, PlatformError> {
        Ok(Vec::new())
    }

    async fn epoch(&self) -> Result<Epoch, PlatformError> {
        let look = |out: &mut Outside| {
            if out.weather.platform_down > out.now { Err(unreachable()) } else { Ok(out.platform_epoch) }
        };
        self.0.look(look).await
    }
}

#[async_trait]
impl Traffic for Ports {
    async fn observe(&self, unit: &UnitId, kind: Which) -> Seen<Option<ObservedTraffic>> {
        self.0
            .look(|out| {
                if out.weather.router_down > out.now {
                    return Seen::Unknown("the router does not answer".into());
                }
                let observed = out.platform(unit).observe();
                match kind {
                    Which::Main => observed.traffic,
                    Which::Preview => observed.preview,
                }
            })
            .await
    }

    fn settings(&self, desired: &DesiredUnit, kind: Which) -> Digest {
        RouteSettings::of(desired, kind).map_or_else(|| Digest::of("s1", &()), |settings| settings.digest())
    }

    async fn set(&self, epoch: Epoch, request: &SetTraffic) -> Result<(), TrafficError> {
        let unit = &request.desired.unit;
        let traffic = TrafficSet {
            route: request.rendered.clone(),
            settings: self.settings(&request.desired, request.kind),
            backends: request.backends.clone(),
            hold: request.hold,
        };
        let action = Action::SetTraffic { which: request.kind, traffic };
        let act = |out: &mut Outside| out.platform(unit).perform(&action).unwrap();
        self.on_router(&format!("{unit}: {action}"), epoch, act).await
    }

    async fn remove(&self, epoch: Epoch, unit: &UnitId, kind: Which) -> Result<(), TrafficError> {
        let action = Action::RemoveTraffic { which: kind };
        let act = |out: &mut Outside| out.platform(unit).perform(&action).unwrap();
        self.on_router(&format!("{unit}: {action}"), epoch, act).await
    }

    async fn counters(&self, _unit: &UnitId) -> Seen<Counters> {
        Seen::Unknown("the simulation counts nothing".into())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }

    async fn check(&self) -> Result<Vec<String>, TrafficError> {
        Ok(Vec::new())
    }

    async fn epoch(&self) -> Result<Epoch, TrafficError> {
        Ok(self.0.look(|out| out.router_epoch).await)
    }
}

#[async_trait]
impl Artifacts for Ports {
    async fn ensure(&self, _artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError> {
        Ok(PathBuf::from("artifact"))
    }

    async fn keep_only(&self, _in_use: &[ArtifactRef]) -> Result<(), ArtifactError> {
        Ok(())
    }
}

/// The simulated documents have no secrets.
#[async_trait]
impl Secrets for Ports {
    fn objects(&self, sealed: &Sealed) -> Result<Vec<serde_json::Value>, (String, String)> {
        Err((format!("{sealed} is none of the simulation's"), String::new()))
    }

    fn look(&self, _look: &Look<'_>) -> SecretValue {
        SecretValue::Unknown
    }

    async fn keep(&self, _digests: &BTreeSet<Digest>) -> Result<(), SecretError> {
        Ok(())
    }

    async fn open(&self, digest: &Digest) -> Result<SecretBytes, SecretError> {
        Err(SecretError::Missing { digest: digest.clone() })
    }

    async fn keep_only(&self, _digests: &BTreeSet<Digest>) -> Result<(), SecretError> {
        Ok(())
    }

    async fn check(&self) -> Result<String, String> {
        Ok("there are none".into())
    }
}

#[async_trait]
impl Metrics for Ports {
    async fn baseline(&self, _unit: &UnitId, _measure: &Measure) -> Option<Value> {
        None
    }

    async fn measure(&self, request: &MeasureRequest) -> Measurement {
        let version = self.0.look(|out| match out.platform(&request.unit).observe().groups {
            Seen::Known(groups) => groups.into_iter().find(|group| group.group == request.target),
            Seen::Unknown(_) => None,
        });
        match version.await.map(|group| group.version) {
            None => Measurement { outcome: Outcome::Inconclusive, detail: "nothing runs".into() },
            Some(version) if kind(&version) == 'e' => {
                Measurement { outcome: Outcome::Failure, detail: "errors".into() }
            }
            Some(_) => Measurement { outcome: Outcome::Success, detail: "no errors".into() },
        }
    }
}

fn git_error() -> SourceError {
    SourceError::Unreachable { remote: "the simulation".into(), detail: "no answer".into() }
}

fn none_such(revision: &Revision) -> SourceError {
    SourceError::Unknown { what: "commit", name: revision.to_string() }
}

#[async_trait]
impl Source for Ports {
    fn describe(&self) -> String {
        "the simulation".into()
    }

    async fn fetch(&self) -> Result<Head, SourceError> {
        self.0
            .look(|out| {
                if out.weather.git_down > out.now || out.weather.dice.permille(out.weather.failures) {
                    return Err(git_error());
                }
                let revision = out.git.branches["main"].clone();
                out.git.fetched = Some(revision.clone());
                Ok(Head { branch: "main".into(), revision })
            })
            .await
    }

    async fn head(&self) -> Result<Option<Revision>, SourceError> {
        Ok(self.0.look(|out| out.git.fetched.clone()).await)
    }

    async fn is_ancestor(&self, older: &Revision, newer: &Revision) -> Result<bool, SourceError> {
        Ok(self.0.look(|out| out.git.history(newer).any(|(revision, _)| revision == *older)).await)
    }

    async fn resolve(&self, text: &str) -> Result<Revision, SourceError> {
        let revision = Revision(text.to_owned());
        let known = self.0.look(|out| out.git.commits.contains_key(&revision)).await;
        if known { Ok(revision) } else { Err(none_such(&revision)) }
    }

    async fn list(&self, revision: &Revision) -> Result<Listing, SourceError> {
        self.0
            .look(|out| {
                let commit = out.git.commits.get(revision).ok_or_else(|| none_such(revision))?;
                let entries = commit.files.iter().map(|(path, text)| TreeEntry {
                    path: path.clone(),
                    oid: repository::oid(text),
                    kind: EntryKind::File,
                    size: text.len() as u64,
                });
                Ok(Listing { entries: entries.collect(), refused: Vec::new() })
            })
            .await
    }

    async fn list_below(&self, revision: &Revision, path: &str) -> Result<Listing, SourceError> {
        let mut listing = self.list(revision).await?;
        listing.entries.retain(|entry| entry.path == path || entry.path.starts_with(&format!("{path}/")));
        Ok(listing)
    }

    async fn changes(&self, from: &Revision, to: &Revision) -> Result<Vec<ChangedPath>, SourceError> {
        self.0
            .look(|out| {
                let id = |revision: &Revision, path: &str| {
                    let text = out.git.commits[revision].files.get(path)?;
                    Some(FileId { oid: repository::oid(text), mode: 0o100_644 })
                };
                let changed = out.git.changed(from, to).into_iter();
                let of = |path: String| ChangedPath { before: id(from, &path), after: id(to, &path), path };
                Ok(changed.map(of).collect())
            })
            .await
    }

    async fn read(&self, oid: &str) -> Result<Vec<u8>, SourceError> {
        let text = self.0.look(|out| out.git.contents.get(oid).cloned()).await;
        text.map(String::into_bytes).ok_or_else(|| SourceError::Unknown { what: "file", name: oid.into() })
    }

    async fn read_many(&self, oids: &[String]) -> Result<Vec<Vec<u8>>, SourceError> {
        let mut all = Vec::new();
        for oid in oids {
            all.push(Source::read(self, oid).await?);
        }
        Ok(all)
    }

    async fn tree_oid(&self, revision: &Revision, path: &str) -> Result<Option<String>, SourceError> {
        Ok(self.0.look(|out| repository::tree(&out.git.commits[revision].files, path)).await)
    }

    async fn file_oid(&self, revision: &Revision, path: &str) -> Result<Option<String>, SourceError> {
        Ok(self.0.look(|out| out.git.commits[revision].files.get(path).map(|text| repository::oid(text))).await)
    }

    async fn export_tree(&self, _oid: &str, _into: &Path) -> Result<(), SourceError> {
        Ok(())
    }

    async fn commit_info(&self, revision: &Revision) -> Result<CommitInfo, SourceError> {
        Err(none_such(revision))
    }

    async fn log(&self, _from: &Revision, _limit: usize, _walk: Walk) -> Result<Vec<CommitInfo>, SourceError> {
        Ok(Vec::new())
    }

    async fn commit(
        &self,
        base: &Revision,
        edits: &[Edit],
        author: &Signature,
        message: &str,
    ) -> Result<Revision, SourceError> {
        self.0
            .look(|out| {
                let before = out.git.commits[base].files.clone();
                let mut files = before.clone();
                for edit in edits {
                    match edit {
                        Edit::Write { path, content, .. } => {
                            files.insert(path.clone(), String::from_utf8_lossy(content).into_owned());
                        }
                        Edit::Remove { path } => {
                            files.remove(path);
                        }
                        Edit::Restore { path, from } => match out.git.commits[from].files.get(path) {
                            Some(text) => {
                                files.insert(path.clone(), text.clone());
                            }
                            None => {
                                files.remove(path);
                            }
                        },
                    }
                }
                if files == before {
                    return Err(SourceError::NothingToCommit(base.clone()));
                }
                Ok(out.git.commit(Some(base), files, message, author.time))
            })
            .await
    }

    async fn push(
        &self,
        commit: &Revision,
        branch: &str,
        expect: Option<&Revision>,
    ) -> Result<PushOutcome, SourceError> {
        let act = |out: &mut Outside| {
            if out.weather.git_down > out.now {
                return Err(git_error());
            }
            let now = out.git.branches.get(branch);
            if now == Some(commit) {
                return Ok(PushOutcome::Pushed);
            }
            if now != expect {
                return Ok(PushOutcome::Lost);
            }
            out.git.branches.insert(branch.to_owned(), commit.clone());
            Ok(PushOutcome::Pushed)
        };
        match self.0.effect("push", act).await {
            Effect::Done(result) => result,
            Effect::Failed | Effect::Lost => Err(git_error()),
        }
    }

    async fn remote_branch(&self, branch: &str) -> Result<Option<Revision>, SourceError> {
        Ok(self.0.look(|out| out.git.branches.get(branch).cloned()).await)
    }

    async fn find_trailer(
        &self,
        head: &Revision,
        key: &str,
        value: &str,
        _limit: usize,
    ) -> Result<Option<Revision>, SourceError> {
        Ok(self.0.look(|out| out.git.find_trailer(head, key, value)).await)
    }

    async fn pin(&self, name: &str, revision: &Revision) -> Result<(), SourceError> {
        self.0.sure("pin", |out| out.git.pins.insert(name.to_owned(), revision.clone())).await;
        Ok(())
    }

    async fn unpin(&self, name: &str) -> Result<(), SourceError> {
        self.0.look(|out| out.git.pins.remove(name)).await;
        Ok(())
    }

    async fn pins(&self) -> Result<Vec<(String, Revision)>, SourceError> {
        Ok(self.0.look(|out| out.git.pins.clone().into_iter().collect()).await)
    }

    fn watch(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}
