//! Looking: everything that is known of one unit, in one value.

use std::collections::BTreeMap;

use super::world::World;
use crate::domain::action::Which;
use crate::domain::id::{RunId, UnitId};
use crate::domain::observed::{ObservedGroup, ObservedUnit, Seen};
use crate::domain::workload::Place;

/// Looks at a unit on all its ports. What can't be seen is `Unknown` in its place; this never fails as a whole.
pub async fn observe(
    world: &World,
    unit: &UnitId,
    place: &Place,
    runs: impl IntoIterator<Item = RunId>,
) -> ObservedUnit {
    let route = async |which| match place {
        Place::Host => world.traffic.observe(unit, which).await,
        Place::Cluster(_) => match world.platforms.at(place).map(|platform| platform.traffic()) {
            Ok(Some(traffic)) => traffic.observe(unit, which).await,
            Ok(None) => Seen::Known(None),
            Err(error) => Seen::Unknown(error.to_string()),
        },
    };
    let (groups, traffic, preview) =
        tokio::join!(groups(world, unit, place), route(Which::Main), route(Which::Preview));
    let mut seen_runs = BTreeMap::new();
    for id in runs {
        let (run, _output) = world.platforms.host().run(&id).await;
        seen_runs.insert(id, run);
    }
    ObservedUnit { groups, traffic, preview, runs: seen_runs }
}

/// The groups of a unit at its place.
pub async fn groups(world: &World, unit: &UnitId, place: &Place) -> Seen<Vec<ObservedGroup>> {
    match world.platforms.at(place) {
        Ok(platform) => platform.observe(unit).await,
        Err(error) => Seen::Unknown(error.to_string()),
    }
}
