//! `trimtab why`: what holds an app, the root cause first.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde::Serialize;

use super::context::{Looking, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::View;
use super::output::style::Tone;
use super::select::UnitArgs;
use super::units;
use super::watching::{Shown, Watching};
use crate::api::client::Api;
use crate::api::operations::UnitFilter;
use crate::api::types::{AS_ASKED, HeldView, LeavingView, RolloutView, UnitHealth, UnitStatus};
use crate::domain::id::UnitId;

/// Of so many things that are kept from going it is told what can be done.
const MOST_KEPT: usize = 5;

/// Tells what holds an app, the root cause first, and what to do about it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    unit: UnitArgs,
    #[command(flatten)]
    common: Looking,
}

/// One link of the chain from the root cause to the unit that was asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The unit; `None`: the daemon or its source as a whole.
    pub unit: Option<UnitId>,
    /// How it stands.
    pub health: Option<UnitHealth>,
    /// What is the matter.
    pub message: String,
    /// What to do about it.
    pub remedies: Vec<String>,
    /// The unit that it waits for.
    pub waits_for: Option<UnitId>,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    finish(&view, super::block_on(why(&args, &view)))
}

async fn why(args: &Args, view: &View) -> Result<Exit, CliError> {
    let api = args.common.reach.api()?;
    let unit = args.unit.resolve(&api).await?;
    let shown = Shown {
        names: &|chain: &Vec<Cause>| {
            chain.iter().filter_map(|cause| cause.unit.as_ref()).map(UnitId::to_string).collect()
        },
        text: &|chain: &Vec<Cause>, view: &View| text(&unit.unit, chain, view),
    };
    args.watching.show(&api, view, shown, async || explain(&api, &api.unit(&unit.unit).await?).await).await
}

async fn explain(api: &Api, unit: &UnitStatus) -> Result<Vec<Cause>, CliError> {
    let all = api.units(&UnitFilter::default()).await?;
    let mut chain = chain(unit, &all);
    let daemon = api.daemon().await?;
    // What the source lacks holds everything that is not yet known, but not what already runs as it was read.
    if let Some(error) = daemon.source_error {
        let since = daemon.fetched.map(|at| format!("; what was read last is from {at}")).unwrap_or_default();
        chain.insert(
            0,
            Cause {
                unit: None,
                health: None,
                message: format!("{} can't be read: {error}{since}", daemon.source),
                remedies: vec![
                    "`trimtab check` looks at the source; newer commits are not seen until it answers".into(),
                ],
                waits_for: None,
            },
        );
    }
    Ok(chain)
}

/// From the root cause to the unit: each link waits for the one before it. Empty: nothing holds it.
pub fn chain(unit: &UnitStatus, all: &[UnitStatus]) -> Vec<Cause> {
    let mut links = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(unit);
    while let Some(unit) = next {
        let noted = unit.message.len() > AS_ASKED.len() && unit.message.starts_with(AS_ASKED);
        let fine = unit.health == UnitHealth::InSync && unit.held.is_empty() && !noted;
        if !seen.insert(&unit.unit) || fine {
            break;
        }
        let blocker = blocker(unit, all);
        links.push(Cause {
            unit: Some(unit.unit.clone()),
            health: Some(unit.health),
            message: matter(unit),
            remedies: remedies(unit),
            waits_for: blocker.map(|blocker| blocker.unit.clone()),
        });
        next = blocker;
    }
    links.reverse();
    links
}

/// The unit that this one waits for: for its dependency, or for an earlier wave. Where it waits for several, the one that
/// is worst off.
fn blocker<'a>(unit: &UnitStatus, all: &'a [UnitStatus]) -> Option<&'a UnitStatus> {
    let waits = |reason: &HeldView| matches!(reason.reason.as_str(), "dependsOn" | "wave");
    let unsettled = |other: &&UnitStatus| other.unit != unit.unit && other.health != UnitHealth::InSync;
    unit.held
        .iter()
        .filter(|reason| waits(reason))
        .flat_map(|reason| all.iter().filter(unsettled).filter(|other| concerns(reason, unit, &other.unit)))
        .max_by_key(|other| other.health)
}

