//! The status of all apps, asked for again and again while rollouts run.

use std::time::Duration;

use anyhow::ensure;
use http::Method;
use tokio::time::Instant;
use trimtab::net::client::Client;

use crate::figure::{Figure, millis, quantile};
use crate::world::World;

const RATE: u32 = 50;
const SECONDS: u32 = 10;
/// So many apps are changed by each push.
const CHANGED: usize = 10;

pub async fn measure(world: &World) -> anyhow::Result<Vec<Figure>> {
    world.quiet().await?;
    let client = Client::new(world.path("daemon.sock")).with_timeout(Duration::from_secs(60));
    let asking = tokio::spawn(ask(client));
    let begun = Instant::now();
    let mut pushes = 0;
    while !asking.is_finished() {
        let numbers: Vec<usize> = (0..CHANGED).map(|app| (pushes * CHANGED + app) % world.apps).collect();
        world.release(&numbers, &format!("1.2.{pushes}"))?;
        pushes += 1;
        tokio::time::sleep_until(begun + Duration::from_secs(pushes as u64)).await;
    }
    let (times, bytes) = asking.await??;
    let apps = world.apps;
    let note = format!(
        "GET of the units ({} KiB; 1,000 at most) over the Unix socket, {RATE} a second for {SECONDS} s, each over a connection of its own, \
         timed from when it was due until the last byte; meanwhile a push a second rolls out {CHANGED} apps",
        bytes / 1024
    );
    let figure = Figure::at_most(format!("api/p99/{apps}-apps"), quantile(times, 0.99), "ms", 50.0, note);
    Ok(vec![if apps > crate::APPS { figure.without_target() } else { figure }])
}

/// Asks at a steady rate, however slow the answers; the times in milliseconds, and the size of an answer.
async fn ask(client: Client) -> anyhow::Result<(Vec<f64>, usize)> {
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..RATE * SECONDS {
        let due = begun + Duration::from_secs_f64(f64::from(number) / f64::from(RATE));
        tokio::time::sleep_until(due).await;
        let client = client.clone();
        tasks.push(tokio::spawn(async move {
            let bytes = client.bytes(Method::GET, "/api/v1/units?limit=1000", None::<&()>).await?;
            anyhow::Ok((millis(due.elapsed()), bytes.len()))
        }));
    }
    let (mut times, mut size) = (Vec::new(), 0);
    for task in tasks {
        let (time, bytes) = task.await??;
        times.push(time);
        size = bytes;
    }
    ensure!(size > 0, "the answers were empty");
    Ok((times, size))
}
