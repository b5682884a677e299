//! What concerns several units: apps that others depend on, circles, routes that collide.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use super::Rendered;
use crate::domain::id::Name;
use crate::domain::manifest::decode::name_or_add;
use crate::domain::manifest::document::{Body, Identity};
use crate::domain::manifest::{DocumentSet, Layer, Location, Problem};
use crate::domain::strategy::Strategy;

/// Turns the units that cannot stand beside the others into problems.
pub fn check(documents: &DocumentSet, results: &mut [Rendered]) {
    let mut problems: BTreeMap<usize, Vec<Problem>> = BTreeMap::new();
    dependencies(documents, results, &mut problems);
    routes(documents, results, &mut problems);
    for (index, problems) in problems {
        results[index].outcome = Err(problems);
    }
}

/// Where a field of a unit's merged spec was written.
fn place(documents: &DocumentSet, rendered: &Rendered, field: &str) -> Option<Location> {
    let identity = Identity::Release { app: rendered.app.clone(), environment: rendered.environment.clone() };
    let release = documents.find(&identity)?;
    let set = release.release().and_then(|release| release.set.as_ref());
    if let Some(node) = set.and_then(|set| set.get(field)) {
        return Some(node.at.clone());
    }
    match &documents.find(&Identity::App(rendered.app.clone()))?.body {
        Body::App(spec) => Some(spec.get(field)?.at.clone()),
        _ => None,
    }
}

type Graph = BTreeMap<(Name, Name), Vec<Name>>;

fn dependencies(documents: &DocumentSet, results: &[Rendered], problems: &mut BTreeMap<usize, Vec<Problem>>) {
    let mut graph = Graph::new();
    for rendered in results {
        let needs = rendered.outcome.as_ref().map(|unit| unit.depends_on.clone()).unwrap_or_default();
        graph.entry((rendered.environment.clone(), rendered.app.clone())).or_default().extend(needs);
    }
    let mut state = Visits::default();
    let circles: Vec<Vec<(Name, Name)>> = graph.keys().filter_map(|key| circle(&graph, key, &mut state)).collect();
    for (index, rendered) in results.iter().enumerate() {
        let Ok(unit) = &rendered.outcome else { continue };
        if unit.depends_on.is_empty() {
            continue;
        }
        let Some(at) = place(documents, rendered, "dependsOn") else { continue };
        let here = (rendered.environment.clone(), rendered.app.clone());
        for name in &unit.depends_on {
            if !graph.contains_key(&(rendered.environment.clone(), name.clone())) {
                problems.entry(index).or_default().push(unknown(&graph, rendered, name, &at));
            }
        }
        for circle in circles.iter().filter(|circle| circle.contains(&here)) {
            let mut names: Vec<&str> = circle.iter().map(|(_, app)| app.as_str()).collect();
            names.extend(names.first().copied());
            let message = format!("in environment `{}` apps wait for each other: {}", here.0, names.join(" -> "));
            let problem = Problem::new(Layer::Dependency, &at, message, "delete one of these dependencies");
            problems.entry(index).or_default().push(problem);
        }
    }
}

fn unknown(graph: &Graph, rendered: &Rendered, name: &Name, at: &Location) -> Problem {
    let known: Vec<&str> = graph
        .keys()
        .filter(|(environment, app)| *environment == rendered.environment && *app != rendered.app)
        .map(|(_, app)| app.as_str())
        .collect();
    let remedy = name_or_add(name.as_str(), &known, "add a Release for it");
    let message = format!("app `{name}` has no Release in environment `{}`", rendered.environment);
    Problem::new(Layer::Dependency, at, message, remedy)
}

/// The vertices that are done, over all searches.
#[derive(Default)]
struct Visits {
    done: std::collections::BTreeSet<(Name, Name)>,
}

