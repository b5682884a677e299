//! What a newcomer reads, and what happens while they try.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;

use super::error::DemoError;
use super::git::Git;
use super::http;
use super::play::millis;
use super::processes::Part;
use super::repository::{Repository, Unit};
use super::run::{Demo, host};
use super::traffic::Traffic;
use crate::api::client::Api;
use crate::api::operations::UnitFilter;
use crate::api::types::{RolloutSummary, RolloutView, UnitHealth, UnitStatus};
use crate::cli::output::style::Tone;
use crate::cli::output::time::length;
use crate::cli::output::{View, write_out};
use crate::cli::rollout::{headline, phases};
use crate::cli::units::short_revision;
use crate::domain::id::RolloutId;
use crate::load::{Load, Plan};

/// The unit that the text suggests to try things with.
const UNIT: &str = "hello/staging/default";
/// Requests a second to each unit, so that there is traffic to roll out behind.
const RATE: f64 = 40.0;
/// How long one question for changes may wait.
const WAIT: Duration = Duration::from_secs(10);
/// From one look to the next; what lasts no longer is not told.
const LOOK: Duration = Duration::from_millis(300);
/// Rollouts of a unit that may have ended between two looks.
const RECENT: u32 = 5;
/// What the API calls a rollout that was taken back.
const ROLLED_BACK: &str = "rolledBack";

/// Puts the demo up, explains it, and tells what happens. It only ends when it is dropped, or with an error.
pub async fn guide(demo: &mut Demo, view: &View) -> Result<(), DemoError> {
    let repository = demo.up().await?;
    let Some(first) = repository.units().first() else {
        return Err(DemoError::Edit { path: repository.path(""), reason: "the example takes no requests".into() });
    };
    let took = demo.first_answer(first).await?;
    write_out(&text(demo, &repository, took, view));
    let (api, begun, traffic) = (demo.api(), demo.begun, demo.traffic.clone());
    let origin = Git::at(demo.layout.origin());
    let tell = |what: &str| {
        let stamp = view.paint(Tone::Dim, &format!("{:8.2}s", begun.elapsed().as_secs_f64()));
        write_out(&format!("{stamp}  {what}\n"));
    };
    let clients = join_all(repository.units().iter().map(|unit| client(unit, &traffic, &tell)));
    tokio::select! {
        () = follow(&api, &origin, view, &tell) => {}
        _ = clients => {}
        () = repeat(demo, &tell) => {}
    }
    Ok(())
}

/// Sends requests to a unit from its first answer on, and tells those that get lost: killing the router or an app loses what
/// is in flight there, nothing else does.
async fn client(unit: &Unit, traffic: &Traffic, tell: &impl Fn(&str)) {
    let Some(route) = &unit.desired.route else { return };
    let host = host(unit);
    while !http::get(route.listen, &host, &route.path).await.is_ok_and(|answer| answer.status == 200) {
        tokio::time::sleep(LOOK).await;
    }
    let load = Load::start(Plan::new(route.listen, host, RATE));
    let mut told = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        let report = load.so_far();
        let lost = report.lost();
        traffic.note(&unit.desired.unit, report.answered(), lost);
        if lost > told {
            let example = report.examples.last().map_or("", |example| example.reason.as_str());
            tell(&format!("{}: requests lost: {} ({example})", unit.desired.unit, lost - told));
            told = lost;
        }
    }
}

/// What happens to the processes.
async fn repeat(demo: &mut Demo, tell: &impl Fn(&str)) {
    while let Some(said) = demo.said().await {
        tell(&said);
    }
}

/// Tells each change of each unit that lasts long enough to be read.
async fn follow(api: &Api, origin: &Git, view: &View, tell: &impl Fn(&str)) {
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    let mut ended: BTreeSet<RolloutId> = BTreeSet::new();
    let mut head = origin.run(&["rev-parse", "main"]).await.unwrap_or_default();
    let mut seq = 0;
    loop {
        // The daemon may have been killed: it comes back, and with it what there is to tell.
        match api.changes(seq, WAIT).await {
            Ok(changes) => seq = changes.seq,
            Err(_) => seq = 0,
        }
        tokio::time::sleep(LOOK).await;
        let Ok(units) = api.units(&UnitFilter::default()).await else { continue };
        for unit in units {
            let line = line(&unit, view);
            let known = shown.get(&unit.unit.to_string());
            if known != Some(&line) {
                // It may all have happened between two looks, and is what there is to see.
                for rollout in api.history(&unit.unit, RECENT).await.unwrap_or_default().iter().rev() {
                    if rollout.status == ROLLED_BACK && ended.insert(rollout.id.clone()) {
                        tell(&rolled_back(&unit, rollout, view));
                    }
                }
                tell(&line);
                shown.insert(unit.unit.to_string(), line);
            }
        }
        for commit in commits(origin, &mut head).await {
            tell(&format!("{}  {}", view.paint(Tone::Strong, "pushed to Git"), view.clean(&commit)));
        }
    }
}

