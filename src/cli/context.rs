//! What every verb has in common: how it prints, how it finds the daemon, how it ends.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, View, write_err, write_error};
use crate::api::client::Api;
use crate::app::config::{Config, ConfigError};

/// The configuration that is looked for where none is named: in the working directory, then in the system's folder.
pub const CONFIG_FILES: [&str; 2] = ["trimtab.toml", "/etc/trimtab/trimtab.toml"];

/// Where the daemon listens where nothing says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/trimtab/daemon.sock";

/// How a verb prints that does something.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Printing {
    /// For people or for programs
    #[arg(
        short = 'o', long = "output", default_value = "table", value_name = "FORMAT", help_heading = "Output",
        value_parser = PossibleValuesParser::new(["table", "json", "yaml"]).try_map(|name| Format::from_str(&name, false)),
    )]
    pub output: Format,
}

impl Printing {
    /// The view of standard output.
    pub fn view(self) -> View {
        View::of_stdout(self.output)
    }
}

/// What all verbs take that steer something through the daemon.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Steering {
    #[command(flatten)]
    printing: Printing,
    /// How the daemon is found.
    #[command(flatten)]
    pub reach: Reach,
}

impl Steering {
    /// The view of standard output.
    pub fn view(&self) -> View {
        self.printing.view()
    }
}

/// What all verbs take that only look.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Looking {
    /// For people (`wide`: with more columns), for programs, or only the names
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    output: Format,
    /// How the daemon is found.
    #[command(flatten)]
    pub reach: Reach,
}

impl Looking {
    /// The view of standard output.
    pub fn view(&self) -> View {
        View::of_stdout(self.output)
    }
}

/// How a verb finds the daemon.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Reach {
    /// The daemon's socket
    #[arg(long, env = "TRIMTAB_SOCKET", value_name = "PATH", help_heading = "Daemon")]
    pub socket: Option<PathBuf>,
    /// The daemon's configuration, whose `[api] socket` says where it listens [default: trimtab.toml, then
    /// /etc/trimtab/trimtab.toml]
    #[arg(long, env = "TRIMTAB_CONFIG", value_name = "FILE", help_heading = "Daemon")]
    pub config: Option<PathBuf>,
}

impl Reach {
    /// A client of the daemon.
    pub fn api(&self) -> Result<Api, CliError> {
        Ok(Api::new(&self.socket()?))
    }

    /// The daemon's socket: the one that was named, or the configuration's, or the usual one.
    pub fn socket(&self) -> Result<PathBuf, CliError> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        match self.config_file() {
            Some(file) => Ok(read_config(&file)?.api.socket),
            None => Ok(DEFAULT_SOCKET.into()),
        }
    }

    /// The configuration that applies: the one that was named, or the first of [`CONFIG_FILES`] that exists.
    pub fn config_file(&self) -> Option<PathBuf> {
        let usual = || CONFIG_FILES.iter().map(PathBuf::from).find(|file| file.exists());
        self.config.clone().or_else(usual)
    }
}

/// Reads a configuration.
pub fn read_config(file: &Path) -> Result<Config, CliError> {
    Config::read(file).map_err(|error| match &error {
        ConfigError::Unreadable { .. } => CliError::not_found(error.to_string()),
        ConfigError::Invalid { .. } => CliError::invalid(error.to_string()),
    })
}

/// Prints what is left to print and turns the outcome of a verb into the process's exit code.
pub fn finish(view: &View, outcome: Result<Exit, CliError>) -> ExitCode {
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            match view.format {
                Format::Json | Format::Yaml => write_error(view.format, &error.json()),
                Format::Table | Format::Wide | Format::Name => write_err(&error.text(&View::of_stderr())),
            }
            error.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(config: &Path) -> Reach {
        Reach { socket: None, config: Some(config.to_owned()) }
    }

    #[test]
    fn the_socket_is_found_through_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("trimtab.toml");
        std::fs::write(&file, "[source]\nurl = 'x'\n[api]\nsocket = \"run/api.sock\"\n").unwrap();
        assert_eq!(reach(&file).socket().unwrap(), dir.path().join("run/api.sock"));
        std::fs::write(&file, "[source]\nurl = 'x'\n[api]\nsocket = \"/x/api.sock\"\n").unwrap();
        assert_eq!(reach(&file).socket().unwrap(), Path::new("/x/api.sock"));
        let named = Reach { socket: Some("/named.sock".into()), config: Some(file.clone()) };
        assert_eq!(named.socket().unwrap(), Path::new("/named.sock"));
        std::fs::write(&file, "[api").unwrap();
        assert_eq!(reach(&file).socket().unwrap_err().exit, Exit::Invalid);
        assert_eq!(reach(&dir.path().join("none")).socket().unwrap_err().exit, Exit::NotFound);
    }
}
