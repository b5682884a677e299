//! The reference of the command line, from the arguments themselves: `docs/reference/cli.md`.

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::exit::Exit;

/// The reference as Markdown.
pub fn markdown() -> String {
    let mut command = super::Cli::command();
    command.build();
    let mut text = String::from(
        "# Command line reference\n\nWritten from the program itself; [cli.md](../cli.md) is the introduction.\n",
    );
    for verb in command.get_subcommands() {
        section(verb, "trimtab", &mut text);
    }
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for exit in Exit::ALL {
        text.push_str(&format!("| {} | {} |\n", exit.code(), exit.meaning()));
    }
    text
}

fn section(command: &Command, path: &str, text: &mut String) {
    if command.is_hide_set() {
        return;
    }
    let path = format!("{path} {}", command.get_name());
    text.push_str(&format!("\n## {path}\n"));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        text.push_str(&format!("\n{about}\n"));
    }
    let subcommands: Vec<_> = command.get_subcommands().filter(|verb| !verb.is_hide_set()).collect();
    let arguments: Vec<_> =
        command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").collect();
    if !arguments.is_empty() {
        text.push_str("\n| argument | | default |\n|---|---|---|\n");
        for arg in arguments {
            text.push_str(&row(arg));
        }
    }
    // `trimtab help` names the others below itself.
    for verb in subcommands.into_iter().filter(|_| command.get_name() != "help") {
        section(verb, &path, text);
    }
}

fn row(arg: &Arg) -> String {
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value = arg.get_value_names().map(|names| names.join(" ")).filter(|_| takes).unwrap_or_default();
    let flags: Vec<String> = arg
        .get_short()
        .map(|short| format!("-{short}"))
        .into_iter()
        .chain(arg.get_long().map(|long| format!("--{long}")))
        .collect();
    let name = if flags.is_empty() { value } else { format!("{} {value}", flags.join(", ")) };
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if takes && !values.is_empty() {
        help.push_str(&format!(": {}", values.join(", ")));
    }
    if let Some(variable) = arg.get_env() {
        help.push_str(&format!(" (`{}`)", variable.to_string_lossy()));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = if takes { defaults.join(" ") } else { String::new() };
    format!("| `{}` | {} | {default} |\n", name.trim(), help.replace('|', "\\|").replace('\n', " "))
}