/// A rollout that was taken back, in a line.
fn rolled_back(unit: &UnitStatus, rollout: &RolloutSummary, view: &View) -> String {
    let name = view.paint(Tone::Strong, &unit.unit.to_string());
    let back = view.paint(Tone::Bad, "rolled back");
    let reason = rollout.reason.as_deref().unwrap_or_default();
    format!("{name}  {}: {back}: {}", phases::versions(rollout, view), view.clean(reason))
}

/// The commits on the remote that were not told yet, oldest first: number, author and subject.
async fn commits(origin: &Git, head: &mut String) -> Vec<String> {
    let Ok(now) = origin.run(&["rev-parse", "main"]).await else { return Vec::new() };
    if now == *head {
        return Vec::new();
    }
    let range = format!("{head}..{now}");
    *head = now;
    let log = origin.run(&["log", "--reverse", "--format=%h %an: %s", &range]).await.unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

/// A unit in a line: where its rollout stands, or what is the matter with it.
fn line(unit: &UnitStatus, view: &View) -> String {
    let current = |rollout: &RolloutView| rollout.phases.iter().find(|phase| phase.state == "current").cloned();
    let rollout = unit.rollout.as_ref().filter(|_| unit.health == UnitHealth::Progressing);
    let mut line = match rollout.and_then(|rollout| Some((rollout, current(rollout)?))) {
        Some((rollout, phase)) => {
            let name = view.paint(Tone::Strong, &unit.unit.to_string());
            let versions = phases::versions(&rollout.summary, view);
            format!("{name}  {versions}: {}", view.clean(&phase.name))
        }
        None => headline(unit, view),
    };
    let commit = unit.rollback.as_ref().and_then(|rollback| rollback.commit.as_ref());
    if let Some(commit) = commit {
        line.push_str(&format!(" (commit {})", short_revision(commit.as_str())));
    }
    line
}

/// What there is, and what can be done with it.
fn text(demo: &Demo, repository: &Repository, took: Duration, view: &View) -> String {
    let strong = |text: &str| view.paint(Tone::Strong, text);
    let binary = std::env::current_exe().map_or_else(|_| "trimtab".into(), |path| path.display().to_string());
    let clone = demo.layout.clone_dir().display().to_string();
    let mut text = format!(
        "{} after {}; everything is in {}. Ctrl-C ends it.\n\n",
        strong("The first answer came"),
        length(millis(took)),
        demo.layout.root().display()
    );
    for (part, does) in
        [(Part::Supervisor, "starts the apps"), (Part::Router, "carries the requests"), (Part::Daemon, "follows Git")]
    {
        let pid = demo.processes.pid(part).unwrap_or(0);
        let log = demo.layout.logs().join(format!("{}.log", part.name()));
        text.push_str(&format!("  {:<10}  pid {pid:<8} {does:<20}  {}\n", part.name(), log.display()));
    }
    text.push_str(&format!("\n{} ({RATE} requests a second go to each already)\n", strong("Ask the apps")));
    for unit in repository.units() {
        let Some(route) = &unit.desired.route else { continue };
        let curl = format!("curl -H 'Host: {}' http://{}{}", host(unit), route.listen, route.path);
        text.push_str(&format!("  {:<26}  {curl}\n", unit.desired.unit.to_string()));
    }
    let release = repository.unit(UNIT).map(|unit| unit.release.clone()).unwrap_or_default();
    text.push_str(&format!(
        "
{look}
  export TRIMTAB_SOCKET={socket}
  {binary} status
  {binary} rollout status hello -e staging --watch
  {binary} why notes -e staging

{try_it}
  cd {clone}
  # a good version: a canary takes over
  sed -i 's/version: .*/version: 1.5.0/' {release} && git commit -qam 'hello 1.5.0' && git push -q
  # a bad one: it fails three requests of ten, is caught, and a commit undoes yours
  sed -i 's/version: .*/version: 1.6.0/' {release}
  echo '  set: {{ workload: {{ process: {{ env: {{ FAIL_RATE: 0.3 }} }} }} }}' >> {release}
  git commit -qam 'hello 1.6.0' && git push -q
  git pull -q && git log -2
  # break it: the daemon and the supervisor lose nothing, the router and an app what is in flight there
  kill -9 {daemon} {supervisor}

{follows}
",
        look = strong("Look"),
        try_it = strong("Try"),
        follows = strong("What happens"),
        socket = demo.layout.socket(Part::Daemon.name()).display(),
        daemon = demo.processes.pid(Part::Daemon).unwrap_or(0),
        supervisor = demo.processes.pid(Part::Supervisor).unwrap_or(0),
    ));
    text
}
