//! `trimtab logs`: the last lines of a unit's instances, and those that come.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio_stream::StreamExt;

use super::context::{Looking, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::style::Tone;
use super::output::{Format, View, write_out, yaml};
use super::rollout::watch::Absence;
use super::select::UnitArgs;
use crate::api::client::Api;
use crate::api::operations::Follow;
use crate::api::types::UnitHealth;
use crate::domain::id::UnitId;

/// How long after the lines ended the daemon is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Shows the last lines that the instances of a unit have written, each behind the instance's id.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only this instance; `trimtab status APP` lists them
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// Then show what comes, also of instances that replace these, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// So many lines of each instance's stdout and stderr
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tail: u32,
    #[command(flatten)]
    unit: UnitArgs,
    #[command(flatten)]
    common: Looking,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line<'a> {
    /// The instance that wrote it.
    pub instance: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// What it wrote.
    pub text: &'a str,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    let shown = async {
        let api = args.common.reach.api()?;
        let unit = args.unit.resolve(&api).await?;
        if args.follow {
            return follow(&args, &api, &unit.unit, &view).await;
        }
        let logs = api.logs(&unit.unit, args.instance.as_deref(), args.tail).await?;
        let lines: Vec<_> = logs.lines().map(parse).collect();
        let names = || lines.iter().map(|line| line.instance).collect::<BTreeSet<_>>();
        view.show(&lines, || names().into_iter().map(str::to_owned).collect(), |view| text(&lines, view));
        Ok(Exit::Ok)
    };
    finish(&view, super::block_on(shown))
}

/// Shows lines as they come. A daemon that is restarted meanwhile is waited for: what instances that are known wrote until
/// it answers is not told. One instance ends when it is gone.
async fn follow(args: &Args, api: &Api, unit: &UnitId, view: &View) -> Result<Exit, CliError> {
    let mut follow = Follow { instance: args.instance.clone(), tail: args.tail, known: BTreeSet::new() };
    let mut absence = Absence::default();
    loop {
        match show(api, unit, &mut follow, view).await {
            Ok(()) => absence = Absence::default(),
            Err(error) => absence.bear(error).await?,
        }
        if let (Some(instance), Ok(status)) = (&args.instance, api.unit(unit).await) {
            let mut instances = status.groups.iter().flat_map(|group| &group.instances);
            if status.health != UnitHealth::Unknown && !instances.any(|one| one.id == *instance) {
                return Ok(Exit::Ok);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Shows lines until they end or break off: because the daemon stops, or the one instance is gone.
async fn show(api: &Api, unit: &UnitId, follow: &mut Follow, view: &View) -> Result<(), CliError> {
    let pieces = api.follow_logs(unit, follow).await?;
    tokio::pin!(pieces);
    while let Some(Ok(piece)) = pieces.next().await {
        let lines: Vec<_> = piece.lines().map(parse).collect();
        for line in &lines {
            let new = !follow.known.contains(line.instance) && follow.known.insert(line.instance.to_owned());
            match view.format {
                Format::Name if new => write_out(&format!("{}\n", line.instance)),
                Format::Table | Format::Wide | Format::Name => {}
                Format::Json => write_out(&format!("{}\n", json!(line))),
                Format::Yaml => write_out(&format!("---\n{}", yaml::text(&json!(line)))),
            }
        }
        if view.format.is_text() {
            write_out(&text(&lines, view));
        }
    }
    Ok(())
}

/// Reads `instance stream line`; what does not look like that is a line of nobody.
pub fn parse(line: &str) -> Line<'_> {
    let mut parts = line.splitn(3, ' ');
    match (parts.next(), parts.next()) {
        (Some(instance), Some(stream @ ("stdout" | "stderr"))) => {
            Line { instance, stream, text: parts.next().unwrap_or("") }
        }
        _ => Line { instance: "", stream: "", text: line },
    }
}

/// The lines for people, each with its instance.
pub fn text(lines: &[Line<'_>], view: &View) -> String {
    let mut text = String::new();
    for line in lines {
        let tone = if line.stream == "stderr" { Tone::Warn } else { Tone::Dim };
        let instance = view.paint(tone, &view.clean(line.instance));
        let stream = if view.wide() { format!("{} ", view.clean(line.stream)) } else { String::new() };
        text.push_str(&format!("{instance} {stream}{}\n", view.clean(line.text)));
    }
    text
}
