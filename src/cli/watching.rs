//! Showing what was looked at once, or with `--watch` again whenever it changed.

use std::time::Duration;

use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, View, write_out};
use super::rollout::watch::Absence;
use crate::api::client::Api;

/// How long the daemon is asked to hold its answer back while nothing changes.
const WAIT: Duration = Duration::from_secs(30);

/// What all verbs take that can show again what they look at.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Watching {
    /// Show it again whenever something changes, until interrupted
    #[arg(short, long)]
    pub watch: bool,
}

/// What a verb looks at and how it is shown.
pub struct Shown<'a, T> {
    /// Its names, for `-o name`.
    pub names: &'a dyn Fn(&T) -> Vec<String>,
    /// Its text, for people.
    pub text: &'a dyn Fn(&T, &View) -> String,
}

impl Watching {
    /// Shows what `ask` answers; if asked for, again whenever that is another one. A daemon that is restarted meanwhile is waited
    /// for.
    pub async fn show<T: Serialize + PartialEq>(
        self,
        api: &Api,
        view: &View,
        shown: Shown<'_, T>,
        ask: impl AsyncFn() -> Result<T, CliError>,
    ) -> Result<Exit, CliError> {
        let mut last = ask().await?;
        view.show(&last, || (shown.names)(&last), |view| (shown.text)(&last, view));
        if !self.watch {
            return Ok(Exit::Ok);
        }
        let (mut seq, mut absence) = (0, Absence::default());
        loop {
            let next = async {
                seq = api.changes(seq, WAIT).await?.seq;
                ask().await
            };
            match next.await {
                Ok(next) => {
                    absence = Absence::default();
                    if next != last {
                        last = next;
                        let view = view.refreshed();
                        write_out(separator(&view));
                        view.show(&last, || (shown.names)(&last), |view| (shown.text)(&last, view));
                    }
                }
                Err(error) => {
                    absence.bear(error).await?;
                    seq = 0;
                }
            }
        }
    }
}

/// What stands between one showing and the next.
fn separator(view: &View) -> &'static str {
    match view.format {
        _ if view.live() => "\u{1b}[H\u{1b}[2J\u{1b}[3J",
        Format::Table | Format::Wide => "\n",
        Format::Yaml => "---\n",
        Format::Json | Format::Name => "",
    }
}