/// Whether a reason to wait is about another unit: an app of the same place that the message names, or the same app on a
/// target that it names.
fn concerns(reason: &HeldView, unit: &UnitStatus, other: &UnitId) -> bool {
    if other.environment != unit.unit.environment {
        return false;
    }
    let named = |name: &str| {
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        reason.message.split(|c| !in_name(c)).any(|word| word == name)
    };
    match reason.reason.as_str() {
        "dependsOn" => other.target == unit.unit.target && named(other.app.as_str()),
        _ => other.app == unit.unit.app && named(other.target.as_str()),
    }
}

/// What is the matter with a unit, the root cause first.
fn matter(unit: &UnitStatus) -> String {
    let back = unit.rollback.as_ref().filter(|_| unit.health == UnitHealth::RollingBack);
    let mut parts: Vec<String> = Vec::new();
    if let Some(back) = back {
        // What failed, what came of it, what is left: the summary and two of the reasons to hold say no more than that.
        parts.push(back.reason.clone());
        parts.push(format!("so it went back from {} to {}", back.bad.version, back.good.version));
        let recorded = back.status != "held" || back.branch.is_some();
        parts.push(if recorded { back.message.clone() } else { format!("no revert is in Git: {}", back.message) });
    } else if !unit.held.iter().any(|held| held.message == unit.message) {
        parts.push(unit.message.clone());
    }
    let told_above =
        |held: &HeldView| back.is_some() && matches!(held.reason.as_str(), "quarantined" | "rollbackPending");
    parts.extend(unit.held.iter().filter(|held| !told_above(held)).map(|held| held.message.clone()));
    let rollout = unit.rollout.as_ref();
    // What was healed is no trouble any more.
    let matters = |rollout: &&RolloutView| rollout.summary.kind != "heal" || rollout.summary.status != "verified";
    parts.extend(rollout.filter(matters).and_then(|rollout| rollout.summary.reason.clone()));
    parts.extend(rollout.and_then(|rollout| rollout.waits.clone()));
    parts.extend(kept(unit).map(|one| format!("{}: {}", one.id, one.message)));
    // An instance that is named has its cause told there.
    let named = |id: &str| parts.iter().any(|part| part.contains(id));
    let instances = unit.groups.iter().filter(|group| !group.retiring).flat_map(|group| &group.instances);
    let unready = instances.filter(|it| !it.ready && !named(&it.id)).find_map(|it| it.message.clone());
    parts.extend(unready);
    each_once(parts).join("\n")
}

/// What a summary and the details say alike is told once, where it stands first, by whichever says more.
fn each_once(parts: Vec<String>) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if says_all(&told, &part) {
            continue;
        }
        match told.iter().position(|before| says_all(std::slice::from_ref(&part), before)) {
            Some(place) => told[place] = part,
            None => told.push(part),
        }
    }
    told
}

/// Whether each clause of a text stands in one of the others. Counts and times that went on meanwhile make no other cause.
fn says_all(others: &[String], text: &str) -> bool {
    let others: Vec<String> = others.iter().map(|other| without_numbers(other)).collect();
    without_numbers(text).split("; ").all(|clause| others.iter().any(|other| other.contains(clause.trim())))
}

fn without_numbers(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if plain.ends_with('#') => {}
            true => plain.push('#'),
            false => plain.push(c),
        }
    }
    plain
}

/// What is being removed and waits for somebody, some of it.
fn kept(unit: &UnitStatus) -> impl Iterator<Item = &LeavingView> {
    unit.groups.iter().flat_map(|group| &group.leaving).filter(|one| one.remedy.is_some()).take(MOST_KEPT)
}

fn remedies(unit: &UnitStatus) -> Vec<String> {
    let again =
        unit.rollout.as_ref().and_then(|rollout| rollout.next_try).map(|at| {
            format!("`trimtab reconcile {}` tries it again now; by itself that comes at {at:.0}", unit.unit.app)
        });
    what_helps(unit).into_iter().chain(again).collect()
}

fn waits_to_be_made(unit: &UnitStatus) -> bool {
    unit.rollout.as_ref().is_some_and(|rollout| rollout.next_try.is_some())
}

