//! Apps of ten ConfigMaps each on a real API server: created, changed, edited by others; beside a bare loop that applies the same.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use trimtab::api::operations::UnitFilter;
use trimtab::api::types::UnitHealth;

use crate::control_plane::ControlPlane;
use crate::figure::{Figure, median, millis};
use crate::server::{self, Event, Server, last_of};
use crate::usage;
use crate::world::World;

const APPS: usize = 100;
/// Objects of each app.
const OBJECTS: usize = 10;
const CONNECTIONS: usize = 16;
const CHANGES: usize = 7;
const PASSES: usize = 20;

pub async fn measure() -> anyhow::Result<Vec<Figure>> {
    eprintln!("measuring kubernetes");
    let control_plane = ControlPlane::start(&[]);
    let server = Server::of(&std::fs::read_to_string(control_plane.kubeconfig())?)?;
    server.prepare(&["bench", "loop-before", "loop-after"]).await?;
    let config = format!(
        "[kubernetes.clusters.default]\nkubeconfig = '{}'\ncontext = 'user'\n",
        control_plane.kubeconfig().display()
    );
    let world = World::with(APPS, &[("environment.yaml".into(), environment())], &config).await?;
    let mut events = server.watch("bench").await?;

    let objects: Vec<Value> =
        (0..APPS).flat_map(|app| (0..OBJECTS).map(move |object| config_map(app, object, "first"))).collect();
    let before = bare(&server, "loop-before", &objects).await?;
    let mut figures = create(&world, &server, &mut events).await?;
    let after = bare(&server, "loop-after", &objects).await?;
    figures.insert(1, beside(figures[0].value, (before + after) / 2));
    figures.extend(change(&world, &server, &mut events).await?);
    figures.push(drift(&server, &mut events).await?);
    figures.push(pass(&world, &server).await?);
    Ok(figures)
}

/// What a loop with nothing around it takes for the same objects, until the last is seen by the same kind of watch: what is measured must
/// not cost one of the two more than the other.
async fn bare(server: &Server, namespace: &str, objects: &[Value]) -> anyhow::Result<Duration> {
    let mut events = server.watch(namespace).await?;
    let begun = server::now();
    let (seen, ()) = tokio::try_join!(
        last_of(&mut events, objects.len(), "first"),
        server.apply_all(namespace, objects, CONNECTIONS)
    )?;
    since(begun, seen)
}

fn beside(created: f64, bare: Duration) -> Figure {
    let note = format!(
        "the same beside a bare loop that applies the same objects over {CONNECTIONS} connections, watched as well, before and after; it took \
         {:.2} s",
        bare.as_secs_f64()
    );
    Figure::at_most("kubernetes/create/beside-loop", created / bare.as_secs_f64(), "x", 1.3, note)
}

/// All apps by one push.
async fn create(world: &World, server: &Server, events: &mut UnboundedReceiver<Event>) -> anyhow::Result<Vec<Figure>> {
    world.quiet().await?;
    let count = (APPS * OBJECTS) as f64;
    let (asked, used) = (server.requests().await?, usage::cpu(world.daemon())?);
    let files: Vec<_> = (0..APPS).flat_map(|number| app(number, "first")).collect();
    let pushed = world.push(&files)?;
    let created = since(pushed, last_of(events, APPS * OBJECTS, "first").await?)?;
    in_sync(world).await?;
    world.quiet().await?;
    let asked = server.requests().await? - asked;
    let used = usage::cpu(world.daemon())? - used;
    let memory = usage::resident(world.daemon())?;
    let note =
        "100 apps of 10 ConfigMaps by one push: from when the branch moved until the last object was seen by a watch";
    let rest_note = "until all are in sync and the daemon rests: processor time of daemon and git";
    let asked_note = "what the API server counted of the daemon's requests by then, divided by 1,000 objects";
    Ok(vec![
        Figure::at_most("kubernetes/create/time", created.as_secs_f64(), "s", 1.5, note),
        Figure::at_most("kubernetes/create/cpu", used.as_secs_f64(), "s", 1.0, rest_note),
        Figure::at_most("kubernetes/create/requests", asked / count, "/obj", 1.1, asked_note),
        Figure::at_most("kubernetes/memory", memory, "MiB", 80.0, "the daemon's, in RAM, with 1,000 objects"),
    ])
}

