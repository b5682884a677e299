//! Many apps of three objects on a real API server: a Deployment, a Service and a ConfigMap each, and what the cluster makes of
//! them on pretended nodes (kwok): ten objects an app.

use std::time::{Duration, Instant};

use anyhow::ensure;
use trimtab::api::operations::UnitFilter;
use trimtab::api::types::UnitHealth;

use crate::control_plane::ControlPlane;
use crate::figure::{Figure, millis};
use crate::server::Server;
use crate::usage;
use crate::world::World;

/// The numbers of apps that are compared.
const SIZES: [usize; 2] = [100, 1_000];
const REPLICAS: usize = 3;

/// What one size costs.
struct Cost {
    apps: usize,
    /// Until all are in sync.
    time: Duration,
    cpu: Duration,
    memory: f64,
    requests: f64,
    /// A change of one app's ConfigMap, until it is in sync again: pods are not what is measured.
    change: Duration,
    change_cpu: Duration,
}

pub async fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut costs = Vec::new();
    for apps in SIZES {
        eprintln!("measuring kubernetes with {apps} apps of three objects");
        costs.push(cost(apps).await?);
    }
    let mut figures = Vec::new();
    for cost in &costs {
        let apps = cost.apps;
        let name = |what: &str| format!("kubernetes/{apps}-apps/{what}");
        let note =
            format!("{apps} apps of a Deployment, a Service and a ConfigMap, {REPLICAS} pods each, on pretended nodes");
        figures.extend([
            Figure::at_most(name("time"), cost.time.as_secs_f64(), "s", 0.0, format!("{note}: until all are in sync"))
                .without_target(),
            Figure::at_most(
                name("cpu"),
                millis(cost.cpu) / apps as f64,
                "ms/app",
                0.0,
                format!("{note}: the daemon's processor time"),
            )
            .without_target(),
            Figure::at_most(
                name("requests"),
                cost.requests / apps as f64,
                "/app",
                0.0,
                format!("{note}: requests of the daemon"),
            )
            .without_target(),
            Figure::at_most(name("memory"), cost.memory, "MiB", 250.0, format!("{note}: the daemon's, in RAM")),
            Figure::at_most(
                name("change/time"),
                millis(cost.change),
                "ms",
                0.0,
                format!("{note}: the ConfigMap of one changes, until that app is in sync"),
            )
            .without_target(),
            Figure::at_most(
                name("change/cpu"),
                millis(cost.change_cpu),
                "ms",
                0.0,
                format!("{note}: the same, processor time"),
            )
            .without_target(),
        ]);
    }
    let [small, large] = &costs[..] else { return Ok(figures) };
    let each = |cost: &Cost| cost.cpu.as_secs_f64() / cost.apps as f64;
    figures.push(Figure::at_most(
        "kubernetes/scale",
        each(large) / each(small),
        "x",
        1.5,
        "processor time for an app among 1,000, beside that among 100: 1 is linear",
    ));
    Ok(figures)
}

async fn cost(apps: usize) -> anyhow::Result<Cost> {
    let control_plane = ControlPlane::start(&["--nodes"]);
    let server = Server::of(&std::fs::read_to_string(control_plane.kubeconfig())?)?;
    server.prepare(&["bench"]).await?;
    let config = format!(
        "[kubernetes.clusters.default]\nkubeconfig = '{}'\ncontext = 'user'\n",
        control_plane.kubeconfig().display()
    );
    let environment = "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: production }\nspec:\n  platform: { kubernetes: { namespace: bench } }\n";
    let world = World::with(apps, &[("environment.yaml".into(), environment.into())], &config).await?;
    world.quiet().await?;

    let (asked, used, begun) = (server.requests().await?, usage::cpu(world.daemon())?, Instant::now());
    let files: Vec<_> = (0..apps).flat_map(|number| app(number, "first")).collect();
    world.push(&files)?;
    in_sync(&world, apps, "first").await?;
    let time = begun.elapsed();
    world.quiet().await?;
    let (cpu, requests) = (usage::cpu(world.daemon())? - used, server.requests().await? - asked);
    let memory = usage::resident(world.daemon())?;

    let (used, begun) = (usage::cpu(world.daemon())?, Instant::now());
    world.push(&app(apps / 2, "second"))?;
    in_sync(&world, 1, "second").await?;
    let change = begun.elapsed();
    world.quiet().await?;
    Ok(Cost { apps, time, cpu, memory, requests, change, change_cpu: usage::cpu(world.daemon())? - used })
}

/// Waits until so many apps are verified at a version.
async fn in_sync(world: &World, apps: usize, version: &str) -> anyhow::Result<()> {
    let (begun, limit) = (Instant::now(), Duration::from_secs(600));
    loop {
        let units = world.api().units(&UnitFilter::default()).await.unwrap_or_default();
        let there = units.iter().filter(|unit| {
            let verified = unit.last_verified.as_ref().is_some_and(|verified| verified.version == version);
            verified && unit.health == UnitHealth::InSync
        });
        let count = there.count();
        if count >= apps {
            return Ok(());
        }
        ensure!(begun.elapsed() < limit, "only {count} of {apps} apps are at {version} after {limit:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn app(number: usize, word: &str) -> Vec<(String, String)> {
    let name = format!("app-{number:04}");
    let app = format!(
        "apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: {name} }}\nspec:\n  workload: {{ kubernetes: {{ path: objects }} }}\n  \
         rollback: {{ window: 0s }}\n"
    );
    let release = format!(
        "apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: {name}, environment: production }}\nspec: {{ version: {word} }}\n"
    );
    let labels = format!("{{ app: {name} }}");
    let objects = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n  replicas: {REPLICAS}\n  selector: {{ matchLabels: {labels} }}\n  \
         template:\n    metadata: {{ labels: {labels} }}\n    spec:\n      \
         containers: [{{ name: web, image: registry.example/web:1, resources: {{ requests: {{ cpu: 1m, memory: 1Mi }} }} }}]\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec: {{ clusterIP: None, selector: {labels}, ports: [{{ port: 80 }}] }}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ word: {word} }}\n"
    );
    vec![
        (format!("apps/{name}/app.yaml"), app),
        (format!("apps/{name}/production.yaml"), release),
        (format!("apps/{name}/objects/all.yaml"), objects),
    ]
}