/// A circle that is met from a vertex on, each circle once. Iterative: chains may be long.
fn circle(graph: &Graph, start: &(Name, Name), visits: &mut Visits) -> Option<Vec<(Name, Name)>> {
    if visits.done.contains(start) {
        return None;
    }
    let mut path: Vec<((Name, Name), usize)> = vec![(start.clone(), 0)];
    let mut on_path: std::collections::BTreeSet<(Name, Name)> = [start.clone()].into();
    let mut found = None;
    while let Some((vertex, next)) = path.last_mut() {
        let needs = graph.get(vertex).map(Vec::as_slice).unwrap_or_default();
        let Some(name) = needs.get(*next) else {
            visits.done.insert(vertex.clone());
            on_path.remove(vertex);
            path.pop();
            continue;
        };
        *next += 1;
        let child = (vertex.0.clone(), name.clone());
        if on_path.contains(&child) {
            let from = path.iter().position(|(vertex, _)| *vertex == child).unwrap_or(0);
            found.get_or_insert_with(|| path[from..].iter().map(|(vertex, _)| vertex.clone()).collect());
        } else if graph.contains_key(&child) && !visits.done.contains(&child) {
            on_path.insert(child.clone());
            path.push((child, 0));
        }
    }
    found
}

type RouteKey = (SocketAddr, Option<String>, String);

fn routes(documents: &DocumentSet, results: &[Rendered], problems: &mut BTreeMap<usize, Vec<Problem>>) {
    let mut taken: BTreeMap<RouteKey, Vec<usize>> = BTreeMap::new();
    for (index, rendered) in results.iter().enumerate() {
        let Ok(unit) = &rendered.outcome else { continue };
        let Some(route) = &unit.route else { continue };
        taken.entry((route.listen, route.host.clone(), route.path.clone())).or_default().push(index);
        if let Strategy::BlueGreen(blue_green) = &unit.strategy
            && let Some(host) = &blue_green.preview_host
        {
            taken.entry((route.listen, Some(host.clone()), route.path.clone())).or_default().push(index);
        }
    }
    clashes(documents, results, problems);
    for ((listen, host, path), indexes) in taken.iter().filter(|(_, indexes)| indexes.len() > 1) {
        for index in indexes {
            let Some(other) = indexes.iter().find(|other| *other != index) else { continue };
            let Some(at) = place(documents, &results[*index], "route") else { continue };
            let shown = format!("http://{}{path} on {listen}", host.as_deref().unwrap_or("*"));
            let other = &results[*other];
            let message = format!("{shown} also leads to {}", unit_name(other));
            let remedy = match other.app == results[*index].app && other.environment == results[*index].environment {
                true => "give each target listeners of its own: `targets: [{ name, platform, listeners }]`",
                false => "give one of them another host, path or listener",
            };
            problems.entry(*index).or_default().push(Problem::new(Layer::Dependency, &at, message, remedy));
        }
    }
}

/// A listener on all addresses of a port leaves none for another listener on that port.
fn clashes(documents: &DocumentSet, results: &[Rendered], problems: &mut BTreeMap<usize, Vec<Problem>>) {
    let mut ports: BTreeMap<u16, BTreeMap<SocketAddr, usize>> = BTreeMap::new();
    let routed = |rendered: &Rendered| Some(rendered.outcome.as_ref().ok()?.route.as_ref()?.listen);
    for (index, rendered) in results.iter().enumerate() {
        if let Some(listen) = routed(rendered) {
            ports.entry(listen.port()).or_default().entry(listen).or_insert(index);
        }
    }
    for (index, rendered) in results.iter().enumerate() {
        let Some(listen) = routed(rendered) else { continue };
        let Some(others) = ports.get(&listen.port()) else { continue };
        let clash = others
            .iter()
            .find(|(other, _)| **other != listen && (other.ip().is_unspecified() || listen.ip().is_unspecified()));
        let Some(((other, user), at)) = clash.zip(place(documents, rendered, "route")) else { continue };
        let message =
            format!("{listen} and {other} (used by {}) can't both be listened on", unit_name(&results[*user]));
        let remedy = "give the listeners of the Environments different ports";
        problems.entry(index).or_default().push(Problem::new(Layer::Dependency, &at, message, remedy));
    }
}

fn unit_name(rendered: &Rendered) -> String {
    match &rendered.target {
        Some(target) => format!("{}/{}/{target}", rendered.app, rendered.environment),
        None => format!("{}/{}", rendered.app, rendered.environment),
    }
}
