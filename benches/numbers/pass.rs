//! A reconcile pass that finds nothing to do.

use std::time::Duration;

use trimtab::api::operations::UnitFilter;

use crate::figure::{Figure, millis};
use crate::usage;
use crate::world::World;

const PASSES: u32 = 20;
/// Between two passes, so that no unit is woken for two of them at once.
const PAUSE: Duration = Duration::from_millis(500);

pub async fn measure(world: &World) -> anyhow::Result<Vec<Figure>> {
    world.quiet().await?;
    let api = world.api();
    let (requests, before) = (world.requests.get(), usage::cpu(world.daemon())?);
    for _ in 0..PASSES {
        api.reconcile(&UnitFilter::default()).await?;
        tokio::time::sleep(PAUSE * u32::try_from(world.apps / 1000).unwrap_or(1).max(1)).await;
    }
    let cpu = millis(usage::cpu(world.daemon())? - before) / f64::from(PASSES);
    let requests = (world.requests.get() - requests) as f64;
    let apps = world.apps;
    let note = "`trimtab reconcile`: the source is asked, every unit looks and plans; processor time of daemon and git, \
                what idles meanwhile included; mean of 20";
    let cpu = Figure::at_most(format!("pass/cpu/{apps}-apps"), cpu, "ms", 20.0, note);
    let note = "requests that reached supervisor and router in 20 passes, beside hello and the long poll for news";
    let asked = Figure::at_most(format!("pass/requests/{apps}-apps"), requests, "", 0.0, note);
    Ok(vec![if apps > crate::APPS { cpu.without_target() } else { cpu }, asked])
}