/// One app of all, again and again.
async fn change(world: &World, server: &Server, events: &mut UnboundedReceiver<Event>) -> anyhow::Result<Vec<Figure>> {
    let (mut times, mut requests, mut processor, mut fetches) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..CHANGES {
        world.quiet().await?;
        let word = format!("change-{number}");
        let (asked, used) = (server.requests().await?, usage::cpu(world.daemon())?);
        let fetched = world.fetches().await?;
        let pushed = world.push(&app(number * 10, &word))?;
        times.push(millis(since(pushed, last_of(events, OBJECTS, &word).await?)?));
        in_sync(world).await?;
        world.quiet().await?;
        requests.push(server.requests().await? - asked);
        fetches.push(world.fetches().await? - fetched);
        processor.push(millis(usage::cpu(world.daemon())? - used));
    }
    let note = "a commit that touches 1 of 100 apps, all its 10 objects: from when the branch moved until the last one is live; median of 7";
    let rest = "the same, until all is in sync and the daemon rests";
    Ok(vec![
        Figure::at_most("kubernetes/change/time", median(times), "ms", 200.0, note),
        Figure::at_most("kubernetes/change/requests", median(requests), "", 22.0, rest),
        Figure::at_most("kubernetes/change/cpu", median(processor), "ms", 100.0, rest),
        Figure::at_most(
            "kubernetes/change/fetches",
            median(fetches),
            "",
            1.0,
            "fetches of the repository for that commit",
        ),
    ])
}

/// Somebody changes an object; trimtab puts it back.
async fn drift(server: &Server, events: &mut UnboundedReceiver<Event>) -> anyhow::Result<Figure> {
    let mut times = Vec::new();
    for number in 0..CHANGES {
        let edited = server.edit("bench", &format!("{}-0", name(number * 10 + 1)), "drifted").await?;
        last_of(events, 1, "drifted").await?;
        times.push(millis(since(edited, last_of(events, 1, "first").await?)?));
    }
    let note =
        "from when the API server took somebody's change of an object until the object is as it was; median of 7";
    Ok(Figure::at_most("kubernetes/drift", median(times), "ms", 250.0, note))
}

/// Nothing to do.
async fn pass(world: &World, server: &Server) -> anyhow::Result<Figure> {
    world.quiet().await?;
    let asked = server.requests().await?;
    for _ in 0..PASSES {
        world.api().reconcile(&UnitFilter::default()).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.quiet().await?;
    let asked = server.requests().await? - asked;
    let note = "requests to the API server in 20 passes that find nothing to do; a watch that is renewed counts as one";
    Ok(Figure::at_most("kubernetes/pass/requests", asked, "", 0.0, note))
}

async fn in_sync(world: &World) -> anyhow::Result<()> {
    let limit = Duration::from_secs(120);
    let all = async {
        loop {
            let units = world.api().units(&UnitFilter::default()).await.unwrap_or_default();
            if units.iter().filter(|unit| unit.health == UnitHealth::InSync).count() == APPS {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(limit, all).await.context("not all apps are in sync in time")
}

fn since(begin: SystemTime, end: SystemTime) -> anyhow::Result<Duration> {
    end.duration_since(begin).context("the clock went back")
}

fn name(app: usize) -> String {
    format!("app-{app:03}")
}

fn environment() -> String {
    "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: production }\nspec:\n  platform: { kubernetes: { namespace: bench } }\n"
        .into()
}

fn config_map(app: usize, object: usize, word: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": format!("{}-{object}", name(app)), "labels": { "bench": "yes" } },
        "data": { "word": word, "settings": "level = info\ncache = 64\nregion = north\n".repeat(8) },
    })
}

/// An app's documents and objects.
fn app(number: usize, word: &str) -> Vec<(String, String)> {
    let name = name(number);
    let app = format!(
        "apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: {name} }}\nspec:\n  workload: {{ kubernetes: {{ path: objects }} }}\n  \
         rollback: {{ window: 0s }}\n"
    );
    let release = format!(
        "apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: {name}, environment: production }}\nspec: {{ version: {word} }}\n"
    );
    let documents = [(format!("apps/{name}/app.yaml"), app), (format!("apps/{name}/production.yaml"), release)];
    // JSON is YAML.
    let objects = (0..OBJECTS)
        .map(|object| (format!("apps/{name}/objects/{object}.yaml"), config_map(number, object, word).to_string()));
    documents.into_iter().chain(objects).collect()
}
