//! Following the logs of a unit: of all its groups, also of those that come while a rollout goes on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::{StreamExt, StreamMap};
use tokio_util::sync::CancellationToken;

use super::unit::Unit;
use super::world::World;
use crate::api::operations::Follow;
use crate::domain::id::GroupId;
use crate::domain::observed::ObservedInstance;
use crate::ports::platform::LogStream;

/// Of a group that came while somebody follows, all lines are new.
const ALL: u32 = 10_000;
/// How long after a group could not be followed it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How many pieces wait for a slow reader before nothing more is read.
const PIECES: usize = 16;

/// The lines of a unit's instances, in pieces of whole lines, until nobody reads, the daemon stops, or the one instance that
/// was asked for is gone.
pub fn follow(world: Arc<World>, unit: Arc<Unit>, followed: Follow, stop: CancellationToken) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sender.closed() => {}
            () = pass_on(&world, &unit, &followed, &sender) => {}
        }
    });
    receiver
}

async fn pass_on(world: &World, unit: &Unit, followed: &Follow, sender: &mpsc::Sender<String>) {
    // By their streams: groups that replace each other in place have one.
    let mut open: StreamMap<String, LogStream> = StreamMap::new();
    let mut met: BTreeSet<String> = BTreeSet::new();
    let known = groups(unit, |one| followed.known.contains(&one.id));
    let (mut seq, mut first) = (0, followed.known.is_empty());
    loop {
        let groups = groups(unit, |one| followed.instance.as_ref().is_none_or(|id| *id == one.id));
        let seen = unit.glance().observed.as_ref().is_some_and(|observed| observed.groups.known().is_some());
        if followed.instance.is_some() && seen && groups.is_empty() && open.is_empty() {
            return;
        }
        for group in groups {
            let Ok(platform) = world.platforms.at(&unit.glance().place) else { continue };
            let stream = platform.log_stream(unit.id(), &group);
            if open.contains_key(&stream) {
                continue;
            }
            // Where a stream broke off, the lines before that were told.
            let tail = match (met.contains(&stream) || known.contains(&group), first) {
                (true, _) => 0,
                (false, true) => followed.tail,
                (false, false) => ALL,
            };
            if let Ok(lines) = platform.follow_logs(unit.id(), &group, followed.instance.as_deref(), tail).await {
                met.insert(stream.clone());
                open.insert(stream, lines);
            }
        }
        first = false;
        let since = seq;
        let changed = async {
            let now = world.hub.wait(since, PAUSE).await;
            // Changes come in bursts.
            tokio::time::sleep(Duration::from_millis(50)).await;
            now
        };
        tokio::pin!(changed);
        loop {
            tokio::select! {
                now = &mut changed => {
                    seq = now;
                    break;
                }
                Some((_, piece)) = open.next(), if !open.is_empty() => {
                    if let Ok(text) = piece && sender.send(text).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// The groups that the unit has, as it was seen last, which have such an instance.
fn groups(unit: &Unit, wanted: impl Fn(&ObservedInstance) -> bool) -> Vec<GroupId> {
    let glance = unit.glance();
    let groups = glance.observed.as_ref().and_then(|observed| observed.groups.known());
    let groups = groups.into_iter().flatten().filter(|group| group.instances.iter().any(&wanted));
    groups.map(|group| group.group.clone()).collect()
}
