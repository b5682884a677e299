//! From the start of the daemon's process to ready.

use crate::figure::{Figure, median, millis};
use crate::world::World;

const STARTS: usize = 7;

pub async fn measure(world: &mut World) -> anyhow::Result<Vec<Figure>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        world.kill_daemon();
        times.push(millis(world.start_daemon()?));
        world.api().daemon().await?;
        world.quiet().await?;
    }
    let apps = world.apps;
    let note = "kill -9, start, until READY=1 arrives: the API answers and everything known is kept true; median of 7";
    let figure = Figure::at_most(format!("start/{apps}-apps"), median(times), "ms", 300.0, note);
    Ok(vec![if apps > crate::APPS { figure.without_target() } else { figure }])
}
