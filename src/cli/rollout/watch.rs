//! Following a rollout until it ends: redrawn with a bar a phase on a terminal, a line a change elsewhere.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{headline, phases};
use crate::api::client::Api;
use crate::api::types::{PhaseView, RolloutSummary, RolloutView, UnitHealth, UnitStatus};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, View, write_out, yaml};
use crate::domain::id::{RolloutId, UnitId};

/// How long one question for changes may wait.
const WAIT: Duration = Duration::from_secs(30);
/// How long a daemon may not answer before the watch is given up.
const LONGEST_ABSENCE: Duration = Duration::from_secs(30);
/// How often the clock of a bar is drawn again while nothing changes.
const TICK: Duration = Duration::from_millis(200);

/// What is followed: which outcome is the wanted one, and which rollout had ended before and so is not it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    goal: Goal,
    before: Option<RolloutId>,
}

/// The outcome that counts as success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The new version is verified.
    Verified,
    /// The rollout was aborted.
    Aborted,
    /// The rollback is recorded and everything agrees again.
    RolledBack,
}

impl Followed {
    /// What is there now, be it going on or ended.
    pub fn present() -> Self {
        Followed { goal: Goal::Verified, before: None }
    }

    /// What a command begins: not what had ended when it was given.
    pub fn after(last: Option<&RolloutSummary>, goal: Goal) -> Self {
        Followed { goal, before: last.map(|last| last.id.clone()) }
    }
}

/// The newest rollout of a unit that does nothing more by itself.
pub async fn last_over(api: &Api, unit: &UnitStatus) -> Result<Option<RolloutSummary>, CliError> {
    let shown = unit.rollout.iter().map(|rollout| rollout.summary.clone());
    let history = api.history(&unit.unit, 2).await?;
    Ok(shown.chain(history).find(RolloutSummary::is_over))
}

/// Follows a unit until what goes on there has ended, and says how. A daemon that is restarted meanwhile is waited for.
pub async fn follow(api: &Api, unit: &UnitId, followed: &Followed, view: &View) -> Result<Exit, CliError> {
    let mut screen = Screen::new(view);
    let mut seq = 0;
    let mut absence = Absence::default();
    loop {
        match look(api, unit, followed, &mut seq, &mut screen).await {
            Ok(None) => absence = Absence::default(),
            Ok(Some(exit)) => {
                screen.close();
                return Ok(exit);
            }
            Err(error) => {
                absence.bear(error).await?;
                seq = 0;
            }
        }
    }
}

/// How long a daemon has not answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Absence {
    since: Option<Instant>,
}

impl Absence {
    /// Waits a little when the daemon does not answer; any other error, and one that lasts too long, is handed back.
    pub async fn bear(&mut self, error: CliError) -> Result<(), CliError> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if error.exit != Exit::Unreachable || since.elapsed() > LONGEST_ABSENCE {
            return Err(error);
        }
        tokio::time::sleep(TICK).await;
        Ok(())
    }
}

/// Waits for a change, shows the unit, and tells whether what is followed has ended.
async fn look(
    api: &Api,
    unit: &UnitId,
    followed: &Followed,
    seq: &mut u64,
    screen: &mut Screen<'_>,
) -> Result<Option<Exit>, CliError> {
    let changes = api.changes(*seq, WAIT);
    tokio::pin!(changes);
    *seq = loop {
        tokio::select! {
            changes = &mut changes => break changes?.seq,
            () = tokio::time::sleep(TICK), if screen.ticks() => screen.tick(),
        }
    };
    let status = api.unit(unit).await?;
    screen.show(&status);
    if goes_on(&status) {
        return Ok(None);
    }
    let last = last_over(api, &status).await?;
    Ok(ended(&status, last.as_ref(), followed))
}

/// Whether a rollout or a rollback goes on.
fn goes_on(unit: &UnitStatus) -> bool {
    let rolls_out = unit.rollout.as_ref().is_some_and(|rollout| !rollout.summary.is_over());
    let over = |status: &str| matches!(status, "settled" | "held" | "superseded");
    rolls_out || unit.rollback.as_ref().is_some_and(|rollback| !over(&rollback.status))
}

