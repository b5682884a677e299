//! From a commit to candidates: reads the source when it is due, renders what changed, and tells the units.

mod taking_in;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::{Mutex, Notify};
use tracing::{Instrument, Span};

use super::catalog::{Catalog, Snapshot};
use super::log::LogError;
use super::pins;
use super::record;
use super::unit::Unit;
use super::unit::task::{self, Shared};
use super::unit_log;
use super::world::World;
use crate::domain::id::{Revision, UnitId};
use crate::domain::installation::InstallationEvent;
use crate::ports::audit::AuditError;
use crate::ports::secrets::SecretError;
use crate::ports::source::{SourceError, poll_delay};
use crate::traces;

/// What is known of the source now, for whoever asks.
#[derive(Clone, Debug, Default)]
pub struct SourceView {
    /// The head's snapshot.
    pub snapshot: Option<Arc<Snapshot>>,
    /// When the source last answered.
    pub fetched: Option<Timestamp>,
    /// Why it does not answer now.
    pub error: Option<String>,
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The journal.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The ciphertexts can't be kept.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Who wrote what could not be recorded.
    #[error("the new head is not taken in: {0}")]
    Audit(#[from] AuditError),
    /// A stored input.
    #[error(transparent)]
    Blob(#[from] super::blobs::BlobError),
}

/// Keeps the units' candidates up to date.
pub struct Reconciler {
    pub(super) world: Arc<World>,
    pub(super) shared: Arc<Shared>,
    catalog: Arc<Catalog>,
    due: Notify,
    /// One pass at a time.
    pass: Mutex<()>,
    view: RwLock<SourceView>,
    /// From one poll to the next, in milliseconds.
    poll: AtomicU64,
}

/// A pass that takes longer is stuck.
const LONGEST_PASS: Duration = Duration::from_secs(1_800);

impl Reconciler {
    /// A reconciler that has not looked yet.
    pub fn new(world: Arc<World>, shared: Arc<Shared>) -> Self {
        let catalog = Arc::new(Catalog::new(world.source.clone(), world.secrets.clone(), world.tools.clone()));
        let poll = AtomicU64::new(shared.settings.source.poll.as_millis());
        Reconciler { world, shared, catalog, due: Notify::new(), pass: Mutex::default(), view: RwLock::default(), poll }
    }

    /// The renderer of revisions, with its caches.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// What is known of the source: never waits.
    pub fn view(&self) -> SourceView {
        self.view.read().expect("the view is replaced as a whole").clone()
    }

    /// From now on the source is asked so often.
    pub fn set_poll(&self, poll: Duration) {
        self.poll.store(u64::try_from(poll.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.mark_due();
    }

    /// The source may have something new.
    pub fn mark_due(&self) {
        self.due.notify_one();
    }

    /// Reads the units that the journal knows and lets them run; to be called once, before [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// A stream can't be read.
    pub async fn restore(&self) -> Result<(), ReconcileError> {
        let streams = self.world.journal.streams(unit_log::PREFIX).await.map_err(LogError::from)?;
        for id in streams.keys().filter_map(|stream| unit_log::unit_of(stream)) {
            self.known(id).await?;
        }
        // Before anything runs: whatever is between two names belongs to the new one.
        for unit in self.shared.registry.all() {
            if let Err(error) = self.complete_move(&unit).await {
                tracing::error!(unit = %unit.id(), %error, "it was renamed, and is not taken over");
            }
        }
        for unit in self.shared.registry.all() {
            self.start(unit);
        }
        Ok(())
    }

    /// What was read last is known again without asking the source, so that a daemon starts with Git down. What the journal
    /// knows is kept true before that, since the documents of a large repository take a moment to read.
    pub async fn restore_head(&self) {
        let _one = self.pass.lock().await;
        let _doing = self.world.turns.progress.begin("reading the last head".into(), LONGEST_PASS);
        // A backup's head is not believed in before the source was asked: units may have come and gone since.
        let installation = self.shared.installation.state();
        if let Some(head) = installation.head.clone().filter(|_| installation.restored.is_none())
            && self.view().snapshot.is_none()
        {
            let restored = match self.catalog.load(&head, None).await {
                Ok(snapshot) => self.take_in(Arc::new(snapshot)).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = restored {
                tracing::warn!(%head, %error, "the last head can't be read from the mirror");
            }
        }
        self.sweep_pins().await;
    }

    /// Whether it was marked as due since this was asked last; for who drives it pass by pass instead of with [`run`](Self::run).
    pub fn take_due(&self) -> bool {
        self.due.notified().now_or_never().is_some()
    }

    /// Reconciles whenever the source is due, until stopped.
    pub async fn run(self: Arc<Self>) {
        let mut watch = self.world.source.watch();
        self.restore_head().await;
        loop {
            if let Err(error) = self.pass().await {
                tracing::warn!(%error, "the source can't be read");
            }
            let poll = Duration::from_millis(self.poll.load(Ordering::Relaxed));
            let delay = poll_delay(poll, 0.1, rand::random());
            let pushed = async {
                let Some(watch) = &mut watch else { return std::future::pending().await };
                if watch.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.shared.stop.cancelled() => return,
                () = self.due.notified() => {}
                () = self.shared.hand_over.notified() => {
                    if let Err(error) = self.accept().await {
                        tracing::warn!(%error, "what was renamed is not taken over yet");
                    }
                }
                () = pushed => {}
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// One pass: fetch, render what changed, tell the units. Answers whether the head moved.
    ///
    /// # Errors
    ///
    /// The source or the journal failed; what was known stays in force.
    pub async fn pass(&self) -> Result<bool, ReconcileError> {
        let _one = self.pass.lock().await;
        // A pass fetches, reads and renders; each has its own, far shorter limits.
        let _doing = self.world.turns.progress.begin("reading the source".into(), LONGEST_PASS);
        let began = std::time::Instant::now();
        let span = traces::reconcile();
        let result = traces::noted(&span, self.fetch_and_take_in().instrument(span.clone()).await);
        span.record("changed", matches!(result, Ok(true)));
        let outcome = if result.is_ok() { "ok" } else { "failed" };
        self.world.telemetry.fetches.with_label_values(&[outcome]).inc();
        if matches!(result, Ok(true)) {
            self.world.telemetry.reconcile_seconds.observe(began.elapsed().as_secs_f64());
        }
        let now = self.world.now();
        self.change_view(|view| match &result {
            Ok(_) => (view.fetched, view.error) = (Some(now), None),
            Err(error) => view.error = Some(error.to_string()),
        });
        if result.is_ok() {
            self.world.telemetry.source_answered.set(now.as_second());
        }
        // Only for news: the recorder itself asks for a pass before it composes.
        if matches!(result, Ok(true)) {
            self.shared.record_rollbacks.notify_one();
        }
        result
    }

    async fn fetch_and_take_in(&self) -> Result<bool, ReconcileError> {
        let fetch = traces::fetch();
        let head = traces::noted(&fetch, self.world.source.fetch().instrument(fetch.clone()).await)?;
        Span::current().record("revision", tracing::field::display(&head.revision));
        let known = self.view().snapshot;
        if known.as_ref().is_some_and(|known| known.revision == head.revision && !known.again) {
            return Ok(false);
        }
        let render = traces::render(&head.revision);
        let loaded = self.catalog.load(&head.revision, known.as_deref()).instrument(render.clone()).await;
        let snapshot = Arc::new(traces::noted(&render, loaded)?);
        self.note_head(&head.revision).await?;
        let take_in = traces::take_in(&head.revision, snapshot.units.len());
        self.take_in(snapshot).instrument(take_in).await?;
        self.sweep_pins().await;
        Ok(true)
    }

    /// Keeps in the mirror what is needed, and no more. What fails is made good at the next head.
    async fn sweep_pins(&self) {
        if let Err(error) = pins::sweep(&self.world, &self.shared.registry).await {
            tracing::warn!(%error, "the pins can't be brought up to date");
        }
    }

    /// Writes the new head down, and whether it is no successor of the last one.
    async fn note_head(&self, head: &Revision) -> Result<(), ReconcileError> {
        let installation = &self.shared.installation;
        let known = installation.state();
        if known.head.as_ref() != Some(head) {
            record::commits(&self.world, known.head.as_ref(), head).await?;
        }
        // A stale copy of the branch that is gone again, or a force-push that was taken back: nothing is left to look at.
        if let Some((before, _)) = &known.rewritten
            && known.head.as_ref() != Some(head)
            && self.world.source.is_ancestor(before, head).await?
        {
            tracing::info!(%before, %head, "the branch has its history back");
            return Ok(installation.append(InstallationEvent::RewriteUndone { revision: head.clone() }).await?);
        }
        let event = match known.head.clone() {
            Some(last) if last == *head && known.restored.is_none() => return Ok(()),
            Some(last) if !self.world.source.is_ancestor(&last, head).await? => {
                tracing::warn!(%last, %head, "the branch's history was rewritten");
                InstallationEvent::Rewritten { from: last, to: head.clone() }
            }
            _ => InstallationEvent::HeadSeen { revision: head.clone() },
        };
        Ok(installation.append(event).await?)
    }

    /// A unit by its id, read and started when it is met first.
    pub(super) async fn unit(&self, id: UnitId) -> Result<Arc<Unit>, LogError> {
        if let Some(unit) = self.shared.registry.get(&id) {
            return Ok(unit);
        }
        let unit = self.known(id).await?;
        self.start(unit.clone());
        Ok(unit)
    }

    /// A unit by its id, read when it is met first, and not started.
    pub(super) async fn known(&self, id: UnitId) -> Result<Arc<Unit>, LogError> {
        if let Some(unit) = self.shared.registry.get(&id) {
            return Ok(unit);
        }
        let unit = Unit::open(self.world.clone(), id).await?;
        Ok(self.shared.registry.add(unit))
    }

    fn start(&self, unit: Arc<Unit>) {
        let (world, shared) = (self.world.clone(), self.shared.clone());
        tokio::spawn(async move {
            let run = AssertUnwindSafe(task::run(unit.clone(), shared));
            if run.catch_unwind().await.is_err() {
                tracing::error!(unit = %unit.id(), "its task has broken off, by a defect of trimtab");
                world.turns.progress.lost(unit.id());
            }
        });
    }

    fn change_view(&self, change: impl FnOnce(&mut SourceView)) {
        change(&mut self.view.write().expect("the view is only changed by total functions"));
        self.world.hub.changed();
    }

    /// The rewritten history was accepted: the units are told so.
    ///
    /// # Errors
    ///
    /// Those of the journal.
    pub async fn accept(&self) -> Result<(), ReconcileError> {
        let _one = self.pass.lock().await;
        match self.view().snapshot {
            Some(snapshot) => self.take_in(snapshot).await,
            None => Ok(()),
        }
    }

    /// Waits until every unit's present step has ended, at most so long.
    pub async fn drain(&self, limit: Duration) {
        let all = async {
            for unit in self.shared.registry.all() {
                unit.quiesce().await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_err() {
            tracing::warn!("a step did not end in {limit:?}; it is taken up again at the next start");
        }
    }
}
