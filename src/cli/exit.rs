//! The exit codes of the command line: part of its interface, never renumbered.

use std::process::ExitCode;

/// How a verb ended. `trimtab help exit-codes` prints this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was done; `plan` and `diff`: there is no difference.
    Ok,
    /// `plan` and `diff`: there is a difference.
    Difference,
    /// The command line or a document is wrong.
    Invalid,
    /// What was named is not there.
    NotFound,
    /// The daemon does not answer.
    Unreachable,
    /// It is not allowed, or not possible as things stand.
    Refused,
    /// It was tried and failed.
    Failed,
}

impl Exit {
    /// All of them, in order of their numbers.
    pub const ALL: [Exit; 7] =
        [Exit::Ok, Exit::Difference, Exit::Invalid, Exit::NotFound, Exit::Unreachable, Exit::Refused, Exit::Failed];

    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Difference => 1,
            Exit::Invalid => 2,
            Exit::NotFound => 3,
            Exit::Unreachable => 4,
            Exit::Refused => 5,
            Exit::Failed => 6,
        }
    }

    /// What it means, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "done; for `plan` and `diff`: there is no difference",
            Exit::Difference => "`plan` and `diff` only: there is a difference",
            Exit::Invalid => "the command line or a document is wrong; nothing was done",
            Exit::NotFound => "what was named is not there: an app, an environment, a file, a commit",
            Exit::Unreachable => "the daemon does not answer",
            Exit::Refused => "it is not allowed, or not possible as things stand now",
            Exit::Failed => "it was tried and failed: a rollout that was watched, a check, the demo, the daemon itself",
        }
    }

    /// The list that `trimtab help exit-codes` prints.
    pub fn list() -> String {
        Exit::ALL.iter().map(|exit| format!("  {}  {}\n", exit.code(), exit.meaning())).collect()
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_stay_as_they_are() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6]);
    }
}
