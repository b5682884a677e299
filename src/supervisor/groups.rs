//! All groups: set, deleted, and taken up again after a restart of the supervisor.
//!
//! Every change of a group happens under that group's own lock, so that one with a large artifact holds up no other.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, watch};

use super::context::{Context, file_name, is_key};
use super::epoch::{EpochError, EpochGate};
use super::files::{self, CopyError};
use super::instance::{Instance, slot_dir};
use super::launch::blocking;
use super::making::make;
use super::records::GroupRecord;
use super::secrets::SecretsError;
use super::store::{self, StoreError};
use super::validate::{self, Refusal};
use crate::domain::id::Epoch;
use crate::protocol::supervisor::{GroupStatus, PutGroup};
use crate::secrets::value::SecretValues;

/// Why a change of a group failed.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The request is refused as it is written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The sender is stale.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The artifact can't be copied.
    #[error("the artifact of the group {key}: {source}")]
    Artifact {
        /// The group.
        key: String,
        /// What failed.
        source: CopyError,
    },
    /// The values of its secrets can't be kept.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// A record can't be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All groups of a supervisor.
pub struct Groups {
    ctx: Arc<Context>,
    gate: Arc<EpochGate>,
    cells: Mutex<BTreeMap<String, Arc<AsyncMutex<Cell>>>>,
}

/// One group under its lock.
#[derive(Default)]
struct Cell {
    record: Option<GroupRecord>,
    /// Who tells each instance whether it is wanted.
    slots: BTreeMap<u32, watch::Sender<bool>>,
    /// The cell is no longer among the groups: look for it anew.
    dropped: bool,
}

impl Groups {
    /// Takes up all groups that are recorded, with the processes that live. Nothing is started or killed before the
    /// returned value serves; records that can't be read are left alone and told.
    pub fn load(ctx: Arc<Context>, gate: Arc<EpochGate>) -> Result<(Arc<Groups>, Vec<String>), StoreError> {
        let dir = ctx.groups();
        store::create_dir(&dir)?;
        let groups = Arc::new(Groups { ctx, gate, cells: Mutex::default() });
        let mut problems = Vec::new();
        let mut loaded = Vec::new();
        for name in store::names(&dir)? {
            let dir = dir.join(&name);
            if !is_key(&name) {
                store::remove_dir(&dir)?;
                continue;
            }
            match groups.read(&dir) {
                Ok(Some(found)) => loaded.push(found),
                Ok(None) => problems.push(format!("{dir:?} holds no group and is left alone")),
                Err(error) => problems.push(format!("{error}; its instances are left alone")),
            }
        }
        for (cell, instances) in loaded {
            groups.take_up(cell, instances);
        }
        Ok((groups, problems))
    }

    /// Reads one group. All ports are known before the first instance runs.
    #[expect(clippy::type_complexity, reason = "a cell and its instances by slot, once")]
    fn read(&self, dir: &std::path::Path) -> Result<Option<(Cell, Vec<(u32, Instance)>)>, StoreError> {
        let Some(record) = store::read::<GroupRecord>(dir)? else { return Ok(None) };
        let spec = Arc::new(record.spec.clone());
        let slots = dir.join("slots");
        let known = if slots.exists() { store::names(&slots)? } else { Vec::new() };
        let known = known.iter().filter_map(|name| name.parse().ok());
        let wanted = if record.retiring { 0 } else { record.replicas };
        let all: std::collections::BTreeSet<u32> = known.chain(0..wanted).collect();
        let mut cell = Cell::default();
        let mut instances = Vec::new();
        for slot in all {
            let (sender, receiver) = watch::channel(record.wants(slot));
            let instance = Instance::load(self.ctx.clone(), dir, spec.clone(), slot, receiver)?;
            cell.slots.insert(slot, sender);
            instances.push((slot, instance));
        }
        self.ctx.board.put_group(self.status(&record));
        instances.iter().for_each(|(_, instance)| instance.publish());
        cell.record = Some(record);
        Ok(Some((cell, instances)))
    }

