//! What everybody may know: the status of all groups, with a number that grows with every change.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::protocol::supervisor::{GroupStatus, InstanceStatus};

/// The statuses.
#[derive(Debug)]
pub struct Board {
    seq: watch::Sender<u64>,
    groups: Mutex<BTreeMap<String, GroupStatus>>,
}

impl Default for Board {
    fn default() -> Self {
        // Not 0, so that whoever has seen nothing yet gets an answer at once.
        Board { seq: watch::Sender::new(1), groups: Mutex::default() }
    }
}

impl Board {
    fn groups(&self) -> MutexGuard<'_, BTreeMap<String, GroupStatus>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a change, and tells the waiting if it was one.
    fn change(&self, key: &str, change: impl FnOnce(&mut BTreeMap<String, GroupStatus>)) {
        let mut groups = self.groups();
        let before = groups.get(key).cloned();
        change(&mut groups);
        if groups.get(key) != before.as_ref() {
            self.seq.send_modify(|seq| *seq += 1);
        }
    }

    /// Puts up a group; the instances of one that is there stay.
    pub fn put_group(&self, mut status: GroupStatus) {
        self.change(&status.key.clone(), |groups| {
            if let Some(old) = groups.get_mut(&status.key) {
                status.instances = std::mem::take(&mut old.instances);
            }
            groups.insert(status.key.clone(), status);
        });
    }

    /// Takes a group down.
    pub fn remove_group(&self, key: &str) {
        self.change(key, |groups| drop(groups.remove(key)));
    }

    /// Puts up an instance of a group that is there.
    pub fn put_instance(&self, key: &str, status: InstanceStatus) {
        self.change(key, |groups| {
            let Some(group) = groups.get_mut(key) else { return };
            match group.instances.binary_search_by_key(&status.slot, |instance| instance.slot) {
                Ok(place) => group.instances[place] = status,
                Err(place) => group.instances.insert(place, status),
            }
        });
    }

    /// Takes an instance down.
    pub fn remove_instance(&self, key: &str, slot: u32) {
        self.change(key, |groups| {
            if let Some(group) = groups.get_mut(key) {
                group.instances.retain(|instance| instance.slot != slot);
            }
        });
    }

    /// One group.
    pub fn group(&self, key: &str) -> Option<GroupStatus> {
        self.groups().get(key).cloned()
    }

    /// The number and all groups, by key; they belong together.
    pub fn all(&self) -> (u64, Vec<GroupStatus>) {
        let groups = self.groups();
        (*self.seq.borrow(), groups.values().cloned().collect())
    }

    /// Waits until the number is another than the one given, or the wait is over.
    pub async fn changed(&self, since: u64, wait: Duration) {
        let mut seq = self.seq.subscribe();
        let _ = tokio::time::timeout(wait, seq.wait_for(|seq| *seq != since)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Digest;
    use crate::protocol::{Markers, supervisor::InstanceState};

    fn group() -> GroupStatus {
        let unit = "a/b/c".parse().unwrap();
        let markers =
            Markers { installation: "i".into(), unit, rendered: Digest::from_text("r1:0"), version: "1".into() };
        GroupStatus {
            key: "a/b/c/g".into(),
            group: "g".into(),
            markers,
            replicas: 2,
            retiring: false,
            instances: vec![],
            limitations: vec![],
        }
    }

    fn instance(slot: u32, ready: bool) -> InstanceStatus {
        InstanceStatus {
            id: format!("g-{slot}"),
            slot,
            state: InstanceState::Running,
            ready,
            pid: None,
            port: None,
            started: None,
            restarts: 0,
            last_exit: None,
            message: None,
        }
    }

    #[tokio::test]
    async fn only_changes_count() {
        let board = Board::default();
        board.put_instance("a/b/c/g", instance(0, true));
        assert_eq!(board.all(), (1, vec![]));
        board.put_group(group());
        board.put_instance("a/b/c/g", instance(1, false));
        board.put_instance("a/b/c/g", instance(0, false));
        assert_eq!(board.all().0, 4);
        board.put_instance("a/b/c/g", instance(0, false));
        board.put_group(group());
        let (seq, groups) = board.all();
        assert_eq!(seq, 4);
        assert_eq!(groups[0].instances.iter().map(|i| i.slot).collect::<Vec<_>>(), [0, 1]);
        board.remove_instance("a/b/c/g", 0);
        board.remove_group("a/b/c/g");
        assert_eq!(board.all(), (6, vec![]));
    }

    #[tokio::test]
    async fn who_waits_is_told() {
        let board = std::sync::Arc::new(Board::default());
        let waiting = tokio::spawn({
            let board = board.clone();
            async move { board.changed(1, Duration::from_secs(60)).await }
        });
        board.put_group(group());
        waiting.await.unwrap();
        board.changed(1, Duration::from_secs(60)).await;
        board.changed(2, Duration::ZERO).await;
    }
}
