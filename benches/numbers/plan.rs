//! From a push to the plan.

use crate::figure::{Figure, median, millis};
use crate::world::{World, unit};

const PUSHES: usize = 15;

pub async fn measure(world: &World) -> anyhow::Result<Vec<Figure>> {
    let mut times = Vec::new();
    for push in 0..PUSHES {
        world.quiet().await?;
        let (number, version) = (push * 7 % world.apps, format!("1.1.{push}"));
        let moved = world.release(&[number], &version)?;
        let status = world.verified(&unit(number), &version).await?;
        let started = status.rollout.map(|rollout| rollout.summary.started).unwrap_or_default();
        times.push(millis(std::time::SystemTime::from(started).duration_since(moved).unwrap_or_default()));
    }
    let (apps, files) = (world.apps, world.files());
    let note = format!(
        "from the moment the branch of the bare repository moved (its file's time) to the record of the planned rollout; \
         1 of {apps} apps touched, {files} files; median of {PUSHES}"
    );
    let figure = Figure::at_most(format!("plan/{apps}-apps"), median(times), "ms", 100.0, note);
    Ok(vec![if apps > crate::APPS { figure.without_target() } else { figure }])
}
