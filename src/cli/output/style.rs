//! Colours by meaning: a tone says what something is, not how it looks.

use comfy_table::Color;

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// As it should be.
    Good,
    /// Needs attention, or goes on.
    Warn,
    /// Wrong.
    Bad,
    /// What to look at or do.
    Accent,
    /// Less important.
    Dim,
    /// A heading.
    Strong,
}

impl Tone {
    /// The parameters of the terminal's "select graphic rendition".
    pub(super) fn sgr(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Warn => Some("33"),
            Tone::Bad => Some("1;31"),
            Tone::Accent => Some("36"),
            Tone::Dim => Some("2"),
            Tone::Strong => Some("1"),
        }
    }

    /// The colour of a table's cell.
    pub(super) fn colour(self) -> Option<Color> {
        match self {
            Tone::Plain | Tone::Strong => None,
            Tone::Good => Some(Color::DarkGreen),
            Tone::Warn => Some(Color::DarkYellow),
            Tone::Bad => Some(Color::Red),
            Tone::Accent => Some(Color::DarkCyan),
            Tone::Dim => Some(Color::DarkGrey),
        }
    }
}

/// Whether to colour, by the conventions of no-color.org and bixense.com/clicolors. `var` looks up the environment.
pub fn coloured(var: impl Fn(&str) -> Option<String>, terminal: bool) -> bool {
    let set = |name: &str| var(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    terminal && set("CLICOLOR").is_none_or(|value| value != "0") && set("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_over_colour() {
        let cases = [
            ("", true, true),
            ("", false, false),
            ("NO_COLOR=1", true, false),
            ("NO_COLOR=", true, true),
            ("CLICOLOR=0", true, false),
            ("CLICOLOR_FORCE=1", false, true),
            ("CLICOLOR_FORCE=0", false, false),
            ("CLICOLOR_FORCE=1 NO_COLOR=1", true, false),
            ("TERM=dumb", true, false),
        ];
        for (vars, terminal, expected) in cases {
            let pairs = vars.split(' ').filter_map(|pair| pair.split_once('='));
            let var = |name: &str| pairs.clone().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
            assert_eq!(coloured(var, terminal), expected, "{vars:?} on a terminal: {terminal}");
        }
    }
}
