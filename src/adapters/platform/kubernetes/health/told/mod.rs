//! Kinds of others that tell how they are doing in words of their own: tables, by area.
//!
//! A row names kinds and a list of what they may tell; the first thing that holds decides, and an object of which nothing holds is on
//! its way: its controller has yet to say how it is doing. The first row that is for a kind is its only one.
//!
//! What the words mean was read from the kinds' own controllers and from Argo CD's `resource_customizations` (Apache-2.0, as of
//! 2026-08), restated in this vocabulary. Where a row says something else than Argo CD does, `cases` has the case and the reason.

mod cloud;
mod data;
mod delivery;
mod platform;
mod vocabulary;

use serde_json::Value;

pub(super) use self::vocabulary::Test;
use self::vocabulary::{Old, Scope};
use super::{Health, unseen};

/// What a kind is when a test holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Healthy,
    Progressing,
    Degraded,
    /// It has ended, and won't try again.
    Failed,
    Suspended,
    Unknown,
}

/// Kinds of a group (of each that ends so, where it begins with a dot; all its kinds, where none is named), and what they tell.
type Row = (&'static str, &'static [&'static str], &'static [(Says, Test)]);

/// What an object of these kinds tells; none of another kind.
pub(super) fn health(group: &str, kind: &str, object: &Value) -> Option<Health> {
    let of_it = |(named, kinds, _): &&Row| is_of(named, group) && (kinds.is_empty() || kinds.contains(&kind));
    let (_, _, rules) = tables().flatten().find(of_it)?;
    let scope = Scope::of(object);
    for (says, test) in *rules {
        match test.holds(&scope) {
            Ok(None) => {}
            Ok(Some(words)) => return Some(says.of(words)),
            Err(Old) => return Some(unseen()),
        }
    }
    let seen = rules.iter().find_map(|(_, test)| test.seen(&scope));
    Some(Health::Progressing(seen.unwrap_or_else(|| "its controller has yet to say how it is doing".into())))
}

fn tables() -> impl Iterator<Item = &'static [Row]> {
    [delivery::ROWS, data::ROWS, cloud::ROWS, platform::ROWS].into_iter()
}

fn is_of(named: &str, group: &str) -> bool {
    named == group || named.starts_with('.') && group.ends_with(named)
}

impl Says {
    fn of(self, words: String) -> Health {
        let or = |without: &str| if words.is_empty() { without.to_owned() } else { words.clone() };
        match self {
            Says::Healthy => Health::Healthy,
            Says::Progressing => Health::Progressing(or("it is not complete")),
            Says::Degraded => {
                Health::Degraded { message: or("its status tells of something that is wrong"), for_good: false }
            }
            Says::Failed => Health::failed(or("it has failed")),
            Says::Suspended => Health::Suspended(or("it rests")),
            Says::Unknown => Health::Unknown(or("its status says nothing that is understood")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_hidden_by_one_before_it() {
        let all: Vec<&Row> = tables().flatten().collect();
        for (at, (group, kinds, rules)) in all.iter().enumerate() {
            assert!(!rules.is_empty(), "{group} {kinds:?} says nothing");
            for (earlier, others, _) in &all[..at] {
                let hidden = kinds.iter().any(|kind| others.is_empty() || others.contains(kind)) || others.is_empty();
                assert!(!(is_of(earlier, group) && hidden), "{group} {kinds:?} is hidden by {earlier} {others:?}");
            }
        }
    }
}
