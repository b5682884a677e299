//! How verbs print: tables for people, JSON for programs, and never a control character that nobody asked for.

pub mod style;
pub mod table;
pub mod time;
pub mod unit;
pub mod yaml;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use self::style::Tone;
use super::exit::Exit;

/// For whom is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For people, with more columns
    Wide,
    /// For programs: one JSON document on standard output, errors included
    Json,
    /// For programs: the same as YAML
    Yaml,
    /// Only the names, a line each
    Name,
}

impl Format {
    /// Whether people read it.
    pub fn is_text(self) -> bool {
        matches!(self, Format::Table | Format::Wide)
    }
}

/// Where is printed to: everything that decides how something looks, so that a test can fix it.
#[derive(Clone, Debug)]
pub struct View {
    /// For whom.
    pub format: Format,
    /// Whether to colour.
    pub colour: bool,
    /// The columns of the terminal; `None`: it is none, and nothing is folded or redrawn.
    pub width: Option<u16>,
    /// The time that relative times are told from.
    pub now: Timestamp,
}

impl View {
    /// The view of this process's standard output.
    pub fn of_stdout(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        View {
            format,
            colour: style::coloured(|name| std::env::var(name).ok(), terminal),
            width: terminal.then(columns),
            now: crate::clock::now(),
        }
    }

    /// The view of standard error, where errors and progress go.
    pub fn of_stderr() -> Self {
        let terminal = io::stderr().is_terminal();
        View {
            format: Format::Table,
            colour: style::coloured(|name| std::env::var(name).ok(), terminal),
            width: terminal.then(columns),
            now: crate::clock::now(),
        }
    }

    /// The same view at this moment.
    pub fn refreshed(&self) -> Self {
        View { now: crate::clock::now(), ..self.clone() }
    }

    /// Whether standard output can be redrawn.
    pub fn live(&self) -> bool {
        self.width.is_some() && self.format.is_text()
    }

    /// A text in its tone.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        match tone.sgr() {
            Some(sgr) if self.colour => format!("\u{1b}[{sgr}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }

    /// A text from elsewhere without the characters that could move the cursor or recolour the terminal.
    pub fn clean(&self, text: &str) -> String {
        clean(text)
    }

    /// A time relative to now.
    pub fn ago(&self, then: Timestamp) -> String {
        time::relative(then, self.now)
    }

    /// Whether people want to see more columns.
    pub fn wide(&self) -> bool {
        self.format == Format::Wide
    }

    /// Prints a value: its text for people, itself for programs.
    pub fn print<T: Serialize + ?Sized>(&self, value: &T, text: impl FnOnce(&View) -> String) {
        match self.format {
            Format::Table | Format::Wide | Format::Name => write_out(&text(self)),
            Format::Json => write_json(value),
            Format::Yaml => write_yaml(value),
        }
    }

    /// Prints what was looked at: as [`View::print`] does, or the names of what is in it.
    pub fn show<T: Serialize + ?Sized>(
        &self,
        value: &T,
        names: impl FnOnce() -> Vec<String>,
        text: impl FnOnce(&View) -> String,
    ) {
        match self.format {
            Format::Name => names().iter().for_each(|name| write_out(&format!("{name}\n"))),
            _ => self.print(value, text),
        }
    }
}

/// Removes control characters other than the line's end and the tab; text from apps and repositories is not trusted.
pub fn clean(text: &str) -> String {
    let harmless = |c: &char| matches!(c, '\n' | '\t') || !(c.is_control() || is_bidi(*c));
    text.chars().filter(harmless).collect()
}

/// The invisible marks that reorder text, which could make a line read otherwise than it is.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes to standard output. A reader that has gone away (`| head`) ends the process quietly, as it does for other tools; what can't be
/// written for another reason (`> file` on a full disk) ends it as a failure.
pub fn write_out(text: &str) {
    write_bytes(text.as_bytes());
}

/// [`write_out`] of what need not be text.
pub fn write_bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let Err(error) = out.write_all(bytes).and_then(|()| out.flush()) else { return };
    let exit = match error.kind() {
        io::ErrorKind::BrokenPipe => Exit::Ok,
        _ => {
            write_err(&format!("error: standard output can't be written: {error}\n"));
            Exit::Failed
        }
    };
    std::process::exit(exit.code().into());
}

/// Writes to standard error; nothing is left to do when that fails.
pub fn write_err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes one JSON document to standard output.
pub fn write_json<T: Serialize + ?Sized>(value: &T) {
    write_out(&json_text(value));
}

/// Writes one YAML document to standard output.
pub fn write_yaml<T: Serialize + ?Sized>(value: &T) {
    write_out(&yaml_text(value));
}

/// Writes an error as the document that was asked for. The exit code tells of it also where nobody reads it.
pub fn write_error(format: Format, error: &serde_json::Value) {
    let text = if format == Format::Yaml { yaml_text(error) } else { json_text(error) };
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn json_text<T: Serialize + ?Sized>(value: &T) -> String {
    let text = serde_json::to_string_pretty(value);
    format!("{}\n", text.expect("what verbs print serialises to JSON: text keys, no foreign serialisers"))
}

fn yaml_text<T: Serialize + ?Sized>(value: &T) -> String {
    let value = serde_json::to_value(value);
    yaml::text(&value.expect("what verbs print serialises to JSON: text keys, no foreign serialisers"))
}

/// The columns of the terminal, 80 where it does not say.
fn columns() -> u16 {
    match console_size() {
        Some(columns) if columns >= 20 => columns,
        _ => 80,
    }
}

fn console_size() -> Option<u16> {
    if let Some(columns) = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()) {
        return Some(columns);
    }
    comfy_table::Table::new().width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_others_are_dropped() {
        assert_eq!(clean("a\u{1b}[31mred\u{7}\r\n\tb\u{202e}c"), "a[31mred\n\tbc");
    }
}
