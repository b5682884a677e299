//! What a unit was called before its App, Release, Environment or target was renamed.

use std::collections::BTreeMap;

use super::Rendered;
use crate::domain::id::{Name, UnitId};
use crate::domain::manifest::environment::Target;
use crate::domain::manifest::{Document, DocumentSet, Identity, moved};

/// The names that App and Environment of a Release had together, the present ones left out. What a Release says of itself
/// counts before what its App says.
pub fn pairs(documents: &DocumentSet, app: &Name, environment: &Name, release: &Document) -> Vec<(Name, Name)> {
    let before = |document: Option<&Document>| -> Vec<Name> {
        document.map(|document| document.moved_from.iter().map(|from| from.value.clone()).collect()).unwrap_or_default()
    };
    let mut apps = before(Some(release));
    if apps.is_empty() {
        apps = before(documents.find(&Identity::App(app.clone())));
    }
    let environments = before(documents.find(&Identity::Environment(environment.clone())));
    let all = |now: &Name, before: Vec<Name>| -> Vec<Name> { [now.clone()].into_iter().chain(before).collect() };
    let (apps, environments) = (all(app, apps), all(environment, environments));
    let pairs = apps.iter().flat_map(|app| environments.iter().map(move |other| (app.clone(), other.clone())));
    pairs.skip(1).collect()
}

/// The units that a unit may have been, from what App, Environment and target were called.
pub fn units(pairs: &[(Name, Name)], id: &UnitId, target: &Target) -> Vec<UnitId> {
    let now = [(id.app.clone(), id.environment.clone())];
    let targets = || [&id.target].into_iter().chain(target.moved_from.iter().map(|from| &from.value));
    let all = now.iter().chain(pairs).flat_map(|(app, environment)| {
        targets().map(move |target| UnitId {
            app: app.clone(),
            environment: environment.clone(),
            target: target.clone(),
        })
    });
    all.skip(1).collect()
}

/// A state can go over to one unit only.
pub fn check(documents: &DocumentSet, results: &mut [Rendered]) {
    let mut claims: BTreeMap<&UnitId, Vec<usize>> = BTreeMap::new();
    for (index, rendered) in results.iter().enumerate() {
        rendered.moved_from.iter().for_each(|from| claims.entry(from).or_default().push(index));
    }
    let mut problems = Vec::new();
    for (from, indexes) in claims.iter().filter(|(_, indexes)| indexes.len() > 1) {
        let names: Vec<String> = indexes.iter().map(|index| name(&results[*index])).collect();
        for index in indexes {
            let rendered = &results[*index];
            let identity = Identity::Release { app: rendered.app.clone(), environment: rendered.environment.clone() };
            if let Some(release) = documents.find(&identity) {
                problems.push((*index, moved::contested(&release.name_at, &names, &from.to_string())));
            }
        }
    }
    for (index, problem) in problems {
        match &mut results[index].outcome {
            Err(all) => all.push(problem),
            outcome => *outcome = Err(vec![problem]),
        }
    }
}

fn name(rendered: &Rendered) -> String {
    let target = rendered.target.as_ref().map(|target| format!("/{target}")).unwrap_or_default();
    format!("{}/{}{target}", rendered.app, rendered.environment)
}