    fn take_up(self: &Arc<Self>, cell: Cell, instances: Vec<(u32, Instance)>) {
        let Some(key) = cell.record.as_ref().map(|record| record.spec.key.clone()) else { return };
        self.cells().insert(key.clone(), Arc::new(AsyncMutex::new(cell)));
        if instances.is_empty() {
            let groups = self.clone();
            tokio::spawn(async move { groups.finish(&key).await });
            return;
        }
        for (slot, instance) in instances {
            self.keep(key.clone(), slot, instance);
        }
    }

    fn cells(&self) -> MutexGuard<'_, BTreeMap<String, Arc<AsyncMutex<Cell>>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self, key: &str) -> PathBuf {
        self.ctx.groups().join(file_name(key))
    }

    fn status(&self, record: &GroupRecord) -> GroupStatus {
        let (_, limitations) = self.ctx.hierarchies.plan("", &record.spec.process.limits);
        GroupStatus {
            key: record.spec.key.clone(),
            group: record.spec.group.clone(),
            markers: record.spec.markers.clone(),
            replicas: record.replicas,
            retiring: record.retiring,
            instances: Vec::new(),
            limitations,
        }
    }

    /// Makes a group as it is asked for. Repeating it changes nothing.
    pub async fn put(self: &Arc<Self>, key: &str, put: PutGroup) -> Result<GroupStatus, GroupError> {
        validate::group(key, &put)?;
        self.admit(put.epoch).await?;
        let cell = loop {
            let cell = self.cells().entry(key.to_owned()).or_default().clone();
            let cell = cell.lock_owned().await;
            if !cell.dropped {
                break cell;
            }
        };
        let outcome = self.put_locked(key, put, cell).await;
        outcome?;
        self.ctx.board.group(key).ok_or_else(|| {
            Refusal::Invalid(format!("the group {key} was deleted while it was being set: send it again")).into()
        })
    }

    async fn put_locked(
        self: &Arc<Self>,
        key: &str,
        put: PutGroup,
        mut cell: tokio::sync::OwnedMutexGuard<Cell>,
    ) -> Result<(), GroupError> {
        let record = GroupRecord { spec: put.spec, replicas: put.replicas, retiring: false };
        match &cell.record {
            Some(old) => {
                validate::same(&old.spec, &record.spec)?;
                // A path may differ for the same content; the one that was copied stays on record.
                let spec = crate::protocol::supervisor::GroupSpec {
                    artifact_dir: old.spec.artifact_dir.clone(),
                    ..record.spec.clone()
                };
                let record = GroupRecord { spec, ..record };
                if *old != record {
                    self.admit(put.epoch).await?;
                    let (dir, new) = (self.dir(key), record.clone());
                    blocking(move || store::write(&dir, &new)).await?;
                }
                cell.record = Some(record);
            }
            None => match self.create(key, &record, put.epoch, put.secrets).await {
                Ok(()) => cell.record = Some(record),
                Err(error) => {
                    self.drop_cell(key, &mut cell);
                    return Err(error);
                }
            },
        }
        Ok(self.apply(&mut cell).await?)
    }

    /// Makes the folder of a new group, whole or not at all.
    async fn create(
        &self,
        key: &str,
        record: &GroupRecord,
        epoch: Epoch,
        secrets: SecretValues,
    ) -> Result<(), GroupError> {
        SecretsError::demand(record.spec.process.secrets.keys(), &secrets)?;
        let (ctx, record) = (self.ctx.clone(), record.clone());
        make(&self.gate, epoch, self.dir(key), move |made| {
            if let Some(source) = &record.spec.artifact_dir {
                let key = record.spec.key.clone();
                files::copy_tree(source, &made.join("files"), None)
                    .map_err(|source| GroupError::Artifact { key, source })?;
            }
            ctx.keeper.seal(made, &record.spec.key, &secrets)?;
            Ok(store::write(made, &record)?)
        })
        .await
    }

    /// Tells the instances what is wanted, and begins those that are new.
    async fn apply(self: &Arc<Self>, cell: &mut Cell) -> Result<(), StoreError> {
        let Some(record) = cell.record.clone() else { return Ok(()) };
        self.ctx.board.put_group(self.status(&record));
        for (slot, wanted) in &cell.slots {
            let now = record.wants(*slot);
            wanted.send_if_modified(|wanted| std::mem::replace(wanted, now) != now);
        }
        let key = record.spec.key.clone();
        let spec = Arc::new(record.spec.clone());
        let wanted = if record.retiring { 0 } else { record.replicas };
        for slot in (0..wanted).filter(|slot| !cell.slots.contains_key(slot)).collect::<Vec<_>>() {
            let (sender, receiver) = watch::channel(true);
            let (ctx, dir, spec) = (self.ctx.clone(), self.dir(&key), spec.clone());
            let instance = blocking(move || Instance::load(ctx, &dir, spec, slot, receiver)).await?;
            instance.publish();
            cell.slots.insert(slot, sender);
            self.keep(key.clone(), slot, instance);
        }
        Ok(())
    }

    /// Runs an instance until it is over.
    fn keep(self: &Arc<Self>, key: String, slot: u32, instance: Instance) {
        let groups = self.clone();
        tokio::spawn(async move {
            instance.run().await;
            groups.slot_over(&key, slot).await;
        });
    }

    /// An instance is over: its files go, unless it is wanted again by now.
    async fn slot_over(self: Arc<Self>, key: &str, slot: u32) {
        let Some(cell) = self.cells().get(key).cloned() else { return };
        let mut cell = cell.lock_owned().await;
        cell.slots.remove(&slot);
        let dir = slot_dir(&self.dir(key), slot);
        let port = {
            let dir = dir.clone();
            let removed = blocking(move || {
                let record = store::read::<super::records::SlotRecord>(&dir);
                store::remove_dir(&dir).map(|()| record.ok().flatten().and_then(|record| record.port))
            });
            removed.await
        };
        match port {
            Ok(port) => {
                port.into_iter().for_each(|port| self.ctx.ports().give_back(port));
            }
            Err(error) => tracing::error!(group = key, slot, %error, "an instance's files can't be removed"),
        }
        self.ctx.board.remove_instance(key, slot);
        if let Err(error) = self.apply(&mut cell).await {
            tracing::error!(group = key, slot, %error, "an instance can't be begun again");
        }
        drop(cell);
        self.finish(key).await;
    }

    /// Deletes a group: its instances are stopped, then its files removed. False when there is none.
    pub async fn delete(self: &Arc<Self>, key: &str, epoch: Epoch) -> Result<bool, GroupError> {
        self.admit(epoch).await?;
        let Some(cell) = self.cells().get(key).cloned() else { return Ok(false) };
        let mut cell = cell.lock_owned().await;
        let Some(record) = cell.record.clone().filter(|_| !cell.dropped) else { return Ok(false) };
        let record = GroupRecord { retiring: true, replicas: 0, ..record };
        let (dir, new) = (self.dir(key), record.clone());
        blocking(move || store::write(&dir, &new)).await?;
        cell.record = Some(record);
        self.apply(&mut cell).await?;
        drop(cell);
        let groups = self.clone();
        let key = key.to_owned();
        tokio::spawn(async move { groups.finish(&key).await });
        Ok(true)
    }

    /// Removes a deleted group when its last instance is gone.
    async fn finish(&self, key: &str) {
        let Some(cell) = self.cells().get(key).cloned() else { return };
        let mut cell = cell.lock_owned().await;
        let over = cell.slots.is_empty() && cell.record.as_ref().is_some_and(|record| record.retiring);
        if !over || cell.dropped {
            return;
        }
        let (dir, all) = (self.dir(key), self.ctx.groups());
        let removed = blocking(move || {
            let going = all.join(format!(".gone-{}", uuid::Uuid::now_v7()));
            fs::rename(&dir, &going).map_err(StoreError::io(&dir, "removed"))?;
            store::sync_dir(&all)?;
            store::remove_dir(&going)
        })
        .await;
        if let Err(error) = removed {
            tracing::error!(group = key, %error, "a group's files can't be removed");
        }
        self.ctx.board.remove_group(key);
        self.drop_cell(key, &mut cell);
    }

    fn drop_cell(&self, key: &str, cell: &mut Cell) {
        cell.dropped = true;
        self.cells().remove(key);
    }

    async fn admit(&self, epoch: Epoch) -> Result<(), EpochError> {
        let gate = self.gate.clone();
        blocking(move || gate.admit(epoch)).await
    }
}
