//! A new folder of a group or a run, whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::epoch::EpochGate;
use super::groups::GroupError;
use super::launch::blocking;
use super::store::{self, StoreError};
use crate::domain::id::Epoch;

/// Makes `target` by filling a folder beside it, which then takes its place. Filling may take long, and whoever asked for it
/// may have been taken over meanwhile: the epoch is looked at again before the folder appears, and an unwanted one is removed.
/// What a crash leaves half made has a name that is no key and goes at the next start.
pub async fn make(
    gate: &Arc<EpochGate>,
    epoch: Epoch,
    target: PathBuf,
    fill: impl FnOnce(&Path) -> Result<(), GroupError> + Send + 'static,
) -> Result<(), GroupError> {
    let making = target.with_file_name(format!(".new-{}", uuid::Uuid::now_v7()));
    let gate = gate.clone();
    blocking(move || {
        let filled = store::create_dir(&making).map_err(GroupError::from).and_then(|()| fill(&making));
        if let Err(error) = filled.and_then(|()| Ok(gate.admit(epoch)?)) {
            let _ = store::remove_dir(&making);
            return Err(error);
        }
        fs::rename(&making, &target).map_err(StoreError::io(&target, "put in place"))?;
        match target.parent() {
            Some(parent) => Ok(store::sync_dir(parent)?),
            None => Ok(()),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::validate::Refusal;

    #[tokio::test]
    async fn whoever_is_stale_after_the_filling_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Arc::new(EpochGate::open(dir.path().into()).unwrap());
        let all = dir.path().join("groups");
        store::create_dir(&all).unwrap();
        let taken_over = gate.clone();
        let made = make(&gate, Epoch(1), all.join("a"), move |_| Ok(taken_over.admit(Epoch(2))?)).await;
        assert!(matches!(made, Err(GroupError::Epoch(_))), "{made:?}");
        assert_eq!(fs::read_dir(&all).unwrap().count(), 0);
        let fill = |folder: &Path| {
            fs::write(folder.join("x"), "").unwrap();
            Ok(())
        };
        make(&gate, Epoch(2), all.join("a"), fill).await.unwrap();
        assert!(all.join("a/x").exists());
        let refused = |_: &Path| Err(GroupError::Refused(Refusal::Invalid("no".into())));
        assert!(make(&gate, Epoch(2), all.join("b"), refused).await.is_err());
        assert_eq!(fs::read_dir(&all).unwrap().count(), 1);
    }
}