/// Whether what is followed has ended, and how; `last` is the newest rollout that has.
pub fn ended(unit: &UnitStatus, last: Option<&RolloutSummary>, followed: &Followed) -> Option<Exit> {
    if goes_on(unit) {
        return None;
    }
    // A rollback that Git did not take waits for people.
    let unrecorded = unit.rollback.as_ref().is_some_and(|rollback| rollback.status == "held");
    let Some(last) = last else {
        return match unit.health {
            UnitHealth::InSync => Some(Exit::Ok),
            UnitHealth::Held => Some(Exit::Refused),
            UnitHealth::Stuck => Some(Exit::Failed),
            _ => None,
        };
    };
    if followed.before.as_ref() == Some(&last.id) {
        return None;
    }
    match (followed.goal, last.status.as_str()) {
        // Another one takes its place.
        (_, "superseded") => None,
        (Goal::RolledBack, _) if unrecorded => Some(Exit::Failed),
        (Goal::Verified | Goal::RolledBack, "verified") => Some(Exit::Ok),
        (Goal::Aborted, "aborted" | "rolledBack") | (Goal::RolledBack, "rolledBack") => Some(Exit::Ok),
        _ => Some(Exit::Failed),
    }
}

/// Where the rollout is shown.
enum Screen<'v> {
    Bars(Box<Bars<'v>>),
    Lines { view: &'v View, last: String, phase: Option<String> },
}

impl<'v> Screen<'v> {
    fn new(view: &'v View) -> Self {
        if view.live() {
            Screen::Bars(Box::new(Bars::new(view)))
        } else {
            Screen::Lines { view, last: String::new(), phase: None }
        }
    }

    fn ticks(&self) -> bool {
        matches!(self, Screen::Bars(_))
    }

    fn tick(&mut self) {
        if let Screen::Bars(bars) = self {
            bars.tick();
        }
    }

    fn show(&mut self, unit: &UnitStatus) {
        match self {
            Screen::Bars(bars) => bars.show(unit),
            Screen::Lines { view, last, phase } => {
                let line = match view.format {
                    Format::Table | Format::Wide => line(unit, view),
                    Format::Json => json!(unit).to_string(),
                    Format::Yaml => format!("---\n{}", yaml::text(&json!(unit)).trim_end()),
                    Format::Name => unit.rollout.iter().map(|it| it.summary.id.to_string()).collect(),
                };
                let now = unit.rollout.as_ref().and_then(current).map(|(_, phase)| phase.name.clone());
                // Between two looks at what it waits for, a phase has nothing new to say.
                let silent =
                    view.format.is_text() && now.is_some() && *phase == now && now.as_ref() == Some(&unit.message);
                if *last == line || silent {
                    return;
                }
                match view.format {
                    Format::Table | Format::Wide => {
                        let stamp = view.refreshed().now.strftime("%Y-%m-%dT%H:%M:%SZ");
                        write_out(&format!("{stamp}  {line}\n"));
                    }
                    Format::Json | Format::Yaml | Format::Name => write_out(&format!("{line}\n")),
                }
                (*last, *phase) = (line, now);
            }
        }
    }

    fn close(&mut self) {
        if let Screen::Bars(bars) = self {
            bars.close();
        }
    }
}

/// A unit in a line that changes only when there is something new to say: no relative times.
pub fn line(unit: &UnitStatus, view: &View) -> String {
    let mut line = headline(unit, view);
    if let Some(rollout) = &unit.rollout {
        let versions = phases::versions(&rollout.summary, view);
        line.push_str(&format!(
            " | {} {versions} {}",
            rollout.summary.kind,
            phases::status_text(&rollout.summary.status)
        ));
        if let Some((index, phase)) = current(rollout) {
            line.push_str(&format!(" | phase {}/{} {}", index + 1, rollout.phases.len(), view.clean(&phase.name)));
        }
    }
    line.trim_end().to_owned()
}

fn current(rollout: &RolloutView) -> Option<(usize, &PhaseView)> {
    rollout.phases.iter().enumerate().find(|(_, phase)| phase.state == "current")
}

/// A headline, a bar for each phase, and a line for what is waited for.
struct Bars<'v> {
    view: &'v View,
    multi: MultiProgress,
    head: ProgressBar,
    phases: Vec<ProgressBar>,
    foot: ProgressBar,
    shown: Option<(RolloutId, UnitStatus)>,
}

