//! How the long-running verbs write their logs.

use crate::app::config::log::LogFormat;

/// What they take.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Logging {
    /// How the log on standard error is written: for people, or a JSON object a line
    #[arg(long, env = "TRIMTAB_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// A JSON object a line
    Json,
}

impl Logging {
    /// What was asked for, else what the configuration says.
    pub fn format(self, configured: LogFormat) -> LogFormat {
        match self.log_format {
            None => configured,
            Some(Format::Text) => LogFormat::Text,
            Some(Format::Json) => LogFormat::Json,
        }
    }

    /// Begins to log, for what has no configuration file.
    ///
    /// # Errors
    ///
    /// Never without a level of its own; the message would say what is wrong with it.
    pub fn start(self) -> Result<(), String> {
        let json = self.format(LogFormat::default()) == LogFormat::Json;
        crate::process::log_to_stderr(json, None, None).map(drop)
    }
}
