//! Measures what trimtab promises about speed, each figure in a world of its own: a generated repository, the real daemon,
//! supervisor and router. `tests/bench` runs it.

mod api;
#[cfg(feature = "kubernetes")]
#[path = "../../tests/kubernetes/control_plane.rs"]
#[allow(dead_code, clippy::unwrap_used)]
mod control_plane;
mod figure;
mod idle;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(feature = "kubernetes")]
mod kubernetes_scale;
mod pass;
mod plan;
mod relay;
mod router;
#[cfg(feature = "kubernetes")]
mod server;
mod start;
mod step;
mod usage;
mod validate;
mod world;

use std::process::ExitCode;

use anyhow::bail;

use figure::Figure;
use world::World;

/// How many apps the promises are about.
const APPS: usize = 1_000;
/// At which numbers of apps `--scale` measures.
const SCALE: [usize; 3] = [100, 1_000, 10_000];

/// What is measured in a world of many apps, in this order: the later ones leave it changed.
const IN_A_WORLD: [&str; 5] = ["idle", "pass", "start", "plan", "api"];
/// What has a world of its own.
const ALONE: [&str; 3] = ["step", "validate", "router"];
/// What needs a control plane of Kubernetes, and is measured only where it is asked for.
const ON_REQUEST: [&str; 1] = ["kubernetes"];

#[derive(Default)]
struct Options {
    json: bool,
    scale: bool,
    names: Vec<String>,
}

fn parts() -> impl Iterator<Item = &'static str> {
    [&IN_A_WORLD[..], &ALONE, &ON_REQUEST].into_iter().flatten().copied()
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => options.json = true,
            "--scale" => options.scale = true,
            // Cargo adds it to every benchmark.
            "--bench" => {}
            name if parts().any(|part| part == name) => options.names.push(argument),
            other => bail!("unknown part {other}; there are: {}", parts().collect::<Vec<_>>().join(", ")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every promise was kept.
fn run() -> anyhow::Result<bool> {
    let options = options()?;
    let wanted = |name: &str| options.names.is_empty() || options.names.iter().any(|wanted| wanted == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut figures = Vec::new();
    let sizes = if options.scale { &SCALE[..] } else { &[APPS] };
    for size in sizes {
        let parts: Vec<_> = IN_A_WORLD.into_iter().filter(|name| wanted(name)).collect();
        figures.extend(runtime.block_on(in_a_world(*size, &parts))?);
        if wanted("validate") {
            figures.extend(validate::measure(size * 10)?);
        }
    }
    if wanted("step") {
        figures.extend(runtime.block_on(step::measure())?);
    }
    if wanted("router") {
        figures.extend(runtime.block_on(router::measure())?);
    }
    if options.names.iter().any(|name| name == "kubernetes") {
        #[cfg(feature = "kubernetes")]
        {
            figures.extend(runtime.block_on(kubernetes::measure())?);
            if options.scale {
                figures.extend(runtime.block_on(kubernetes_scale::measure())?);
            }
        }
        #[cfg(not(feature = "kubernetes"))]
        bail!("this build has no `kubernetes` platform: build with `--features full`");
    }
    if options.json {
        figures.iter().for_each(|figure| println!("{}", figure.json()));
    } else {
        print!("{}", figure::table(&figures));
    }
    Ok(figures.iter().all(Figure::met))
}

async fn in_a_world(apps: usize, parts: &[&str]) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    if parts.is_empty() {
        return Ok(figures);
    }
    let mut world = World::of_apps(apps).await?;
    for part in parts {
        eprintln!("measuring {part} with {apps} apps");
        figures.extend(match *part {
            "idle" => idle::measure(&world).await?,
            "pass" => pass::measure(&world).await?,
            "start" => start::measure(&mut world).await?,
            "plan" => plan::measure(&world).await?,
            _ => api::measure(&world).await?,
        });
    }
    Ok(figures)
}
