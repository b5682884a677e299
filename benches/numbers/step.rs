//! What a step of a rollout costs beyond waiting for the app itself: with real processes and a real route, and apps that leave
//! nothing to wait for.

use jiff::Timestamp;
use trimtab::domain::id::UnitId;

use crate::figure::{Figure, median};
use crate::world::{TRIMTAB, World};

const VERSIONS: usize = 6;

pub async fn measure() -> anyhow::Result<Vec<Figure>> {
    eprintln!("measuring step");
    let world = World::of_files(2, &files("1.0.0")).await?;
    let (canary, rolling) = ("canary/production/default".parse()?, "rolling/production/default".parse()?);
    for version in 0..=VERSIONS {
        let version = format!("1.{version}.0");
        if version != "1.0.0" {
            world.push(&files(&version))?;
        }
        world.verified(&canary, &version).await?;
        world.verified(&rolling, &version).await?;
    }
    let note = "real process, supervisor and router; a canary's steps of weight alone, its instances being ready: from one phase to the \
                next, set at the router, read back, recorded before and after; median";
    let traffic = Figure::at_most("step/traffic", median(steps(&world, &canary)?), "ms", 50.0, note);
    let note = "real processes and supervisor; 6 instances replaced one by one that are ready as soon as they run: from one phase to \
                the next, a process started and one ended; median";
    let process = Figure::at_most("step/process", median(steps(&world, &rolling)?), "ms", 50.0, note);
    Ok(vec![traffic, process])
}

/// The times in milliseconds from one phase to the next within the rollouts of a unit, but for the first and the last phase, in
/// which a canary starts its instance and is watched.
fn steps(world: &World, unit: &UnitId) -> anyhow::Result<Vec<f64>> {
    let journal = rusqlite::Connection::open(world.path("state/daemon/journal.db"))?;
    let mut query = journal.prepare(
        "SELECT r.at, r.event FROM records r JOIN streams s ON s.id = r.stream WHERE s.name = ?1 ORDER BY r.seq",
    )?;
    let rows =
        query.query_map([format!("unit/{unit}")], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let (mut rollouts, mut entered): (Vec<Vec<Timestamp>>, Vec<Timestamp>) = (Vec::new(), Vec::new());
    for row in rows {
        let (at, event) = row?;
        if event.contains("\"rolloutStarted\"") {
            rollouts.push(std::mem::take(&mut entered));
        } else if event.contains("\"phaseEntered\"") {
            entered.push(at.parse()?);
        }
    }
    rollouts.push(entered);
    let between = |pair: &[Timestamp]| pair[1].duration_since(pair[0]).as_secs_f64() * 1000.0;
    // What comes before the first rollout, and the first, which installs and has no steps.
    let inner = rollouts.iter().skip(2).filter(|phases| phases.len() > 3).map(|phases| &phases[1..phases.len() - 1]);
    Ok(inner.flat_map(|phases| phases.windows(2).map(between).collect::<Vec<_>>()).collect())
}

fn files(version: &str) -> Vec<(String, String)> {
    let release = |app: &str| {
        format!(
            "apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: {app}, environment: production }}\nspec: {{ version: {version} }}\n"
        )
    };
    let weights: String = (1..10).map(|tenth| format!(", {{ weight: {} }}", tenth * 10)).collect();
    let canary = format!(
        "apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: canary }}\nspec:\n  workload:\n    process:\n      \
         command: [{TRIMTAB}, demo-app, --port, \"{{{{ port }}}}\", --version, \"{{{{ version }}}}\"]\n  route: {{ host: canary.localhost, drain: 1s }}\n  \
         rollback: {{ window: 0s }}\n  strategy: {{ canary: {{ steps: [ {{ scale: 1 }}{weights} ], scaleDownDelay: 0s }} }}\n"
    );
    let rolling = "apiVersion: trimtab/v1\nkind: App\nmetadata: { name: rolling }\nspec:\n  workload:\n    process:\n      \
                   command: [/bin/sleep, infinity]\n      port: false\n      env: { VERSION: \"{{ version }}\" }\n  replicas: 6\n  \
                   rollback: { window: 0s }\n  strategy: { rolling: { maxSurge: 1, maxUnavailable: 0 } }\n";
    let environment = "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: production }\nspec:\n  platform: { host: {} }\n  \
                       listeners: { web: \"127.0.0.1:18473\" }\n";
    vec![
        ("environment.yaml".into(), environment.into()),
        ("canary.yaml".into(), canary),
        ("rolling.yaml".into(), rolling.into()),
        ("canary-release.yaml".into(), release("canary")),
        ("rolling-release.yaml".into(), release("rolling")),
    ]
}