fn what_helps(unit: &UnitStatus) -> Vec<String> {
    let told = unit.held.iter().map(|reason| reason.remedy.clone()).filter(|remedy| !remedy.is_empty());
    let kept = kept(unit).filter_map(|one| Some(format!("{}: {}", one.id, one.remedy.as_ref()?)));
    let mut remedies: Vec<String> = told.chain(kept).collect();
    if remedies.is_empty() {
        let place = format!("{} -e {} --target {}", unit.unit.app, unit.unit.environment, unit.unit.target);
        let mut instances = unit.groups.iter().filter(|group| !group.retiring).flat_map(|group| &group.instances);
        if unit.health == UnitHealth::Stuck && instances.any(|instance| !instance.ready) {
            remedies.push(format!("`trimtab logs {place}` shows what its instances wrote"));
        }
        // Of objects that are well, all that is told is what was done to them.
        let mut all = unit.groups.iter().flat_map(|group| &group.instances);
        let objects_are_well = unit.groups.iter().any(|group| !group.instances.is_empty())
            && all.all(|instance| instance.ready && instance.id.contains('/'));
        let refused = matches!(unit.health, UnitHealth::Progressing | UnitHealth::Degraded | UnitHealth::Removing)
            && matter(unit).contains(" refused: ");
        if refused {
            remedies.push(format!(
                "change what it names, in Git or on the cluster; `trimtab plan {}` asks what would come of it now",
                unit.unit.app
            ));
            return remedies;
        }
        remedies.extend(match unit.health {
            UnitHealth::Paused => Some(format!("`trimtab rollout promote {place}` or `trimtab rollout abort {place}`")),
            UnitHealth::Stuck => Some(format!("`trimtab rollout retry {place}` or `trimtab rollout abort {place}`")),
            // What can't be made has written nothing.
            UnitHealth::Degraded if !objects_are_well && !waits_to_be_made(unit) => {
                Some(format!("`trimtab logs {place}` shows what its instances wrote"))
            }
            UnitHealth::Unknown => Some("`trimtab check` tells which part does not answer".to_owned()),
            UnitHealth::Progressing => Some(format!("`trimtab rollout status {place} --watch` follows it")),
            _ => None,
        });
    }
    remedies
}

/// The chain for people: the root cause first, then what waits for it.
pub fn text(unit: &UnitId, chain: &[Cause], view: &View) -> String {
    if chain.is_empty() {
        return format!("nothing holds {unit}: {AS_ASKED}\n");
    }
    let mut text = String::new();
    for (depth, cause) in chain.iter().enumerate() {
        let label = match (depth, chain.len()) {
            (0, 1) => String::new(),
            (0, _) => view.paint(Tone::Bad, "root cause: "),
            _ => view.paint(Tone::Dim, "so waits:   "),
        };
        let who = cause.unit.as_ref().map_or_else(|| "the source".to_owned(), UnitId::to_string);
        let health = cause.health.map_or(String::new(), |health| {
            format!(" is {}", view.paint(units::health_tone(health), units::health_text(health)))
        });
        text.push_str(&format!("{label}{}{health}\n", view.paint(Tone::Strong, &who)));
        for line in cause.message.lines() {
            text.push_str(&format!("    {}\n", view.clean(line)));
        }
        for remedy in &cause.remedies {
            text.push_str(&format!("    {} {}\n", view.paint(Tone::Accent, "try:"), view.clean(remedy)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(parts: &[&str]) -> Vec<String> {
        each_once(parts.iter().map(|part| (*part).to_owned()).collect())
    }

    #[test]
    fn one_cause_is_told_once_however_often_it_comes_up() {
        let stopped = "not ready within 10s: 0 of 1 instances of 2 are ready; Deployment.apps/web: pod web-1: ErrImagePull: image a; there \
                       is nothing to go back to";
        // A part of it, in whatever order.
        assert_eq!(once(&[stopped, "pod web-1: ErrImagePull: image a"]), [stopped]);
        assert_eq!(once(&["pod web-1: ErrImagePull: image a", stopped]), [stopped]);
        // The same some tries later.
        let tried = |count: u32| format!("create group g1: refused; tried {count} times, and again 30s later");
        assert_eq!(once(&[&tried(4), &tried(5)]), [tried(4)]);
        let clauses = "0 of 1 instances of 2 are ready; pod web-1: ErrImagePull: image a";
        assert_eq!(once(&[stopped, clauses]), [stopped]);
        assert_eq!(once(&["a is down", "b is down", ""]), ["a is down", "b is down"]);
    }
}
