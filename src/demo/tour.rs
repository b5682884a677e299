//! What a newcomer reads, and what happens while they try.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::DemoError;
use super::play::millis;
use super::processes::Part;
use super::repository::{Repository, Unit};
use super::run::{Demo, host};
use crate::api::client::Api;
use crate::api::operations::UnitFilter;
use crate::api::types::UnitStatus;
use crate::cli::output::style::Tone;
use crate::cli::output::time::length;
use crate::cli::output::{View, write_out};
use crate::cli::rollout::headline;
use crate::load::{Load, Plan, Report};

/// The unit that the text suggests to try things with.
const UNIT: &str = "hello/staging/default";
/// Requests a second to each unit, so that there is traffic to roll out behind.
const RATE: f64 = 40.0;
/// How long one question for changes may wait.
const WAIT: Duration = Duration::from_secs(10);
/// From one look at the client's losses to the next.
const LOSSES: Duration = Duration::from_millis(500);

/// Puts the demo up, explains it, and tells what happens. It only ends when it is dropped, or with an error.
pub async fn guide(demo: &mut Demo, view: &View) -> Result<(), DemoError> {
    let repository = demo.up().await?;
    let Some(first) = repository.units().first() else {
        return Err(DemoError::Edit { path: repository.path(""), reason: "the example takes no requests".into() });
    };
    let took = demo.first_answer(first).await?;
    write_out(&text(demo, &repository, took, view));
    let loads: Vec<(String, Load)> = repository.units().iter().filter_map(load).collect();
    let api = demo.api();
    let begun = demo.begun;
    let tell = |what: &str| {
        let stamp = view.paint(Tone::Dim, &format!("{:8.2}s", begun.elapsed().as_secs_f64()));
        write_out(&format!("{stamp}  {what}\n"));
    };
    tokio::select! {
        () = follow(&api, view, &tell) => {}
        () = watch_losses(&loads, &tell) => {}
        () = repeat(demo, &tell) => {}
    }
    Ok(())
}

fn load(unit: &Unit) -> Option<(String, Load)> {
    let route = unit.desired.route.as_ref()?;
    let plan = Plan { rate: RATE, ..Plan::new(route.listen, host(unit), RATE) };
    Some((unit.desired.unit.to_string(), Load::start(plan)))
}

/// What happens to the processes.
async fn repeat(demo: &mut Demo, tell: &impl Fn(&str)) {
    while let Some(said) = demo.said().await {
        tell(&said);
    }
}

/// Tells each change of each unit.
async fn follow(api: &Api, view: &View, tell: &impl Fn(&str)) {
    let mut shown: BTreeMap<String, String> = BTreeMap::new();
    let mut seq = 0;
    loop {
        // The daemon may have been killed: it comes back, and with it what there is to tell.
        let Ok(changes) = api.changes(seq, WAIT).await else {
            tokio::time::sleep(LOSSES).await;
            seq = 0;
            continue;
        };
        seq = changes.seq;
        let Ok(units) = api.units(&UnitFilter::default()).await else { continue };
        for unit in units {
            let line = line(&unit, view);
            let known = shown.get(&unit.unit.to_string());
            if known != Some(&line) {
                tell(&line);
                shown.insert(unit.unit.to_string(), line);
            }
        }
    }
}

fn line(unit: &UnitStatus, view: &View) -> String {
    let mut line = headline(unit, view);
    let commit = unit.rollback.as_ref().and_then(|rollback| rollback.commit.as_ref());
    if let Some(commit) = commit {
        line.push_str(&format!(" (commit {})", crate::cli::units::short_revision(commit.as_str())));
    }
    line
}

/// Tells each request that the client lost: killing the router or an app loses what was in flight there, nothing else does.
async fn watch_losses(loads: &[(String, Load)], tell: &impl Fn(&str)) {
    let mut told = vec![0_usize; loads.len()];
    loop {
        tokio::time::sleep(LOSSES).await;
        for ((unit, load), told) in loads.iter().zip(&mut told) {
            let report: Report = load.so_far();
            for loss in report.examples.iter().skip(*told) {
                tell(&format!("{unit}: a request was lost: {}", loss.reason));
            }
            *told = report.examples.len();
        }
    }
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
