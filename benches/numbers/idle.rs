//! What the daemon costs while nothing happens.

use std::time::Duration;

use crate::figure::Figure;
use crate::usage;
use crate::world::World;

const WATCHED: Duration = Duration::from_secs(30);

pub async fn measure(world: &World) -> anyhow::Result<Vec<Figure>> {
    world.quiet().await?;
    let before = usage::cpu(world.daemon())?;
    tokio::time::sleep(WATCHED).await;
    let share = (usage::cpu(world.daemon())? - before).as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    let apps = world.apps;
    let cpu = Figure::at_most(
        format!("idle/cpu/{apps}-apps"),
        share,
        "%",
        0.5,
        "share of one core over 30 s; with the git processes of polls; no app has instances",
    );
    let memory = Figure::at_most(
        format!("idle/memory/{apps}-apps"),
        usage::resident(world.daemon())?,
        "MiB",
        64.0,
        "VmRSS of the daemon that brought all of them into sync; no app has instances",
    );
    Ok(if apps > crate::APPS { vec![cpu.without_target(), memory.without_target()] } else { vec![cpu, memory] })
}