/// A bar's length: its resolution, not what is seen.
const FULL: u64 = 1_000;

impl<'v> Bars<'v> {
    fn new(view: &'v View) -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let head = multi.add(text_line());
        let foot = multi.add(text_line());
        Bars { view, multi, head, phases: Vec::new(), foot, shown: None }
    }

    fn show(&mut self, unit: &UnitStatus) {
        let Some(rollout) = &unit.rollout else {
            self.head.set_message(headline(unit, &self.view.refreshed()));
            return;
        };
        let id = &rollout.summary.id;
        let same = self.shown.as_ref().is_some_and(|(shown, before)| {
            shown == id && before.rollout.as_ref().is_some_and(|it| it.phases.len() == rollout.phases.len())
        });
        if !same {
            for bar in self.phases.drain(..) {
                self.multi.remove(&bar);
            }
            let width = rollout.phases.iter().map(|phase| phase.name.chars().count()).max().unwrap_or(0).min(32);
            for _ in &rollout.phases {
                self.phases.push(self.multi.insert_before(&self.foot, phase_bar(width)));
            }
        }
        self.shown = Some((id.clone(), unit.clone()));
        self.tick();
    }

    fn tick(&mut self) {
        let Some((_, unit)) = &self.shown else { return };
        let Some(rollout) = &unit.rollout else { return };
        let view = self.view.refreshed();
        self.head.set_message(format!("{}\n{}", headline(unit, &view), phases::headline(&rollout.summary, &view)));
        for (bar, phase) in self.phases.iter().zip(&rollout.phases) {
            bar.set_prefix(view.clean(&phase.name));
            bar.set_position(position(phase, unit, rollout, &view));
            bar.set_message(note(phase, &view));
        }
        let mut foot: Vec<String> = rollout.analyses.iter().map(|it| phases::analysis_line(it, &view)).collect();
        foot.extend(phases::waits(rollout, &view).map(|waits| format!("waits: {waits}")));
        self.foot.set_message(foot.join("\n"));
    }

    fn close(&mut self) {
        self.head.finish();
        for bar in &self.phases {
            bar.abandon();
        }
        self.foot.finish();
    }
}

/// How far a phase is, out of [`FULL`]: by the clock where it has an end, otherwise by the instances that are ready.
fn position(phase: &PhaseView, unit: &UnitStatus, rollout: &RolloutView, view: &View) -> u64 {
    match (phase.state.as_str(), phase.entered, rollout.until) {
        ("done", ..) => FULL,
        ("current", ..) if rollout.summary.is_over() => FULL,
        ("current", Some(entered), Some(until)) => {
            let whole = until.as_millisecond() - entered.as_millisecond();
            let past = view.now.as_millisecond() - entered.as_millisecond();
            let share = past.clamp(0, whole.max(1)) * 1_000 / whole.max(1);
            u64::try_from(share).unwrap_or(0)
        }
        ("current", ..) => {
            let groups = || unit.groups.iter().filter(|group| !group.retiring);
            let asked: u32 = groups().map(|group| group.replicas).sum();
            let ready: u32 = groups().map(|group| group.ready.min(group.replicas)).sum();
            u64::from(ready) * FULL * 9 / 10 / u64::from(asked.max(1))
        }
        _ => 0,
    }
}

fn note(phase: &PhaseView, view: &View) -> String {
    use crate::cli::output::time::between;
    match (phase.entered, phase.left) {
        (Some(entered), Some(left)) => between(entered, left),
        (Some(entered), None) => between(entered, view.now),
        _ => String::new(),
    }
}

fn text_line() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(1).with_style(style)
}

fn phase_bar(width: usize) -> ProgressBar {
    let template = format!("  {{prefix:{width}}}  [{{bar:28}}] {{msg}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(FULL).with_style(style.progress_chars("=> "))
}

/// Follows all of several units, one after the other; the worst outcome counts.
pub async fn follow_all(api: &Api, units: &[(UnitId, Followed)], view: &View) -> Result<Exit, CliError> {
    let mut worst = Exit::Ok;
    for (unit, followed) in units {
        let exit = follow(api, unit, followed, view).await?;
        if exit.code() > worst.code() {
            worst = exit;
        }
    }
    Ok(worst)
}
