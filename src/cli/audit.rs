//! `trimtab audit`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::context::{Printing, Reach, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::table::{Cell, Table};
use super::output::{View, write_out};
use crate::api::handlers::audit::{AuditVerdict, AuditView};
use crate::api::page::MOST;

/// Shows and checks the audit log: who did what, when, and what came of it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Shows the last records
    List {
        /// So many
        #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        last: u32,
        #[command(flatten)]
        printing: Printing,
        #[command(flatten)]
        place: Place,
    },
    /// Follows the chain of hashes from the first record to the last; exit code 6 where it is broken
    Verify {
        /// A head that was kept elsewhere, as `verify` and the daemon's log tell it: that record must still be the same
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<String>,
        #[command(flatten)]
        printing: Printing,
        #[command(flatten)]
        place: Place,
    },
    /// Prints all records as JSON, one a line
    Export {
        #[command(flatten)]
        place: Place,
    },
}

/// Where the log is.
#[derive(Clone, Debug, clap::Args)]
struct Place {
    /// The daemon's state folder, to be read without the daemon
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    match args.verb {
        Verb::List { last, printing, place } => {
            let view = printing.view();
            finish(&view, super::block_on(list(&view, last, &place)))
        }
        Verb::Verify { head, printing, place } => {
            let view = printing.view();
            finish(&view, super::block_on(verify(&view, head, &place)))
        }
        Verb::Export { place } => {
            let view = Printing::default().view();
            finish(&view, super::block_on(export(&place)))
        }
    }
}

impl Place {
    /// The records after a number, a page of them.
    async fn after(&self, after: u64) -> Result<Vec<AuditView>, CliError> {
        match &self.state_dir {
            None => Ok(self.reach.api()?.audit_after(after).await?),
            Some(folder) => {
                let log = crate::wiring::audit_log(folder).map_err(|error| CliError::not_found(error.to_string()))?;
                let records = log.read(after, MOST as usize).await;
                let records = records.map_err(|error| CliError::failed(error.to_string()))?;
                Ok(records.into_iter().map(AuditView::from).collect())
            }
        }
    }

    async fn last(&self, last: u32) -> Result<Vec<AuditView>, CliError> {
        match &self.state_dir {
            None => Ok(self.reach.api()?.audit_last(last).await?),
            Some(folder) => {
                let log = crate::wiring::audit_log(folder).map_err(|error| CliError::not_found(error.to_string()))?;
                let length = log.length().await.map_err(|error| CliError::failed(error.to_string()))?;
                self.after(length.saturating_sub(u64::from(last))).await
            }
        }
    }

    async fn verdict(&self) -> Result<AuditVerdict, CliError> {
        match &self.state_dir {
            None => Ok(self.reach.api()?.audit_verdict().await?),
            Some(folder) => {
                let log = crate::wiring::audit_log(folder).map_err(|error| CliError::not_found(error.to_string()))?;
                let verdict = crate::app::record::verdict(log.as_ref()).await;
                verdict.map_err(|error| CliError::failed(error.to_string()))
            }
        }
    }
}

async fn list(view: &View, last: u32, place: &Place) -> Result<Exit, CliError> {
    let records = place.last(last).await?;
    view.print(&records, |view| {
        let mut table = Table::new(&["SEQ", "AT", "ACTOR", "ACTION", "SUBJECT", "DETAIL", "OUTCOME"]);
        for record in &records {
            let outcome = record.of.map_or(record.outcome.clone(), |of| format!("{} (of {of})", record.outcome));
            let texts = [&record.actor, &record.action, &record.subject, &record.detail, &outcome];
            let mut cells: Vec<Cell> = vec![record.seq.to_string().into(), record.at.to_string().into()];
            cells.extend(texts.map(|text| Cell::from(view.clean(text))));
            table.row(cells);
        }
        table.draw(view)
    });
    Ok(Exit::Ok)
}

async fn verify(view: &View, head: Option<String>, place: &Place) -> Result<Exit, CliError> {
    let verdict = place.verdict().await?;
    if let Some(problem) = &verdict.problem {
        return Err(CliError::failed(problem.clone()));
    }
    if let Some(head) = head {
        let parsed = head.split_once(':').and_then(|(seq, hash)| Some((seq.parse::<u64>().ok()?, hash)));
        let Some((seq, hash)) = parsed.filter(|(seq, _)| *seq > 0) else {
            return Err(CliError::invalid(format!("{head:?} is no head: write SEQ:HASH")));
        };
        let kept = place.after(seq - 1).await?.into_iter().next();
        if kept.as_ref().is_none_or(|record| record.seq != seq || record.hash != hash) {
            return Err(CliError::failed(format!("record {seq} is not the one that was kept: the log was replaced")));
        }
    }
    view.print(&verdict, |_| {
        format!("intact: {} records, head {}:{}\n", verdict.records, verdict.records, verdict.hash)
    });
    Ok(Exit::Ok)
}

async fn export(place: &Place) -> Result<Exit, CliError> {
    let mut after = 0;
    loop {
        let records = place.after(after).await?;
        let Some(last) = records.last() else { return Ok(Exit::Ok) };
        after = last.seq;
        let lines: String = records.iter().map(|record| format!("{}\n", serde_json::json!(record))).collect();
        write_out(&lines);
    }
}
