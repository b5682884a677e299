//! Which kinds of a cluster are followed: those in use, and for a while those that somebody asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::apply::metadata_only;
use super::cache::KindName;
use super::client::Server;
use super::cluster::{Cluster, READ};
use super::discovery::Kind;
use super::fault::Fault;
use super::scope::Part;
use super::watch::{Follower, Subject};

/// A kind that no unit has objects of is followed so long, in case that a unit is about to have some.
const UNUSED: Duration = Duration::from_secs(300);

/// A kind that is followed.
pub(super) struct Watch {
    task: JoinHandle<()>,
    /// When somebody asked for it last.
    asked: Instant,
}

impl Cluster {
    /// Follows a kind from now on.
    pub async fn watch_kind(&self, name: &KindName, kind: &Kind) -> Result<(), Fault> {
        let server = self.server().await?;
        let parts = self.scope.parts(kind.namespaced);
        self.cache.expect(name, &parts);
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        for part in parts {
            let watch = (name.clone(), part.clone());
            let asked = Instant::now();
            match watches.get_mut(&watch) {
                Some(known) if !known.task.is_finished() => known.asked = asked,
                _ => {
                    let subject =
                        Subject::Objects { name: name.clone(), kind: kind.clone(), metadata: metadata_only(name) };
                    let task = tokio::spawn(self.follower(&server, subject, part).run());
                    watches.insert(watch, Watch { task, asked });
                }
            }
        }
        Ok(())
    }

    fn follower(&self, server: &Arc<Server>, subject: Subject, part: Part) -> Follower {
        Follower {
            server: server.as_ref().clone(),
            cache: self.cache.clone(),
            installation: self.installation.clone(),
            subject,
            part,
            cluster: self.name.clone(),
        }
    }

    /// Follows the parents for good, once the connection can be made.
    pub async fn follow_parents(self: Arc<Self>) {
        loop {
            match self.server().await {
                Ok(server) => {
                    let parts = self.scope.parts(true).into_iter();
                    let all = parts.map(|part| self.follower(&server, Subject::Parents, part).run());
                    drop(join_all(all).await);
                }
                Err(fault) => {
                    let reason = fault.why();
                    for part in self.scope.parts(true) {
                        self.cache.parents_lost(&part, Some(&reason));
                    }
                    let mut looks = self.cache.looks();
                    tokio::select! {
                        () = tokio::time::sleep(READ) => {}
                        _ = looks.changed() => {}
                    }
                }
            }
        }
    }

    /// Reads which kinds there are, and follows the one that nearly every unit has, so that no rollout waits for that.
    async fn warm(&self) {
        let settings = KindName::config_map();
        let kind = Kind { api_version: "v1".into(), plural: "configmaps".into(), namespaced: true };
        // Where it fails now, it is done when it is needed.
        let _ = self.watch_kind(&settings, &kind).await;
        if let Ok(server) = self.server().await {
            let _ = self.discovery.refresh(&server).await;
        }
    }

    /// Follows the kinds that are in use.
    pub async fn follow_kinds(self: Arc<Self>) {
        let mut changes = self.cache.changes();
        self.warm().await;
        loop {
            changes.borrow_and_update();
            self.read_anew(&self.cache.take_judged_otherwise());
            let used = self.cache.kinds_in_use();
            if !used.is_empty() {
                self.follow_used(&used).await;
                self.audit();
            }
            self.leave_unused(&used);
            // Changes come in bursts.
            tokio::time::sleep(Duration::from_millis(100)).await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends the watches of kinds, so that they begin anew.
    fn read_anew(&self, kinds: &BTreeSet<KindName>) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|(name, _), watch| {
            let stays = !kinds.contains(name);
            if !stays {
                watch.task.abort();
            }
            stays
        });
    }

    /// Ends the watches of kinds that no unit has had objects of for a while.
    fn leave_unused(&self, used: &BTreeMap<KindName, String>) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.retain(|(name, _), watch| {
            let stays = used.contains_key(name) || *name == KindName::config_map() || watch.asked.elapsed() < UNUSED;
            if !stays {
                watch.task.abort();
                self.cache.forget_kind(name);
            }
            stays
        });
    }

    async fn follow_used(&self, used: &BTreeMap<KindName, String>) {
        let followed: BTreeSet<KindName> = {
            let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
            watches.keys().map(|(name, _)| name.clone()).collect()
        };
        for (name, version) in used.iter().filter(|(name, _)| !followed.contains(name)) {
            let Ok(server) = self.server().await else { return };
            match self.discovery.kind(&server, version, &name.kind).await {
                Ok(Some(kind)) => drop(self.watch_kind(name, &kind).await),
                // No such kind: no such objects. It is looked for again with the next change.
                Ok(None) => self.cache.replace(name, &None, Vec::new()),
                Err(error) => self.cache.lost(name, &None, Some(&format!("{}: {error}", self.name))),
            }
        }
    }

    /// Ends all watches.
    pub fn stop(&self) {
        for (_, watch) in self.watches.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            watch.task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::connect::Connection;
    use super::*;

    #[tokio::test]
    async fn a_kind_that_nobody_has_objects_of_is_followed_for_a_while_and_no_longer() {
        let cluster = Cluster::new(Connection::default(), "test".into());
        let long_ago = Instant::now().checked_sub(UNUSED).expect("clocks begin before that, and may be negative");
        let kind = |name: &str| KindName { group: String::new(), kind: name.into() };
        let (asked, used, unused) = (kind("Asked"), kind("Used"), kind("Unused"));
        let mut tasks = BTreeMap::new();
        for (name, asked) in [
            (asked.clone(), Instant::now()),
            (used.clone(), long_ago),
            (unused.clone(), long_ago),
            (KindName::config_map(), long_ago),
        ] {
            let task = tokio::spawn(std::future::pending());
            tasks.insert(name.clone(), task.abort_handle());
            cluster.cache.replace(&name, &None, Vec::new());
            cluster.watches.lock().unwrap().insert((name, None), Watch { task, asked });
        }
        cluster.leave_unused(&[(used.clone(), "v1".to_owned())].into());
        let left: BTreeSet<KindName> = cluster.watches.lock().unwrap().keys().map(|(name, _)| name.clone()).collect();
        assert_eq!(left, [asked, used, KindName::config_map()].into());
        let limit = Duration::from_secs(60);
        let ended = async {
            while !tasks[&unused].is_finished() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(limit, ended).await.expect("its watch ends");
        assert!(cluster.cache.lock().known(&unused).is_err(), "what is not followed is not known");
        assert!(left.iter().all(|name| !tasks[name].is_finished() && cluster.cache.lock().known(name).is_ok()));
        cluster.stop();
    }
}
